"""Any exception goes on as the same object, recorded once, with few frames more, and leaves a clean context behind."""

from __future__ import annotations

import asyncio
import functools
import gc
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from otel_agent import AgentStop, Budget, BudgetExceeded, agent_run, current_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.support.calls import ask
from tests.support.verbs import Verb, clean

pytestmark = pytest.mark.usefixtures("unharmed")

MOST_FRAMES = 3

Fail = Callable[[], None]
"""Raises what a test wants to be raised."""


def raising(exc: BaseException) -> Fail:
    def fail() -> None:
        raise exc

    return fail


class Odd(BaseException):
    """Comes from no family that anybody handles."""


CANCELLATIONS: tuple[type[BaseException], ...] = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
ANY: tuple[type[BaseException], ...] = (ValueError, OSError, StopAsyncIteration, Odd, *CANCELLATIONS)
any_exception = pytest.mark.parametrize("kind", ANY, ids=lambda kind: kind.__name__)
any_cancellation = pytest.mark.parametrize("kind", CANCELLATIONS, ids=lambda kind: kind.__name__)


def sync_call(verb: Verb, fail: Fail) -> None:
    @verb.make()
    def fails() -> None:
        fail()

    fails()


def method_call(verb: Verb, fail: Fail) -> None:
    class Thing:
        @verb.make()
        def fails(self) -> None:
            fail()

    Thing().fails()


def partial_call(verb: Verb, fail: Fail) -> None:
    verb.make()(functools.partial(fail))()


def callable_object_call(verb: Verb, fail: Fail) -> None:
    class Thing:
        def __call__(self) -> None:
            fail()

    verb.make()(Thing())()


def generator_call(verb: Verb, fail: Fail) -> None:
    @verb.make()
    def fails() -> Iterator[int]:
        yield 1
        fail()

    list(fails())


def gives_generator_call(verb: Verb, fail: Fail) -> None:
    def inner() -> Iterator[int]:
        yield 1
        fail()

    @verb.make()
    def fails() -> Any:
        return inner()

    list(fails())


def with_block(verb: Verb, fail: Fail) -> None:
    with verb.make():
        fail()


async def async_call(verb: Verb, fail: Fail) -> None:
    @verb.make()
    async def fails() -> None:
        fail()

    await fails()


async def gives_coroutine_call(verb: Verb, fail: Fail) -> None:
    async def inner() -> None:
        fail()

    @verb.make()
    def fails() -> Any:
        return inner()

    await fails()


async def async_method_call(verb: Verb, fail: Fail) -> None:
    class Thing:
        @verb.make()
        async def fails(self) -> None:
            fail()

    await Thing().fails()


async def async_generator_call(verb: Verb, fail: Fail) -> None:
    @verb.make()
    async def fails() -> AsyncIterator[int]:
        yield 1
        fail()

    async for _ in fails():
        pass


async def async_with_block(verb: Verb, fail: Fail) -> None:
    async with verb.make():
        fail()


SYNC: tuple[Callable[[Verb, Fail], None], ...] = (
    sync_call,
    method_call,
    partial_call,
    callable_object_call,
    generator_call,
    gives_generator_call,
    with_block,
)
ASYNC: tuple[Callable[[Verb, Fail], Coroutine[Any, Any, None]], ...] = (
    async_call,
    gives_coroutine_call,
    async_method_call,
    async_generator_call,
    async_with_block,
)
TIMED = Verb("agent_run", lambda: agent_run("it", budget=Budget(max_seconds=60)), "invoke_agent it")
any_sync = pytest.mark.parametrize("way", SYNC, ids=lambda way: way.__name__)
any_async = pytest.mark.parametrize("way", ASYNC, ids=lambda way: way.__name__)


def extra_frames(exc: BaseException) -> list[str]:
    """Gives the functions in a traceback that are not the test's."""
    frames = [frame for frame, _ in traceback.walk_tb(exc.__traceback__)]
    return [frame.f_code.co_qualname for frame in frames if "tests" not in frame.f_code.co_filename]


def check(kept: Capture, verb: Verb, exc: BaseException, raised: BaseException, cause: Any) -> None:
    assert raised is exc
    assert raised.args == ("x",)
    assert (raised.__cause__, raised.__context__, raised.__suppress_context__) == (cause, cause, cause is not None)
    assert len(extra_frames(raised)) <= MOST_FRAMES, extra_frames(raised)
    says = kept.span(verb.span).attributes or {}
    if isinstance(exc, CANCELLATIONS):
        assert kept.span(verb.span).status.status_code is StatusCode.UNSET
        assert kept.span(verb.span).events == ()
        early = isinstance(exc, GeneratorExit) or verb.name == "agent_run"
        name = "cancelled" if early else type(exc).__qualname__
        assert says.get("otel_agent.stop_reason", str(says.get("error.type")).rpartition(".")[2]) == str(name)
    else:
        assert kept.span(verb.span).status.status_code is StatusCode.ERROR
        assert [event.name for event in kept.span(verb.span).events] == ["exception"]
        assert says["error.type"] == error_type(type(exc))


