"""Limits: warnings before they are reached, limits that only observe, limits that change while a run is open."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    InvalidSetting,
    Price,
    ToolDenied,
    agent_run,
    current_run,
    llm_call,
    tool_calls,
)
from otel_agent.testing import Capture, FakeClock
from tests.run.conftest import SetPrices
from tests.support.calls import ask, passes, use

WARNING, EXCEEDED, CHANGED = (f"otel_agent.budget.{what}" for what in ("warning", "exceeded", "changed"))


def events(kept: Capture, name: str) -> list[dict[str, Any]]:
    """The fields of all log events of one name."""
    return [dict(event.log_record.attributes) for event in kept.events if event.log_record.event_name == name]


def codes(kept: Capture, name: str) -> list[str]:
    return [event["otel_agent.code"] for event in events(kept, name)]


# warnings


def test_warnings_come_once_for_each_limit_at_80_percent(kept: Capture, clock: FakeClock, prices: SetPrices) -> None:
    prices(fallback=Price(input=0, output=0, per_call=1))
    limits = Budget(max_steps=10, max_tool_calls=5, max_tokens=150, max_usd=12.5, max_seconds=100)
    with agent_run("agent", budget=limits):
        for _ in range(7):
            ask()
        for _ in range(3):
            use()
        clock.advance(79)
        use()
        assert codes(kept, WARNING) == ["max_tool_calls"]
        ask()
        assert codes(kept, WARNING) == ["max_tool_calls", "max_steps", "max_tokens"]
        clock.advance(2)
        ask()
        assert codes(kept, WARNING)[3:] == ["max_seconds"]
        ask()
        use()
        assert codes(kept, WARNING)[4:] == ["max_usd"]


def test_warnings_are_a_span_event_a_log_event_and_a_metric(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_steps=5)) as run:
        for _ in range(5):
            ask()
    (log,) = [event for event in kept.events if event.log_record.event_name == WARNING]
    fields = log.log_record.attributes
    assert (fields["otel_agent.code"], fields["otel_agent.limit"], fields["otel_agent.limit.used"]) == (
        "max_steps",
        5,
        4,
    )
    assert (fields["otel_agent.run.id"], fields["gen_ai.agent.name"]) == (run.id, "agent")
    assert log.log_record.severity_text == "WARN"
    span = kept.span("invoke_agent agent")
    assert [event.name for event in span.events] == [WARNING]
    assert log.log_record.span_id == span.context.span_id
    (point,) = kept.metrics()["otel_agent.budget.warnings"]
    assert (point.value, point.attributes["otel_agent.limit"]) == (1, "max_steps")


@pytest.mark.parametrize(
    ("limit", "warn_at", "expected"),
    [(10, 0.5, 5), (10, 1, 10), (10, 0.55, 6), (10, 0.7, 7), (100, 0.07, 7), (1, 0.8, 1)],
)
def test_warnings_come_where_the_budget_says(limit: int, warn_at: float, expected: int, kept: Capture) -> None:
    with agent_run(budget=Budget(max_steps=limit, warn_at=warn_at)):
        calls = 0
        while not codes(kept, WARNING):
            ask()
            calls += 1
    assert calls == expected


def test_warnings_do_not_come_below_the_share(kept: Capture) -> None:
    with agent_run(budget=Budget(max_steps=10, max_tokens=1000)):
        for _ in range(7):
            ask(100, 10)
    assert codes(kept, WARNING) == []


def test_warnings_of_an_ancestor_are_on_the_ancestor(kept: Capture) -> None:
    with agent_run("outer", budget=Budget(max_steps=1)), agent_run("inner"):
        ask()
    assert [event.name for event in kept.span("invoke_agent outer").events] == [WARNING]
    assert [event["gen_ai.agent.name"] for event in events(kept, WARNING)] == ["outer"]


def test_warnings_of_time_need_no_other_call(kept: Capture, clock: FakeClock) -> None:
    with agent_run("outer", budget=Budget(max_seconds=10)), agent_run("inner"):
        with llm_call("some-model") as call:
            clock.advance(9)
            call.record(input_tokens=1, output_tokens=1)
        assert codes(kept, WARNING) == ["max_seconds"]
    assert [event.name for event in kept.span("invoke_agent outer").events] == [WARNING]


def test_warnings_of_time_come_at_the_end_at_the_latest(kept: Capture, clock: FakeClock) -> None:
    with agent_run("agent", budget=Budget(max_seconds=10)):
        clock.advance(8)
    assert codes(kept, WARNING) == ["max_seconds"]
    with agent_run("agent", budget=Budget(max_seconds=10)):
        clock.advance(7)
    assert codes(kept, WARNING) == ["max_seconds"]


async def test_warnings_come_before_an_interrupt(kept: Capture) -> None:
    with pytest.raises(BudgetExceeded):
        async with agent_run("agent", budget=Budget(max_seconds=0.05)):
            await asyncio.sleep(20)
    assert [event.name for event in kept.span("invoke_agent agent").events] == [WARNING, EXCEEDED]


def test_warnings_of_a_cap_name_the_tool(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_calls_per_tool={"search": 5, "ticket": 1})) as run:
        for _ in range(3):
            use("search")
        assert events(kept, WARNING) == []
        for _ in range(2):
            use("search")
        use("ticket")
        run.budget.update(max_calls_per_tool={"search": 6, "ticket": 1})
        use("search")
    found = [
        (event["gen_ai.tool.name"], event["otel_agent.limit"], event["otel_agent.limit.used"])
        for event in events(kept, WARNING)
    ]
    assert found == [("search", 5, 4), ("ticket", 1, 1), ("search", 6, 6)]
    assert set(codes(kept, WARNING)) == {"max_calls_per_tool"}


# observe mode


def test_observe_mode_tells_of_each_tools_cap(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_calls_per_tool={"search": 1, "ticket": 0}), mode="observe"):
        for _ in range(3):
            use("search")
            use("ticket")
    told = [(event["gen_ai.tool.name"], event["otel_agent.limit"]) for event in events(kept, EXCEEDED)]
    assert told == [("ticket", 0), ("search", 1)]


def test_observe_mode_counts_everything_and_raises_nothing(kept: Capture, clock: FakeClock) -> None:
    limits = Budget(
        max_steps=1,
        max_tool_calls=2,
        max_tokens=10,
        max_usd=0,
        max_seconds=1,
        max_calls_per_tool={"search": 1},
        max_repeats=1,
    )
    with agent_run("agent", budget=limits, mode="observe") as run:
        clock.advance(5)
        for _ in range(3):
            ask(model="gpt-5-mini")
            ask(model="nobody-knows")
            use("search")
        with tool_calls([("search", 1), ("search", 1)]) as slots:
            assert [slot.denied for slot in slots] == [None, None]
    assert (run.result.usage.steps, run.result.usage.tool_calls) == (6, 3)
    assert run.result.stop_reason == "finish"
    would_have = ["max_seconds", "max_usd", "max_steps", "unpriced_model", "max_tokens", "max_calls_per_tool"]
    assert sorted(codes(kept, EXCEEDED)) == sorted([*would_have, "loop_detected", "max_tool_calls"])
    assert {event["otel_agent.budget.mode"] for event in events(kept, EXCEEDED)} == {"observe"}


async def test_observe_mode_interrupts_nothing() -> None:
    async with agent_run(budget=Budget(max_seconds=0.01), mode="observe") as run:
        await asyncio.sleep(0.05)
    assert run.result.stop_reason == "finish"


def test_observe_mode_leaves_an_explicit_stop_alone() -> None:
    with agent_run(mode="observe") as run:
        run.stop("killed_global")
        with pytest.raises(AgentStop):
            ask()
    assert run.result.stop_reason == "killed_global"


def test_observe_mode_of_a_child_does_not_lift_its_parents_limits() -> None:
    with agent_run(budget=Budget(max_steps=1)), agent_run(budget=Budget(max_steps=0), mode="observe"):
        assert passes(ask) == 1


def test_observe_mode_is_switched_on_for_a_whole_process() -> None:
    source = (
        "from otel_agent import *\n"
        "with agent_run(budget=Budget(max_steps=0)) as run:\n"
        "    with llm_call('m') as call: call.record(input_tokens=1, output_tokens=1)\n"
        "print(run.mode, run.result.usage.steps)\n"
    )
    env = {"OTEL_AGENT_MODE": "observe", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["observe", "1"], done.stderr


def test_observe_mode_of_the_environment_yields_to_the_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_MODE", "observe")
    with agent_run(budget=Budget(max_steps=1)):
        assert passes(ask, 5) == 5
    with agent_run(budget=Budget(max_steps=1), mode="enforce"):
        assert passes(ask, 5) == 1


# changing limits


def test_changing_limits_raises_or_lowers_them_while_a_run_is_open() -> None:
    with agent_run(budget=Budget(max_steps=1, max_tool_calls=10)) as run:
        ask()
        run.budget.update(max_steps=3, max_tool_calls=1)
        assert run.remaining().steps == 2
        ask()
        use()
        with pytest.raises(BudgetExceeded) as caught:
            use()
    assert (caught.value.reason, caught.value.limit) == ("max_tool_calls", 1)


def test_changing_limits_to_none_takes_them_away() -> None:
    with agent_run(budget=Budget(max_steps=1, max_usd=1)) as run:
        run.budget.update(max_steps=None, max_usd=None)
        assert (run.remaining().steps, run.remaining().usd) == (None, None)
        assert passes(ask, 5) == 5
    assert run.budget.limits == Budget()


def test_changing_limits_tells_old_new_and_who(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_steps=1)) as run:
        run.budget.update(max_steps=5, max_usd="0.75", actor="on-call")
    told = [
        {name: event.get(f"otel_agent.{name}") for name in ("code", "limit.old", "limit.new", "actor")}
        for event in events(kept, CHANGED)
    ]
    assert told == [
        {"code": "max_steps", "limit.old": 1, "limit.new": 5, "actor": "on-call"},
        {"code": "max_usd", "limit.old": None, "limit.new": 0.75, "actor": "on-call"},
    ]
    assert [event.name for event in kept.span("invoke_agent agent").events] == [CHANGED] * 2
    assert kept.span("invoke_agent agent").attributes["otel_agent.budget.steps.limit"] == 5


def test_changing_limits_by_mistake_changes_nothing() -> None:
    with agent_run(budget=Budget(max_steps=1)) as run:
        for wrong in ({"max_steps": -1}, {"max_steps": 5, "max_usd": "much"}, {"max_step": 5}, {"actor": 5}):
            with pytest.raises(InvalidSetting):
                run.budget.update(**wrong)
        assert run.budget.limits == Budget(max_steps=1)


def test_changing_limits_warns_anew_for_that_limit_only(kept: Capture) -> None:
    with agent_run(budget=Budget(max_steps=5, max_tool_calls=5)) as run:
        for _ in range(4):
            ask()
            use()
        assert codes(kept, WARNING) == ["max_steps", "max_tool_calls"]
        run.budget.update(max_steps=10)
        for _ in range(4):
            ask()
        use()
    assert codes(kept, WARNING) == ["max_steps", "max_tool_calls", "max_steps"]


def test_changing_limits_of_tools_and_repeats_holds_from_the_next_call_on() -> None:
    with agent_run() as run:
        use()
        run.budget.update(max_calls_per_tool={"search": 1})
        with pytest.raises(ToolDenied):
            use()
        run.budget.update(max_calls_per_tool={}, max_repeats=1)
        use()
        with pytest.raises(AgentStop, match="loop_detected"):
            use()
    assert current_run() is None
