"""Many at once against one budget: never one call more than the limit, and all of the limit usable.

What is counted is what really ran, by a counter in the tool itself, not what the account says.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from otel_agent import AgentStop, Budget, agent_run, llm_call, tool_call

THREADS, TASKS = 16, 200


class Counter:
    """Counts what really happened."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        with self.lock:
            self.count += 1


def until_stopped(call: Callable[[], None]) -> None:
    """Calls until a stop; a stop by calls in flight alone is tried again."""
    while True:
        try:
            call()
        except AgentStop as stop:
            if not stop.pending:
                return


def in_threads(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def nested(budget: Budget, inside: Callable[[], None]) -> Any:
    """Runs something three runs deep, each with the budget."""
    with (
        agent_run("outer", budget=budget) as outer,
        agent_run("middle", budget=budget),
        agent_run("inner", budget=budget),
    ):
        inside()
    return outer.result


def paid(price: str, made: Counter) -> Callable[[], None]:
    @tool_call("paid", cost_usd=price)
    def call() -> None:
        made.add()

    return call


def asked(made: Counter) -> Callable[[], None]:
    def call() -> None:
        with llm_call("gpt-5-mini", estimated_input_tokens=7, max_output_tokens=3) as model:
            made.add()
            model.record(input_tokens=7, output_tokens=3)

    return call


LIMITS = {
    "100 tool calls": (Budget(max_tool_calls=100), lambda made: paid("0", made), 100),
    "100 steps": (Budget(max_steps=100), asked, 100),
    "1000 tokens": (Budget(max_tokens=1000), asked, 100),
    "1.00 USD by 0.01": (Budget(max_usd="1.00"), lambda made: paid("0.01", made), 100),
    "1.00 USD by 0.30": (Budget(max_usd="1.00"), lambda made: paid("0.30", made), 3),
}


@pytest.mark.parametrize("name", LIMITS)
def test_sixteen_threads_three_runs_deep_make_exactly_what_the_limit_allows(name: str) -> None:
    budget, make, most = LIMITS[name]
    made = Counter()
    call = make(made)
    nested(budget, lambda: in_threads(lambda: until_stopped(call)))
    assert made.count == most


@pytest.mark.parametrize("name", LIMITS)
def test_two_hundred_tasks_three_runs_deep_make_exactly_what_the_limit_allows(name: str) -> None:
    budget, make, most = LIMITS[name]
    made = Counter()
    call = make(made)

    async def task() -> None:
        while True:
            await asyncio.sleep(0)
            try:
                call()
            except AgentStop as stop:
                if not stop.pending:
                    return

    async def main() -> None:
        async with agent_run("outer", budget=budget), agent_run("middle", budget=budget), agent_run("inner"):
            await asyncio.gather(*(task() for _ in range(TASKS)))

    asyncio.run(main())
    assert made.count == most


def test_calls_that_overlap_in_time_cannot_overshoot_together() -> None:
    made, most_at_once = Counter(), Counter()

    async def task() -> None:
        try:
            async with llm_call("gpt-5-mini", estimated_input_tokens=10, max_output_tokens=90) as call:
                made.add()
                await asyncio.sleep(0.05)
                call.record(input_tokens=10, output_tokens=90)
        except AgentStop:
            most_at_once.add()

    async def main() -> Any:
        async with agent_run("bot", budget=Budget(max_tokens=1000)) as run:
            await asyncio.gather(*(task() for _ in range(TASKS)))
        return run.result

    result = asyncio.run(main())
    assert (made.count, most_at_once.count, result.usage.total_tokens) == (10, TASKS - 10, 1000)
