"""When a task has passed, and what all of them come to."""

from __future__ import annotations

import math

import pytest

from otel_agent.golden.invariants import Violation
from otel_agent.golden.results import Result, TaskResult, Trial, default_quorum, failure_rate_left

BOUND = Violation("max_tool_calls", "at most 4", "11", strict=False)
STRICT = Violation("must_not_call", "not refund", "refund", strict=True)


def trial(repeat: int, *broken: Violation, problem: str | None = None, side: str = "candidate") -> Trial:
    return Trial(task="t", repeat=repeat, side=side, violations=broken, problem=problem)  # type: ignore[arg-type]


def task(*trials: Trial, repeats: int = 3, quorum: int = 2) -> TaskResult:
    return TaskResult(task="t", trials=trials, repeats=repeats, quorum=quorum)


def result(*tasks: TaskResult, **more: object) -> Result:
    return Result(agent="a:b", prompt_ids=(), tasks=tasks, task_set="0" * 12, at_ns=1, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("repeats", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)])
def test_quorum_is_more_than_half(repeats: int, quorum: int) -> None:
    assert default_quorum(repeats) == quorum


def test_one_noisy_repeat_of_three_is_forgiven_and_two_are_not() -> None:
    assert task(trial(1), trial(2, BOUND), trial(3)).state == "passed"
    assert task(trial(1), trial(2, BOUND), trial(3, BOUND)).state == "failed"


def test_a_strict_bound_allows_no_exception() -> None:
    assert task(trial(1), trial(2, STRICT), trial(3)).state == "failed"


def test_a_trial_without_a_verdict_leaves_the_task_open_unless_it_has_failed_anyway() -> None:
    open_one = trial(3, problem="never returned")
    assert task(trial(1), trial(2), open_one).state == "inconclusive"
    assert task(trial(1, BOUND), trial(2, BOUND), open_one).state == "failed"


def test_repeats_that_never_began_leave_the_task_open() -> None:
    assert task(trial(1), trial(2)).state == "inconclusive"


def test_trials_of_the_baseline_are_not_judged() -> None:
    assert task(trial(1), trial(1, STRICT, side="baseline"), repeats=1, quorum=1).passed


def test_the_verdict_is_the_worst_of_all_tasks() -> None:
    good, bad = task(trial(1), repeats=1, quorum=1), task(trial(1, BOUND), repeats=1, quorum=1)
    unknown = task(trial(1, problem="no spans"), repeats=1, quorum=1)
    assert (result(good).verdict, result(good).exit_code) == ("passed", 0)
    assert (result(good, unknown).verdict, result(good, unknown).exit_code) == ("inconclusive", 3)
    assert (result(unknown, bad).verdict, result(unknown, bad).exit_code) == ("regression", 1)
    assert result(good, interrupted=True).verdict == "inconclusive"
    assert result().verdict == "inconclusive"


def test_zero_failures_leave_what_the_binomial_allows() -> None:
    for runs in (1, 3, 60):
        assert math.isclose((1 - failure_rate_left(runs)) ** runs, 0.05)
    assert math.isclose(result(task(trial(1), trial(2), trial(3))).zero_failures or 0, 1 - 0.05 ** (1 / 3))


def test_nothing_is_said_of_zero_failures_where_one_failed_or_answers_were_recorded() -> None:
    assert result(task(trial(1), trial(2, BOUND), trial(3))).zero_failures is None
    replayed = Trial(task="t", repeat=1, replayed=True)
    assert result(task(replayed, repeats=1, quorum=1)).zero_failures is None
