"""The verdict: what it says of whom, that its parts add up, and what it leaves out."""

from __future__ import annotations

import random

import pytest

from otel_agent.golden import Verdict, compare
from otel_agent.golden.compare import Period
from tests.support.past import HOUR, START, V13, V14, arrivals, past_run, side

DAY = 24 * HOUR


def times(count: int, since: int = START, hours: float = 24.0) -> list[int]:
    return [since + int(hours * HOUR * (at + 0.5) / count) for at in range(count)]


def test_dearer_runs_are_the_prompt() -> None:
    chance = random.Random(1)
    a = side(chance, times(40))
    b = side(chance, times(40, START + DAY), prompt_id=V14, p95=14_200, tool_calls=11)
    found = compare(a, b, names=("support:v13", "support:v14"))
    assert found.verdict is Verdict.PROMPT
    assert found.because.startswith("prompt: a run of support:v14 takes ")
    assert "the tool calls" in found.because
    by_name = {gauge.name: gauge for gauge in found.gauges}
    assert list(by_name) == ["tokens", "tokens_per_request", "tool_calls", "seconds", "usd"]
    ratio = by_name["tool_calls"].ratio
    assert ratio is not None
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < 11 / 4 < ratio.high
    assert by_name["seconds"].p > 0.01


def test_more_runs_are_the_traffic() -> None:
    chance = random.Random(2)
    found = compare(side(chance, times(100)), side(chance, times(300, START + DAY), prompt_id=V14))
    assert found.verdict is Verdict.TRAFFIC
    assert found.because.startswith("traffic: 3 x as many runs a day")


def test_both() -> None:
    chance = random.Random(3)
    b = side(chance, times(300, START + DAY), prompt_id=V14, p95=14_200, tool_calls=11)
    found = compare(side(chance, times(100)), b)
    assert found.verdict is Verdict.BOTH


def test_cheaper_runs_are_the_prompt_too() -> None:
    chance = random.Random(4)
    a = side(chance, times(60), p95=14_200, tool_calls=11)
    found = compare(a, side(chance, times(60, START + DAY), prompt_id=V14))
    assert found.verdict is Verdict.PROMPT
    assert "0." in found.because


def test_nothing_changed_and_there_were_enough_runs_to_see_it() -> None:
    chance = random.Random(5)
    found = compare(side(chance, times(300)), side(chance, times(300, START + DAY), prompt_id=V14))
    assert found.verdict is Verdict.NEITHER
    assert found.needed <= 300


def test_too_few_runs_are_said_with_how_many_would_do() -> None:
    chance = random.Random(6)
    found = compare(side(chance, times(8)), side(chance, times(8, START + DAY), prompt_id=V14))
    assert found.verdict is Verdict.NOT_ENOUGH
    assert f"not enough runs: 8 runs a side; about {found.needed} runs a side would tell" == found.because
    again = compare(side(chance, times(found.needed)), side(chance, times(found.needed, START + DAY), prompt_id=V14))
    assert again.verdict in (Verdict.NEITHER, Verdict.NOT_ENOUGH)


def test_a_change_that_is_certain_but_small_is_no_finding() -> None:
    chance = random.Random(7)
    a = side(chance, times(6_000))
    found = compare(a, side(chance, times(6_000, START + DAY), prompt_id=V14, p95=7_500 * 1.05))
    tokens = found.gauges[0]
    assert tokens.p < 0.001
    assert found.verdict is Verdict.NEITHER


def test_the_split_of_spend_adds_up() -> None:
    chance = random.Random(8)
    b = side(chance, times(300, START + DAY), prompt_id=V14, p95=14_200)
    spend = compare(side(chance, times(100)), b).spend
    assert spend.unit == "usd"
    assert spend.traffic + spend.prompt == pytest.approx(spend.b - spend.a)
    assert spend.traffic > 0
    assert spend.prompt > 0


def test_spend_is_in_tokens_where_a_cost_is_not_known() -> None:
    a, b = [past_run(ended_ns=at, micro_usd=None) for at in times(20)], [past_run(ended_ns=at) for at in times(20)]
    found = compare(a, b)
    assert found.spend.unit == "tokens"
    assert "usd" not in {gauge.name for gauge in found.gauges}


