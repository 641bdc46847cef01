"""What Prometheus gets when it scrapes: traces beside latencies, and each stream for as long as it is meant to stay."""

from __future__ import annotations

import time
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from otel_agent import semconv
from tests.deploy.otlp import one_span, pair, post
from tests.deploy.servers import Collector, fetch, needs, until

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
REPEATED, ADDED = "repeated_runs_total", "added_runs_total"


def scraped(target: str) -> str:
    return fetch(f"http://{target}/metrics", Accept=OPEN_METRICS)


def span_metrics(target: str) -> str:
    text = scraped(target)
    return text if "traces_span_metrics_" in text else ""


def test_a_latency_has_its_trace(tmp_path: Path) -> None:
    needs("collector")
    request, span = one_span()
    span.attributes.extend([pair(semconv.OPERATION, "chat"), pair(semconv.REQUEST_MODEL, "gpt-5-mini")])
    with Collector(tmp_path) as collector:
        post(collector, "traces", request)
        text = until(lambda: span_metrics(collector.targets[0]))
    (bucket,) = [line for line in text.splitlines() if "duration_seconds_bucket" in line and " # {" in line]
    assert f'trace_id="{span.trace_id.hex()}"' in bucket.partition(" # ")[2]


def counts() -> ExportMetricsServiceRequest:
    """A count that its process would repeat, and one that is added up, of a process that is gone since."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.append(pair("service.name", "gone"))
    metrics = resource.scope_metrics.add().metrics
    now = time.time_ns()
    for name, temporality in (
        ("repeated.runs", metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE),
        ("added.runs", metrics_pb2.AGGREGATION_TEMPORALITY_DELTA),
    ):
        metric = metrics.add(name=name)
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, temporality
        metric.sum.data_points.add(as_int=7, start_time_unix_nano=now - 10**9, time_unix_nano=now)
    return request


def test_a_sum_stays_when_a_stream_without_its_process_is_forgotten(tmp_path: Path) -> None:
    needs("collector")
    with Collector(tmp_path, OTEL_AGENT_LIVE_FOR="2s") as collector:
        live, sums, _ = collector.targets
        post(collector, "metrics", counts())
        until(lambda: REPEATED in scraped(live))
        until(lambda: ADDED in scraped(sums))
        until(lambda: REPEATED not in scraped(live), 30)
        assert ADDED in scraped(sums)


def test_a_sum_is_forgotten_when_it_is_told_so(tmp_path: Path) -> None:
    needs("collector")
    with Collector(tmp_path, OTEL_AGENT_RETENTION="2s") as collector:
        live, sums, _ = collector.targets
        post(collector, "metrics", counts())
        until(lambda: ADDED in scraped(sums))
        until(lambda: ADDED not in scraped(sums), 30)
        assert REPEATED in scraped(live)
