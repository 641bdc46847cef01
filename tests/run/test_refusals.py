"""A refused call has a span of its own that says what was decided and why, and counts nowhere else."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from otel_agent import AgentStop, Budget, BudgetExceeded, Price, ToolDenied, agent_run, llm_call, tool_call, tool_calls
from otel_agent.testing import Capture
from tests.run.conftest import SetPrices
from tests.support.calls import ask, use


def decision(span: Any) -> dict[str, Any]:
    """What a span says of a decision, without the common prefix."""
    names = ("decision", "decision.reason", "limit", "limit.used", "stop_reason")
    return {name: span.attributes[f"otel_agent.{name}"] for name in names if f"otel_agent.{name}" in span.attributes}


def test_a_refused_llm_call(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_steps=0)) as run, pytest.raises(BudgetExceeded):
        ask(provider="openai", max_output_tokens=5)
    span = kept.span("chat some-model")
    assert decision(span) == {
        "decision": "deny",
        "decision.reason": "max_steps",
        "limit": 0,
        "limit.used": 0,
        "stop_reason": "max_steps",
    }
    assert (span.kind, span.attributes["gen_ai.provider.name"]) == (SpanKind.CLIENT, "openai")
    assert span.attributes["otel_agent.run.id"] == run.id
    assert span.parent.span_id == kept.span("invoke_agent agent").context.span_id
    assert (span.attributes["error.type"], span.status.is_ok, span.status.is_unset) == ("max_steps", False, False)
    assert not [name for name in span.attributes if "usage" in name or "cost" in name]


def test_a_refused_call_for_money_says_so_in_usd(kept: Capture, prices: SetPrices) -> None:
    prices(known=Price(input=0, output=0, per_call="0.3"))
    with agent_run(budget=Budget(max_usd="0.5")), contextlib.suppress(BudgetExceeded):
        ask(model="known")
        ask(model="known")
    refused = kept.spans[1]
    assert (decision(refused)["limit"], decision(refused)["limit.used"]) == (0.5, 0.3)


def test_a_denied_tool_call(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_calls_per_tool={"search": 1})) as run:
        use("search")
        with pytest.raises(ToolDenied):
            use("search", call_id="call_2")
    first, refused, _ = kept.spans
    assert decision(first) == {"decision": "allow"}
    assert decision(refused) == {
        "decision": "deny",
        "decision.reason": "max_calls_per_tool",
        "limit": 1,
        "limit.used": 1,
    }
    attributes = refused.attributes
    assert (attributes["gen_ai.tool.call.id"], attributes["gen_ai.agent.name"]) == ("call_2", "agent")
    assert attributes["otel_agent.run.id"] == run.id
    assert refused.status.description is None


def test_every_denied_call_of_a_batch(kept: Capture) -> None:
    with agent_run(budget=Budget(max_tool_calls=1)), tool_calls([("search", 1), ("search", 2), ("other", 3)]):
        pass
    assert [(span.name, decision(span)["decision.reason"]) for span in kept.spans[:-1]] == [
        ("execute_tool search", "max_tool_calls"),
        ("execute_tool other", "max_tool_calls"),
    ]


def test_a_call_refused_by_what_is_in_flight_is_not_where_the_run_stopped(kept: Capture) -> None:
    with agent_run(budget=Budget(max_steps=1)), llm_call("flying"), pytest.raises(BudgetExceeded):
        ask()
    assert "stop_reason" not in decision(kept.span("chat some-model"))


def test_a_call_refused_by_an_explicit_stop_has_no_limit(kept: Capture) -> None:
    with agent_run() as run:
        run.stop("killed_global")
        with pytest.raises(AgentStop):
            use("search")
    assert decision(kept.span("execute_tool search")) == {
        "decision": "deny",
        "decision.reason": "killed_global",
        "stop_reason": "killed_global",
    }


def test_refused_calls_are_no_durations_tokens_or_costs(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_steps=1, max_calls_per_tool={"search": 0})):
        with contextlib.suppress(ToolDenied):
            use("search")
        ask()
        with contextlib.suppress(BudgetExceeded):
            ask()
    metrics = kept.metrics()
    assert "gen_ai.execute_tool.duration" not in metrics
    assert [point.count for point in metrics["gen_ai.client.inference.duration"]] == [1]
    assert [point.value for point in metrics["gen_ai.client.inference.usage.input_tokens"]] == [10]


def test_denials_are_counted_and_told(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_calls_per_tool={"search": 0})) as run:
        for _ in range(2):
            with contextlib.suppress(ToolDenied):
                use("search")
    (point,) = kept.metrics()["otel_agent.tool.denials"]
    assert point.value == 2
    assert dict(point.attributes) == {
        "gen_ai.agent.name": "agent",
        "gen_ai.tool.name": "search",
        "otel_agent.decision.reason": "max_calls_per_tool",
    }
    told = [event.log_record for event in kept.events if event.log_record.event_name == "otel_agent.policy.decision"]
    assert [record.attributes["gen_ai.tool.name"] for record in told] == ["search"] * 2
    refused = [record for record in kept.records.calls if record.decision == "deny"]
    assert [(record.name, record.reason, record.run_id) for record in refused] == [
        ("search", "max_calls_per_tool", run.id)
    ] * 2


def test_the_call_at_which_a_run_stopped_says_the_runs_stop_reason(kept: Capture) -> None:
    with agent_run(budget=Budget(max_tool_calls=1)), contextlib.suppress(BudgetExceeded):
        use("search")
        use("other")
    assert decision(kept.span("execute_tool other"))["stop_reason"] == "max_tool_calls"


def test_a_tool_that_never_ran_has_nothing_of_its_work() -> None:
    with agent_run(budget=Budget(max_tool_calls=0)), pytest.raises(BudgetExceeded), tool_call("search"):
        pytest.fail("the tool ran")
