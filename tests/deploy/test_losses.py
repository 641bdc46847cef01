"""What the collector loses it counts, under the names that the alert on losses reads."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_agent import semconv
from otel_agent.deploy import conditions
from tests.deploy.otlp import one_span, pair, post
from tests.deploy.servers import Collector, needs, until
from tests.deploy.test_cardinality import count_runs, dropped_points
from tests.deploy.test_scrape import counts


def some_logs() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.append(pair("service.name", "lost"))
    records = resource.scope_logs.add().log_records
    for _ in range(2000):
        records.add(event_name="lost")
    return request


def lost(collector: Collector, name: str, signal: str, request: Any) -> bool:
    """Sends once more, and says whether the collector has counted a loss under a name that the alert reads."""
    assert name in conditions.LOST
    with suppress(OSError):  # it says that it refuses
        post(collector, signal, request)
    return collector.own(name) > 0


def test_what_is_refused_for_want_of_memory_is_counted(tmp_path: Path) -> None:
    needs("collector")
    with Collector(tmp_path, OTEL_AGENT_MEMORY_MIB="9", OTEL_AGENT_MEMORY_SPIKE_MIB="8") as collector:
        spans, points = "otelcol_receiver_refused_spans_total", "otelcol_receiver_refused_metric_points_total"
        until(lambda: lost(collector, spans, "traces", one_span()[0]))
        until(lambda: lost(collector, points, "metrics", counts()))
        until(lambda: lost(collector, "otelcol_receiver_refused_log_records_total", "logs", some_logs()))


def test_logs_that_find_their_queue_full_are_counted(tmp_path: Path) -> None:
    needs("collector")
    small = {"OTEL_AGENT_LOGS": "otlp_grpc/logs", "OTEL_AGENT_QUEUE_LOGS": "4000"}
    with Collector(tmp_path, **small) as collector:
        until(lambda: lost(collector, "otelcol_exporter_enqueue_failed_log_records_total", "logs", some_logs()))


def test_deltas_above_the_limit_of_streams_are_counted(tmp_path: Path) -> None:
    needs("collector")
    with Collector(tmp_path, OTEL_AGENT_MAX_STREAMS="2") as collector:
        count_runs(collector, [(0, 0), (0, 1), (0, 2)], [semconv.RUNS])
        until(lambda: dropped_points(collector) == 1)
    assert 'otelcol_deltatocumulative_datapoints_total{error!=""}' in conditions.LOST
