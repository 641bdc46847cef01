"""An agent of another framework, pydantic-ai, judged by the spans that it emits by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent, InstrumentationSettings, RunContext
from pydantic_ai.models.test import TestModel

from otel_agent.config.values import GoldenTask
from otel_agent.golden.invariants import violations
from otel_agent.golden.observed import Observed, observe
from otel_agent.stop import StopCode
from otel_agent.stores.otlp_json import line_of, spans_of, written


@pytest.fixture
def kept() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    provider, spans = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider, spans
    provider.shutdown()


async def asked(kept: tuple[TracerProvider, InMemorySpanExporter], *, content: bool, fails: bool = False) -> Observed:
    """A concierge that asks the researcher, who searches; the model that plays both calls every tool once."""
    provider, spans = kept
    settings = InstrumentationSettings(tracer_provider=provider, include_content=content)
    researcher: Any = Agent(TestModel(), name="researcher")
    concierge: Any = Agent(TestModel(), name="concierge")
    researcher.instrument = concierge.instrument = settings

    @researcher.tool_plain
    def kb_search(query: str) -> str:
        if fails:
            raise ConnectionError
        return query

    @concierge.tool
    async def research(context: RunContext[None], topic: str) -> str:
        return str((await researcher.run(topic)).output)

    try:
        await concierge.run("Where is my refund?")
    except ConnectionError:
        assert fails
    return observe(spans_of(line_of([each for span in spans.get_finished_spans() if (each := written(span))])))


def found(observed: Observed, **bounds: Any) -> list[str]:
    task = GoldenTask(id="refund", expect_stop_reason=StopCode.FINISH, **bounds)
    return [each.field for each in violations(task, observed, None, writes=["refund"])]


async def test_agents_under_an_agent_count_in_it(kept: tuple[TracerProvider, InMemorySpanExporter]) -> None:
    seen = await asked(kept, content=False)
    assert (seen.run.agent, seen.run.steps, seen.run.tool_calls, seen.stop_reason) == ("concierge", 4, 2, "finish")
    assert [tool.name for tool in seen.tools] == ["research", "kb_search"]
    assert seen.run.tokens > 0
    assert not found(seen, max_steps=4, max_tool_calls=2, max_tokens=seen.run.tokens, must_call=("kb_search",))
    assert found(seen, max_steps=3, max_tool_calls=1, max_tokens=seen.run.tokens - 1) == [
        "max_steps",
        "max_tool_calls",
        "max_tokens",
    ]
    assert found(seen, must_not_call=("kb_search",), must_call=("refund",)) == ["must_not_call", "must_call"]
    assert not found(seen, must_call=("research", "kb_search"), call_order="exact")


@pytest.mark.parametrize("content", [True, False])
async def test_arguments_are_told_apart_where_they_are_captured(
    kept: tuple[TracerProvider, InMemorySpanExporter], content: bool
) -> None:
    seen = await asked(kept, content=content)
    assert [tool.arguments is not None for tool in seen.tools] == [content, content]


async def test_a_run_that_fails_ends_with_error(kept: tuple[TracerProvider, InMemorySpanExporter]) -> None:
    seen = await asked(kept, content=False, fails=True)
    assert seen.stop_reason == "error"
    assert [(tool.name, tool.failed) for tool in seen.tools] == [("research", True), ("kb_search", True)]
    assert found(seen, must_call=("kb_search",)) == ["expect_stop_reason"]
