"""How often the comparison with a baseline is right, over many sets of tasks; the rates are printed (`pytest -s`).

20 tasks x 3 repeats: each task has a size of its own, tokens of a run are log-normal around it, tool calls are counts.
Seeds are fixed.
"""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from otel_agent.golden.baseline import compare_tasks
from otel_agent.usage import PastRun
from tests.support.past import past_run, poisson

SERIES = 2_000
TASKS, REPEATS = 20, 3
SIGMA = 0.4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def counted(*, seed: int, tokens: float = 1.0, tool_calls: float = 1.0, sigma: float = SIGMA) -> Counter[str]:
    """Counts the states of comparisons where runs of the candidate use so many times as much."""
    chance = random.Random(seed)
    found: Counter[str] = Counter()
    for _ in range(SERIES):
        sizes = [(math.exp(chance.gauss(8, 1)), chance.uniform(2, 8)) for _ in range(TASKS)]
        before, after = (
            {
                f"t{at}": [_run(chance, size * more, calls * more_calls, sigma) for _ in range(REPEATS)]
                for at, (size, calls) in enumerate(sizes)
            }
            for more, more_calls in ((1.0, 1.0), (tokens, tool_calls))
        )
        found[compare_tasks(before, after, name="baseline").state] += 1
    rates = ", ".join(f"{state} {count / SERIES:.1%}" for state, count in found.most_common())
    print(f"\n{TASKS} tasks x {REPEATS}, tokens x {tokens:g}, tool calls x {tool_calls:g}, sigma {sigma:g}: {rates}")
    return found


def _run(chance: random.Random, tokens: float, tool_calls: float, sigma: float) -> PastRun:
    used = round(tokens * math.exp(chance.gauss(0, sigma)))
    return past_run(input_tokens=used, output_tokens=0, tool_calls=poisson(chance, tool_calls))


def test_half_as_many_tokens_again_are_found() -> None:
    assert counted(seed=1, tokens=1.5)["dearer"] >= 0.95 * SERIES


def test_twice_the_tool_calls_are_found() -> None:
    assert counted(seed=2, tool_calls=2.0)["dearer"] >= 0.95 * SERIES


@pytest.mark.parametrize(("seed", "sigma"), [(3, SIGMA), (4, 0.2), (5, 0.8)])
def test_what_did_not_change_is_hardly_ever_dearer(seed: int, sigma: float) -> None:
    assert counted(seed=seed, sigma=sigma)["dearer"] <= 0.01 * SERIES


def test_what_did_not_change_is_mostly_told_so() -> None:
    assert counted(seed=6)["no dearer"] >= 0.9 * SERIES


def test_what_got_cheaper_is_never_dearer() -> None:
    assert counted(seed=7, tokens=0.7, tool_calls=0.7)["dearer"] == 0
