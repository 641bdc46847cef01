"""What counts as a step, what tokens and money mean, and what a call costs."""

from __future__ import annotations

import contextlib
import decimal
import sys
from decimal import Decimal
from typing import Any

import pytest

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    FinalCall,
    Price,
    StopCode,
    agent_run,
    llm_call,
    tool_call,
)
from otel_agent.testing import Capture
from tests.run.conftest import SetPrices
from tests.support.calls import ask, passes, use

# a step


def test_a_step_is_one_llm_call_sent() -> None:
    with agent_run() as run:
        ask()
        use()
        ask()
    assert (run.result.usage.steps, run.result.usage.tool_calls) == (2, 1)


def test_a_step_is_an_attempt_also_one_that_failed_or_timed_out() -> None:
    with agent_run() as run:
        for error in (ConnectionError, TimeoutError):
            with contextlib.suppress(error), llm_call("some-model"):
                raise error
    assert run.result.usage.steps == 2


def test_a_step_is_not_what_was_certainly_never_sent() -> None:
    with agent_run(budget=Budget(max_steps=1)) as run:
        with llm_call("some-model") as call:
            call.cancel()
        ask()
    assert run.result.usage.steps == 1


def test_a_step_and_a_tool_call_have_limits_of_their_own() -> None:
    limits = Budget(max_steps=2, max_tool_calls=3)
    with agent_run(budget=limits) as run:
        assert [passes(use), passes(ask)] == [3, 0]
    assert run.result.stop_reason == "max_tool_calls"
    with agent_run(budget=limits) as run:
        use()
        assert passes(ask) == 2
    assert run.result.stop_reason == "max_steps"


# tokens


def test_tokens_are_input_and_output_as_billed_the_parts_inside() -> None:
    with agent_run(budget=Budget(max_tokens=150)) as run:
        with llm_call("some-model") as call:
            call.record(
                input_tokens=100, output_tokens=20, cached_input_tokens=60, cache_write_tokens=30, reasoning_tokens=15
            )
        assert run.remaining().tokens == 30
    usage = run.result.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (100, 20, 120)
    assert (usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (60, 30, 15)


OPENAI = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 15},
}
ANTHROPIC = {
    "input_tokens": 10,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 30,
    "output_tokens": 20,
    "output_tokens_details": {"thinking_tokens": 15},
}


