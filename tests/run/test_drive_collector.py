"""What the garbage collector finds open is closed just after it: no collection waits for a lock of its own thread."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from otel_agent import Budget, agent_run, llm_call, tool_call
from otel_agent.run.collector import finish_late, hand_over
from otel_agent.testing import Capture
from tests.support.verbs import Verb, clean, wait_for

pytestmark = pytest.mark.usefixtures("unharmed")


class Locked(SpanProcessor):
    """Takes a lock that cannot be taken twice in each span's end, as the processors of the SDK do."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ended: list[str] = []
        self.waited_in_vain = False

    def on_end(self, span: ReadableSpan) -> None:
        if not self.lock.acquire(timeout=5):
            self.waited_in_vain = True
            return
        self.ended.append(span.name)
        self.lock.release()


@pytest.fixture
def locked(kept: Capture) -> Locked:
    processor = Locked()
    kept.tracer_provider.add_span_processor(processor)
    return processor


def in_a_cycle(thing: Any) -> None:
    holder: dict[str, Any] = {"thing": thing}
    holder["self"] = holder


def generator(verb: Verb) -> None:
    @verb.make()
    def numbers() -> Iterator[int]:
        yield 1

    made = numbers()
    next(made)
    in_a_cycle(made)


def returned_generator(verb: Verb) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    @verb.make()
    def gives() -> Any:
        return numbers()

    in_a_cycle(gives())


def stream(verb: Verb) -> None:
    class NumberStream:
        def __iter__(self) -> NumberStream:
            return self

        def __next__(self) -> int:
            return 1

    @verb.make()
    def gives() -> Any:
        return NumberStream()

    made = gives()
    next(made)
    in_a_cycle(made)


def coroutine(verb: Verb) -> None:
    @verb.make()
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    made = waits()
    task = loop.create_task(made)
    loop.call_soon(loop.stop)
    loop.run_forever()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    in_a_cycle(task)


def block_in_a_plain_generator(verb: Verb) -> None:
    def numbers() -> Iterator[int]:
        with verb.make():
            yield 1

    made = numbers()
    before = otel.get_current()
    next(made)
    otel.attach(before)  # a plain generator leaves the context of its blocks to its consumer
    in_a_cycle(made)