def error_type(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def prepared(kind: type[BaseException], *, caused: bool) -> tuple[BaseException, BaseException | None]:
    exc, cause = kind("x"), KeyError() if caused else None
    if cause is not None:
        exc.__cause__ = exc.__context__ = cause
    return exc, cause


@any_exception
@any_sync
@pytest.mark.parametrize("caused", [False, True], ids=["alone", "caused"])
def test_the_same_exception_comes_out(
    kept: Capture, verb: Verb, way: Any, kind: type[BaseException], caused: bool
) -> None:
    exc, cause = prepared(kind, caused=caused)
    try:
        way(verb, raising(exc))
    except BaseException as raised:
        check(kept, verb, exc, raised, cause)
    else:
        pytest.fail("it was lost")
    assert current_run() is None


@any_exception
@any_async
@pytest.mark.parametrize("caused", [False, True], ids=["alone", "caused"])
def test_the_same_exception_comes_out_of_a_task(
    kept: Capture, verb: Verb, way: Any, kind: type[BaseException], caused: bool
) -> None:
    asyncio.run(comes_out_of_a_task(kept, verb, way, kind, caused=caused))


@any_exception
@any_async
def test_the_same_exception_comes_out_of_what_has_a_deadline(
    kept: Capture, way: Any, kind: type[BaseException]
) -> None:
    asyncio.run(comes_out_of_a_task(kept, TIMED, way, kind, caused=False))


async def comes_out_of_a_task(kept: Capture, verb: Verb, way: Any, kind: type[BaseException], *, caused: bool) -> None:
    exc, cause = prepared(kind, caused=caused)
    with clean():
        try:
            await way(verb, raising(exc))
        except BaseException as raised:
            if not isinstance(exc, StopAsyncIteration) or way is not async_generator_call:
                check(kept, verb, exc, raised, cause)
        else:
            pytest.fail("it was lost")


@any_exception
def test_run_lets_it_through(kept: Capture, kind: type[BaseException]) -> None:
    exc = kind("x")

    @agent_run("it")
    def fails() -> None:
        raise exc

    class Bot:
        @agent_run("it")
        def fails(self) -> None:
            raise exc

    for run in (fails.run, Bot().fails.run, fails.using(tenant="acme").run):
        exc.__traceback__ = None
        with pytest.raises(kind) as raised:
            run()
        assert raised.value is exc
        assert (exc.__cause__, exc.__context__) == (None, None)
        assert len(extra_frames(exc)) <= MOST_FRAMES, extra_frames(exc)
    reason = "cancelled" if kind in CANCELLATIONS else "error"
    assert [record.stop_reason for record in kept.records.runs] == [reason] * 3


@any_exception
def test_run_of_a_coroutine_lets_it_through(kind: type[BaseException]) -> None:
    exc = kind("x")

    @agent_run("it")
    async def fails() -> None:
        raise exc

    @agent_run("it")
    def gives() -> Any:
        async def inner() -> None:
            raise exc

        return inner()

    async def main(way: Any) -> None:
        with clean():
            with pytest.raises(kind) as raised:
                await way.run()
            assert raised.value is exc
            assert (exc.__cause__, exc.__context__) == (None, None)
            assert len(extra_frames(exc)) <= MOST_FRAMES, extra_frames(exc)

    for way in (fails, gives):
        exc.__traceback__ = None
        asyncio.run(main(way))


def test_an_exception_is_recorded_once_through_all_that_it_leaves(kept: Capture) -> None:
    @tool_call("tool")
    def fails() -> None:
        raise OSError("disk full")

    @agent_run("inner")
    def inner() -> None:
        with llm_call("model"):
            fails()

    @agent_run("outer")
    def outer() -> None:
        inner()

    with pytest.raises(OSError, match="disk full"):
        outer()
    recorded = {span.name: len(span.events) for span in kept.spans}
    assert recorded == {"execute_tool tool": 1, "chat model": 0, "invoke_agent inner": 0, "invoke_agent outer": 0}
    assert {span.status.status_code for span in kept.spans} == {StatusCode.ERROR}


def test_an_exception_that_is_caught_and_raised_again_is_recorded_once(kept: Capture) -> None:
    @tool_call("tool")
    def fails() -> None:
        raise OSError("disk full")

    @agent_run("it")
    def tries() -> None:
        try:
            fails()
        except OSError as exc:
            raise exc

    with pytest.raises(OSError, match="disk full"):
        tries()
    assert {span.name: len(span.events) for span in kept.spans} == {"execute_tool tool": 1, "invoke_agent it": 0}


def test_a_wrong_call_is_the_callers_own_error(kept: Capture, verb: Verb) -> None:
    @verb.make()
    def takes_one(number: int) -> int:
        return number

    with pytest.raises(TypeError, match=r"takes_one\(\) missing 1 required positional argument: 'number'") as raised:
        takes_one()
    assert len(extra_frames(raised.value)) <= MOST_FRAMES
    assert kept.span(verb.span).status.status_code is StatusCode.ERROR


@any_cancellation
def test_the_context_is_clean_where_it_is_caught(verb: Verb, kind: type[BaseException]) -> None:
    @verb.make()
    def inner() -> None:
        raise kind("x")

    with agent_run("outer") as outer:
        for way in (inner, functools.partial(with_block, verb, raising(kind("x")))):
            with clean(), pytest.raises(kind):
                way()
        assert current_run() is outer


async def test_cancelling_a_task_ends_all_that_is_open_in_it(kept: Capture) -> None:
    started = asyncio.Event()

    @tool_call("slow")
    async def slow() -> None:
        started.set()
        await asyncio.sleep(60)

    @agent_run("it")
    async def agent() -> None:
        async with llm_call("model"):
            await slow()

    task = asyncio.create_task(agent())
    await started.wait()
    task.cancel("enough")
    with clean(), pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert task.cancelled()
    assert [span.name for span in kept.spans] == ["execute_tool slow", "chat model", "invoke_agent it"]
    assert [run.stop_reason for run in kept.records.runs] == ["cancelled"]


async def test_a_timeout_around_an_agent_is_the_callers(kept: Capture) -> None:
    @agent_run("it")
    async def agent() -> None:
        await asyncio.sleep(60)

    with clean(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await agent.run()
    assert [run.stop_reason for run in kept.records.runs] == ["cancelled"]


# a stop in the place of what was raised


def test_a_stop_out_of_run_is_in_the_result_and_else_is_raised_with_few_frames() -> None:
    @agent_run("it", budget=Budget(max_steps=0))
    def stops() -> None:
        ask()

    assert isinstance(stops.run().error, BudgetExceeded)
    with pytest.raises(BudgetExceeded) as raised:
        stops()
    outside = [name for name in extra_frames(raised.value) if name not in GATE]
    assert len(outside) <= MOST_FRAMES


GATE = ("Verb.__enter__", "LLMVerb.open", "LLMVerb._pass", "LLMVerb._refuse")


def ignore_stops() -> None:
    while True:
        try:
            ask()
        except AgentStop:
            continue


async def ignore_stops_later() -> None:
    ignore_stops()


def stopped_block() -> None:
    with agent_run("it", budget=Budget(max_steps=0)):
        ignore_stops()


async def stopped_async_block() -> None:
    async with agent_run("it", budget=Budget(max_steps=0)):
        ignore_stops()


def stopped_generator() -> Iterator[int]:
    ignore_stops()
    yield 1


SPENT: Any = agent_run("it", budget=Budget(max_steps=0))
STOPPED: dict[str, Callable[[], Any]] = {
    "call": SPENT(ignore_stops),
    "partial": SPENT(functools.partial(ignore_stops)),
    "coroutine": lambda: asyncio.run(SPENT(ignore_stops_later)()),
    "gives a coroutine": lambda: asyncio.run(SPENT(lambda: ignore_stops_later())()),
    "generator": lambda: list(SPENT(stopped_generator)()),
    "block": stopped_block,
    "async block": lambda: asyncio.run(stopped_async_block()),
}


@pytest.mark.parametrize("way", STOPPED)
def test_what_stands_for_the_stop_is_its_cause(way: str) -> None:
    with pytest.raises(BudgetExceeded) as raised:
        STOPPED[way]()
    assert type(raised.value.__cause__).__name__ == "StopIgnored"


def test_what_stands_for_the_stop_is_the_stop_in_a_result() -> None:
    assert SPENT(ignore_stops).run().stop_reason == "max_steps"
    assert asyncio.run(SPENT(ignore_stops_later).run()).stop_reason == "max_steps"
    assert asyncio.run(SPENT(lambda: ignore_stops_later()).run()).stop_reason == "max_steps"


# memory


@any_sync
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_nothing_of_ours_keeps_an_exception_alive(verb: Verb, way: Any, kind: type[BaseException]) -> None:
    class Problem(kind):  # type: ignore[misc,valid-type]
        pass

    def fail() -> None:
        raise Problem("x")

    alive: Any = None
    gc.collect()
    gc.disable()
    try:
        try:
            way(verb, fail)
        except Problem as exc:
            alive = weakref.ref(exc)
        assert alive() is None
    finally:
        gc.enable()
