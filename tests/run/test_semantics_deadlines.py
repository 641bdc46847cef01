"""Deadlines: what they interrupt, when, and what they leave alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from otel_agent import (
    Budget,
    BudgetExceeded,
    agent_run,
    current_run,
    llm_call,
)
from otel_agent.testing import Capture, FakeClock
from tests.support.calls import ask, use


async def hang() -> None:
    await asyncio.Event().wait()


def test_deadline_of_a_sync_run_holds_at_each_gate(clock: FakeClock) -> None:
    for gate in (ask, use):
        with agent_run(budget=Budget(max_seconds=60)) as run:
            clock.advance(59)
            gate()
            clock.advance(2)
            with pytest.raises(BudgetExceeded) as caught:
                gate()
        assert (caught.value.reason, caught.value.limit, caught.value.used) == ("max_seconds", 60, 61)
        assert run.result.stop_reason == "max_seconds"


def test_deadline_of_a_sync_run_does_not_take_a_late_return_away(clock: FakeClock, kept: Capture) -> None:
    @agent_run(budget=Budget(max_seconds=60))
    def agent() -> str:
        clock.advance(61)
        return "late"

    result = agent.run()
    assert (result.stop_reason, result.output) == ("finish", "late")
    assert kept.event_names().count("otel_agent.budget.exceeded") == 1


@pytest.mark.timeout(30)
async def test_deadline_of_an_async_run_interrupts_it(kept: Capture) -> None:
    @agent_run("agent", budget=Budget(max_seconds=0.05))
    async def agent() -> None:
        async with llm_call("some-model"):
            await hang()

    with pytest.raises(BudgetExceeded) as caught:
        await agent()
    assert caught.value.reason == "max_seconds"
    result = await agent.run()
    assert (result.stop_reason, result.usage.steps) == ("max_seconds", 1)
    with pytest.raises(BudgetExceeded):
        async with agent_run(budget=Budget(max_seconds=0.05)):
            await hang()
    reasons = [span.attributes["otel_agent.stop_reason"] for span in kept.spans if span.name == "chat some-model"]
    assert reasons == ["max_seconds"] * 2


@pytest.mark.timeout(30)
async def test_deadline_of_an_async_generator_interrupts_each_step() -> None:
    @agent_run(budget=Budget(max_seconds=0.05))
    async def agent() -> AsyncIterator[int]:
        yield 1
        await hang()

    items = agent()
    assert await anext(items) == 1
    with pytest.raises(BudgetExceeded, match="max_seconds"):
        await anext(items)


@pytest.mark.timeout(30)
async def test_deadline_of_an_ancestor_interrupts_what_is_inside_it(kept: Capture) -> None:
    @agent_run("inner")
    async def inner() -> None:
        await hang()

    with pytest.raises(BudgetExceeded) as caught:
        async with agent_run("outer", budget=Budget(max_seconds=0.05)) as outer:
            await inner.run()
    assert caught.value.run_id == outer.id
    first = kept.records.runs[0]
    assert (first.agent, first.stop_reason, first.stop_detail) == ("inner", "max_seconds", "parent")


@pytest.mark.timeout(30)
async def test_deadline_may_be_set_and_moved_while_an_async_run_is_open() -> None:
    @agent_run
    async def agent() -> None:
        current_run().budget.update(max_seconds=0.05)
        await hang()

    for first in (None, 1000):
        result = await agent.using(budget=Budget(max_seconds=first)).run()
        assert result.stop_reason == "max_seconds"
    async with agent_run(budget=Budget(max_seconds=0.05)) as run:
        run.budget.update(max_seconds=1000)
        await asyncio.sleep(0.1)
    assert run.result.stop_reason == "finish"


async def test_deadline_moved_at_the_very_end_leaves_nothing_behind() -> None:
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    async with agent_run(budget=Budget(max_seconds=1000)) as run:
        run.budget.update(max_seconds=2000)
    await asyncio.sleep(0.01)
    assert problems == []


@pytest.mark.timeout(30)
async def test_deadline_is_not_taken_for_a_timeout_of_the_users() -> None:
    @agent_run(budget=Budget(max_seconds=1000))
    async def agent() -> None:
        async with asyncio.timeout(0.01):
            await hang()

    with pytest.raises(TimeoutError):
        await agent.run()


def test_deadline_needs_no_event_loop_of_asyncio() -> None:
    @agent_run(budget=Budget(max_seconds=60))
    async def agent() -> str:
        return "done"

    step = agent()
    with pytest.raises(StopIteration) as done:
        step.send(None)
    assert done.value.value == "done"
