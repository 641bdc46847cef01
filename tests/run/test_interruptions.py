"""Gates that are interrupted: by finalizers, signal handlers, exceptions out of them, and forks with threads in gates.

Nothing hangs, nothing is counted twice, and nothing is lost. How long things take is not looked at.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest

from otel_agent import AgentStop, Budget, agent_run, current_run, llm_call, tool_call, tool_calls
from otel_agent.budget import Account, Actual
from otel_agent.run.collector import finish_late
from otel_agent.telemetry.pipeline import Pipeline, use_pipeline
from tests.run.test_races import in_threads, until_stopped
from tests.support.processes import ended, start

SECONDS, EVERY = 1.0, 0.001
MANY = 10**9


@pytest.fixture(autouse=True)
def no_telemetry() -> Iterator[None]:
    """Keeps the SDK's own locks out of it: here it is about ours."""
    before = use_pipeline(Pipeline(None, None, None))
    yield
    use_pipeline(before)


class Tally:
    """Counts without a lock, so that a handler or finalizer may count while the code it came into is counting."""

    def __init__(self) -> None:
        self.made: list[None] = []

    def add(self) -> None:
        self.made.append(None)

    @property
    def count(self) -> int:
        return len(self.made)


# finalizers


class Ring:
    """Garbage that only the cyclic collector finds, whenever it comes by; what it holds is finalized then."""

    def __init__(self, held: object) -> None:
        self.held = held
        self.self = self


@pytest.fixture
def eager_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)
    gc.collect()


@llm_call("some-model", estimated_input_tokens=3, max_output_tokens=4)
def stream() -> Iterator[int]:
    yield from range(10)


@tool_call("search")
def search() -> None: ...


@pytest.mark.usefixtures("eager_collector")
@pytest.mark.timeout(100)
def test_streams_that_are_collected_while_gates_run_are_settled_once() -> None:
    began, made = Tally(), Tally()

    def work() -> None:
        for _ in range(60):
            began.add()
            left = stream()
            next(left)
            Ring(left)
            del left
            search()
            made.add()

    with agent_run(budget=Budget(max_steps=MANY, max_tokens=MANY, max_tool_calls=MANY)) as run:
        in_threads(work)
        gc.collect()
        settled_by(run, began.count)
        assert (run.usage.steps, run.usage.tool_calls) == (began.count, made.count)
        assert (run.usage.input_tokens, run.usage.output_tokens) == (3 * began.count, 4 * began.count)
        assert run.account.held == [0, 0, 0, 0]


def settled_by(run: Any, steps: int) -> None:
    """Waits until what the collector found has been told by its own thread."""
    deadline = time.monotonic() + 30
    while run.usage.steps < steps and time.monotonic() < deadline:
        finish_late()
        time.sleep(0.01)


class Finalized:
    """Calls something when it is collected."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()


@pytest.mark.usefixtures("eager_collector")
@pytest.mark.timeout(100)
def test_gates_and_settles_of_finalizers_inside_gates_are_exact() -> None:
    limit, passed, asked = 3000, Tally(), Tally()
    account = Account(Budget(), "inner", Account(Budget(max_tool_calls=limit, max_tokens=MANY), "outer"))
    held = (1, 0, 100, 0)

    def use() -> None:
        if account.reserve((0, 1, 0, 0), now=0, tool="search", sent=True) is None:
            passed.add()

    def give_back() -> None:
        account.settle(held, Actual(60, 40))

    def work() -> None:
        for number in range(200):
            use()
            if account.reserve(held, now=0) is None:
                asked.add()
                Ring(Finalized(give_back))
            if number % 5 == 0:
                Ring(Finalized(use))

    in_threads(work)
    gc.collect()
    usage = account.usage(0)
    assert passed.count == usage.tool_calls == limit
    assert usage.total_tokens == 100 * usage.steps == 100 * asked.count > 0
    assert account.levels[-1].held == [0, 0, 0, 0]


# signal handlers


@contextmanager
def interrupted(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Calls a handler every millisecond of the main thread's work. (SIGALRM is the test runner's own.)"""
    before = signal.signal(signal.SIGPROF, handler)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def ask(sent: Tally) -> None:
    with llm_call("some-model", estimated_input_tokens=5, max_output_tokens=5) as call:
        sent.add()
        call.record(input_tokens=5, output_tokens=5)


