"""Async generators: the span is as long as the iteration, whichever tasks take its steps and whoever closes it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from otel_agent import Budget, BudgetExceeded, agent_run, current_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.support.calls import ask
from tests.support.verbs import Verb, clean, current_span_name, parent_of, plain_span, wait_for

pytestmark = pytest.mark.usefixtures("unharmed")


def three(verb: Verb) -> Any:
    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        for number in (1, 2, 3):
            await asyncio.sleep(0)
            yield number

    return numbers


def ended(kept: Capture, verb: Verb) -> bool:
    return any(span.name == verb.span for span in kept.spans)


async def in_task(step: Any) -> Any:
    """Takes a step in a task of its own, which must find its context again."""

    async def take() -> Any:
        with clean():
            return await step

    return await asyncio.create_task(take())


async def test_it_stays_an_async_generator_and_gives_the_same_items(verb: Verb) -> None:
    made = three(verb)()
    assert inspect.isasyncgen(made)
    assert (made.__name__, made.__qualname__) == ("numbers", "three.<locals>.numbers")
    assert [number async for number in made] == [1, 2, 3]


async def test_the_span_lasts_as_long_as_the_iteration(kept: Capture, verb: Verb) -> None:
    made = three(verb)()
    with clean():
        for _ in range(3):
            await anext(made)
            assert not ended(kept, verb)
        assert [number async for number in made] == []
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


async def test_spans_of_the_consumer_are_siblings_and_spans_of_the_body_are_children(kept: Capture, verb: Verb) -> None:
    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        for number in range(2):
            with plain_span(kept, f"inside {number}"):
                await asyncio.sleep(0)
            yield number

    with plain_span(kept, "consumer"), clean():
        async for number in numbers():
            assert current_span_name() == "consumer"
            with plain_span(kept, f"outside {number}"):
                await asyncio.sleep(0)
    assert {parent_of(kept, f"inside {number}") for number in range(2)} == {verb.span}
    assert {parent_of(kept, f"outside {number}") for number in range(2)} == {"consumer"}
    assert parent_of(kept, verb.span) == "consumer"


async def test_a_span_that_the_body_keeps_open_over_a_yield_stays_the_bodys(kept: Capture, verb: Verb) -> None:
    @verb.make()
    async def names() -> AsyncIterator[str | None]:
        with plain_span(kept, "kept open"):
            yield current_span_name()
            await asyncio.sleep(0)
            yield current_span_name()

    seen = []
    async for name in names():
        seen += [name, current_span_name()]
    assert seen == ["kept open", None] * 2


async def test_a_task_that_the_body_starts_is_under_it(kept: Capture, verb: Verb) -> None:
    @verb.make()
    async def names() -> AsyncIterator[str | None]:
        async def name() -> str | None:
            await asyncio.sleep(0)
            return current_span_name()

        task = asyncio.create_task(name())
        yield current_span_name()
        yield await task

    assert [name async for name in names()] == [verb.span] * 2


async def test_asend_and_athrow_are_kept(verb: Verb) -> None:
    @verb.make()
    async def echo() -> AsyncGenerator[Any, Any]:
        got: Any = "ready"
        while True:
            try:
                got = yield got
            except KeyError as exc:
                got = exc

    made, problem = echo(), KeyError("x")
    assert await anext(made) == "ready"
    assert await made.asend("first") == "first"
    assert await made.athrow(problem) is problem
    assert await anext(made) is None
    await made.aclose()


async def test_what_is_thrown_in_and_not_caught_comes_out_as_the_same_object(kept: Capture, verb: Verb) -> None:
    made, problem = three(verb)(), ValueError("x")
    await anext(made)
    with pytest.raises(ValueError, match="x") as raised, clean():
        await made.athrow(problem)
    assert raised.value is problem
    assert (problem.__cause__, problem.__context__) == (None, None)
    assert kept.span(verb.span).status.status_code is StatusCode.ERROR


async def close_it(made: Any) -> None:
    await made.aclose()


async def close_it_elsewhere(made: Any) -> None:
    await in_task(made.aclose())


async def throw_it(made: Any) -> None:
    with pytest.raises(GeneratorExit):
        await made.athrow(GeneratorExit)


async def leave_the_block(made: Any) -> None:
    async with aclosing(made):
        pass


@pytest.mark.parametrize("end", [close_it, close_it_elsewhere, throw_it, leave_the_block])
async def test_an_early_close_ends_the_span_at_once_and_is_no_error(kept: Capture, verb: Verb, end: Any) -> None:
    made = three(verb)()
    await anext(made)
    with clean():
        await end(made)
    span = kept.span(verb.span)
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert "error.type" not in (span.attributes or {})


async def test_an_early_close_runs_the_bodys_own_cleaning_inside_the_span(kept: Capture, verb: Verb) -> None:
    seen: list[Any] = []

    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            seen.append(current_span_name())

    made = numbers()
    await anext(made)
    with clean():
        await in_task(made.aclose())
        await made.aclose()
    assert seen == [verb.span]
    assert ended(kept, verb)


async def test_one_that_is_dropped_is_closed_by_its_event_loop(kept: Capture, verb: Verb) -> None:
    seen: list[Any] = []

    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            seen.append(current_span_name())

    with clean():
        async for _ in numbers():
            break
        await soon(lambda: ended(kept, verb))
    assert seen == [verb.span]
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


async def test_one_in_a_cycle_is_closed_after_a_collection(kept: Capture, verb: Verb) -> None:
    holder: dict[str, Any] = {"made": three(verb)()}
    holder["self"] = holder
    with clean():
        await anext(holder["made"])
        del holder
        gc.collect()
        await soon(lambda: ended(kept, verb))


async def soon(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came")


def test_the_end_of_the_loop_closes_each_once_and_says_nothing(
    kept: Capture, verb: Verb, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[Any] = []
    cleaned = 0

    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        nonlocal cleaned
        try:
            yield 1
        finally:
            await asyncio.sleep(0.01)
            cleaned += 1

    async def leave_some() -> None:
        left.extend(numbers() for _ in range(20))
        for made in left:
            await anext(made)

    asyncio.run(leave_some())
    assert cleaned == len([span for span in kept.spans if span.name == verb.span]) == 20
    assert [record for record in caplog.records if record.name == "asyncio" and record.levelname != "DEBUG"] == []


def test_one_that_outlives_its_loop_is_ended_when_it_is_dropped(kept: Capture, verb: Verb) -> None:
    made = three(verb)()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(anext(made))
    loop.close()
    assert not ended(kept, verb)
    del made
    gc.collect()
    wait_for(lambda: ended(kept, verb))


def test_one_that_is_driven_without_a_loop_works(kept: Capture, verb: Verb) -> None:
    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    def step(awaitable: Any) -> Any:
        try:
            awaitable.send(None)
        except StopIteration as end:
            return end.value
        return pytest.fail("it waits for a loop")

    made: Any = numbers()
    assert [step(anext(made)), step(anext(made))] == [1, 2]
    step(made.aclose())
    assert ended(kept, verb)


async def test_steps_in_several_tasks_keep_to_the_bodys_context(kept: Capture, verb: Verb) -> None:
    @verb.make()
    async def names() -> AsyncIterator[str | None]:
        while True:
            await asyncio.sleep(0)
            yield current_span_name()

    made: Any = names()
    for task in range(3):
        with plain_span(kept, f"task {task}"):
            assert await in_task(anext(made)) == verb.span
    await made.aclose()
    assert parent_of(kept, verb.span) == "task 0"


async def test_two_tasks_at_once_are_refused_as_ever(verb: Verb) -> None:
    made = three(verb)()
    with clean():
        got = await asyncio.gather(anext(made), anext(made), return_exceptions=True)
    assert got[0] == 1
    assert isinstance(got[1], RuntimeError)
    assert "already running" in str(got[1])
    assert [number async for number in made] == [2, 3]


async def test_a_cancelled_step_ends_the_span_and_leaves_the_context_clean(kept: Capture, verb: Verb) -> None:
    @verb.make()
    async def slow() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    made: Any = slow()
    await anext(made)
    with clean(), pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(made), 0.01)
    span = kept.span(verb.span)
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {}).get("error.type") == (
        None if verb.name == "agent_run" else "asyncio.exceptions.CancelledError"
    )
    if verb.name == "agent_run":
        assert (span.attributes or {})["otel_agent.stop_reason"] == "cancelled"
    with pytest.raises(StopAsyncIteration):
        await anext(made)


async def test_a_body_that_refuses_to_close_is_told_so_as_ever(verb: Verb) -> None:
    @verb.make()
    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    made: Any = stubborn()
    await anext(made)
    with pytest.raises(RuntimeError, match="async generator ignored GeneratorExit"):
        await made.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(made)


async def test_an_error_of_the_body_ends_the_span_as_failed(kept: Capture, verb: Verb) -> None:
    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise OSError("disk full")

    with clean(), pytest.raises(OSError, match="disk full"):
        [number async for number in numbers()]
    span = kept.span(verb.span)
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


async def test_one_that_is_never_iterated_leaves_nothing(kept: Capture, verb: Verb) -> None:
    made = three(verb)()
    del made
    await three(verb)().aclose()
    assert kept.spans == []
    assert kept.records.started == []


async def test_wrong_arguments_fail_where_they_are_given(verb: Verb) -> None:
    with pytest.raises(TypeError, match="takes 0 positional arguments but 1 was given"):
        three(verb)(1)


async def test_a_refusal_comes_at_the_first_step() -> None:
    @tool_call("it")
    async def numbers() -> AsyncIterator[int]:
        yield 1

    with agent_run(budget=Budget(max_tool_calls=0)):
        made: Any = numbers()
        with pytest.raises(BudgetExceeded):
            await anext(made)


async def test_what_the_body_spends_is_the_runs_and_what_the_consumer_spends_is_not(kept: Capture) -> None:
    @agent_run("inner")
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            ask()
            yield number

    with agent_run("outer") as outer:
        async for _ in numbers():
            ask()
    own = {run.agent: run.own_usage.steps for run in kept.records.runs}
    assert own == {"inner": 3, "outer": 3}
    assert outer.result.usage.steps == 6


async def test_a_run_is_current_inside_its_body_only() -> None:
    @agent_run("it")
    async def runs() -> AsyncIterator[Any]:
        while True:
            yield current_run()

    made: Any = runs()
    first = await anext(made)
    assert first is not None
    assert current_run() is None
    assert await anext(made) is first
    await made.aclose()


async def test_a_deadline_interrupts_a_step_and_leaves_the_consumer_its_time(kept: Capture) -> None:
    @agent_run("it", budget=Budget(max_seconds=0.2))
    async def slow() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    made: Any = slow()
    await anext(made)
    with clean(), pytest.raises(BudgetExceeded):
        await anext(made)
    assert [run.stop_reason for run in kept.records.runs] == ["max_seconds"]


async def test_an_item_lives_no_longer_than_the_consumer_keeps_it(verb: Verb) -> None:
    class Item:
        pass

    @verb.make()
    async def items() -> AsyncIterator[Item]:
        while True:
            yield Item()

    made: Any = items()
    item = await anext(made)
    alive = weakref.ref(item)
    del item
    assert alive() is None
    await made.aclose()


async def test_an_exception_is_freed_with_its_last_name_and_waits_for_no_collector(verb: Verb) -> None:
    class Problem(Exception):
        pass

    made, problem = three(verb)(), Problem()
    alive = weakref.ref(problem)
    await anext(made)
    gc.disable()
    try:
        try:
            await made.athrow(problem)
        except Problem:
            del problem
        assert alive() is None
    finally:
        gc.enable()


async def test_an_llm_call_reads_the_items_and_settles_at_the_end() -> None:
    @llm_call("it")
    async def chunks() -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"delta": {"content": "Hello"}}]}
        yield {"model": "it-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}

    with agent_run() as run:
        assert len([chunk async for chunk in chunks()]) == 2
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (7, 2)
    assert not run.result.usage.estimated
