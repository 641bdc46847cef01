"""Bounds from the runs of a good prompt, and whether the incident breaks them."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent.golden.observed import Observed
from otel_agent.golden.proposals import LEAST, RECENT, Proposal, TooFewRuns, propose, rounded_up
from otel_agent.usage import PastRun
from tests.support.past import HOUR, START, V14, past_run, side

INCIDENT = past_run(run_id="f" * 32, prompt_id=V14, steps=12, tool_calls=11, input_tokens=13_000, micro_usd=6_000)


def good(count: int = LEAST, **fields: object) -> list[PastRun]:
    return [past_run(run_id=f"{number:032x}", **fields) for number in range(count)]


def proposed(runs: list[PastRun], incident: PastRun = INCIDENT) -> Proposal:
    return propose(Observed(run=incident, stop_reason=incident.stop_reason), runs, id="a", baseline="support:v13")


def test_bounds_are_the_highest_and_a_tenth_rounded_up_to_two_figures() -> None:
    runs = [*good(LEAST - 1), past_run(run_id="e" * 32, steps=6, tool_calls=5, input_tokens=6_810, micro_usd=3_300)]
    found = proposed(runs)
    task = found.task
    assert (task.expect_stop_reason, task.max_steps, task.max_tool_calls) == ("finish", 7, 6)
    assert (task.max_tokens, task.max_usd, task.max_seconds) == (8_200, Decimal("0.0037"), None)
    assert (found.runs, found.of_task, found.baseline, found.incident) == (LEAST, False, "support:v13", INCIDENT)
    assert [each.field for each in found.broken] == ["max_steps", "max_tool_calls", "max_tokens", "max_usd"]


@given(st.integers(0, 10**12))
def test_a_bound_is_above_what_was_seen_and_not_far(highest: int) -> None:
    bound = rounded_up(highest)
    assert highest * 1.1 <= bound * (1 + 1e-12)
    assert bound <= max(highest * 1.1 * 1.1, highest + 1)
    assert len(str(bound).rstrip("0")) <= 2


def test_too_few_runs_are_told_apart() -> None:
    with pytest.raises(TooFewRuns, match=r"^support:v13 has 9 runs of support-bot that ended finish; .* at least 10$"):
        proposed(good(9))
    with pytest.raises(TooFewRuns, match=r"^support:v13 has 0 runs of support-bot; "):
        proposed(good(20, agent="other"))
    with pytest.raises(TooFewRuns):
        proposed([*good(9), INCIDENT])


def test_only_the_latest_count() -> None:
    runs = [*good(RECENT), *(past_run(run_id=f"e{n:031x}", tool_calls=40) for n in range(9))]
    assert proposed(runs).task.max_tool_calls == 5


def test_runs_of_the_same_task_count_where_there_are_enough() -> None:
    incident = INCIDENT._replace(task="refund")
    others, same = good(30, tool_calls=9), [run._replace(task="refund", run_id="d" + run.run_id[1:]) for run in good()]
    found = proposed([*others, *same], incident)
    assert (found.of_task, found.runs, found.task.max_tool_calls) == (True, LEAST, 5)
    assert (proposed([*others, *same[1:]], incident)).of_task is False


def test_the_stop_reason_is_that_of_most_and_only_those_count() -> None:
    odd = [past_run(run_id=f"c{n:031x}", stop_reason="max_tool_calls", tool_calls=12) for n in range(9)]
    assert proposed([*odd, *good()]).task.max_tool_calls == 5
    stopped = proposed(good(), INCIDENT._replace(stop_reason="max_tokens", tool_calls=1))
    assert stopped.broken[0][:3] == ("expect_stop_reason", "finish", "max_tokens")
    assert proposed(good(stop_reason="handoff")).task.expect_stop_reason == "handoff"


def test_seconds_are_bounded_only_where_the_incident_took_longer() -> None:
    assert proposed(good(), INCIDENT._replace(seconds=4.3)).task.max_seconds is None
    assert proposed(good(), INCIDENT._replace(seconds=9.0)).task.max_seconds == 4.4


def test_money_is_bounded_only_where_it_is_known() -> None:
    assert proposed(good(micro_usd=None)).task.max_usd is None
    assert proposed(good(), INCIDENT._replace(micro_usd=None)).task.max_usd is None
    assert proposed(good(micro_usd=0), INCIDENT._replace(micro_usd=0)).task.max_usd is None


def test_an_incident_that_is_like_the_rest_is_not_caught() -> None:
    assert proposed(good(), past_run(run_id="f" * 32)).broken == ()


def test_the_incident_of_the_issue_is_caught() -> None:
    """Of the runs of a prompt that doubled tokens and tripled tool calls, a third is above all that ran before."""
    chance = random.Random(7)
    times = [START + at * HOUR for at in range(RECENT)]
    before, after = side(chance, times), side(chance, times, prompt_id=V14, p95=14_200, tool_calls=11)
    caught = [run for run in after if proposed(before, run._replace(run_id="f" * 32)).broken]
    assert len(caught) > len(after) / 3
