"""What a decorated tool call costs beside a bare span that is given the same attributes, in every set-up."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_agent import Budget, Prompt, agent_run, tool_call
from otel_agent.testing import capture
from tests.bench.harness import Pair, bench

LIMITS = Budget(max_steps=10**9, max_tool_calls=10**9, max_tokens=10**11, max_usd=10**6, max_seconds=86_400)
PROMPT = Prompt("support", "v13", "Answer using KB.")


class _Keep(SpanProcessor):
    """Looks at each span and lets it go, as a processor does whose exporter is elsewhere."""

    def on_end(self, span: ReadableSpan) -> None:
        self.last = span


@tool_call("kb.search")
def _tool(question: str) -> str:
    return question


def _attributes() -> dict[str, Any]:
    """Gives the attributes that a decorated call really has."""
    switched_off = os.environ.pop("OTEL_SDK_DISABLED", None)
    with capture() as kept, agent_run("bench", prompt=PROMPT, budget=LIMITS):
        _tool("q")
    if switched_off is not None:
        os.environ["OTEL_SDK_DISABLED"] = switched_off
    return dict(kept.span("execute_tool kb.search").attributes or {})


def _bare(attributes: dict[str, Any], after: Callable[[], None] | None = None) -> Callable[[], object]:
    tracer = trace.get_tracer("bench")

    def plain(question: str) -> str:
        return question

    def call() -> object:
        with tracer.start_as_current_span("execute_tool kb.search", attributes=attributes):
            result = plain("q")
        if after is not None:
            after()
        return result

    return call


def _pair(after: Callable[[], None] | None = None) -> Generator[Pair]:
    attributes = _attributes()
    with agent_run("bench", prompt=PROMPT, budget=LIMITS):
        yield Pair(ours=lambda: _tool("q"), yardstick=_bare(attributes, after))


def _provider(**keywords: Any) -> None:
    provider = TracerProvider(shutdown_on_exit=False, **keywords)
    provider.add_span_processor(_Keep())
    trace.set_tracer_provider(provider)


@bench("a tool call with every gate, sampled", yardstick="a bare span, same attributes", at_most=1.0)
def sampled() -> Generator[Pair]:
    _provider()
    yield from _pair()


@bench("the same, unsampled", yardstick="a bare span, unsampled", at_most=1.0)
def unsampled() -> Generator[Pair]:
    _provider(sampler=ALWAYS_OFF)
    yield from _pair()


@bench("the same, no SDK", yardstick="a bare span, no SDK", at_most=1.0)
def no_sdk() -> Generator[Pair]:
    yield from _pair()


@bench("the same, SDK disabled", yardstick="a bare span, SDK disabled", at_most=1.0, env={"OTEL_SDK_DISABLED": "true"})
def disabled() -> Generator[Pair]:
    _provider()
    yield from _pair()


@bench("the same, with the metrics SDK", yardstick="a bare span and the same instrument", at_most=1.0)
def with_metrics() -> Generator[Pair]:
    _provider()
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
    duration = metrics.get_meter("bench").create_histogram("duration", "s")
    labels = {"gen_ai.tool.name": "kb.search", "gen_ai.tool.type": "function", "gen_ai.agent.name": "bench"}
    yield from _pair(lambda: duration.record(0.1, labels))
