"""Tools: batches, denials that are no stops, and loops."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    LoopDetected,
    ToolDenied,
    agent_run,
    current_run,
    tool_call,
    tool_calls,
)
from otel_agent.run.repeats import arguments_hashed
from otel_agent.testing import Capture
from tests.support.calls import ask, use

FIVE = [("search", {"q": number}) for number in range(5)]


@tool_call("search")
def search(q: int) -> int:
    return q


# parallel tools


def test_parallel_tools_count_one_tool_call_each_and_no_step() -> None:
    with agent_run() as run, tool_calls(FIVE) as slots:
        for slot in slots:
            with slot:
                search(1)
    assert (run.result.usage.tool_calls, run.result.usage.steps) == (5, 0)


def test_parallel_tools_pass_in_order_while_they_fit_and_the_run_goes_on() -> None:
    with agent_run(budget=Budget(max_tool_calls=3)) as run:
        with tool_calls(FIVE) as slots:
            denials = [slot.denied for slot in slots]
            for slot in slots[:3]:
                with slot:
                    search(1)
        ask()
    assert [denied is None for denied in denials] == [True, True, True, False, False]
    assert (run.result.stop_reason, run.result.usage.tool_calls) == ("finish", 3)
    assert run.result.denials == {"max_tool_calls": 2}


def test_parallel_tools_get_a_denial_that_the_model_can_read() -> None:
    with agent_run(budget=Budget(max_tool_calls=1)), tool_calls(FIVE[:2]) as slots:
        denied = slots[1].denied
        with pytest.raises(ToolDenied), slots[1]:
            pytest.fail("a denied slot was entered")
    assert isinstance(denied, ToolDenied)
    assert (denied.tool, denied.reason, denied.limit) == ("search", "max_tool_calls", 1)
    assert "search" in str(denied)
    assert "denied: max_tool_calls" in str(denied)


def test_parallel_tools_are_a_stop_when_none_fits() -> None:
    with agent_run(budget=Budget(max_tool_calls=1)) as run:
        use()
        with pytest.raises(BudgetExceeded) as caught, tool_calls(FIVE):
            pytest.fail("the batch was opened")
    assert not caught.value.pending
    assert run.result.stop_reason == "max_tool_calls"


def test_parallel_tools_hold_their_places_until_the_batch_ends() -> None:
    with agent_run(budget=Budget(max_tool_calls=2)) as run:
        with tool_calls(FIVE[:2]):
            with pytest.raises(BudgetExceeded) as caught:
                use("another")
            assert caught.value.pending
            assert run.usage.tool_calls == 0
        assert run.remaining().tool_calls == 2
        use()
    assert run.result.usage.tool_calls == 1


def test_parallel_tools_work_in_threads_and_with_async_with() -> None:
    def one(slot: Any) -> int:
        with slot:
            return search(3)

    with agent_run(budget=Budget(max_tool_calls=5)) as run, tool_calls(FIVE) as slots, ThreadPoolExecutor(5) as pool:
        assert list(pool.map(one, slots)) == [3] * 5
    assert run.result.usage.tool_calls == 5


async def test_parallel_tools_work_with_async_with() -> None:
    async with agent_run(budget=Budget(max_tool_calls=1)) as run, tool_calls(FIVE[:2]) as slots:
        async with slots[0]:
            search(1)
        assert slots[1].denied is not None
    assert run.result.usage.tool_calls == 1


def test_parallel_tools_are_held_to_each_tools_own_cap() -> None:
    with agent_run(budget=Budget(max_calls_per_tool={"search": 2})) as run, tool_calls([*FIVE, ("other", {})]) as slots:
        reasons = [slot.denied and str(slot.denied.reason) for slot in slots]
    assert reasons == [None, None, *["max_calls_per_tool"] * 3, None]
    assert run.result.stop_reason == "finish"


def test_parallel_tools_are_looked_at_for_repeats_too() -> None:
    with agent_run(budget=Budget(max_repeats=1)) as run:
        with tool_calls([("search", {"q": 1})]):
            pass
        with tool_calls([("search", {"q": 1})]) as (slot,), slot:
            search(1)
        with pytest.raises(LoopDetected), tool_calls([("search", {"q": 1})]):
            pytest.fail("the batch was opened")
    assert (run.result.stop_reason, run.result.usage.tool_calls) == ("loop_detected", 1)


def test_parallel_tools_keep_to_a_tools_own_max_repeats() -> None:
    once = tool_call("once", max_repeats=1)(lambda q: q)
    with agent_run(), tool_calls([("once", {"q": 1})] * 2) as slots:
        with slots[0]:
            once(1)
        with pytest.raises(LoopDetected), slots[1]:
            once(1)


# denial or stop


def test_denial_or_stop_a_capped_tool_is_denied_and_the_run_goes_on() -> None:
    with agent_run(budget=Budget(max_calls_per_tool={"search": 1})) as run:
        use("search")
        for _ in range(10):
            with pytest.raises(ToolDenied) as caught:
                use("search")
        use("another")
        ask()
    assert (caught.value.reason, caught.value.limit, caught.value.used) == ("max_calls_per_tool", 1, 1)
    assert caught.value.run_id == run.id
    assert (run.result.stop_reason, run.result.usage.tool_calls) == ("finish", 2)
    assert run.result.denials == {"max_calls_per_tool": 10}


def test_denial_or_stop_an_uncaught_denial_is_the_stop_reason() -> None:
    @agent_run(budget=Budget(max_calls_per_tool={"search": 0}))
    def agent() -> None:
        search(1)

    result = agent.run()
    assert (result.stop_reason, result.stop_detail) == ("max_calls_per_tool", "search")
    assert isinstance(result.error, ToolDenied)
    with pytest.raises(ToolDenied):
        agent()


def test_denial_or_stop_a_stop_ends_the_run() -> None:
    with agent_run(budget=Budget(max_tool_calls=1)) as run:
        use()
        with pytest.raises(BudgetExceeded):
            use()
        with pytest.raises(AgentStop):
            ask()
    assert run.result.stop_reason == "max_tool_calls"


# loops


def test_loops_stop_the_call_after_the_last_repeat_allowed() -> None:
    with agent_run(budget=Budget(max_repeats=2)) as run:
        search(1)
        search(1)
        search(2)
        use("another", arguments={"q": 1})
        with pytest.raises(LoopDetected) as caught:
            search(1)
    assert (caught.value.limit, caught.value.used) == (2, 2)
    assert (run.result.stop_reason, run.result.usage.tool_calls) == ("loop_detected", 4)


def test_loops_are_seen_through_another_spelling_of_the_same_arguments() -> None:
    @tool_call
    def find(where: dict[str, Any], limit: float = 10) -> None: ...

    with agent_run(budget=Budget(max_repeats=1)):
        find({"a": 1, "b": 2})
        with pytest.raises(LoopDetected):
            find(limit=10.0, where={"b": 2, "a": 1})


def test_loops_have_a_limit_of_their_own_for_one_tool() -> None:
    once = tool_call("once", max_repeats=1)(lambda q: q)
    with agent_run() as run:
        once(1)
        once(2)
        search(1)
        search(1)
        with pytest.raises(LoopDetected):
            once(2)
    assert run.result.stop_reason == "loop_detected"


def test_loops_through_a_nested_run_are_loops_of_the_outer_one() -> None:
    with agent_run("outer", budget=Budget(max_repeats=1)) as run:
        with agent_run("inner"):
            search(1)
        with pytest.raises(LoopDetected) as caught:
            search(1)
    assert caught.value.run_id == run.id


class Table:
    """Shows its first and last rows only, as large tables do."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        return f"{self.rows[0]}\n..  ..\n{self.rows[-1]}"