@pytest.mark.parametrize(
    "response", [{"object": "chat.completion", "usage": OPENAI}, {"type": "message", "usage": ANTHROPIC}]
)
def test_tokens_mean_the_same_for_every_provider(response: dict[str, Any]) -> None:
    with agent_run() as run, llm_call("some-model") as call:
        call.record(response)
    usage = run.result.usage
    assert (usage.input_tokens, usage.output_tokens) == (100, 20)
    assert (usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (60, 30, 15)


def test_tokens_that_nobody_spoke_of_are_none_not_0() -> None:
    with agent_run() as run:
        ask()
    usage = run.result.usage
    assert (usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (None, None, None)
    with agent_run() as run, llm_call("some-model") as call:
        call.record(input_tokens=1, output_tokens=1, cached_input_tokens=0)
    assert run.result.usage.cached_input_tokens == 0


# money


def test_money_of_one_dollar_is_a_hundred_times_a_cent() -> None:
    with agent_run(budget=Budget(max_usd=1.00)) as run:
        assert passes(lambda: use(cost_usd=0.01)) == 100
    assert run.result.usage.cost_usd == 1


def test_money_of_one_dollar_is_a_hundred_llm_calls_at_a_cent(prices: SetPrices) -> None:
    prices(flat=Price(input=0, output=0, per_call="0.01"))
    with agent_run(budget=Budget(max_usd="1.00")) as run:
        assert passes(lambda: ask(model="flat", max_output_tokens=5)) == 100
    assert run.result.usage.cost_usd == 1


def test_money_is_rounded_up_to_a_millionth_for_each_call(prices: SetPrices) -> None:
    prices(cheap=Price(input="0.1", output=0))
    with agent_run() as run:
        for _ in range(3):
            ask(1, 0, model="cheap")
    assert run.result.usage.cost_usd == Decimal("0.000003")


def test_money_at_the_edge_is_decimal() -> None:
    with agent_run(budget=Budget(max_usd=0.3)) as run:
        use(cost_usd=0.1)
        assert run.remaining().usd == Decimal("0.2")
        with pytest.raises(BudgetExceeded) as caught:
            use(cost_usd=0.25)
    assert (caught.value.limit, caught.value.used) == (Decimal("0.3"), Decimal("0.1"))
    for amount in (caught.value.limit, caught.value.used, run.result.usage.cost_usd):
        assert isinstance(amount, Decimal)


def test_money_keeps_its_digits_in_any_decimal_context() -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        context.traps[decimal.Inexact] = True
        with agent_run(budget=Budget(max_usd="123.456789", final_call=FinalCall(usd="0.456789"))) as run:
            assert run.remaining().usd == 123
            use(cost_usd="100.000001")
            assert run.remaining().usd == Decimal("22.999999")
    assert run.result.usage.cost_usd == Decimal("100.000001")


# price


def cost_of_a_million(model: str) -> Decimal | None:
    """What a million input tokens of a model cost."""
    with agent_run() as run:
        ask(1_000_000, 0, model=model)
    return run.result.usage.cost_usd


def test_price_is_the_users_own_else_the_published_one(prices: SetPrices) -> None:
    assert cost_of_a_million("gpt-5-mini") == Decimal("0.25")
    prices(**{"gpt-5-mini": Price(input=7, output=1)})
    assert cost_of_a_million("gpt-5-mini") == 7


def test_price_of_an_unknown_model_is_none_never_0(kept: Capture) -> None:
    assert cost_of_a_million("nobody-knows") is None
    attributes = kept.span("chat nobody-knows").attributes
    assert "otel_agent.cost.usd" not in attributes
    assert attributes["otel_agent.cost.source"] == "unknown"


def test_price_is_looked_up_once_for_each_model() -> None:
    seen: list[str] = []

    def profile(frame: Any, event: str, arg: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("genai_prices"):
            seen.append(frame.f_code.co_name)

    with agent_run(budget=Budget(max_usd=10)):
        ask(model="gpt-4o-mini", provider="openai")
        sys.setprofile(profile)
        try:
            ask(model="gpt-4o-mini", provider="openai")
            known = len(seen)
            ask(model="gpt-4.1-mini", provider="openai")
        finally:
            sys.setprofile(None)
    assert known == 0
    assert seen


# unknown price


def test_unknown_price_refuses_that_call_only(prices: SetPrices) -> None:
    prices(known=Price(input=1, output=1))
    with agent_run(budget=Budget(max_usd=1)) as run:
        with pytest.raises(BudgetExceeded) as caught:
            ask(model="nobody-knows")
        ask(model="known")
    assert (caught.value.reason, caught.value.detail) == (StopCode.UNPRICED_MODEL, "nobody-knows")
    assert (run.result.stop_reason, run.result.usage.steps) == ("finish", 1)


def test_unknown_price_uncaught_is_the_stop_reason() -> None:
    @agent_run
    def agent() -> None:
        ask(model="nobody-knows")

    result = agent.using(budget=Budget(max_usd=1)).run()
    assert result.stop_reason == "unpriced_model"
    assert result.error is not None
    assert result.error.reason == "unpriced_model"


def test_unknown_price_needs_no_refusal_without_a_limit_of_money() -> None:
    with agent_run(budget=Budget(max_tokens=100_000)) as run:
        ask(model="nobody-knows")
    assert run.result.usage.cost_usd is None


def test_unknown_price_is_refused_under_an_ancestors_limit_too() -> None:
    above = agent_run("outer", budget=Budget(max_usd=1))
    with above, agent_run("inner", mode="observe"), pytest.raises(BudgetExceeded, match="unpriced_model"):
        ask(model="nobody-knows")


def test_unknown_price_is_the_fallback_where_there_is_one(prices: SetPrices, kept: Capture) -> None:
    prices(fallback=Price(input=3, output=0))
    with agent_run(budget=Budget(max_usd=5)) as run:
        ask(1_000_000, 0, model="nobody-knows", max_output_tokens=1)
    assert run.result.usage.cost_usd == 3
    assert kept.span("chat nobody-knows").attributes["otel_agent.cost.source"] == "fallback"


def test_unknown_price_of_the_response_settles_at_the_requested_models(prices: SetPrices) -> None:
    prices(known=Price(input=3, output=0))
    with agent_run(budget=Budget(max_usd=5)) as run, llm_call("known", max_output_tokens=1) as call:
        call.record(input_tokens=1_000_000, output_tokens=0, model="nobody-knows")
    assert run.result.usage.cost_usd == 3


def test_unknown_price_is_no_use_of_0(kept: Capture) -> None:
    with agent_run("agent", budget=Budget(max_usd=1), mode="observe"):
        ask(model="nobody-knows")
    for name in ("invoke_agent agent", "chat nobody-knows"):
        attributes = kept.span(name).attributes
        assert attributes["otel_agent.budget.usd.limit"] == 1
        assert "otel_agent.budget.usd.used" not in attributes


def test_tokens_of_an_input_that_nobody_spoke_of_are_not_0_on_a_span(kept: Capture) -> None:
    with agent_run("agent"), llm_call("some-model", max_output_tokens=10):
        pass
    attributes = kept.span("chat some-model").attributes
    assert "gen_ai.usage.input_tokens" not in attributes
    assert attributes["gen_ai.usage.output_tokens"] == 10
    with agent_run("agent"), llm_call("other-model", estimated_input_tokens=0, max_output_tokens=10):
        pass
    assert kept.span("chat other-model").attributes["gen_ai.usage.input_tokens"] == 0


def test_unknown_price_does_not_hide_an_earlier_stop() -> None:
    with agent_run(budget=Budget(max_usd=1)) as run:
        run.stop("handoff")
        with pytest.raises(AgentStop, match="handoff"):
            ask(model="nobody-knows")


def test_unknown_price_of_a_priced_tool_is_none_of_its_business(prices: SetPrices) -> None:
    prices()
    with agent_run(budget=Budget(max_usd=1)) as run, tool_call("search", cost_usd="0.5"):
        pass
    assert run.result.usage.cost_usd == Decimal("0.5")
