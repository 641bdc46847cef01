"""Whatever is wrong with telemetry, the user's own exception and result come through, and budgets hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from otel_agent import agent_run, llm_call, tool_call
from otel_agent.budget import Budget
from otel_agent.telemetry import guard
from otel_agent.telemetry.pipeline import Pipeline, current_pipeline, use_pipeline
from otel_agent.testing import capture
from tests.support.processes import ended, start


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_said", {})


def test_a_wrong_capture_setting_is_one_warning_and_no_span_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_AGENT_CAPTURE_EXCEPTIONS", "bogus")
    with capture() as kept, pytest.raises(KeyError), agent_run("bot"), tool_call("t"):
        raise KeyError("mine")
    assert {span.name for span in kept.spans} == {"invoke_agent bot", "execute_tool t"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "OTEL_AGENT_CAPTURE_EXCEPTIONS = 'bogus'" in caplog.text
    assert "frames is taken" in caplog.text


class Broken:
    """A provider, tracer, meter or logger that raises whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        def raises(*args: object, **keywords: object) -> Any:
            raise RuntimeError(name)

        return raises


class HalfBroken:
    """A provider that gives what is broken."""

    def get_tracer(self, *args: object, **keywords: object) -> Any:
        return Broken()

    get_meter = get_logger = get_tracer


def ask_thrice() -> None:
    for _ in range(3):
        with llm_call("gpt-5-mini") as call:
            call.record(input_tokens=1, output_tokens=1)


@pytest.mark.parametrize("provider", [Broken(), HalfBroken()])
def test_providers_that_raise_change_nothing(provider: Any, caplog: pytest.LogCaptureFixture) -> None:
    before = use_pipeline(Pipeline(provider, provider, provider))
    try:
        result = agent_run("bot", budget=Budget(max_steps=1))(ask_thrice).run()
    finally:
        use_pipeline(before)
    assert (result.stop_reason, result.usage.steps) == ("max_steps", 1)
    assert caplog.records
    assert all("the run goes on without it" in record.getMessage() for record in caplog.records)


class Refusing(SpanProcessor):
    """A processor that raises when a span of one name starts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.name == self.name:
            raise RuntimeError(self.name)


@pytest.mark.parametrize(
    ("name", "parent"),
    [("execute_tool t", "chat m"), ("chat m", "invoke_agent bot"), ("invoke_agent bot", "plain")],
)
def test_a_span_that_cannot_start_leaves_the_trace_whole(name: str, parent: str) -> None:
    with capture() as kept:
        kept.tracer_provider.add_span_processor(Refusing(name))
        tracer = kept.tracer_provider.get_tracer("test")
        with tracer.start_as_current_span("plain"), agent_run("bot"), llm_call("m"), tool_call("t"):
            tracer.start_span("inside").end()
    spans = {span.name: span for span in kept.spans}
    assert name not in spans
    assert len({span.context.trace_id for span in kept.spans}) == 1
    below = {"execute_tool t": "inside", "chat m": "execute_tool t", "invoke_agent bot": "chat m"}[name]
    assert spans[below].parent.span_id == spans[parent].context.span_id


def test_a_provider_that_cannot_be_looked_up_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Any:
        raise StopIteration

    monkeypatch.setattr(trace, "get_tracer_provider", fails)
    assert current_pipeline().tracer is None


def test_a_wrong_provider_variable_stops_no_run() -> None:
    out = ended(
        start(
            """
            with agent_run("bot") as run: pass
            print(run.result.stop_reason)
            """,
            OTEL_PYTHON_TRACER_PROVIDER="bogus",
        )
    )
    assert out[:2] == (0, "finish\n")
    assert "Traceback" not in out[2].replace("Traceback (most recent call last)", "", out[2].count("Failed to load"))


class Stuck(SpanExporter):
    """An exporter that never comes back, until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.let_go.wait(60)
        return SpanExportResult.SUCCESS


def test_an_exporter_that_blocks_delays_no_call() -> None:
    stuck = Stuck()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(stuck, max_export_batch_size=1, schedule_delay_millis=1))
    before = use_pipeline(Pipeline(provider, None, None))
    try:
        agent_run("first")(ask_thrice)()
        assert stuck.entered.wait(10)
        began = time.monotonic()
        result = agent_run("bot", budget=Budget(max_steps=2))(ask_thrice).run()
        assert (result.stop_reason, result.usage.steps) == ("max_steps", 2)
        assert time.monotonic() - began < 5
    finally:
        stuck.let_go.set()
        use_pipeline(before)
        provider.shutdown()
