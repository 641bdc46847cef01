"""Where calls find their run and their parent: among plain spans, in tasks, in threads, in pools, and across blocks."""

from __future__ import annotations

import asyncio
import functools
import gc
import queue
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_agent import Budget, BudgetExceeded, agent_run, current_run, llm_call, propagate, tool_call
from otel_agent.testing import Capture, capture
from tests.support.calls import ask, passes, use
from tests.support.verbs import Verb, clean, current_span_name, parent_of, plain_span, wait_for

pytestmark = pytest.mark.usefixtures("unharmed")


# among plain spans


def every_way(verb: Verb, body: Callable[[], None]) -> dict[str, Callable[[], Any]]:
    """Gives a verb around a body in every way it can be put there."""

    @verb.make()
    def called() -> None:
        body()

    @verb.make()
    async def awaited() -> None:
        body()

    @verb.make()
    def iterated() -> Iterator[int]:
        body()
        yield 1

    @verb.make()
    async def async_iterated() -> AsyncIterator[int]:
        body()
        yield 1

    def block() -> None:
        with verb.make():
            body()

    async def async_block() -> None:
        async with verb.make():
            body()

    async def exhaust() -> None:
        async for _ in async_iterated():
            pass

    return {
        "call": called,
        "await": lambda: asyncio.run(awaited()),
        "for": lambda: list(iterated()),
        "async for": lambda: asyncio.run(exhaust()),
        "with": block,
        "async with": lambda: asyncio.run(async_block()),
    }


WAYS = ("call", "await", "for", "async for", "with", "async with")
any_way = pytest.mark.parametrize("way", WAYS)


@any_way
def test_plain_spans_are_parents_and_children(kept: Capture, verb: Verb, way: str) -> None:
    def body() -> None:
        with plain_span(kept, "inside"):
            pass

    with plain_span(kept, "outside"):
        every_way(verb, body)[way]()
    assert parent_of(kept, "inside") == verb.span
    assert parent_of(kept, verb.span) == "outside"
    assert {span.context.trace_id for span in kept.spans} == {kept.span("outside").context.trace_id}


@any_way
@pytest.mark.parametrize("sampled", [True, False])
def test_a_remote_parent_is_honoured_sampled_or_not(verb: Verb, way: str, sampled: bool) -> None:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    remote = SpanContext(trace_id=7, span_id=8, is_remote=True, trace_flags=flags)
    seen: list[Any] = []

    def body() -> None:
        seen.append(trace.get_current_span().get_span_context())

    with capture(sampler=ParentBased(ALWAYS_ON)) as kept, trace.use_span(NonRecordingSpan(remote)):
        every_way(verb, body)[way]()
    assert len(kept.spans) == sampled
    assert [(inside.trace_id, inside.trace_flags.sampled) for inside in seen] == [(7, sampled)]
    assert all(span.parent is not None and span.parent.span_id == 8 for span in kept.spans)


def test_an_unsampled_run_is_held_to_its_budget_and_says_its_trace() -> None:
    remote = SpanContext(trace_id=7, span_id=8, is_remote=True, trace_flags=TraceFlags(TraceFlags.DEFAULT))

    @agent_run("it", budget=Budget(max_steps=3))
    def counts() -> int:
        return passes(ask)

    with capture(sampler=ParentBased(ALWAYS_ON)) as kept, trace.use_span(NonRecordingSpan(remote)):
        result = counts.run()
    assert (result.output, result.stop_reason, result.trace_id) == (3, "max_steps", f"{7:032x}")
    assert kept.spans == []


def test_values_of_others_in_the_context_stay(verb: Verb) -> None:
    key = otel.create_key("theirs")
    token = otel.attach(otel.set_value(key, "kept"))
    try:
        inside: list[Any] = []
        ways = every_way(verb, lambda: inside.append(otel.get_value(key)))
        for way in ways.values():
            way()
        assert inside == ["kept"] * len(ways)
    finally:
        otel.detach(token)


def test_a_value_that_the_body_sets_is_gone_with_the_frame(verb: Verb) -> None:
    key = otel.create_key("theirs")
    for name, way in every_way(verb, lambda: otel.attach(otel.set_value(key, "left"))).items():
        way()
        assert otel.get_value(key) is None, name


# blocks that are not closed where they were opened


@contextmanager
def entered(verb: Verb) -> Iterator[Any]:
    with verb.make() as given:
        yield given


@asynccontextmanager
async def async_entered(verb: Verb) -> AsyncIterator[Any]:
    async with verb.make() as given:
        yield given