WAYS: tuple[Callable[[Verb], None], ...] = (
    generator,
    returned_generator,
    stream,
    coroutine,
    block_in_a_plain_generator,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_collection_inside_a_lock_of_the_sdk_does_not_wait_for_it(
    kept: Capture, verb: Verb, locked: Locked, way: Callable[[Verb], None]
) -> None:
    gc.collect()
    way(verb)
    with locked.lock:
        gc.collect()
    wait_for(lambda: locked.ended == [verb.span])
    assert not locked.waited_in_vain
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET
    assert (kept.span(verb.span).attributes or {}).get("otel_agent.stop_reason") in (None, "cancelled")


def test_a_context_that_a_collected_block_left_behind_is_undone_at_once(kept: Capture, verb: Verb) -> None:
    def numbers() -> Iterator[int]:
        with verb.make():
            yield 1

    before = otel.get_current()
    made = numbers()
    next(made)
    in_a_cycle(made)
    del made
    assert otel.get_current() is not before  # a plain generator leaves the context of its blocks to its consumer
    gc.collect()
    assert otel.get_current() == before
    otel.attach(before)
    wait_for(lambda: len(kept.spans) == 1)


def test_without_a_collection_the_end_is_told_at_once(kept: Capture, verb: Verb, locked: Locked) -> None:
    generator(verb)
    gc.collect()
    wait_for(lambda: len(locked.ended) == 1)

    @verb.make()
    def numbers() -> Iterator[int]:
        yield 1

    for end in (lambda made: made.close(), lambda made: None):
        locked.ended.clear()
        made = numbers()
        next(made)
        end(made)
        del made
        assert locked.ended == [verb.span]


def test_an_error_while_a_collection_closes_is_pythons_to_report(
    verb: Verb, locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: unraisable.append(str(found.exc_value)))

    @verb.make()
    def numbers() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("disk full")

    made = numbers()
    next(made)
    in_a_cycle(made)
    del made
    with locked.lock:
        gc.collect()
    assert unraisable == ["disk full"]
    wait_for(lambda: locked.ended == [verb.span])
    assert not locked.waited_in_vain


def test_what_the_collector_closes_is_settled(kept: Capture) -> None:
    @llm_call("it", estimated_input_tokens=100, max_output_tokens=50)
    def chunks() -> Iterator[Any]:
        yield {}

    with agent_run(budget=Budget(max_tokens=1000)) as run:
        made = chunks()
        next(made)
        in_a_cycle(made)
        del made
        gc.collect()
        wait_for(lambda: len(kept.spans) == 1)
        assert run.remaining().tokens == 850
    assert run.result.usage.estimated


def test_a_collection_at_any_moment_of_any_call_does_no_harm(kept: Capture, locked: Locked) -> None:
    """Collects at every few allocations while calls are made whose streams are dropped in cycles."""

    @tool_call("numbers")
    def numbers() -> Iterator[int]:
        yield 1

    @tool_call("plain")
    def plain() -> None:
        made = numbers()
        next(made)
        in_a_cycle(made)

    before = gc.get_threshold()
    gc.set_threshold(7)
    try:
        with agent_run("it") as run:
            for _ in range(200):
                plain()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    wait_for(lambda: len(locked.ended) == 401)
    assert not locked.waited_in_vain
    assert run.result.usage.tool_calls == 400


class Counted(SpanExporter):
    def __init__(self) -> None:
        self.names: list[str] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def test_a_batch_processor_under_constant_collection_loses_nothing(kept: Capture) -> None:
    exporter = Counted()
    batches = BatchSpanProcessor(exporter, schedule_delay_millis=1, max_export_batch_size=8)
    kept.tracer_provider.add_span_processor(batches)

    @tool_call("numbers")
    def numbers() -> Iterator[int]:
        yield 1

    before = gc.get_threshold()
    gc.set_threshold(11)
    try:
        for _ in range(300):
            made = numbers()
            next(made)
            in_a_cycle(made)
            del made
    finally:
        gc.set_threshold(*before)
    # one that another thread is in the middle of makes `collect` do nothing
    wait_for(lambda: gc.collect() >= 0 and len(kept.spans) == 300)
    batches.shutdown()
    assert len(exporter.names) == 300


async def test_async_generators_in_cycles_are_closed_by_their_loop(kept: Capture, verb: Verb, locked: Locked) -> None:
    @verb.make()
    async def numbers() -> AsyncIterator[int]:
        yield 1

    made: Any = numbers()
    with clean():
        await anext(made)
        in_a_cycle(made)
        del made
        with locked.lock:
            gc.collect()
        for _ in range(500):
            await asyncio.sleep(0.01)
            if locked.ended:
                break
    assert locked.ended == [verb.span]
    assert not locked.waited_in_vain


# the helper


def test_what_is_handed_over_is_done_once_in_order_and_a_failure_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[Any] = []

    def fail() -> None:
        raise OSError("disk full")

    hand_over(done.append, 1)
    hand_over(fail)
    for number in range(2, 1000):
        hand_over(done.append, number)
    wait_for(lambda: len(done) == 999)
    assert done == list(range(1, 1000))
    assert "OSError" in caplog.text
    caplog.clear()


def test_what_waits_can_be_done_at_once() -> None:
    done: list[Any] = []
    gate, started = threading.Event(), threading.Event()
    hand_over(lambda: (started.set(), gate.wait(10)))
    hand_over(done.append, 1)
    started.wait(10)
    finish_late()
    gate.set()
    assert done == [1]


def test_a_ctrl_c_during_a_collection_is_not_lost() -> None:
    """A callback in Python is where a signal arrives that came during a collection, and swallows what it raises."""
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.stdout.strip() == "interrupted", done.stderr
    assert "ignored" not in done.stderr


def test_a_collection_inside_a_change_of_a_context_variable_does_not_crash_python() -> None:
    """Python before 3.12 collects inside `ContextVar.set` too, and dies where a finalizer then sets another one."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", CHANGING],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]


CHANGING = """
import contextvars, gc, threading
for number in range(400):  # many variables are a deep tree, of which a change copies many nodes
    contextvars.ContextVar(str(number)).set(object())
from opentelemetry import context as otel
from otel_agent import agent_run, tool_call

class Ring:
    def __init__(self, held):
        self.held, self.self = held, self

@tool_call("generator")
def generator():
    yield 1

@tool_call("async generator")
async def async_generator():
    yield 1

def block():
    with tool_call("block"):
        yield 1

def drop(number):
    before = otel.get_current()
    dropped = (generator, block, async_generator)[number % 3]()
    try:
        dropped.asend(None).send(None) if number % 3 == 2 else next(dropped)
    except StopIteration:  # the first item of the async one
        pass
    if number % 2:
        otel.attach(before)
    Ring(dropped)

def work():
    with agent_run() as run:
        for number in range(4000):
            drop(number)
            for _ in range(8):
                otel.detach(otel.attach(otel.set_value("any", number)))

gc.set_threshold(1)
threads = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("alive")
"""


CTRL_C = """
import gc, os, signal
from otel_agent import tool_call

tool_call("it")  # from here on the collector is watched
large = [[number] for number in range(500_000)]  # a collection takes long, so that most signals come during one
missed = 0
for _ in range(30):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for _ in range(10):
            gc.collect()
        missed += 1
    except KeyboardInterrupt:
        pass
print("interrupted" if missed == 0 else f"missed {missed}")
"""


def test_a_forked_child_leaves_what_waits_to_its_parent() -> None:
    done: list[Any] = []
    gate, started = threading.Event(), threading.Event()
    hand_over(lambda: (started.set(), gate.wait(10)))
    hand_over(done.append, "parent")
    started.wait(10)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        hand_over(done.append, "child")
        for _ in range(200):
            if done:
                break
            threading.Event().wait(0.01)
        os.write(write, ",".join(done).encode())
        os._exit(0)
    os.waitpid(child, 0)
    gate.set()
    wait_for(lambda: done == ["parent"])
    assert os.read(read, 100) == b"child"
    os.close(read)
    os.close(write)
