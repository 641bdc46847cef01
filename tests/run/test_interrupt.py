"""`Budget(interrupt="signal")`: a hung call in the main thread is interrupted at the deadline, and nothing else is."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Generator

import pytest

from otel_agent import Budget, BudgetExceeded, agent_run, current_run, llm_call, tool_call
from otel_agent.run.interrupt import _in_user_code  # pyright: ignore[reportPrivateUsage]
from otel_agent.testing import capture

pytestmark = pytest.mark.timeout(30, method="thread")  # the other method takes SIGALRM for itself

SOON = Budget(max_seconds=0.2, interrupt="signal")


@pytest.fixture(autouse=True)
def signal_is_left_as_it_was_found() -> Generator[None]:
    yield
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_hung_call_is_interrupted_at_the_deadline_and_says_so() -> None:
    @agent_run("bot", budget=SOON)
    def bot() -> None:
        with llm_call("gpt-5-mini"):
            time.sleep(600)

    with capture() as kept:
        result = bot.run()
    assert (result.stop_reason, isinstance(result.error, BudgetExceeded)) == ("max_seconds", True)
    assert result.usage.seconds < 10
    attributes = kept.span("chat gpt-5-mini").attributes or {}
    assert attributes["otel_agent.stop_reason"] == "max_seconds"


def test_a_with_block_is_interrupted_too() -> None:
    with pytest.raises(BudgetExceeded), agent_run("bot", budget=SOON) as run:
        time.sleep(600)
    assert run.result.stop_reason == "max_seconds"


def test_the_stop_that_interrupts_can_be_caught_and_stays_the_reason() -> None:
    @agent_run("bot", budget=SOON)
    def bot() -> str:
        try:
            time.sleep(600)
        except BudgetExceeded:
            return "what there was"
        return "too late"

    result = bot.run()
    assert (result.output, result.stop_reason) == ("what there was", "max_seconds")


def test_the_nearest_deadline_of_nested_runs_goes_first_and_the_outer_one_still_holds() -> None:
    @agent_run("child", budget=SOON)
    def child() -> None:
        time.sleep(600)

    @agent_run("parent", budget=Budget(max_seconds=0.6, interrupt="signal"))
    def parent() -> None:
        assert child.run().stop_reason == "max_seconds"
        time.sleep(600)

    assert parent.run().stop_reason == "max_seconds"


def test_a_run_that_ends_in_time_leaves_no_alarm_behind() -> None:
    with agent_run("bot", budget=SOON):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    time.sleep(0.3)


def test_a_longer_deadline_moves_the_alarm() -> None:
    with agent_run("bot", budget=SOON) as run:
        run.budget.update(max_seconds=100)
        time.sleep(0.4)
    assert run.result.stop_reason == "finish"


def test_in_another_thread_the_deadline_holds_at_gates_only() -> None:
    found: list[str] = []

    @agent_run("bot", budget=SOON)
    def bot() -> None:
        time.sleep(0.4)
        with llm_call("gpt-5-mini"):
            found.append("sent")

    def work() -> None:
        found.append(bot.run().stop_reason)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["max_seconds"]


def test_an_applications_own_sigalrm_is_left_alone_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, frame: calls.append(number))
    try:
        with caplog.at_level(logging.WARNING), agent_run("bot", budget=SOON) as run:
            time.sleep(0.3)
        assert run.result.stop_reason == "finish"
        assert calls == []
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_thousand_deadlines_in_the_middle_of_gates_break_none_of_them() -> None:
    @tool_call("t")
    def tool() -> None: ...

    @agent_run("bot", budget=Budget(max_seconds=0.004, interrupt="signal"))
    def bot() -> None:
        while True:
            tool()

    tracer = sys.gettrace()
    sys.settrace(None)  # one that measures coverage holds a lock of its own, which no alarm may break
    with capture() as kept:
        for _ in range(100):
            result = bot.run()
            assert result.stop_reason == "max_seconds"
            run_spans = [span for span in kept.spans if span.name == "invoke_agent bot"]
            tool_spans = [span for span in kept.spans if span.name == "execute_tool t"]
            done = [span for span in tool_spans if (span.attributes or {})["otel_agent.decision"] == "allow"]
            assert len(run_spans) == 1
            assert len(done) == result.usage.tool_calls, [(span.name, span.attributes) for span in kept.spans]
            assert current_run() is None
            kept.clear()
    sys.settrace(tracer)


def test_where_it_may_raise() -> None:
    assert _in_user_code(sys._getframe())
    with agent_run("bot"):
        assert _in_user_code(sys._getframe())


def test_observe_mode_interrupts_nothing() -> None:
    with agent_run("bot", budget=SOON, mode="observe") as run:
        time.sleep(0.3)
    assert run.result.stop_reason == "finish"


def test_a_shorter_deadline_moves_the_alarm() -> None:
    @agent_run("bot", budget=Budget(max_seconds=60, interrupt="signal"))
    def bot() -> None:
        run = current_run()
        assert run is not None
        run.budget.update(max_seconds=0.2)
        time.sleep(600)

    assert bot.run().stop_reason == "max_seconds"


def test_a_run_that_ends_in_another_thread_ends_all_the_same() -> None:
    @agent_run("bot", budget=Budget(max_seconds=60, interrupt="signal"))
    def bot() -> Generator[int]:
        return (number for number in range(3))

    items: list[int] = []
    with capture() as kept:
        given = bot()
        thread = threading.Thread(target=lambda: items.extend(given))
        thread.start()
        thread.join()
    assert items == [0, 1, 2]
    assert (kept.span("invoke_agent bot").attributes or {})["otel_agent.stop_reason"] == "finish"
    with agent_run("next", budget=SOON):  # the main thread puts the signal back
        pass


def test_between_two_steps_of_what_an_agent_returns_the_consumer_is_left_alone() -> None:
    def steps() -> Generator[int]:
        yield 1
        with llm_call("gpt-5-mini"):
            yield 2

    @agent_run("bot", budget=Budget(max_seconds=0.05, interrupt="signal"))
    def bot() -> Generator[int]:
        return steps()

    made = bot()
    assert next(made) == 1
    time.sleep(0.2)
    with pytest.raises(BudgetExceeded):
        next(made)


def test_a_tool_that_gives_items_is_interrupted_in_its_own_code() -> None:
    @tool_call("items")
    def items() -> Generator[int]:
        yield 1
        time.sleep(600)

    @agent_run("bot", budget=SOON)
    def bot() -> list[int]:
        return list(items())

    assert bot.run().stop_reason == "max_seconds"
