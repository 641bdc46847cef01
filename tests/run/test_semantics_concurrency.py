"""Threads, pools, task groups and forks: a run goes along, and stays what it was."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_agent import (
    Budget,
    BudgetExceeded,
    Run,
    ToolDenied,
    agent_run,
    current_run,
    propagate,
    tool_call,
)
from otel_agent.testing import Capture
from tests.support.calls import ask, use


def in_thread(work: Callable[[], object]) -> None:
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(20)
    assert not worker.is_alive()


def in_pool(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(20)


def in_loops_thread(work: Callable[[], object]) -> None:
    async def main() -> None:
        await asyncio.to_thread(work)

    asyncio.run(main())


def in_loops_executor(work: Callable[[], object]) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(main())


WAYS = [in_thread, in_pool, in_loops_thread, in_loops_executor]


# threads


@pytest.mark.parametrize("way", WAYS)
def test_threads_spend_from_the_run_they_were_started_in(way: Callable[..., None], kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_steps=2)) as run:
        way(ask)
        way(ask)
        with pytest.raises(BudgetExceeded):
            ask()
    assert run.result.usage.steps == 2
    parent = kept.span("invoke_agent agent").context.span_id
    assert [span.parent.span_id for span in kept.spans if span.name.startswith("chat")] == [parent] * 3


def test_threads_keep_every_run_to_itself_in_a_pool_that_serves_many() -> None:
    seen: list[Run | None] = []
    with ThreadPoolExecutor(1) as pool:
        runs = []
        for _ in range(3):
            with agent_run() as run:
                pool.submit(lambda: seen.append(current_run())).result(20)
                pool.submit(ask).result(20)
                runs.append(run)
            pool.submit(lambda: seen.append(current_run())).result(20)
            pool.submit(ask).result(20)
    assert seen == [runs[0], None, runs[1], None, runs[2], None]
    assert [run.result.usage.steps for run in runs] == [1, 1, 1]


def test_threads_of_a_pool_are_born_in_no_run() -> None:
    seen: list[Run | None] = []
    with agent_run(), ThreadPoolExecutor(1, initializer=lambda: seen.append(current_run())) as pool:
        pool.submit(use).result(20)
    assert seen == [None]


@pytest.mark.usefixtures("warnings_anew")
def test_threads_that_outlive_their_run_belong_to_none(kept: Capture, caplog: pytest.LogCaptureFixture) -> None:
    ended, seen = threading.Event(), []

    def outlive() -> None:
        assert ended.wait(20)
        seen.append(current_run())
        ask()
        with agent_run("later"):
            ask()
            use()

    with caplog.at_level(logging.WARNING, "otel_agent"), agent_run("first") as run:
        worker = threading.Thread(target=outlive, daemon=True)
        worker.start()
    ended.set()
    worker.join(20)
    assert seen == [None]
    assert run.result.usage.steps == 0
    later = kept.records.runs[-1]
    assert (later.agent, later.parent_id, later.usage.steps) == ("later", None, 1)
    assert len([record for record in caplog.records if "inherited" in record.message]) == 1


def test_threads_of_other_kinds_are_reached_by_propagate() -> None:
    import _thread

    done = threading.Event()

    def work() -> None:
        ask()
        done.set()

    with agent_run() as run:
        _thread.start_new_thread(propagate(work), ())
        assert done.wait(20)
    assert run.result.usage.steps == 1


async def test_threads_of_other_kinds_are_reached_by_propagate_of_a_coroutine() -> None:
    async def work() -> Run | None:
        return current_run()

    async with agent_run() as run:
        carried = propagate(work)
    assert await carried() is run


def python(source: str, **env: str) -> str:
    """Runs a program and gives what it printed; its warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", f"import threading\nfrom otel_agent import *\n{source}"]
    env = {"PYTHONPATH": ":".join(sys.path), **env}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


IN_THREAD = """
seen = []
with agent_run():
    thread = threading.Thread(target=lambda: seen.append(current_run()))
    thread.start()
    thread.join()
print(seen[0] is not None)
"""


IN_POOL = """
from multiprocessing.pool import ThreadPool
with agent_run(), ThreadPool(1) as pool:
    print(pool.apply(current_run) is not None)
"""


def test_thread_pools_are_wrapped_whenever_they_are_imported() -> None:
    later = "import sys\nwith agent_run(): pass\nassert 'multiprocessing.pool' not in sys.modules\n"
    assert python(IN_POOL).split() == python(later + IN_POOL).split() == ["True"]
    assert python(later + IN_POOL, OTEL_AGENT_THREADS="false").split() == ["False"]


def test_threads_are_left_alone_where_asked() -> None:
    assert python(IN_THREAD).split() == ["True"]
    assert python(IN_THREAD, OTEL_AGENT_THREADS="false").split() == ["False"]
    assert python("configure(threads=False, console=False)\n" + IN_THREAD).split() == ["False"]


WRAPPED_BY = """
import wrapt
from concurrent.futures import ThreadPoolExecutor

def theirs(start, thread, args, kwargs):
    return start(*args, **kwargs)

theirs.__module__ = {module!r}
wrapt.wrap_function_wrapper(threading.Thread, "start", theirs)
submit = ThreadPoolExecutor.submit
with agent_run():
    print(ThreadPoolExecutor.submit is submit)
"""


def test_threads_are_left_alone_where_the_official_instrumentation_is_active() -> None:
    official = python(WRAPPED_BY.format(module="opentelemetry.instrumentation.threading"))
    another = python(WRAPPED_BY.format(module="another"))
    assert (official.strip(), another.strip()) == ("True", "False")


# task groups