def test_traffic_is_not_compared_where_both_ran_at_the_same_time() -> None:
    chance = random.Random(9)
    found = compare(side(chance, times(400)), side(chance, times(40), prompt_id=V14))
    assert found.at_once
    assert found.traffic is None
    assert found.verdict is not Verdict.TRAFFIC


def test_in_windows_it_is_compared_even_then() -> None:
    chance = random.Random(10)
    periods = Period(START, START + DAY), Period(START + DAY, START + 3 * DAY)
    b = side(chance, times(600, START + DAY, 48))
    found = compare(side(chance, times(100)), b, periods=periods)
    assert found.a.per_day == pytest.approx(100)
    assert found.b.per_day == pytest.approx(300)
    assert found.verdict is Verdict.TRAFFIC


def test_dearer_runs_of_the_same_prompt_are_said_to_be_so() -> None:
    chance = random.Random(11)
    periods = Period(START, START + DAY), Period(START + DAY, START + 2 * DAY)
    found = compare(side(chance, times(50)), side(chance, times(50, START + DAY), p95=20_000), periods=periods)
    assert found.verdict is Verdict.PROMPT
    assert "though the prompt is the same" in found.because


def test_dearer_tokens_are_no_more_tokens() -> None:
    chance = random.Random(12)
    a = side(chance, times(60))
    b = [
        run._replace(micro_usd=3 * (run.micro_usd or 0), prompt_id=V14) for run in side(chance, times(60, START + DAY))
    ]
    assert "look at model and prices" in compare(a, b).because


def tasks(prompt_id: str, factor: float, since: int, seed: int, repeats: int = 3) -> list[object]:
    chance = random.Random(seed)
    return [
        past_run(
            task=f"task {number}",
            prompt_id=prompt_id,
            ended_ns=since + number,
            input_tokens=int(200 * 1.5**number * factor * chance.lognormvariate(0, 0.1)),
            output_tokens=0,
            micro_usd=None,
        )
        for number in range(20)
        for _ in range(repeats)
    ]


def test_runs_are_paired_where_tasks_repeat_and_see_more_by_it() -> None:
    a, b = tasks(V13, 1.0, START, 1), tasks(V14, 1.5, START + DAY, 2)
    found = compare(a, b)  # type: ignore[arg-type]
    assert found.tasks == 20
    assert found.gauges[0].method == "pairs"
    assert found.verdict in (Verdict.PROMPT, Verdict.BOTH)
    unpaired = compare([run._replace(task=None) for run in a], [run._replace(task=None) for run in b])  # type: ignore[attr-defined]
    assert unpaired.verdict is Verdict.NOT_ENOUGH


def test_a_run_under_another_of_its_side_counts_once() -> None:
    chance = random.Random(13)
    upper = [run._replace(run_id=f"a{at}") for at, run in enumerate(side(chance, times(20)))]
    lower = [run._replace(run_id=f"b{at}", parent_id=f"a{at}") for at, run in enumerate(upper)]
    found = compare([*upper, *lower], upper)
    assert found.a.runs == found.b.runs == 20


def test_stop_reasons_are_shares_of_each_side() -> None:
    a = [past_run(ended_ns=at) for at in times(10)]
    b = [past_run(ended_ns=at, stop_reason="max_usd" if at % 2 else "finish") for at in times(10)]
    shares = {share.stop_reason: (share.a.value, share.b.value) for share in compare(a, b).shares}
    count = sum(run.stop_reason == "max_usd" for run in b)
    assert shares["finish"] == (1, 1 - count / 10)


def test_a_side_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="B has no runs"):
        compare([past_run()], [])


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_runs_are_enough_to_say_that_they_are_not(count: int) -> None:
    runs = side(random.Random(1), arrivals(random.Random(1), mean=5, hours=1)[:count])
    assert compare(runs, runs).verdict is Verdict.NOT_ENOUGH
