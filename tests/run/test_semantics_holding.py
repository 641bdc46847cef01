"""When a call is checked, what it holds until it ends, and what becomes of that."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    Price,
    agent_run,
    current_call,
    current_run,
    llm_call,
    tool_call,
)
from otel_agent.testing import Capture
from tests.run.conftest import SetPrices
from tests.support.calls import ask, passes, use

# when checked


def test_when_checked_calls_in_flight_count_already() -> None:
    with agent_run(budget=Budget(max_steps=3)) as run, contextlib.ExitStack() as flying:
        for _ in range(3):
            flying.enter_context(llm_call("some-model"))
        with pytest.raises(BudgetExceeded):
            ask()
    assert run.result.usage.steps == 3


async def test_when_checked_tasks_at_once_do_not_overshoot() -> None:
    sent = 0

    async def one() -> None:
        nonlocal sent
        with contextlib.suppress(BudgetExceeded):
            async with llm_call("some-model", max_output_tokens=10):
                sent += 1
                await asyncio.sleep(0)

    async with agent_run(budget=Budget(max_tokens=70)) as run:
        await asyncio.gather(*(one() for _ in range(20)))
    assert (sent, run.result.usage.steps) == (7, 7)


def test_when_checked_the_actual_use_replaces_what_was_held() -> None:
    with agent_run(budget=Budget(max_tokens=1000)) as run:
        with llm_call("some-model", max_output_tokens=900) as call:
            assert run.remaining().tokens == 100
            call.record(input_tokens=20, output_tokens=10)
        assert run.remaining().tokens == 970


def test_when_checked_what_was_not_sent_gives_back_what_it_held() -> None:
    with agent_run(budget=Budget(max_steps=1, max_tokens=1000)) as run:
        with llm_call("some-model", max_output_tokens=900) as call:
            call.cancel()
        assert (run.remaining().steps, run.remaining().tokens) == (1, 1000)


# what an LLM call reserves


def held(run_tokens: int = 10_000, *, default: int = 4096, **keywords: Any) -> int:
    """How many tokens a call holds while it is open."""
    budget = Budget(max_tokens=run_tokens, default_output_tokens=default)
    with agent_run(budget=budget) as run, llm_call("some-model", **keywords) as call:
        left = run.remaining().tokens
        call.cancel()
    assert left is not None
    return run_tokens - left


def test_what_an_llm_call_reserves_is_a_step_its_tokens_and_their_price(prices: SetPrices) -> None:
    prices(known=Price(input=1, output=10))
    with agent_run(budget=Budget(max_steps=5, max_tokens=10_000, max_usd=1)) as run:
        with llm_call("known", estimated_input_tokens=1000, max_output_tokens=500) as call:
            left = run.remaining()
            call.record(input_tokens=1000, output_tokens=500)
        assert (left.steps, left.tokens, left.usd) == (4, 8500, Decimal("0.994"))
        assert run.remaining() == left


def test_what_an_llm_call_reserves_for_input_comes_from_its_messages() -> None:
    short = held(messages=[{"role": "user", "content": "Hello"}], max_output_tokens=100)
    long = held(messages=[{"role": "user", "content": "Hello " * 500}], max_output_tokens=100)
    assert 100 < short < 200
    assert 700 < long < 1200
    assert held(messages="Hello " * 500, estimated_input_tokens=7, max_output_tokens=100) == 107


def test_what_an_llm_call_reserves_without_any_estimate_is_its_output() -> None:
    assert held(max_output_tokens=100) == 100


def test_what_an_llm_call_reserves_without_a_maximum_is_the_default() -> None:
    assert held() == 4096
    assert held(default=300, estimated_input_tokens=10) == 310


def test_what_an_llm_call_reserves_without_a_maximum_fits_what_is_left(prices: SetPrices) -> None:
    prices(known=Price(input=0, output=10))
    with agent_run(budget=Budget(max_tokens=1000)), llm_call("known", estimated_input_tokens=300) as call:
        assert call.max_output_tokens == 700
    with agent_run(budget=Budget(max_usd="0.01")), llm_call("known", estimated_input_tokens=300) as call:
        assert call.max_output_tokens == 1000


def test_what_an_llm_call_reserves_with_a_maximum_is_not_cut() -> None:
    with agent_run(budget=Budget(max_tokens=1000)) as run, pytest.raises(BudgetExceeded) as caught:
        ask(max_output_tokens=1001)
    assert (caught.value.reason, caught.value.limit, caught.value.used) == ("max_tokens", 1000, 0)
    assert run.result.usage.steps == 0


def test_what_an_llm_call_reserves_and_overruns_is_settled_in_full_and_reported(kept: Capture) -> None:
    with agent_run(budget=Budget(max_tokens=1000)) as run:
        ask(5, 300, max_output_tokens=100)
        assert run.usage.total_tokens == 305
        ask(5, 100, max_output_tokens=100)
        ask(5, 900, max_output_tokens=100)
        assert run.usage.total_tokens == 1315
        with pytest.raises(BudgetExceeded) as caught:
            ask(max_output_tokens=1)
    assert (caught.value.limit, caught.value.used) == (1000, 1315)
    spans = [span for span in kept.spans if span.name.startswith("chat")]
    assert [span.attributes.get("otel_agent.usage.overrun") for span in spans] == [205, 5, 805, None]


def test_what_an_llm_call_reserves_says_what_still_fits() -> None:
    with llm_call("some-model") as call:
        assert call.max_output_tokens is None
    with agent_run(budget=Budget(max_tokens=1000)), llm_call("some-model", max_output_tokens=50) as call:
        assert call.max_output_tokens == 50


# refused only by others' holds


def test_refused_only_by_others_holds_is_pending_and_marks_nothing() -> None:
    with agent_run(budget=Budget(max_tokens=100)) as run:
        with llm_call("some-model", max_output_tokens=80) as call:
            with pytest.raises(BudgetExceeded) as caught:
                ask(max_output_tokens=50)
            call.record(input_tokens=1, output_tokens=1)
        ask(max_output_tokens=50)
    assert caught.value.pending
    assert (run.result.stop_reason, run.result.usage.steps) == ("finish", 2)


def test_refused_only_by_others_holds_is_not_what_a_spent_limit_is() -> None:
    with agent_run(budget=Budget(max_tokens=100)):
        ask(50, 50)
        with pytest.raises(BudgetExceeded) as caught:
            ask(max_output_tokens=50)
    assert not caught.value.pending


def test_refused_only_by_others_holds_never_counts_as_an_ignored_stop() -> None:
    with agent_run(budget=Budget(max_tool_calls=1)) as run, contextlib.ExitStack() as flying:
        flying.enter_context(llm_call("some-model"))
        run.budget.update(max_steps=1)
        assert sum(passes(ask) for _ in range(10)) == 0
    assert run.result.stop_reason == "finish"


def test_refused_only_by_others_holds_uncaught_is_the_stop_reason() -> None:
    @agent_run(budget=Budget(max_steps=1))
    def agent() -> None:
        with llm_call("some-model"):
            ask()

    result = agent.run()
    assert result.stop_reason == "max_steps"
    assert isinstance(result.error, BudgetExceeded)
    assert result.error.pending


# no record


def test_no_record_counts_as_sent_at_its_estimate(kept: Capture) -> None:
    with agent_run(budget=Budget(max_tokens=1000)) as run:
        with llm_call("some-model", estimated_input_tokens=100, max_output_tokens=50):
            pass
        assert run.remaining().tokens == 850
    usage = run.result.usage
    assert (usage.steps, usage.input_tokens, usage.output_tokens, usage.estimated) == (1, 100, 50, True)
    assert kept.span("chat some-model").attributes["otel_agent.usage.estimated"] is True
    assert kept.span("invoke_agent agent").attributes["otel_agent.usage.complete"] is False


def test_no_record_of_one_half_takes_the_estimate_for_the_other() -> None:
    with agent_run() as run, llm_call("some-model", max_output_tokens=50) as call:
        call.record(input_tokens=7)
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (7, 50)
    assert run.result.usage.estimated


def test_no_record_is_not_a_whole_record() -> None:
    with agent_run() as run:
        ask()
    assert not run.result.usage.estimated


@pytest.mark.usefixtures("warnings_anew")
@pytest.mark.parametrize(
    ("budget", "times"), [(Budget(max_tokens=9000), 1), (Budget(max_usd=9), 1), (Budget(max_steps=9), 0)]
)
def test_no_record_warns_once_where_tokens_or_money_are_limited(
    budget: Budget, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "otel_agent"), agent_run(budget=budget):
        for _ in range(3):
            with llm_call("gpt-5-mini", max_output_tokens=10):
                pass
    assert len([record for record in caplog.records if "without a record" in record.message]) == times


@pytest.mark.usefixtures("warnings_anew")
def test_no_record_is_no_surprise_where_the_call_failed(caplog: pytest.LogCaptureFixture) -> None:
    with agent_run(budget=Budget(max_tokens=9000)) as run, contextlib.suppress(TimeoutError), llm_call("some-model"):
        raise TimeoutError
    assert run.result.usage.estimated
    assert "without a record" not in caplog.text


@pytest.mark.usefixtures("warnings_anew")
def test_no_record_is_what_cannot_be_read_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    unread: list[Any] = [iter("abc"), '{"usage": {"input_tokens": 3}}', 5, 6]
    with agent_run() as run:
        for response in unread:
            with llm_call("some-model", max_output_tokens=10) as call:
                call.record(response)
    assert run.result.usage.estimated
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(",")[0] for text in told] == [
        f"record() was given a {name}" for name in ("str_ascii_iterator", "str", "int")
    ]


@pytest.mark.usefixtures("warnings_anew")
def test_what_an_llm_call_reserves_for_messages_that_are_read_once_is_told(caplog: pytest.LogCaptureFixture) -> None:
    messages = iter([{"role": "user", "content": "a" * 4000}])
    with agent_run(budget=Budget(max_tokens=1000)):
        for _ in range(2):
            with llm_call("some-model", messages=messages, max_output_tokens=10) as call:
                call.record(input_tokens=1, output_tokens=1)
    assert next(messages)["role"] == "user"
    (told,) = [record.getMessage() for record in caplog.records]
    assert "can be read once only" in told
    assert "estimated_input_tokens" in told


# streaming


def chunk(usage: dict[str, int] | None = None) -> dict[str, Any]:
    """One event of a streamed answer, as OpenAI's chat API sends it."""
    return {"object": "chat.completion.chunk", "model": "some-model", "choices": [], "usage": usage}


