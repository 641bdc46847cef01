"""The backend behind the collector goes away, the collector is killed: what was taken still arrives, nobody waits."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.otlp import SPANS_OF_A_RUN, post, runs
from tests.deploy.servers import Collector, Jaeger, needs, until
from tests.support.processes import ended, start

NO_SAMPLER = {"OTEL_AGENT_SAMPLER": "[]"}
HANG_SECONDS = 5.0

AGENT = """
configure("patient")
slowest = 0.0
for _ in range(100):
    began = time.perf_counter()
    with agent_run("bot", budget=Budget(max_steps=3)):
        with llm_call("gpt-5-mini", provider="openai") as call:
            call.record(input_tokens=10, output_tokens=5)
    slowest = max(slowest, time.perf_counter() - began)
print(slowest)
"""


def spans_in(jaeger: Jaeger, service: str) -> set[str]:
    return {span["spanID"] for trace in jaeger.traces(service) for span in trace["spans"]}


def send(collector: Collector, count: int, service: str) -> None:
    for request in runs(count, service):
        post(collector, "traces", request)


def test_nothing_is_lost_while_the_backend_is_away_and_the_collector_is_killed(tmp_path: Path) -> None:
    needs("collector", "jaeger")
    jaeger = Jaeger(tmp_path)
    collector = Collector(tmp_path, OTEL_AGENT_TRACES_ENDPOINT=jaeger.otlp, **NO_SAMPLER)
    try:
        jaeger.start()
        collector.start()
        send(collector, 20, "before")
        until(lambda: len(spans_in(jaeger, "before")) == 20 * SPANS_OF_A_RUN)

        jaeger.kill()
        send(collector, 200, "away")
        collector.kill()

        collector.start()
        send(collector, 100, "restarted")
        jaeger.start()
        until(lambda: len(spans_in(jaeger, "away")) == 200 * SPANS_OF_A_RUN)
        until(lambda: len(spans_in(jaeger, "restarted")) == 100 * SPANS_OF_A_RUN)
        until(lambda: collector.own("otelcol_exporter_queue_size") == 0)
        assert collector.own("otelcol_exporter_enqueue_failed_spans_total") == 0
        assert collector.own("otelcol_exporter_send_failed_spans_total") == 0
    finally:
        collector.stop()
        jaeger.stop()


def test_an_agent_does_not_wait_for_anybody(tmp_path: Path) -> None:
    needs("collector")
    with Collector(tmp_path, **NO_SAMPLER) as collector:
        endpoint = collector.http
        backend_away = start(AGENT, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        status, out, err = ended(backend_away, 60)
        assert (status, err) == (0, "")
        assert float(out) < HANG_SECONDS
        assert collector.own("otelcol_receiver_accepted_spans_total") == 200
    status, out, _ = ended(start(AGENT, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint), 60)
    assert status == 0
    assert float(out) < HANG_SECONDS


def test_a_full_queue_drops_what_is_new_and_says_so(tmp_path: Path) -> None:
    needs("collector", "jaeger")
    jaeger = Jaeger(tmp_path)
    small = {"OTEL_AGENT_QUEUE_SPANS": "5000", "OTEL_AGENT_TRACES_ENDPOINT": jaeger.otlp}
    with Collector(tmp_path, **small, **NO_SAMPLER) as collector:
        refused = 0
        for request in runs(700, "full"):
            try:
                post(collector, "traces", request)
            except OSError:
                refused += 1
        lost = collector.own("otelcol_exporter_enqueue_failed_spans_total")
        assert lost > 0
        assert refused * 10 * SPANS_OF_A_RUN == lost, "each client is told, so that it can send again"
        with jaeger:
            until(lambda: len(spans_in(jaeger, "full")) == 700 * SPANS_OF_A_RUN - lost)