def test_blocks_are_closed_by_an_exit_stack_and_by_context_managers(kept: Capture, verb: Verb) -> None:
    with ExitStack() as stack:
        stack.enter_context(verb.make())
        stack.enter_context(entered(verb))
        assert current_span_name() == verb.span
    assert len(kept.spans) == 2


async def test_a_block_may_be_closed_in_another_task(kept: Capture, verb: Verb) -> None:
    stack = AsyncExitStack()
    stack.enter_context(entered(verb))
    await stack.enter_async_context(async_entered(verb))

    async def close() -> None:
        await stack.aclose()

    assert current_span_name() == verb.span
    await asyncio.create_task(close())
    assert [span.name for span in kept.spans] == [verb.span] * 2


def test_one_block_may_be_entered_again_inside_itself(kept: Capture, verb: Verb) -> None:
    block = verb.make()
    with block as first:
        with clean(), block as second:
            assert second is not first
        with clean(), block:
            pass
    parents = [span.parent and span.parent.span_id for span in kept.spans]
    outer = kept.spans[-1]
    assert parents == [outer.context.span_id, outer.context.span_id, None]


def test_one_block_serves_many_threads_at_once(kept: Capture, verb: Verb) -> None:
    block, barrier = verb.make(), threading.Barrier(8)

    def work(number: int) -> None:
        for step in range(20):
            with clean(), plain_span(kept, f"around {number}.{step}"):
                barrier.wait(10)
                with block:
                    barrier.wait(10)
                    with plain_span(kept, f"inside {number}.{step}"):
                        pass
                assert current_span_name() == f"around {number}.{step}"
                done.append(number)

    done: list[int] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8 * 20
    spans = {span.context.span_id: span for span in kept.spans}
    for span in kept.spans:
        if span.name.startswith("inside"):
            around = spans[spans[span.parent.span_id].parent.span_id]  # type: ignore[union-attr,index]
            assert around.name == span.name.replace("inside", "around")


async def test_one_block_serves_many_tasks_at_once(kept: Capture, verb: Verb) -> None:
    block = verb.make()

    async def work(number: int) -> None:
        with clean(), plain_span(kept, f"around {number}"):
            async with block:
                await asyncio.sleep(0.001 * (number % 3))
                with plain_span(kept, f"inside {number}"):
                    pass
            assert current_span_name() == f"around {number}"

    await asyncio.gather(*(work(number) for number in range(30)))
    spans = {span.context.span_id: span for span in kept.spans}
    for span in kept.spans:
        if span.name.startswith("inside"):
            around = spans[spans[span.parent.span_id].parent.span_id]  # type: ignore[union-attr,index]
            assert around.name == span.name.replace("inside", "around")


# tasks, threads and pools: nested under the run, and spent from it, with no user code


def by_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_thread_class(work: Callable[[], None]) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            work()

    worker = Worker(daemon=True)
    worker.start()
    worker.join()


def by_timer(work: Callable[[], None]) -> None:
    timer = threading.Timer(0.001, work)
    timer.start()
    timer.join()


def by_pool(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(2) as pool:
        pool.submit(work).result()


def by_pool_map(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: work(), [1]))


def by_executor(work: Callable[[], None]) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(main())


def by_to_thread(work: Callable[[], None]) -> None:
    asyncio.run(asyncio.to_thread(work))


def by_task(work: Callable[[], None]) -> None:
    async def step() -> None:
        work()

    async def main() -> None:
        await asyncio.create_task(step())

    asyncio.run(main())


def by_task_group(work: Callable[[], None]) -> None:
    async def step() -> None:
        work()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(step())

    asyncio.run(main())


def by_callback(work: Callable[[], None]) -> None:
    async def main() -> None:
        done = asyncio.Event()
        asyncio.get_running_loop().call_soon(lambda: (work(), done.set()))
        await done.wait()

    asyncio.run(main())