@llm_call("some-model", max_output_tokens=50)
def streamed(last: dict[str, int] | None = None) -> Iterator[dict[str, Any]]:
    yield from [chunk(), chunk(), chunk(last)]


def test_streaming_is_one_call_settled_from_the_final_chunk(kept: Capture) -> None:
    with agent_run(budget=Budget(max_tokens=1000)) as run:
        for number, _ in enumerate(streamed({"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42})):
            assert run.remaining().tokens == 950, number
        assert run.remaining().tokens == 958
    usage = run.result.usage
    assert (usage.steps, usage.input_tokens, usage.output_tokens, usage.estimated) == (1, 30, 12, False)
    assert "gen_ai.response.time_to_first_chunk" in kept.span("chat some-model").attributes


def test_streaming_through_an_object_of_a_client_is_one_call() -> None:
    class Stream:
        def __init__(self) -> None:
            self.chunks = iter([chunk(), chunk({"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42})])

        def __iter__(self) -> Iterator[dict[str, Any]]:
            return self

        def __next__(self) -> dict[str, Any]:
            return next(self.chunks)

    with agent_run(budget=Budget(max_tokens=1000)) as run:
        stream = llm_call("some-model", max_output_tokens=50)(lambda: Stream())()
        assert run.remaining().tokens == 950
        assert len(list(stream)) == 2
    assert (run.result.usage.steps, run.result.usage.total_tokens) == (1, 42)


def test_streaming_that_is_abandoned_settles_at_what_was_held(kept: Capture) -> None:
    with agent_run(budget=Budget(max_tokens=1000)) as run:
        stream = streamed({"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42})
        next(stream)
        stream.close()
        assert run.remaining().tokens == 950
    assert run.result.usage.estimated
    assert kept.span("chat some-model").attributes["otel_agent.usage.estimated"] is True


def test_streaming_that_reports_no_usage_settles_at_what_was_held() -> None:
    with agent_run(budget=Budget(max_tokens=1000)) as run:
        assert len(list(streamed())) == 3
        assert run.remaining().tokens == 950
    assert (run.result.usage.steps, run.result.usage.estimated) == (1, True)


# the lock


class InsideTheGate(str):
    """A tool's name that does something when it is hashed: in the middle of a gate, where its cap is looked up."""

    __slots__ = ("act",)
    act: Callable[[], object] | None

    @classmethod
    def doing(cls, act: Callable[[], object]) -> InsideTheGate:
        name = cls("search")
        name.act = act
        return name

    def __hash__(self) -> int:
        act, self.act = self.act, None
        if act is not None:
            act()
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def test_the_lock_is_not_waited_for_by_a_stream_collected_inside_a_gate() -> None:
    results: list[Any] = []

    def collect_inside() -> None:
        with agent_run(budget=Budget(max_tool_calls=1, max_tokens=1000)) as run:
            streams = [recorded_early()]
            next(streams[0])
            use(InsideTheGate.doing(streams.clear))
            results.append(run.remaining().tokens)

    worker = threading.Thread(target=collect_inside, daemon=True)
    worker.start()
    worker.join(20)
    assert results == [993]


@llm_call("some-model", max_output_tokens=50)
def recorded_early() -> Iterator[dict[str, Any]]:
    current_call().record(input_tokens=3, output_tokens=4)
    yield from [chunk(), chunk()]


@pytest.mark.timeout(30)
def test_the_lock_is_not_waited_for_by_a_signal_handler_inside_a_gate() -> None:
    seen: list[Any] = []

    def handler(number: int, frame: object) -> None:
        run = current_run()
        assert run is not None
        run.stop("handoff", "by signal")
        seen.append(run.usage.steps)
        with pytest.raises(AgentStop) as caught:
            ask()
        seen.append(caught.value.reason)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with agent_run() as run:
            ask()
            with contextlib.suppress(AgentStop):  # this gate may be past the point where it looks for a stop
                use(InsideTheGate.doing(lambda: signal.raise_signal(signal.SIGUSR1)))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [1, "handoff"]
    assert (run.result.stop_reason, run.result.stop_detail) == ("handoff", "by signal")


def test_the_lock_is_free_while_the_users_code_runs() -> None:
    def elsewhere() -> None:
        ask()
        use()

    limits = Budget(max_steps=2, max_tool_calls=2)
    with agent_run(budget=limits) as run, llm_call("some-model"), tool_call("outer"):
        worker = threading.Thread(target=elsewhere, daemon=True)
        worker.start()
        worker.join(20)
        assert (run.usage.steps, run.usage.tool_calls) == (1, 2)
    assert (run.result.usage.steps, run.result.usage.tool_calls) == (2, 2)
