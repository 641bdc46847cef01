"""The demo's agent, through the collector as it ships, to Jaeger and Prometheus."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_agent import semconv
from tests.deploy.otlp import one_span, pair, post
from tests.deploy.servers import HOST, Collector, Jaeger, Prometheus, free_port, needs, until, writing_to
from tests.support.offline import run
from tests.support.processes import ended, start

SERVICE = "otel-agent-demo"
NO_SAMPLER = {"OTEL_AGENT_SAMPLER": "[]"}

# The runs of the demo are over before their age is asked for.
OPEN_RUN = """
configure("open")
with agent_run("long"):
    time.sleep(2)
"""

# The demo has neither a kill switch nor a release.
NOT_IN_THE_DEMO = {semconv.KILL_SWITCH_ACTIVE.name, semconv.PROMPT_INFO.name}


def play(folder: Path, endpoint: str, protocol: str) -> None:
    """Runs all scenarios of the demo, exporting to the collector."""
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    done = run([sys.executable, "-m", "otel_agent", "demo", "--json"], folder, **more)
    assert done.returncode == 0, done.stderr


def spans_of(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gives every span, with its tags as a dict."""
    found = [span for trace in traces for span in trace["spans"]]
    return [span | {"tags": {tag["key"]: tag["value"] for tag in span["tags"]}} for span in found]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_trace_arrives_with_prompt_budgets_and_stop_reason(tmp_path: Path, protocol: str) -> None:
    needs("collector", "jaeger")
    with (
        Jaeger(tmp_path) as jaeger,
        Collector(tmp_path, OTEL_AGENT_TRACES_ENDPOINT=jaeger.otlp, **NO_SAMPLER) as collector,
    ):
        play(tmp_path, collector.grpc if protocol == "grpc" else collector.http, protocol)
        sent = until(lambda: collector.own("otelcol_receiver_accepted_spans_total"))
        spans = until(lambda: len(found := spans_of(jaeger.traces(SERVICE))) >= sent and found)
        (stopped,) = jaeger.traces(
            SERVICE, **{semconv.STOP_REASON: "max_tool_calls", semconv.OPERATION: "invoke_agent"}
        )
    assert len(spans) == sent

    runs = [span for span in spans if span["tags"][semconv.OPERATION] == semconv.OPERATION_RUN]
    calls = [span for span in spans if span["tags"][semconv.OPERATION] == semconv.OPERATION_CHAT]
    tools = [span for span in spans if span["tags"][semconv.OPERATION] == semconv.OPERATION_TOOL]
    assert runs
    assert calls
    assert tools
    for span in spans:
        assert span["tags"][semconv.PROMPT_ID].startswith("support:v")
    for span in runs:
        assert span["tags"][semconv.STOP_REASON]
        assert span["tags"][semconv.BUDGET["steps"].limit] > 0
        assert semconv.BUDGET["steps"].used in span["tags"]
    for span in calls:
        refused = span["tags"].get(semconv.DECISION) == "deny"
        assert refused or semconv.BUDGET["steps"].used in span["tags"]
    assert any(semconv.BUDGET["tool_calls"].used in span["tags"] for span in tools)

    of_stopped = spans_of([stopped])
    with_reason = {span["operationName"] for span in of_stopped if semconv.STOP_REASON in span["tags"]}
    assert with_reason == {"invoke_agent support-bot", "execute_tool kb.search"}
    root = next(span for span in of_stopped if not span["references"])
    assert root["tags"][semconv.BUDGET["tool_calls"].used] == root["tags"][semconv.BUDGET["tool_calls"].limit]


def prometheus_name(metric: semconv.Metric) -> str:
    """How Prometheus spells it, up to what its type appends."""
    unit = "_seconds" if metric.unit == "s" else ""
    return f"{metric.name.replace('.', '_')}{unit}"


def of_another_instrumentation() -> Any:
    """A model call as somebody else's instrumentation tells it."""
    request, span = one_span()
    told = {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "gpt-5-mini", semconv.INPUT_TOKENS: 70}
    span.attributes.extend(pair(key, value) for key, value in (told | {semconv.OUTPUT_TOKENS: 7}).items())
    return request


def gone(missing: Callable[[], set[str]]) -> None:
    """Waits until nothing is missing; fails with what still is."""
    end = time.monotonic() + 90
    while (still := missing()) and time.monotonic() < end:
        time.sleep(0.5)
    assert not still


def scraped(folder: Path) -> tuple[Prometheus, Collector]:
    """Prometheus that scrapes the collector."""
    collector = Collector(folder)
    return Prometheus(folder, targets=collector.targets), collector


def written(folder: Path) -> tuple[Prometheus, Collector]:
    """Prometheus that the collector writes into; of the collector's own metrics there is no other way than scraping."""
    port = free_port()
    prometheus = Prometheus(folder, targets=[f"{HOST}:{port}"], flags=["--web.enable-remote-write-receiver"])
    collector = Collector(folder, **writing_to(prometheus), OTEL_AGENT_OWN_METRICS_PORT=str(port))
    return prometheus, collector


@pytest.mark.parametrize("way", [scraped, written], ids=lambda way: way.__name__)
def test_prometheus_has_every_metric(way: Callable[[Path], tuple[Prometheus, Collector]], tmp_path: Path) -> None:
    needs("collector", "prometheus")
    prometheus, collector = way(tmp_path)
    with prometheus, collector:
        play(tmp_path, collector.http, "http/protobuf")
        post(collector, "traces", of_another_instrumentation())
        open_run = start(OPEN_RUN, OTEL_EXPORTER_OTLP_ENDPOINT=collector.http, OTEL_METRIC_EXPORT_INTERVAL="200")
        assert ended(open_run, 60)[0] == 0
        metrics = [each for each in vars(semconv).values() if isinstance(each, semconv.Metric)]
        wanted = {prometheus_name(each) for each in metrics if each.name not in NOT_IN_THE_DEMO}
        wanted |= {"traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds"}

        def missing() -> set[str]:
            names = set(prometheus.api("label/__name__/values"))
            return {each for each in wanted if not any(name.startswith(each) for name in names)}

        gone(missing)
        tokens = prometheus.query("sum by (gen_ai_token_type) (otel_agent_span_tokens_total)")
        assert {labels["gen_ai_token_type"]: value for labels, value in tokens} == {"input": 70, "output": 7}
        runs = prometheus.query("sum by (otel_agent_stop_reason) (otel_agent_runs_total)")
        assert {labels["otel_agent_stop_reason"]: value for labels, value in runs}["max_tool_calls"] >= 1
        assert prometheus.query("{__name__=~'otelcol_process_uptime.*'}")