@pytest.mark.parametrize("others", [0, 3])
async def test_task_groups_of_nothing_but_the_runs_stop_are_that_stop(others: int) -> None:
    @agent_run(budget=Budget(max_steps=0))
    async def agent() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(others):
                group.create_task(asyncio.Event().wait())
            group.create_task(asking())

    result = await agent.run()
    assert isinstance(result.error, BudgetExceeded)
    assert result.stop_reason == "max_steps"
    with pytest.raises(BudgetExceeded):
        await agent()


async def asking() -> None:
    ask()


async def searching() -> None:
    use("search")


async def failing() -> None:
    raise ValueError("mine")


async def test_task_groups_of_a_denial_are_that_denial() -> None:
    @agent_run(budget=Budget(max_calls_per_tool={"search": 0}))
    async def agent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(searching())

    result = await agent.run()
    assert isinstance(result.error, ToolDenied)
    assert result.stop_reason == "max_calls_per_tool"


async def test_task_groups_with_a_stop_and_a_denial_are_the_stop() -> None:
    @agent_run(budget=Budget(max_steps=0, max_calls_per_tool={"search": 0}))
    async def agent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(searching())
            group.create_task(asking())

    result = await agent.run()
    assert result.stop_reason == "max_steps"
    assert isinstance(result.error, BudgetExceeded)


def test_task_groups_with_a_stop_and_cancellations_are_the_stop() -> None:
    @agent_run(budget=Budget(max_steps=0))
    def agent() -> None:
        try:
            ask()
        except BudgetExceeded as stop:
            inner = BaseExceptionGroup("inner", [stop, asyncio.CancelledError()])
            raise BaseExceptionGroup("outer", [asyncio.CancelledError(), inner]) from None

    assert isinstance(agent.run().error, BudgetExceeded)


async def test_task_groups_with_another_error_go_on_as_they_are() -> None:
    @agent_run(budget=Budget(max_steps=0))
    async def agent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asking())
            group.create_task(failing())

    with pytest.raises(ExceptionGroup) as caught:
        await agent.run()
    assert {type(error) for error in caught.value.exceptions} == {BudgetExceeded, ValueError}


async def test_task_groups_turn_into_the_stop_at_the_border_of_its_run_only() -> None:
    @agent_run("inner")
    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asking())

    @agent_run("outer", budget=Budget(max_steps=0))
    async def outer() -> None:
        with pytest.raises(ExceptionGroup):
            await inner()
        await inner()

    result = await outer.run()
    assert isinstance(result.error, BudgetExceeded)
    assert result.error.run_id == result.run_id


async def test_task_groups_of_another_runs_stop_go_on_as_they_are() -> None:
    @agent_run("inner", budget=Budget(max_steps=0))
    async def inner() -> None:
        ask()

    @agent_run("outer")
    async def outer() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())

    with pytest.raises(ExceptionGroup):
        await outer.run()


async def stopped_below() -> None:
    async with agent_run("child", budget=Budget(max_steps=0)):
        ask()


async def breaking_tool() -> None:
    async with tool_call("search"):
        raise KeyError("mine")


GROUPED: list[tuple[list[Callable[[], Awaitable[None]]], str, str | None, str | None]] = [
    ([stopped_below], "max_steps", "child", "max_steps"),
    ([breaking_tool], "tool_error", None, "ExceptionGroup"),
    ([breaking_tool, stopped_below], "max_steps", "child", "max_steps"),
    ([failing], "error", None, "ExceptionGroup"),
]


@pytest.mark.parametrize(("tasks", "code", "detail", "error"), GROUPED)
async def test_task_groups_end_a_run_for_what_failed_in_them(
    tasks: list[Callable[[], Awaitable[None]]], code: str, detail: str | None, error: str | None, kept: Capture
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with agent_run("agent") as run:
            raise ExceptionGroup("group", [await raised_by(task) for task in tasks])
    assert (run.result.stop_reason, run.result.stop_detail) == (code, detail)
    assert kept.records.runs[-1].error_type == error
    assert len(caught.value.exceptions) == len(tasks)


async def raised_by(task: Callable[[], Awaitable[None]]) -> Exception:
    try:
        await task()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


async def test_task_groups_that_leave_a_tool_are_the_tools_error() -> None:
    with pytest.raises(ExceptionGroup):
        async with agent_run() as run, tool_call("search"), asyncio.TaskGroup() as group:
            group.create_task(failing())
    assert run.result.stop_reason == "tool_error"


async def test_task_groups_stopped_by_a_run_above_say_parent() -> None:
    async with agent_run("outer", budget=Budget(max_steps=0)):
        with pytest.raises(ExceptionGroup):
            async with agent_run("inner") as inner, asyncio.TaskGroup() as group:
                group.create_task(asking())
    assert (inner.result.stop_reason, inner.result.stop_detail) == ("max_steps", "parent")


# fork


def test_fork_gives_the_child_a_copy_and_one_warning() -> None:
    source = """
import os, logging
logging.basicConfig(format="%(message)s")

def ask():
    with llm_call("m") as call:
        call.record(input_tokens=1, output_tokens=1)

with agent_run(budget=Budget(max_steps=2)) as run:
    ask()
    child = os.fork()
    if child == 0:
        for _ in range(3):
            try:
                ask()
                print("sent", run.usage.steps, flush=True)
            except BudgetExceeded as stop:
                print(stop.reason, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    ask()
    print("parent", run.usage.steps)
"""
    lines = python(source, OTEL_AGENT_CONSOLE="false").splitlines()
    assert lines[:4] == ["sent 2", "max_steps", "max_steps", "parent 2"]
    assert len([line for line in lines if "forked process" in line]) == 1
