"""How often the verdict is right, over many series that could have been; the rates are printed (`pytest -s`).

Every series is drawn anew: runs come by chance, tokens are log-normal, tool calls are counts. Seeds are fixed.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from otel_agent.golden import Verdict, compare
from otel_agent.usage import PastRun
from tests.support.past import HOUR, START, V13, V14, arrivals, side

SERIES = 1_000
HOURS = 8.0
LATER = START + int(HOURS * HOUR)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def counted(before: int, after: int, *, seed: int, exactly: bool = False, **changed: float) -> Counter[Verdict]:
    """Counts the verdicts on series with so many runs a side, on average or exactly."""
    chance = random.Random(seed)
    found: Counter[Verdict] = Counter()
    for _ in range(SERIES):
        first, second = (
            sorted(start + int(chance.random() * HOURS * HOUR) for _ in range(mean))
            if exactly
            else arrivals(chance, mean=mean, hours=HOURS, since=start)
            for mean, start in ((before, START), (after, LATER))
        )
        a: list[PastRun] = side(chance, first, prompt_id=V13)
        found[compare(a, side(chance, second, prompt_id=V14, **changed)).verdict] += 1  # type: ignore[arg-type]
    rates = ", ".join(f"{verdict} {count / SERIES:.1%}" for verdict, count in found.most_common())
    print(f"\n{before} -> {after} runs, {changed or 'unchanged prompt'}: {rates}")
    return found


def share(found: Counter[Verdict], *verdicts: Verdict) -> float:
    return sum(found[verdict] for verdict in verdicts) / SERIES


def test_the_incident_is_the_prompt_with_30_runs_a_side() -> None:
    found = counted(30, 30, seed=1, exactly=True, p95=14_200, tool_calls=11)
    assert share(found, Verdict.PROMPT) >= 0.95
    assert share(found, Verdict.TRAFFIC, Verdict.BOTH) <= 0.01


def test_tripled_traffic_is_the_traffic() -> None:
    found = counted(60, 180, seed=2)
    assert share(found, Verdict.TRAFFIC) >= 0.95
    assert share(found, Verdict.PROMPT, Verdict.BOTH) <= 0.01


def test_tripled_traffic_is_hardly_ever_the_prompt_with_few_runs_either() -> None:
    found = counted(30, 90, seed=3)
    assert share(found, Verdict.TRAFFIC) >= 0.9
    assert share(found, Verdict.PROMPT, Verdict.BOTH) <= 0.01


@pytest.mark.parametrize("runs", [30, 150])
def test_where_nothing_changed_nothing_is_found(runs: int) -> None:
    found = counted(runs, runs, seed=runs)
    assert share(found, Verdict.PROMPT, Verdict.TRAFFIC, Verdict.BOTH) <= 0.01


def test_half_as_many_tokens_again_are_seen_with_as_many_runs_as_are_asked_for() -> None:
    chance = random.Random(5)
    sample = side(chance, arrivals(chance, mean=200, hours=HOURS))
    needed = compare(sample, side(chance, arrivals(chance, mean=200, hours=HOURS))).needed
    found = counted(needed, needed, seed=6, exactly=True, p95=7_500 * 1.5)
    assert share(found, Verdict.PROMPT, Verdict.BOTH) >= 0.9