class Plain:
    pass


class Numbered:
    """Names its own address, in decimals."""

    def __repr__(self) -> str:
        return f"<Numbered {id(self)}>"


@pytest.mark.parametrize(
    "make",
    [
        lambda number: (each for each in [number]),
        lambda number: iter([number]),
        lambda number: map(int, [number]),
        lambda number: memoryview(bytes([number])),
        lambda number: io.StringIO(str(number)),
        lambda number: lambda: number,
        lambda number: object(),
        lambda number: Plain(),
        lambda number: Numbered(),
        lambda number: [{"deep": Plain()}],
        lambda number: {Plain(): number // 10},
        lambda number: deque([Plain()]),
        lambda number: Plain().__init__,
        lambda number: Table([1, number, 3]),
    ],
)
def test_loops_are_none_where_the_arguments_only_look_the_same(make: Callable[[int], Any]) -> None:
    with agent_run(budget=Budget(max_repeats=1)) as run:
        for number in range(20):
            search(make(number))  # the next is often made where this one was
    assert run.result.usage.tool_calls == 20


def test_loops_are_seen_in_calls_with_one_object_again_and_again() -> None:
    given = Plain()
    with agent_run(budget=Budget(max_repeats=1)):
        search(given)
        search(Plain())
        with pytest.raises(LoopDetected):
            search(given)


class Argument:
    """Counts how often it is turned into text, which hashing does."""

    def __init__(self) -> None:
        self.read = 0

    def __str__(self) -> str:
        self.read += 1
        return "the same"


def test_loops_are_the_only_reason_to_hash_arguments(kept: Capture) -> None:
    argument = Argument()
    with agent_run():
        search(argument)
        assert argument.read == 0
        assert "otel_agent.tool.args_hash" not in kept.span("execute_tool search").attributes
        current_run().budget.update(max_repeats=5)
        search(argument)
    assert argument.read == 1
    hashes = [span.attributes.get("otel_agent.tool.args_hash") for span in kept.spans]
    assert len(hashes[1]) == 64


def test_and_who_judges_runs_by_their_spans(kept: Capture) -> None:
    with agent_run():
        with arguments_hashed():
            search("a")  # its run opened before
            with agent_run(budget=Budget(max_tool_calls=9)):
                search("a")
        search("b")
    with agent_run():
        search("a")
    with arguments_hashed(), arguments_hashed():
        pass
    with arguments_hashed(), agent_run():
        search("a")
        search("a")
        with tool_calls([("search", {"query": "b"})]) as (slot,), slot:
            search("b")
    hashes = [span.attributes.get("otel_agent.tool.args_hash") for span in kept.spans if "execute_tool" in span.name]
    assert [each is None for each in hashes] == [True, False, False, True, False, False, False]
    assert hashes[1] == hashes[4] == hashes[5]
    assert hashes[2] == hashes[6] != hashes[1]
