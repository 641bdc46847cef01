"""Stops: that they stick, how a run asks for its own, and what passes once after them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    FinalCall,
    InvalidSetting,
    LoopDetected,
    Price,
    StopIgnored,
    agent_run,
    current_run,
)
from otel_agent.testing import Capture, FakeClock
from tests.run.conftest import SetPrices
from tests.support.calls import ask, passes, use

# a stop is sticky


def test_a_stop_is_sticky_every_later_gate_raises_it() -> None:
    with agent_run(budget=Budget(max_steps=1)) as run:
        ask()
        for gate in (ask, use):
            with pytest.raises(BudgetExceeded) as caught:
                gate()
            assert (caught.value.reason, caught.value.run_id) == ("max_steps", run.id)
    assert (run.result.usage.steps, run.result.usage.tool_calls) == (1, 0)


def test_a_stop_is_sticky_when_swallowed_and_the_value_is_passed_on() -> None:
    @agent_run(budget=Budget(max_steps=0))
    def agent() -> str:
        with contextlib.suppress(BudgetExceeded):
            ask()
        return "what there is"

    result = agent.run()
    assert (result.stop_reason, result.output, result.error) == ("max_steps", "what there is", None)
    assert agent() == "what there is"


def test_a_stop_is_sticky_also_when_the_limit_is_raised_or_another_one_is_hit() -> None:
    with agent_run(budget=Budget(max_steps=0, max_tool_calls=0)) as run:
        with pytest.raises(BudgetExceeded):
            ask()
        run.budget.update(max_steps=10)
        for gate in (use, ask):
            with pytest.raises(BudgetExceeded, match="max_steps"):
                gate()
    assert run.result.stop_reason == "max_steps"


def test_a_stop_is_sticky_enough_to_end_who_ignores_it() -> None:
    swallowed = 0

    @agent_run(budget=Budget(max_steps=0))
    def agent() -> None:
        nonlocal swallowed
        while True:
            with contextlib.suppress(Exception):
                swallowed += 1
                ask()

    result = agent.run()
    assert swallowed == 4
    assert isinstance(result.error, BudgetExceeded)
    assert result.stop_reason == "max_steps"
    with pytest.raises(BudgetExceeded):
        agent()


def test_a_stop_is_sticky_up_to_the_border_of_the_run_it_belongs_to() -> None:
    @agent_run("inner")
    def inner() -> None:
        while True:
            with contextlib.suppress(Exception):
                ask()

    seen: list[type[BaseException]] = []

    @agent_run("outer", budget=Budget(max_steps=0))
    def outer() -> None:
        try:
            inner()
        except BaseException as error:
            seen.append(type(error))
            raise

    result = outer.run()
    assert seen == [StopIgnored]
    assert isinstance(result.error, BudgetExceeded)
    assert (result.stop_reason, result.error.run_id) == ("max_steps", result.run_id)


async def test_a_stop_is_sticky_for_each_task_on_its_own() -> None:
    async def once() -> None:
        with contextlib.suppress(BudgetExceeded):
            ask()

    async with agent_run(budget=Budget(max_steps=0)) as run:
        await asyncio.gather(*(once() for _ in range(20)))
    assert run.result.stop_reason == "max_steps"


# the run's own stop


def test_run_stop_marks_and_the_next_gate_raises() -> None:
    with agent_run() as run:
        ask()
        run.stop("needs_human", "asked for a person")
        with pytest.raises(AgentStop) as caught:
            use()
    assert (caught.value.reason, caught.value.detail) == ("needs_human", "asked for a person")
    assert (run.result.stop_reason, run.result.stop_detail) == ("needs_human", "asked for a person")
    assert run.result.usage.tool_calls == 0


def test_run_stop_without_another_gate_is_the_reason_of_a_run_that_returns() -> None:
    @agent_run
    def agent() -> str:
        current_run().stop("handoff")
        return "to sales"

    result = agent.run()
    assert (result.stop_reason, result.output) == ("handoff", "to sales")


def test_run_stop_keeps_the_first_reason() -> None:
    with agent_run() as run:
        run.stop("handoff")
        run.stop("refusal")
    assert run.result.stop_reason == "handoff"


def test_run_stop_with_a_code_that_means_done_is_no_error(kept: Capture) -> None:
    @agent_run("agent")
    def agent() -> None:
        current_run().stop("handoff")
        ask()

    assert agent.run().stop_reason == "handoff"
    span = kept.span("invoke_agent agent")
    assert (span.status.is_unset, "error.type" in span.attributes) == (True, False)


# graceful finish


def final_answer() -> None:
    run = current_run()
    assert run is not None
    with run.final_call("some-model", max_output_tokens=200) as call:
        call.record(input_tokens=50, output_tokens=100)


GRACEFUL = Budget(max_steps=3, max_tokens=1000, max_usd=1, max_repeats=1, final_call=FinalCall(tokens=300, usd="0.2"))


def test_graceful_finish_holds_its_part_from_the_start(prices: SetPrices) -> None:
    prices(fallback=Price(input=1, output=1))
    with agent_run(budget=GRACEFUL) as run:
        left = run.remaining()
        assert (left.steps, left.tokens, str(left.usd)) == (2, 700, "0.8")
        assert passes(ask) == 2


def test_graceful_finish_passes_once_after_a_budget_stop(prices: SetPrices) -> None:
    prices(fallback=Price(input=1, output=1))
    with agent_run(budget=GRACEFUL) as run:
        assert passes(ask) == 2
        final_answer()
        with pytest.raises(BudgetExceeded):
            final_answer()
    assert (run.result.stop_reason, run.result.usage.steps) == ("max_steps", 3)


def test_graceful_finish_passes_once_even_when_asked_for_twice_at_once() -> None:
    with agent_run(budget=Budget(max_steps=9, max_tool_calls=0, final_call=FinalCall(tokens=10))) as run:
        with pytest.raises(BudgetExceeded):
            use()
        first, second = run.final_call("some-model"), run.final_call("some-model")
        with first as call:
            call.record(input_tokens=1, output_tokens=1)
        with pytest.raises(BudgetExceeded), second:
            pytest.fail("a second final call passed")


def test_graceful_finish_passes_after_a_loop_stop(prices: SetPrices) -> None:
    prices(fallback=Price(input=1, output=1))
    with agent_run(budget=GRACEFUL) as run:
        use()
        with pytest.raises(LoopDetected):
            use()
        final_answer()
    assert (run.result.stop_reason, run.result.usage.steps) == ("loop_detected", 1)


def test_graceful_finish_is_not_for_a_deadline_or_another_stop(clock: FakeClock) -> None:
    keeping = FinalCall(tokens=300)
    with agent_run(budget=Budget(max_seconds=10, final_call=keeping)):
        clock.advance(11)
        for _ in range(2):
            with pytest.raises(BudgetExceeded, match="max_seconds"):
                final_answer()
            current_run().budget.update(max_seconds=1000)
    with agent_run(budget=Budget(final_call=keeping)) as run:
        run.stop("killed_global")
        with pytest.raises(AgentStop, match="killed_global"):
            final_answer()
    assert run.result.usage.steps == 0


def test_graceful_finish_that_does_not_fit_may_be_tried_smaller(prices: SetPrices) -> None:
    prices(fallback=Price(input=1, output=1))
    with agent_run(budget=GRACEFUL) as run:
        assert passes(lambda: ask(300, 50)) == 2
        with pytest.raises(BudgetExceeded), run.final_call("some-model", max_output_tokens=301):
            pytest.fail("more than what was kept")
        final_answer()


def test_graceful_finish_keeps_its_part_in_every_ancestor() -> None:
    with agent_run("outer", budget=Budget(max_steps=3)) as outer:
        with agent_run("inner", budget=Budget(max_steps=2, final_call=FinalCall())):
            assert outer.remaining().steps == 2
            assert passes(ask) == 1
            assert outer.remaining().steps == 1
            final_answer()
        assert passes(ask) == 1


def test_graceful_finish_passes_in_the_run_that_kept_it_only() -> None:
    with agent_run("outer", budget=Budget(max_steps=5, final_call=FinalCall())) as outer:
        with agent_run("inner", budget=Budget(max_tool_calls=0)):
            with pytest.raises(BudgetExceeded):
                use()
            with pytest.raises(InvalidSetting, match="in the run that kept it"), outer.final_call("some-model"):
                pytest.fail("it passed in another run that was stopped")
        with outer.final_call("some-model") as call:
            call.record(input_tokens=1, output_tokens=1)
    assert outer.result.usage.steps == 1


def test_graceful_finish_needs_a_budget_that_keeps_something() -> None:
    with agent_run() as run, pytest.raises(InvalidSetting, match="final_call"):
        run.final_call("some-model")
    with agent_run(budget=Budget(max_steps=0)) as run:
        assert passes(ask) == 0
        with pytest.raises(BudgetExceeded, match="max_steps"):
            run.final_call("some-model")