def by_loop_in_a_thread(work: Callable[[], None]) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def step() -> None:
        work()

    asyncio.run_coroutine_threadsafe(step(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def by_propagate(work: Callable[[], None]) -> None:
    with ThreadPool(1) as pool:
        pool.apply(propagate(work))


def by_thread_pool(work: Callable[[], None]) -> None:
    with ThreadPool(1) as pool:
        pool.apply(work)


def by_thread_pool_map(work: Callable[[], None]) -> None:
    with ThreadPool(1) as pool:
        pool.map(lambda _: work(), [None])


ELSEWHERE = (
    by_thread_pool,
    by_thread_pool_map,
    by_thread,
    by_thread_class,
    by_timer,
    by_pool,
    by_pool_map,
    by_executor,
    by_to_thread,
    by_task,
    by_task_group,
    by_callback,
    by_loop_in_a_thread,
    by_propagate,
)
anywhere = pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=lambda way: way.__name__)


@anywhere
def test_what_is_done_elsewhere_nests_and_is_spent_from_the_run(kept: Capture, elsewhere: Any) -> None:
    def work() -> None:
        use("tool")
        with agent_run("child"):
            ask()

    with agent_run("run") as run:
        with clean():
            elsewhere(work)
        assert (run.usage.tool_calls, run.usage.steps) == (1, 1)
    assert parent_of(kept, "execute_tool tool") == "invoke_agent run"
    assert parent_of(kept, "invoke_agent child") == "invoke_agent run"


@anywhere
def test_a_limit_holds_elsewhere_and_its_stop_comes_back(kept: Capture, elsewhere: Any) -> None:
    stops: list[BaseException] = []

    def work() -> None:
        try:
            ask()
        except BudgetExceeded as stop:
            stops.append(stop)

    with agent_run("run", budget=Budget(max_steps=2)) as run:
        for _ in range(4):
            elsewhere(work)
    assert len(stops) == 2
    assert (run.result.stop_reason, run.result.usage.steps) == ("max_steps", 2)


@anywhere
def test_without_a_run_there_is_none_elsewhere(elsewhere: Any) -> None:
    seen: list[Any] = []
    with agent_run("warms up"):
        pass
    elsewhere(lambda: seen.append((current_run(), current_span_name())))
    assert seen == [(None, None)]


def test_a_long_lived_pool_serves_many_runs_and_mixes_none(kept: Capture) -> None:
    def work(agent: str) -> None:
        run = current_run()
        assert run is not None
        assert run.agent == agent
        ask()

    def serve(agent: str) -> int:
        with agent_run(agent) as run:
            for done in [pool.submit(work, agent) for _ in range(10)]:
                done.result()
        return run.result.usage.steps

    with ThreadPoolExecutor(4) as pool, ThreadPoolExecutor(8) as servers:
        assert list(servers.map(serve, [f"run {number}" for number in range(20)])) == [10] * 20
        assert pool.submit(current_run).result() is None
        pool.submit(ask).result()
    assert sum(run.usage.steps for run in kept.records.runs) == 200


def test_a_pools_worker_that_was_born_in_a_run_does_not_belong_to_it(kept: Capture) -> None:
    with ThreadPoolExecutor(1) as pool:
        with agent_run("first") as first:
            pool.submit(ask).result()
        with agent_run("second") as second:
            pool.submit(ask).result()
        pool.submit(ask).result()
    assert (first.result.usage.steps, second.result.usage.steps) == (1, 1)


def agent_here(*given: Any) -> str | None:
    run = current_run()
    return run.agent if run is not None else None


POOLED: tuple[Callable[[ThreadPool], Any], ...] = (
    lambda pool: pool.apply(agent_here),
    lambda pool: pool.apply(func=agent_here, args=(1,)),
    lambda pool: pool.apply_async(agent_here).get(10),
    lambda pool: pool.apply_async(func=agent_here).get(10),
    lambda pool: pool.map(agent_here, [1])[0],
    lambda pool: pool.map_async(agent_here, [1], chunksize=1).get(10)[0],
    lambda pool: pool.starmap(agent_here, [(1, 2)])[0],
    lambda pool: pool.starmap_async(agent_here, [(1, 2)]).get(10)[0],
    lambda pool: next(pool.imap(agent_here, [1])),
    lambda pool: next(pool.imap(agent_here, [1, 2], chunksize=2)),
    lambda pool: next(pool.imap_unordered(agent_here, [1])),
)


@pytest.mark.parametrize("way", POOLED)
def test_a_thread_pool_serves_the_run_that_hands_work_in(way: Callable[[ThreadPool], Any]) -> None:
    born: list[str | None] = []
    with agent_run("first"):
        pool = ThreadPool(1, initializer=lambda: born.append(agent_here()))
        seen = [way(pool)]
    with pool:
        seen.append(way(pool))
        with agent_run("second"):
            seen.append(way(pool))
    assert seen == ["first", None, "second"]
    assert born == [None]


def test_what_a_thread_pool_is_given_is_made_in_the_run() -> None:
    with ThreadPool(1) as pool, agent_run("it"):
        assert pool.map(lambda agent: agent, (agent_here() for _ in range(2))) == ["it", "it"]


def test_a_thread_that_was_born_in_a_run_does_not_charge_it_for_life(
    kept: Capture, caplog: pytest.LogCaptureFixture, warnings_anew: None
) -> None:
    jobs: queue.Queue[Any] = queue.Queue()

    def serve() -> None:
        while (job := jobs.get()) is not None:
            job()
            jobs.task_done()

    worker = threading.Thread(target=serve)
    with agent_run("first") as first:
        worker.start()
        jobs.put(ask)
        jobs.join()
    roots: list[Any] = []

    def later() -> None:
        ask()
        assert current_run() is None
        with agent_run("second") as second:
            ask()
        roots.append(second.result)

    jobs.put(later)
    jobs.put(ask)
    jobs.put(None)
    worker.join()
    assert first.result.usage.steps == 1
    assert [root.usage.steps for root in roots] == [1]
    assert [run.parent_id for run in kept.records.started] == [None, None]
    assert [record.message for record in caplog.records if "inherited" in record.message] == [
        f"a thread inherited run {first.id}, which has ended: what the thread does now belongs to no run"
    ]
    caplog.clear()


def test_a_thread_is_freed_as_soon_as_ever_and_with_it_its_run() -> None:
    gc.collect()
    gc.disable()
    try:
        with agent_run("it"):
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
        alive = weakref.ref(thread)
        del thread
        assert alive() is None
    finally:
        gc.enable()


def test_a_thread_that_fails_says_so_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: said.append(str(args.exc_value)))

    def fail() -> None:
        raise OSError("disk full")

    with agent_run("it"):
        by_thread(fail)
    assert said == ["disk full"]


