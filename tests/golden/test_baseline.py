"""Golden tasks against a baseline: what is dearer, what is chance, and what cannot be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent.golden.baseline import compare_tasks
from otel_agent.usage import PastRun
from tests.support.past import past_run

Runs = Mapping[str, Sequence[PastRun]]


def side(*tokens: Sequence[int], tools: Sequence[int] | None = None) -> Runs:
    """One task for each list, one run for each number in it."""
    return {
        f"t{at}": [
            past_run(input_tokens=each, output_tokens=0, tool_calls=4 if tools is None else tools[at]) for each in of
        ]
        for at, of in enumerate(tokens)
    }


NOISY = [
    [900, 1_000, 1_150],
    [2_100, 1_900, 2_000],
    [480, 520, 500],
    [7_900, 8_100, 8_000],
    [95, 105, 100],
    [300, 330, 310],
]


def times(factor: float) -> list[list[int]]:
    """The same tasks, each run dearer by a factor, in another order of repeats."""
    return [[round(each * factor) for each in reversed(of)] for of in NOISY]


def test_half_as_much_again_is_dearer() -> None:
    found = compare_tasks(side(*NOISY), side(*times(1.5)), name="v13")
    tokens = found.gauges[0]
    assert (found.state, tokens.dearer, found.gauges[1].dearer) == ("dearer", True, False)
    assert math.isclose(tokens.ratio.value, 1.5, rel_tol=0.01)
    assert found.because == "dearer than v13: tokens x 1.50 over 6 tasks"


def test_cheaper_is_no_finding() -> None:
    found = compare_tasks(side(*NOISY), side(*times(0.5)), name="v13")
    assert found.state == "no dearer"
    assert found.gauges[0].p > 0.99


@pytest.mark.parametrize(("factor", "state"), [(1.08, "no dearer"), (1.12, "dearer")])
def test_what_is_too_small_to_matter_is_no_finding_however_sure(factor: float, state: str) -> None:
    exact = side(*[[10_000]] * 8)
    assert compare_tasks(exact, side(*[[round(10_000 * factor)]] * 8), name="b").state == state


def test_tool_calls_count_beside_tokens() -> None:
    found = compare_tasks(side(*NOISY, tools=[3, 4, 2, 5, 4, 3]), side(*NOISY, tools=[9, 11, 7, 15, 12, 9]), name="b")
    assert (found.state, found.gauges[0].dearer, found.gauges[1].dearer) == ("dearer", False, True)


def test_one_dear_task_of_many_is_chance() -> None:
    dear = [list(of) for of in NOISY]
    dear[0] = [each * 40 for each in dear[0]]
    assert not compare_tasks(side(*NOISY), side(*dear), name="b").gauges[0].dearer


def test_too_few_tasks_are_inconclusive() -> None:
    found = compare_tasks(side(*NOISY[:4]), side(*times(3)[:4]), name="b")
    assert (found.state, found.gauges, found.tasks) == ("inconclusive", (), 4)
    assert "4 ran on both sides, 5 must" in found.because


def test_noise_that_would_hide_the_factor_is_inconclusive_and_says_how_many_tasks_would_do() -> None:
    wild = [[100], [5_000], [40], [9_000], [300], [20]]
    found = compare_tasks(side(*wild), side(*reversed(wild)), name="b")
    assert found.state == "inconclusive"
    assert str(found.gauges[0].needed) in found.because
    assert found.gauges[0].needed > 6


def test_tasks_without_a_run_on_one_side_are_left_out() -> None:
    before, after = dict(side(*NOISY)), dict(side(*times(1.5)))
    before["gone"], after["new"], after["t0"] = [past_run()], [past_run()], []
    assert compare_tasks(before, after, name="b").tasks == 5


def test_no_tokens_anywhere_is_no_rise() -> None:
    nothing = side(*[[0, 0]] * 6)
    found = compare_tasks(nothing, nothing, name="b")
    assert (found.state, found.gauges[0].ratio.value, found.gauges[0].baseline) == ("no dearer", 1.0, 0.0)


@given(st.lists(st.lists(st.integers(0, 10**7), min_size=1, max_size=4), min_size=5, max_size=9))
def test_a_side_is_never_dearer_than_itself(tokens: list[list[int]]) -> None:
    found = compare_tasks(side(*tokens), side(*[list(reversed(of)) for of in tokens]), name="b")
    assert found.state == "no dearer"
    assert math.isclose(found.gauges[0].ratio.value, 1.0)


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=5, max_size=12),
)
def test_swapping_the_sides_turns_the_ratio_over_and_at_most_one_way_is_dearer(both: list[tuple[int, int]]) -> None:
    a, b = side(*[[x] for x, _ in both]), side(*[[y] for _, y in both])
    there, back = compare_tasks(a, b, name="b").gauges[0], compare_tasks(b, a, name="b").gauges[0]
    assert math.isclose(there.ratio.value * back.ratio.value, 1.0, rel_tol=1e-6)
    assert not (there.dearer and back.dearer)
