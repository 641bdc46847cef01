"""Runs inside runs: whose calls count where, and whose stop it is."""

from __future__ import annotations

import pytest

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    FinalCall,
    Price,
    ToolDenied,
    agent_run,
    current_run,
    tool_call,
)
from otel_agent.testing import Capture
from tests.run.conftest import SetPrices
from tests.support.calls import ask, passes, use

# nested runs


def test_nested_runs_count_in_themselves_and_in_every_ancestor() -> None:
    with agent_run("top") as top:
        ask()
        with agent_run("middle") as middle:
            ask()
            use()
            with agent_run("bottom") as bottom:
                ask(7, 3)
    steps = [run.result.usage.steps for run in (top, middle, bottom)]
    tokens = [run.result.usage.total_tokens for run in (top, middle, bottom)]
    assert (steps, tokens) == ([3, 2, 1], [40, 25, 10])
    assert [run.result.own_usage.total_tokens for run in (top, middle, bottom)] == [15, 15, 10]
    assert [run.result.usage.tool_calls for run in (top, middle, bottom)] == [1, 1, 0]


def test_nested_runs_never_spend_more_than_any_ancestor_has_left() -> None:
    with agent_run("top", budget=Budget(max_steps=3)):
        ask()
        with agent_run("middle", budget=Budget(max_steps=50)), agent_run("bottom", budget=Budget(max_steps=10)) as run:
            assert run.remaining().steps == 2
            assert passes(ask) == 2


def test_nested_runs_are_held_to_their_own_limits_too() -> None:
    with agent_run("top", budget=Budget(max_steps=30)):
        with agent_run("bottom", budget=Budget(max_steps=2)):
            assert passes(ask) == 2
        ask()


def test_nested_runs_share_what_is_held_and_what_is_kept_back() -> None:
    with agent_run("top", budget=Budget(max_tokens=1000)) as top:
        with agent_run("bottom", budget=Budget(max_steps=5, final_call=FinalCall(tokens=300))) as bottom:
            assert (top.remaining().tokens, bottom.remaining().steps) == (700, 4)
        assert top.remaining().tokens == 1000


def test_nested_runs_are_the_subtree_in_use_and_alone_in_what_is_summed(kept: Capture, prices: SetPrices) -> None:
    prices(known=Price(input=1, output=0))
    with agent_run("top", budget=Budget(max_tokens=10_000_000)):
        ask(1_000_000, 0, model="known", max_output_tokens=1)
        with agent_run("bottom"):
            ask(2_000_000, 0, model="known", max_output_tokens=1)
    top, bottom = (kept.span(f"invoke_agent {name}").attributes for name in ("top", "bottom"))
    assert [span["otel_agent.budget.tokens.used"] for span in (top, bottom)] == [3_000_000, 2_000_000]
    assert [span["otel_agent.budget.usd.used"] for span in (top, bottom)] == [3.0, 2.0]
    assert [span["gen_ai.usage.input_tokens"] for span in (top, bottom)] == [1_000_000, 2_000_000]
    assert [span["otel_agent.cost.usd"] for span in (top, bottom)] == [1.0, 2.0]
    assert bottom["otel_agent.run.parent_id"] == top["otel_agent.run.id"]
    metrics = kept.metrics()
    of_agent = {
        name: {point.attributes["gen_ai.agent.name"]: point for point in points}
        for name, points in metrics.items()
        if name.startswith("otel_agent.")
    }
    assert {agent: point.value for agent, point in of_agent["otel_agent.cost"].items()} == {"top": 1.0, "bottom": 2.0}
    assert {agent: point.sum for agent, point in of_agent["otel_agent.run.tokens"].items()} == {
        "top": 3_000_000,
        "bottom": 2_000_000,
    }


# who owns a stop


def test_who_owns_a_stop_is_the_run_whose_limit_it_was() -> None:
    with agent_run("top") as top:
        with pytest.raises(BudgetExceeded) as caught, agent_run("bottom", budget=Budget(max_steps=0)) as bottom:
            ask()
        ask()
    assert caught.value.run_id == bottom.id
    assert (bottom.result.stop_reason, top.result.stop_reason) == ("max_steps", "finish")
    assert top.result.usage.steps == 1


def test_who_owns_a_stop_is_the_ancestor_where_its_limit_is_spent() -> None:
    with agent_run("top", budget=Budget(max_steps=1)) as top:
        ask()
        with pytest.raises(BudgetExceeded) as caught, agent_run("bottom", budget=Budget(max_steps=10)) as bottom:
            ask()
        with pytest.raises(BudgetExceeded):
            use()
    assert caught.value.run_id == top.id
    assert (bottom.result.stop_reason, bottom.result.stop_detail) == ("max_steps", "parent")
    assert (top.result.stop_reason, top.result.stop_detail) == ("max_steps", None)


@agent_run("bottom", budget=Budget(max_steps=1, max_calls_per_tool={"search": 0}))
def bottom(steps: int = 0, tools: int = 0, error: Exception | None = None) -> str:
    for _ in range(steps):
        ask()
    for _ in range(tools):
        use("search")
    if error is not None:
        raise error
    return "done"


def test_who_owns_a_stop_gets_it_from_run_in_the_result() -> None:
    with agent_run("top") as top:
        result = bottom.run(steps=2)
        assert isinstance(result.error, BudgetExceeded)
        assert (result.stop_reason, result.error.run_id, result.output) == ("max_steps", result.run_id, None)
        denied = bottom.run(tools=1)
        assert isinstance(denied.error, ToolDenied)
        assert denied.stop_reason == "max_calls_per_tool"
        assert bottom.run().output == "done"
        with pytest.raises(BudgetExceeded):
            bottom(steps=2)
    assert top.result.stop_reason == "finish"


def test_who_owns_a_stop_is_asked_by_run_ancestors_stops_and_errors_go_on() -> None:
    with agent_run("top", budget=Budget(max_steps=0)), pytest.raises(BudgetExceeded):
        bottom.run(steps=1)
    problem = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        bottom.run(error=problem)
    assert caught.value is problem
    with pytest.raises(KeyboardInterrupt):
        bottom.run(error=KeyboardInterrupt())


async def test_who_owns_a_stop_is_the_same_for_async_runs() -> None:
    @agent_run("async", budget=Budget(max_steps=0))
    async def agent() -> None:
        ask()

    result = await agent.run()
    assert isinstance(result.error, BudgetExceeded)
    with agent_run("top", budget=Budget(max_steps=0)) as top:
        with pytest.raises(BudgetExceeded) as caught:
            await agent.using(budget=None).run()
        assert caught.value.run_id == top.id


def test_who_owns_a_stop_that_nobody_caught_is_still_the_child(kept: Capture) -> None:
    @agent_run("top")
    def top() -> None:
        bottom(steps=2)

    with pytest.raises(AgentStop) as caught:
        top.run()
    inner, outer = kept.records.runs
    assert (caught.value.reason, caught.value.run_id) == ("max_steps", inner.run_id)
    assert (outer.agent, outer.stop_reason, outer.stop_detail) == ("top", "max_steps", "child")


def test_who_owns_a_denial_is_the_run_that_asked() -> None:
    with agent_run("top", budget=Budget(max_calls_per_tool={"search": 0})) as top:
        with agent_run("inner") as inner, pytest.raises(ToolDenied) as caught, tool_call("search"):
            pytest.fail("the tool ran")
        assert current_run() is top
    assert caught.value.run_id == inner.id
    assert (inner.result.denials, top.result.denials) == ({"max_calls_per_tool": 1}, {})
