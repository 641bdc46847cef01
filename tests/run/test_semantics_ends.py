"""Ends: calls after it, cancellation, and what the end of a run is called."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    RunClosed,
    agent_run,
    current_run,
    llm_call,
    propagate,
    tool_call,
)
from otel_agent.testing import Capture, capture
from tests.support.calls import ask

# after the end


def test_after_the_end_a_gate_raises_run_closed() -> None:
    late: list[Callable[[], None]] = []
    with agent_run("outer") as outer:
        with agent_run("inner") as inner:
            late.append(propagate(ask))
        with pytest.raises(RunClosed) as caught:
            late[0]()
        ask()
    assert caught.value.run_id == inner.id
    assert (inner.result.usage.steps, outer.result.usage.steps) == (0, 1)


async def test_after_the_end_a_new_run_is_a_root(kept: Capture) -> None:
    ended = asyncio.Event()

    async def outlive() -> None:
        await ended.wait()
        with agent_run("later"):
            ask()

    async with agent_run("first") as first:
        task = asyncio.create_task(outlive())
    ended.set()
    await task
    later = kept.records.runs[-1]
    assert (later.agent, later.parent_id, later.usage.steps) == ("later", None, 1)
    assert first.result.usage.steps == 0


def test_after_the_end_a_late_settle_is_accepted() -> None:
    with agent_run("outer", budget=Budget(max_tokens=1000)) as outer:
        with agent_run("inner"):
            block = llm_call("some-model", max_output_tokens=100)
            call = block.__enter__()
        assert outer.remaining().tokens == 900
        call.record(input_tokens=5, output_tokens=6)
        block.__exit__(None, None, None)
        assert outer.remaining().tokens == 989
    assert outer.result.usage.total_tokens == 11


# cancellation


async def test_cancellation_closes_the_span_settles_and_goes_on(kept: Capture) -> None:
    started = asyncio.Event()

    async def work() -> None:
        agent, tool = agent_run("agent", budget=Budget(max_tokens=1000)), tool_call("outer")
        async with agent, tool, llm_call("some-model", max_output_tokens=100):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel("by me")
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = kept.records.runs
    assert (record.stop_reason, record.error_type) == ("cancelled", None)
    assert (record.usage.steps, record.usage.total_tokens) == (1, 100)
    assert [span.name for span in kept.spans] == ["chat some-model", "execute_tool outer", "invoke_agent agent"]
    assert all(span.status.is_unset for span in kept.spans)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), SystemExit(3)])
def test_cancellation_goes_on_unchanged(error: BaseException, kept: Capture) -> None:
    with pytest.raises(type(error)) as caught, agent_run("agent") as run, llm_call("some-model"):
        raise error
    assert caught.value is error
    assert (run.result.stop_reason, run.result.usage.steps) == ("cancelled", 1)
    assert [span.name for span in kept.spans] == ["chat some-model", "invoke_agent agent"]
    assert current_run() is None


# which stop reason


class PoolTimeout(Exception):
    """A timeout as HTTP clients name it."""


def in_llm(error: BaseException) -> None:
    with llm_call("some-model"):
        raise error


def in_tool(error: BaseException) -> None:
    with tool_call("search"):
        raise error


def in_both(error: BaseException) -> None:
    with tool_call("search"):
        in_llm(error)


def in_none(error: BaseException) -> None:
    raise error


REASONS: list[tuple[Callable[[BaseException], None], BaseException, str, str | None]] = [
    (in_llm, ValueError(), "llm_error", None),
    (in_llm, TimeoutError(), "llm_timeout", None),
    (in_llm, PoolTimeout(), "llm_timeout", None),
    (in_tool, ValueError(), "tool_error", None),
    (in_tool, TimeoutError(), "tool_timeout", None),
    (in_both, ValueError(), "llm_error", None),
    (in_none, ValueError(), "error", None),
    (in_none, TimeoutError(), "error", None),
    *((block, KeyboardInterrupt(), "cancelled", "sigint") for block in (in_none, in_llm, in_tool)),
    *((block, SystemExit(), "cancelled", "exit") for block in (in_none, in_llm, in_tool)),
    *((block, GeneratorExit(), "cancelled", None) for block in (in_none, in_llm, in_tool)),
    *((block, asyncio.CancelledError(), "cancelled", None) for block in (in_none, in_llm, in_tool)),
]


@pytest.mark.parametrize(
    ("block", "error", "code", "detail"), REASONS, ids=[f"{row[0].__name__}-{type(row[1]).__name__}" for row in REASONS]
)
def test_which_stop_reason_an_exception_is(
    block: Callable[[BaseException], None], error: BaseException, code: str, detail: str | None, kept: Capture
) -> None:
    with contextlib.suppress(BaseException), agent_run("agent") as run:
        block(error)
    assert (run.result.stop_reason, run.result.stop_detail) == (code, detail)
    span = kept.span("invoke_agent agent")
    assert span.attributes["otel_agent.stop_reason"] == code
    expected = None if code == "cancelled" else type(error).__qualname__
    assert str(span.attributes.get("error.type")).rpartition(".")[2] == str(expected)


def test_which_stop_reason_a_return_is() -> None:
    with agent_run() as run:
        with contextlib.suppress(ValueError):
            in_llm(ValueError())
        with contextlib.suppress(ValueError):
            in_tool(ValueError())
    assert run.result.stop_reason == "finish"


def test_which_stop_reason_of_another_exception_than_the_one_that_left_a_block() -> None:
    def agent() -> None:
        try:
            in_tool(ValueError())
        except ValueError as error:
            raise RuntimeError("mine") from error

    with contextlib.suppress(RuntimeError), agent_run() as run:
        agent()
    assert run.result.stop_reason == "error"


def test_which_stop_reason_needs_nothing_of_the_exception() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    class Closed(BaseException):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    for error in (Frozen(3), Closed()):
        with pytest.raises(type(error)) as caught, agent_run() as run:
            in_tool(error)
        assert caught.value is error
        assert run.result.stop_reason == "tool_error"


def test_which_stop_reason_is_the_stop_where_there_was_one() -> None:
    with contextlib.suppress(ValueError), agent_run(budget=Budget(max_steps=0)) as run:
        with contextlib.suppress(BudgetExceeded):
            ask()
        raise ValueError
    assert run.result.stop_reason == "max_steps"


def failing_below() -> None:
    with agent_run("child"):
        raise KeyError("mine")


@pytest.mark.parametrize("sampler", [None, ALWAYS_ON, ALWAYS_OFF], ids=["no SDK", "sampled", "not sampled"])
def test_which_stop_reason_is_the_same_in_every_set_up(sampler: Sampler | None) -> None:
    with contextlib.nullcontext() if sampler is None else capture(sampler=sampler):
        with contextlib.suppress(KeyError), agent_run("outer") as outer, tool_call("delegate"):
            failing_below()
        with contextlib.suppress(KeyError), agent_run("beside") as beside:
            failing_below()
    assert (outer.result.stop_reason, beside.result.stop_reason) == ("tool_error", "error")


def test_which_stop_reason_of_a_stop_that_the_application_raises_itself() -> None:
    with contextlib.suppress(AgentStop), agent_run("agent") as run:
        raise AgentStop(reason="needs_human", detail="a refund above 500")
    assert (run.result.stop_reason, run.result.stop_detail) == ("needs_human", "a refund above 500")
    with contextlib.suppress(AgentStop), agent_run("agent") as run:
        raise AgentStop(reason="needs_human")
    assert run.result.stop_detail is None


def test_which_stop_reason_takes_no_second_record_of_an_exception(kept: Capture) -> None:
    with contextlib.suppress(KeyError), agent_run("outer"), tool_call("delegate"):
        failing_below()
    recorded = [span.name for span in kept.spans for event in span.events if event.name == "exception"]
    assert recorded == ["invoke_agent child"]
