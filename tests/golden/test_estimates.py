"""The statistics, against published tables, against counting by hand, and on samples that nobody chose."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent.golden.estimates import (
    Moments,
    mean_of,
    pairs,
    quantile_t,
    rank_test,
    rate_test,
    ratio_of_means,
    runs_needed,
    share_of,
    tail_t,
)

SAMPLES = st.lists(st.integers(0, 6), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("p", "freedom", "t"),
    [
        (0.975, 1, 12.706),
        (0.975, 10, 2.228),
        (0.99, 19, 2.539),
        (0.995, 5, 4.032),
        (0.95, 30, 1.697),
        (0.9995, 3, 12.924),
    ],
)
def test_students_t_is_that_of_the_tables(p: float, freedom: int, t: float) -> None:
    assert quantile_t(p, freedom) == pytest.approx(t, abs=6e-4)
    assert tail_t(t, freedom) == pytest.approx(1 - p, rel=2e-3)
    assert tail_t(-t, freedom) == pytest.approx(p, rel=2e-3)


def test_the_mean_has_its_interval() -> None:
    found = mean_of(Moments.of([1, 2, 3, 4, 5]))
    assert found.value == 3
    assert found.high == pytest.approx(3 + 2.776 * math.sqrt(2.5 / 5), abs=1e-3)
    assert mean_of(Moments.of([7])) == (7, None, None)


def test_a_share_has_wilsons_interval_and_stays_within_0_and_1() -> None:
    assert share_of(0, 10) == pytest.approx((0, 0, 0.2775), abs=1e-3)
    assert share_of(10, 10) == pytest.approx((1, 0.7225, 1), abs=1e-3)
    assert share_of(5, 10) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-3)


@given(SAMPLES, SAMPLES)
def test_p_is_that_of_all_ways_to_deal_out_the_values(first: list[int], second: list[int]) -> None:
    pooled = [*first, *second]

    def away(chosen: tuple[int, ...]) -> float:
        a = [value for at, value in enumerate(pooled) if at not in chosen]
        b = [pooled[at] for at in chosen]
        return abs(sum((y > x) + (y == x) / 2 for x in a for y in b) - len(a) * len(b) / 2)

    mine = away(tuple(range(len(first), len(pooled))))
    every = list(itertools.combinations(range(len(pooled)), len(second)))
    assert rank_test(first, second).p == pytest.approx(sum(away(each) >= mine for each in every) / len(every))


@given(SAMPLES, SAMPLES)
def test_superiority_is_counted_over_all_pairs_and_turns_round(first: list[int], second: list[int]) -> None:
    there, back = rank_test(first, second).superiority, rank_test(second, first).superiority
    counted = sum((y > x) + (y == x) / 2 for x in first for y in second) / len(first) / len(second)
    assert there.value == pytest.approx(counted)
    assert there.value + back.value == pytest.approx(1)
    if there.low is not None and there.high is not None:
        assert 0 <= there.low <= there.value <= there.high <= 1


def test_many_values_are_compared_by_the_normal_distribution() -> None:
    first, second = list(range(1, 21)), list(range(8, 28))
    found = rank_test(first, second)
    # U = 315.5 of 400, its spread sqrt(20 * 20 * 41 / 12) less the ties, and 0.5 for continuity
    assert found.p == pytest.approx(0.0018, abs=2e-4)
    assert rank_test(first, first).p == 1
    assert rank_test([5] * 30, [5] * 30).p == 1


def test_the_ratio_of_means_is_around_what_it_is() -> None:
    found = ratio_of_means(Moments.of([90, 100, 110]), Moments.of([190, 200, 210]))
    assert found is not None
    assert found.value == pytest.approx(2)
    assert found.low is not None
    assert found.high is not None
    assert 1.5 < found.low < 2 < found.high < 2.7
    assert ratio_of_means(Moments.of([0, 0]), Moments.of([1, 1])) is None


def test_pairs_are_compared_by_their_ratios() -> None:
    found = pairs([100, 1000, 10_000, 10], [150, 1600, 14_000, 15])
    assert found.ratio.value == pytest.approx((1.5 * 1.6 * 1.4 * 1.5) ** 0.25)
    assert found.p < 0.002
    assert pairs([1, 2], [1, 2]).p == 1
    assert pairs([0, 0, 0], [0, 0, 0], add=0.5).ratio.value == 1


def test_rates_are_compared_for_their_time_and_their_bursts() -> None:
    steady, tripled = [5, 6, 5, 4, 5, 5], [15, 14, 16, 15, 15, 15]
    found = rate_test(steady, tripled, longer=1)
    assert found is not None
    assert found.ratio.value == pytest.approx(3)
    assert found.p < 1e-3
    assert (same := rate_test(steady, tripled, longer=3)) is not None
    assert same.p == pytest.approx(1)
    assert (bursts := rate_test([0, 30, 0, 0, 0, 0], [0, 0, 90, 0, 0, 0], longer=1)) is not None
    assert bursts.p > 0.1
    assert rate_test([0, 0], [1, 2], longer=1) is None


def test_more_spread_and_smaller_changes_need_more_runs() -> None:
    def needed(spread: float, factor: float) -> int:
        return runs_needed([[-spread, 0, spread]] * 2, factor=factor, alpha=0.005, power=0.95, paired=False)

    assert needed(0.5, 1.5) < needed(1.0, 1.5)
    assert needed(0.5, 1.5) < needed(0.5, 1.2)
    assert needed(0.001, 10) == 6  # fewer values a side have no such p at all: 2 of 252 ways is 0.008