def for_a_while(work: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        work()


@pytest.mark.timeout(60)
def test_a_signal_handler_may_ask_everything_while_the_main_thread_is_in_a_gate() -> None:
    sent, made, handled = Tally(), Tally(), Tally()

    def handler(number: int, frame: FrameType | None) -> None:
        run = current_run()
        assert run is not None
        assert run.usage.steps <= sent.count
        assert run.remaining().steps is not None
        search()
        made.add()
        handled.add()

    def work() -> None:
        ask(sent)
        search()
        made.add()

    with agent_run(budget=Budget(max_steps=MANY, max_tokens=MANY, max_tool_calls=MANY)) as outer, agent_run() as run:
        with interrupted(handler):
            for_a_while(work)
        assert handled.count > 50
        assert (run.usage.steps, run.usage.tool_calls) == (sent.count, made.count)
        assert run.usage.total_tokens == 10 * sent.count
        assert outer.account.held == [0, 0, 0, 0]


@pytest.mark.timeout(60)
def test_a_signal_handler_and_the_code_it_interrupts_share_a_limit_exactly() -> None:
    limit, made, tries = 5000, Tally(), Tally()

    def handler(number: int, frame: FrameType | None) -> None:
        with suppress(AgentStop):
            search()
            made.add()
        tries.add()

    def work() -> None:
        search()
        made.add()

    with agent_run(budget=Budget(max_tool_calls=limit)) as run, suppress(AgentStop), interrupted(handler):
        until_stopped(work)
    assert tries.count > 0
    assert made.count == run.result.usage.tool_calls == limit


class Interruption(Exception):
    """What a handler raises, as the one for Ctrl-C does."""


@pytest.mark.timeout(60)
def test_an_exception_out_of_a_signal_handler_leaves_no_lock_behind() -> None:
    account = Account(Budget(), "inner", Account(Budget(max_steps=MANY, max_tool_calls=MANY), "outer"))
    caught = Tally()

    def handler(number: int, frame: FrameType | None) -> None:
        if frame is not None and "account" in frame.f_code.co_filename:
            raise Interruption

    def work() -> None:
        try:
            account.reserve((1, 0, 5, 0), now=0)
            account.settle((1, 0, 5, 0), Actual(5, 0))
            account.count_tool_call("search", 0)
            account.reserve_batch([("search", None)], now=0)
            account.give_back_slot("search", None)
            account.usage(0)
            account.left(0)
        except Interruption:
            caught.add()

    with interrupted(handler):
        for_a_while(work)
    free: list[bool] = []
    thread = threading.Thread(target=lambda: free.append(account.tree.lock.acquire(timeout=5)))
    thread.start()
    thread.join()
    assert caught.count > 20
    assert free == [True]


# batches


@pytest.mark.timeout(60)
def test_batches_that_race_make_exactly_what_the_limit_allows() -> None:
    made = Tally()

    @tool_call("search")
    def search() -> None:
        made.add()

    def batch() -> None:
        with tool_calls([("search", {})] * 3) as slots:
            for slot in slots[:-1]:  # the last one is given back
                if slot.denied is None:
                    with slot:
                        search()

    with agent_run(budget=Budget(max_tool_calls=100)) as run:
        in_threads(lambda: until_stopped(batch))
    assert made.count == run.result.usage.tool_calls == 100
    assert run.account.held == [0, 0, 0, 0]


@pytest.mark.timeout(60)
def test_one_slot_is_spent_once_however_many_threads_are_inside() -> None:
    made = Tally()

    @tool_call("search")
    def search() -> None:
        made.add()

    for _ in range(20):
        before = made.count
        with agent_run(budget=Budget(max_tool_calls=10)) as run:
            with tool_calls([("search", {})]) as [slot], slot:
                in_threads(lambda: until_stopped(search))
            assert made.count - before == run.usage.tool_calls == 10
            assert run.account.held == [0, 0, 0, 0]


# forks


FORK = """
import logging

class Kept(logging.Handler):
    said = []
    def emit(self, record):
        self.said.append(record.getMessage())

logging.getLogger("otel_agent").addHandler(Kept())

@tool_call("search")
def search(): ...

def ask():
    with llm_call("some-model") as call:
        call.record(input_tokens=1, output_tokens=1)

def work():
    while not done.is_set():
        search()

def hold():
    with run.account.tree.lock:
        holding.set()
        time.sleep(0.5)

done, holding = threading.Event(), threading.Event()
with agent_run(budget=Budget(max_tool_calls=10**9, max_steps=2)) as run:
    threads = [threading.Thread(target=target) for target in (work, work, work, hold)]
    [thread.start() for thread in threads]
    holding.wait()
    child = os.fork()
    if child == 0:
        assert Kept.said == []
        for number in (1, 2):
            before = run.usage.tool_calls
            search()
            assert run.usage.tool_calls == before + 1
            ask()
            assert run.usage.steps == number
        assert len(Kept.said) == 1 and "forked process" in Kept.said[0], Kept.said
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    done.set()
    [thread.join() for thread in threads]
    assert Kept.said == []
    assert run.usage.steps == 0
    ask()
    ask()
    print("parent", run.usage.steps)
"""


@pytest.mark.timeout(60)
def test_a_child_forked_while_threads_are_in_gates_goes_on_with_a_copy() -> None:
    status, out, err = ended(start(FORK, OTEL_AGENT_CONSOLE="false"))
    assert (status, out) == (0, "parent 2\n"), err
