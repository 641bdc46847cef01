"""What the account costs: one pair of reserve and settle, many threads at once, a long run, a million calls."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc

from otel_agent import Budget, ToolDenied, agent_run, tool_call
from otel_agent.budget import Account, Actual
from tests.bench.harness import Measured, Pair, bench, scaled

HUGE = Budget(max_steps=10**9, max_tool_calls=10**9, max_tokens=10**11, max_usd=10**6)


def _pair(account: Account) -> None:
    account.reserve((1, 0, 100, 50), now=1)
    account.settle((1, 0, 100, 50), ACTUAL)


ACTUAL = Actual(input_tokens=50, output_tokens=50, micro_usd=5)


@bench("reserve + settle in memory, one level", yardstick="two lock blocks", at_most=1.5e-6, of="ours")
def reserve_and_settle() -> Pair:
    account, lock = Account(HUGE, "run"), threading.Lock()

    def locks() -> None:
        with lock:
            pass
        with lock:
            pass

    return Pair(ours=lambda: _pair(account), yardstick=locks)


def _many(account: Account, threads: int, pairs: int) -> float:
    """Gives seconds for so many pairs, shared by so many threads."""

    def work() -> None:
        for _ in range(pairs // threads):
            _pair(account)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


@bench("reserve + settle by 16 threads, each pair", yardstick="by one thread", at_most=3.0)
def sixteen_threads() -> Measured:
    pairs = scaled(320_000)
    best = [min(_many(Account(HUGE, "run"), threads, pairs) for _ in range(3)) / pairs for threads in (16, 1)]
    return Measured(ours=best[0], yardstick=best[1])


@tool_call("kb.search")
def _tool(number: int) -> None: ...


def _seconds(first: int) -> float:
    began = time.perf_counter()
    for number in range(first, first + 500):
        _tool(number)
    return (time.perf_counter() - began) / 500


@bench("the 10,000th call of a run", yardstick="its first ones", at_most=1.2)
def long_run() -> Measured:
    first, last = [], []
    for _ in range(9):
        with agent_run("long", budget=HUGE):
            first.append(_seconds(0))
            for number in range(9_000):
                _tool(number)
            last.append(_seconds(9_500))
    return Measured(ours=min(last), yardstick=min(first))


def _calls(count: int) -> None:
    """Makes calls with distinct arguments in nested runs, some of them denied."""
    budget = Budget(max_calls_per_tool={"denied": 0}, max_repeats=5)
    with agent_run("outer", budget=budget), agent_run("inner", budget=budget):
        for number in range(count):
            _tool(number)
            if number % 100 == 0:
                _denied()


def _denied() -> None:
    try:
        with tool_call("denied"):
            pass
    except ToolDenied:
        return


def _runs(count: int) -> None:
    for _ in range(count):
        with agent_run("short", budget=HUGE):
            _tool(1)


def _megabytes() -> float:
    """Gives what is held, without what only waits for the garbage collector."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1e6


@bench("memory after 1,000,000 calls", yardstick="after 10,000", at_most=1.2)
def many_calls() -> Measured:
    tracemalloc.start()
    _calls(10_000)
    before = _megabytes()
    _calls(scaled(1_000_000))
    return Measured(ours=_megabytes(), yardstick=before, unit="MB")


@bench("memory at the peak of 1,000,000 calls", yardstick="of 10,000", at_most=1.2)
def peak_of_many_calls() -> Measured:
    tracemalloc.start()
    _calls(10)
    return Measured(yardstick=_peak(10_000), ours=_peak(scaled(1_000_000)), unit="MB")


def _peak(count: int) -> float:
    """Gives the most that was held at any moment of so many calls, with what waited for the garbage collector."""
    gc.collect()
    tracemalloc.reset_peak()
    _calls(count)
    return tracemalloc.get_traced_memory()[1] / 1e6


@bench("memory after 100,000 runs", yardstick="after 1,000", at_most=1.2)
def many_runs() -> Measured:
    tracemalloc.start()
    _runs(1_000)
    before = _megabytes()
    _runs(scaled(100_000))
    return Measured(ours=_megabytes(), yardstick=before, unit="MB")
