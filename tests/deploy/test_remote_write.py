"""Metrics that the collector writes into Prometheus, of each version that is here: all that was counted arrives."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from tests.deploy.otlp import pair, post
from tests.deploy.servers import Collector, Prometheus, every, needs, until, writing_to

AT_ONCE, RUNS = 8, 200
AWAY_SECONDS = 8.0
"""Longer than an exporter tries by default."""
FLAGS = ["--web.enable-remote-write-receiver"]

pytestmark = pytest.mark.parametrize("program", every("prometheus") or ["prometheus"])


def a_run() -> ExportMetricsServiceRequest:
    """One run, as a process that lives for it counts it."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.append(pair("service.name", "shop"))
    metric = resource.scope_metrics.add().metrics.add(name="runs", unit="{run}")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    now = time.time_ns()
    metric.sum.data_points.add(as_int=1, start_time_unix_nano=now - 10**9, time_unix_nano=now)
    return request


def test_runs_of_many_processes_at_once_are_all_counted(program: str, tmp_path: Path) -> None:
    needs("collector", "prometheus")
    with (
        Prometheus(tmp_path, program=program, flags=FLAGS) as prometheus,
        Collector(tmp_path, **writing_to(prometheus)) as collector,
        ThreadPoolExecutor(AT_ONCE) as processes,
    ):
        list(processes.map(lambda _: post(collector, "metrics", a_run()), range(RUNS)))
        until(lambda: prometheus.value("runs_total") == RUNS)
        ((labels, _),) = prometheus.query("runs_total")
    assert labels == {"__name__": "runs_total", "job": "shop", "collector": "collector"}


def test_a_run_is_counted_that_ends_while_prometheus_is_away(program: str, tmp_path: Path) -> None:
    needs("collector", "prometheus")
    prometheus = Prometheus(tmp_path, program=program, flags=FLAGS)
    with prometheus, Collector(tmp_path, **writing_to(prometheus)) as collector:
        prometheus.stop()
        post(collector, "metrics", a_run())
        time.sleep(AWAY_SECONDS)
        prometheus.start()
        until(lambda: prometheus.value("runs_total") == 1)
        assert collector.own("otelcol_exporter_send_failed_metric_points_total") == 0
