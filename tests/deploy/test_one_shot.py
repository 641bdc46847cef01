"""Processes that live for one run: what they count adds up, also when they live at the same time."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.servers import Collector, Prometheus, needs, until
from tests.support.processes import ended, start

RUN = """
configure("one-shot")
with agent_run("short"):
    with llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=1000, output_tokens=100)
"""
DELTA = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
AT_ONCE = 4
RUNS = 'sum(otel_agent_runs_total{gen_ai_agent_name="short",otel_agent_stop_reason="finish"})'
TOKENS = 'sum(otel_agent_run_tokens_sum{gen_ai_agent_name="short"})'
BY_SPANS = 'sum(otel_agent_span_runs_total{gen_ai_agent_name="short"})'


def play(collector: Collector, processes: int, **environment: str) -> None:
    for _ in range(processes // AT_ONCE):
        together = [start(RUN, OTEL_EXPORTER_OTLP_ENDPOINT=collector.http, **environment) for _ in range(AT_ONCE)]
        for process in together:
            status, _, err = ended(process, 60)
            assert (status, err) == (0, "")


def test_twelve_processes_with_a_run_each_are_twelve_runs(tmp_path: Path) -> None:
    needs("collector", "prometheus")
    with Collector(tmp_path) as collector, Prometheus(tmp_path, targets=collector.targets) as prometheus:
        play(collector, 12, **DELTA)
        until(lambda: prometheus.value(RUNS) == 12 and prometheus.value(TOKENS) == 12 * 1100)
        until(lambda: prometheus.value(BY_SPANS) == 12)
        assert prometheus.value(f"count({RUNS[4:-1]})") == 1, "twelve processes must share one series"
        assert collector.own("otelcol_exporter_send_failed_metric_points_total") == 0


def test_processes_without_metrics_are_counted_by_their_spans(tmp_path: Path) -> None:
    needs("collector", "prometheus")
    with Collector(tmp_path) as collector, Prometheus(tmp_path, targets=collector.targets) as prometheus:
        play(collector, AT_ONCE, OTEL_METRICS_EXPORTER="none")
        until(lambda: prometheus.value(BY_SPANS) == AT_ONCE)
        assert prometheus.value(RUNS) is None