def test_a_thread_that_could_not_be_started_may_be_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def look() -> None:
        run = current_run()
        seen.append(run.agent if run is not None else None)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("can't start new thread")

    starts = "_start_new_thread" if hasattr(threading, "_start_new_thread") else "_start_joinable_thread"
    threads = [threading.Thread(target=look) for _ in range(3)]
    threads[2].run = look  # type: ignore[method-assign]
    with agent_run("first"):
        with monkeypatch.context() as patch:
            patch.setattr(threading, starts, fail)
            for thread in threads:
                with pytest.raises(RuntimeError, match="can't start"):
                    thread.start()
        assert ["run" in vars(thread) for thread in threads] == [False, False, True]
        threads[0].start()
        threads[0].join()
    with agent_run("second"):
        threads[1].start()
        threads[1].join()
    threads[2].start()
    threads[2].join()
    assert seen == ["first", "second", None]


def test_a_thread_whose_run_is_a_property_is_left_alone() -> None:
    seen: list[str] = []

    class Thread(threading.Thread):
        @property
        def run(self) -> Any:
            return lambda: seen.append("it ran")

    with agent_run("it"):
        thread = Thread()
        thread.start()
        thread.join()
    assert seen == ["it ran"]


# propagate


def test_propagate_carries_the_whole_context(kept: Capture) -> None:
    def work(number: int) -> tuple[Any, Any, int]:
        return current_run(), current_span_name(), number

    with agent_run("run") as run, plain_span(kept, "inside"):
        carried = propagate(work)
    assert carried.__name__ == "work"
    with clean():
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(carried(3)))
        thread.start()
        thread.join()
        assert carried(4) == (run, "inside", 4)
    assert got == [(run, "inside", 3)]


async def test_propagate_carries_into_coroutines() -> None:
    async def work() -> Any:
        await asyncio.sleep(0)
        return current_run()

    class Worker:
        @propagate
        async def work(self) -> Any:
            return current_run()

    with agent_run("run") as run:
        carried = propagate(work)
        partly = propagate(functools.partial(work))
    with clean():
        assert await carried() is run
        assert await asyncio.create_task(carried()) is run
        assert await partly() is run
        assert await Worker().work() is None


def test_propagate_may_be_called_many_times_at_once() -> None:
    with agent_run("run") as run:

        @propagate
        def down(depth: int) -> Any:
            return current_run() if depth == 0 else down(depth - 1)

        with ThreadPool(4) as pool:
            assert set(pool.map(down, range(20))) == {run}


def test_a_decorated_function_takes_its_run_from_where_it_is_called(kept: Capture) -> None:
    @llm_call("it")
    def ask_it() -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    @tool_call("use")
    def use_it() -> None:
        ask_it()

    @agent_run("it", budget=Budget(max_steps=3))
    def agent() -> None:
        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(use_it) for _ in range(3)]:
                done.result()

    assert [agent.run().usage.steps for _ in range(3)] == [3, 3, 3]
    wait_for(lambda: len(kept.spans) == 3 * 7)
