"""The same stop at the same call with the same reason, whatever is behind telemetry and however an agent is written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_agent import AgentStop, Budget, ToolDenied, agent_run, llm_call, tool_call
from otel_agent.telemetry.pipeline import Pipeline, use_pipeline

CALLS = 6


class Down(SpanExporter):
    """An exporter that fails each time."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise ConnectionError


class Raising(SpanProcessor):
    """A processor that raises at both ends of a span."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        raise RuntimeError

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError


def provider(processor: SpanProcessor | None = None, **keywords: Any) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False, **keywords)
    if processor is not None:
        made.add_span_processor(processor)
    return made


def disabled(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    return provider()


SETUPS: dict[str, Callable[[pytest.MonkeyPatch], TracerProvider | None]] = {
    "no SDK": lambda monkeypatch: None,
    "SDK disabled": disabled,
    "ALWAYS_OFF": lambda monkeypatch: provider(sampler=ALWAYS_OFF),
    "sampled": lambda monkeypatch: provider(),
    "exporter down": lambda monkeypatch: provider(SimpleSpanProcessor(Down())),
    "processor raises": lambda monkeypatch: provider(Raising()),
}

# what an agent does in each of its steps


def ask() -> None:
    with llm_call("gpt-5-mini", provider="openai", estimated_input_tokens=10, max_output_tokens=10) as call:
        call.record(input_tokens=10, output_tokens=10)


@tool_call("search", cost_usd="0.01")
def search() -> None: ...


@llm_call("gpt-5-mini", provider="openai", estimated_input_tokens=10, max_output_tokens=10)
def stream() -> Generator[dict[str, Any]]:
    yield {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 10}}


LIMITS: dict[str, tuple[Budget, Callable[[], object], str, int]] = {
    "max_steps": (Budget(max_steps=3), ask, "max_steps", 3),
    "max_tool_calls": (Budget(max_tool_calls=3), search, "max_tool_calls", 3),
    "max_tokens": (Budget(max_tokens=79), ask, "max_tokens", 3),
    "max_usd": (Budget(max_usd="0.039"), search, "max_usd", 3),
    "a denial": (Budget(max_calls_per_tool={"search": 3}), search, "max_calls_per_tool", 3),
}

# how the agent is written: each gives the run's result


def written_sync(budget: Budget, step: Callable[[], object]) -> str:
    @agent_run(budget=budget)
    def agent() -> None:
        for _ in range(CALLS):
            step()

    return agent.run().stop_reason


def written_async(budget: Budget, step: Callable[[], object]) -> str:
    @agent_run(budget=budget)
    async def agent() -> None:
        for _ in range(CALLS):
            await asyncio.sleep(0)
            step()

    return asyncio.run(agent.run()).stop_reason


def written_as_generator(budget: Budget, step: Callable[[], object]) -> str:
    @agent_run(budget=budget)
    def agent() -> Generator[int]:
        for number in range(CALLS):
            step()
            yield number

    with pytest.raises((AgentStop, ToolDenied)) as caught:
        list(agent())
    return caught.value.reason  # type: ignore[attr-defined]


def written_as_async_generator(budget: Budget, step: Callable[[], object]) -> str:
    @agent_run(budget=budget)
    async def agent() -> AsyncGenerator[int]:
        for number in range(CALLS):
            step()
            yield number

    async def read() -> None:
        async for _ in agent():
            pass

    with pytest.raises((AgentStop, ToolDenied)) as caught:
        asyncio.run(read())
    return caught.value.reason  # type: ignore[attr-defined]


def written_with_threads(budget: Budget, step: Callable[[], object]) -> str:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            step()
        except (AgentStop, ToolDenied) as stop:
            raised.append(stop)

    with agent_run(budget=budget) as run:
        for _ in range(CALLS):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    reasons = {str(stop.reason) for stop in raised}  # type: ignore[attr-defined]
    assert len(reasons) == 1
    assert run.result.stop_reason in (*reasons, "finish")  # a denial that was caught ends nothing
    return reasons.pop()


def written_with_tasks(budget: Budget, step: Callable[[], object]) -> str:
    async def one() -> None:
        await asyncio.sleep(0)
        step()

    @agent_run(budget=budget)
    async def agent() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLS):
                group.create_task(one())

    return asyncio.run(agent.run()).stop_reason


SHAPES = {
    shape.__name__.removeprefix("written_"): shape
    for shape in (
        written_sync,
        written_async,
        written_as_generator,
        written_as_async_generator,
        written_with_threads,
        written_with_tasks,
    )
}


@pytest.fixture(params=SETUPS)
def telemetry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    made = SETUPS[request.param](monkeypatch)
    before = use_pipeline(Pipeline(made, None, None))
    yield
    use_pipeline(before)
    if made is not None:
        made.shutdown()


@pytest.mark.usefixtures("telemetry")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("limit", LIMITS)
def test_the_same_stop_at_the_same_call(limit: str, shape: str) -> None:
    budget, step, reason, passes = LIMITS[limit]
    passed: list[None] = []

    def counted() -> None:
        step()
        passed.append(None)

    assert SHAPES[shape](budget, counted) == reason
    assert len(passed) == passes


@pytest.mark.usefixtures("telemetry")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("budget", "reason"), [(Budget(max_steps=3), "max_steps"), (Budget(max_tokens=79), "max_tokens")]
)
def test_a_streamed_call_stops_as_any_other(budget: Budget, reason: str, shape: str) -> None:
    passed: list[None] = []

    def counted() -> None:
        list(stream())
        passed.append(None)

    assert SHAPES[shape](budget, counted) == reason
    assert len(passed) == 3
