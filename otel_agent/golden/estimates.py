"""Statistics of two samples: means, ratios and shares with intervals, ranks, pairs, rates. Pure; no library needed.

Decides which test is valid where. Token counts and costs of runs are skewed and have ties, so that samples are compared
by ranks (Mann-Whitney) and pairs by the logarithm of their ratio (Student's t). Nothing here compares a percentile.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = [
    "Estimate",
    "Moments",
    "Ranks",
    "Test",
    "mean_of",
    "pairs",
    "quantile_t",
    "rank_test",
    "rate_test",
    "ratio_of_means",
    "runs_needed",
    "share_of",
    "tail_t",
]

LEVEL = 0.95
EXACT_UP_TO = 20
RANKS_EFFICIENCY = 0.95
"""What the rank test sees of what a t-test on normal data would (3 / pi)."""

_normal = statistics.NormalDist()


class Estimate(NamedTuple):
    """A number and the interval that holds the true one in 95 of 100 cases; None where it cannot be known."""

    value: float
    low: float | None
    high: float | None


class Ranks(NamedTuple):
    """Mann-Whitney: `superiority` is how often a value of the second sample is above one of the first (ties half)."""

    superiority: Estimate
    p: float


class Test(NamedTuple):
    """A ratio (second over first) and the two-sided p that it is 1."""

    ratio: Estimate
    p: float


# Student's distribution


def tail_t(t: float, freedom: float) -> float:
    """Gives how often Student's t of so many degrees of freedom is above `t`."""
    half = 0.5 * _beta_share(freedom / (freedom + t * t), freedom / 2, 0.5)
    return half if t >= 0 else 1 - half


def quantile_t(p: float, freedom: float) -> float:
    """Gives the value that Student's t is below with probability `p`, 0 < p < 1."""
    low, high = -1e4, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - tail_t(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(1 - x, b, a)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    return scale * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluates the fraction by Lentz's method, term by term until nothing changes."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, 300):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + term * d), 1 + term / c
            found *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return found


# one sample


class Moments(NamedTuple):
    """How many values a sample has, their mean and their variance (0 of a single one)."""

    size: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        """Takes them of a sample of at least one value."""
        mean = math.fsum(values) / len(values)
        away = [value - mean for value in values]
        return cls(len(values), mean, math.fsum(map(operator.mul, away, away)) / max(1, len(values) - 1))


def mean_of(sample: Moments) -> Estimate:
    """Gives the mean, by Student's t."""
    if sample.size < 2:
        return Estimate(sample.mean, None, None)
    half = _reach(sample.size - 1) * math.sqrt(sample.variance / sample.size)
    return Estimate(sample.mean, sample.mean - half, sample.mean + half)


def share_of(count: int, total: int) -> Estimate:
    """Gives a share of `total` things, by Wilson's interval, which holds for small counts too."""
    z = _reach(math.inf)
    share, square = count / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / total + square / total / 4)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


@functools.lru_cache(maxsize=4096)
def _reach(freedom: float) -> float:
    """How many standard errors an interval reaches to either side."""
    p = (1 + LEVEL) / 2
    return _normal.inv_cdf(p) if freedom > 1000 else quantile_t(p, freedom)


# two samples


def ratio_of_means(first: Moments, second: Moments) -> Estimate | None:
    """Gives mean of the second over mean of the first, or None where one of them is not above 0.

    The interval is that of the difference of logarithms, by the delta method.
    """
    if first.mean <= 0 or second.mean <= 0:
        return None
    log = math.log(second.mean / first.mean)
    if min(first.size, second.size) < 2:
        return Estimate(math.exp(log), None, None)
    spread = sum(each.variance / each.size / each.mean**2 for each in (first, second))
    return _around(log, math.sqrt(spread), first.size + second.size - 2)


def _around(log: float, error: float, freedom: float) -> Estimate:
    half = _reach(freedom) * error
    return Estimate(math.exp(log), math.exp(log - half), math.exp(log + half))


def rank_test(first: Sequence[float], second: Sequence[float]) -> Ranks:
    """Compares two samples by ranks, two-sided; ties are counted as such.

    Up to 20 values in all the distribution is exact, given the ties; above, it is the normal one with corrections for
    ties and continuity.
    """
    n, m = len(first), len(second)
    counts = _counted(first, second)
    above = sum(map(operator.mul, counts.b, counts.places_b))
    p = _exact_p(counts, n, m, above) if n + m <= EXACT_UP_TO else _normal_p(counts, n, m, above)
    return Ranks(_superiority(counts, n, m, above), p)


class _Counts(NamedTuple):
    """Of each value, smallest first: how often each sample has it, and twice how much of the other is below it.

    What is equal counts half, so that twice of it is whole: in whole numbers nothing is rounded.
    """

    a: list[int]
    b: list[int]
    places_a: list[int]
    places_b: list[int]


def _counted(first: Sequence[float], second: Sequence[float]) -> _Counts:
    # by `map` and `dict.get`: this is most of the time that many runs take
    counted = dict(Counter(first)), dict(Counter(second))
    values = sorted(counted[0].keys() | counted[1].keys())
    a, b = (list(map(each.get, values, itertools.repeat(0))) for each in counted)
    return _Counts(a, b, _places(b), _places(a))


def _places(other: list[int]) -> list[int]:
    """Twice what is below each value, and what is equal to it: this sum up to it and the one before it together."""
    up_to = list(itertools.accumulate(other, initial=0))
    return list(map(operator.add, up_to[:-1], up_to[1:]))


def _normal_p(counts: _Counts, n: int, m: int, above: int) -> float:
    """Gives p from twice the number of pairs in which the second is above, a tie counting half."""
    total = n + m
    ties = sum(t**3 - t for t in map(operator.add, counts.a, counts.b) if t > 1)
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    away = max(0.0, abs(above / 2 - n * m / 2) - 0.5)
    return min(1.0, 2 * _normal.cdf(-away / math.sqrt(variance)))


def _exact_p(counts: _Counts, n: int, m: int, above: int) -> float:
    """Counts the ways to deal the pooled values out to the samples that are at least as far from the middle."""
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter[int]() for _ in range(m))]
    for a, b, place_a, place_b in zip(*counts, strict=True):
        doubled = place_a + place_b + 1  # twice the rank that all of these share
        for _ in range(a + b):
            for taken in range(m, 0, -1):
                for ranks, count in ways[taken - 1].items():
                    ways[taken][ranks + doubled] += count
    middle = n * m
    away = abs(above - middle)
    far = sum(count for ranks, count in ways[m].items() if abs(ranks - m * (m + 1) - middle) >= away)
    return far / math.comb(n + m, m)


def _superiority(counts: _Counts, n: int, m: int, above: int) -> Estimate:
    """Gives how often the second is above, with the interval from the spread of each value's place (DeLong)."""
    value = above / (2 * n * m)
    if min(n, m) < 2:
        return Estimate(value, None, None)
    if value in (0.0, 1.0):  # nothing overlaps: what three in n would still allow
        room = min(1.0, 3 / min(n, m))
        return Estimate(value, max(0.0, value - room), min(1.0, value + room))
    of_b = _spread(counts.b, counts.places_b, above, m) / (2 * n) ** 2
    of_a = _spread(counts.a, counts.places_a, 2 * n * m - above, n) / (2 * m) ** 2
    half = _reach(n + m - 2) * math.sqrt(of_b / m + of_a / n)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def _spread(counts: list[int], places: list[int], total: int, size: int) -> float:
    """The variance of so many places, whose sum is `total`."""
    squares = sum(map(operator.mul, counts, map(operator.mul, places, places)))
    found: float = (squares * size - total * total) / (size * (size - 1))
    return found


def pairs(first: Sequence[float], second: Sequence[float], *, add: float = 0.0) -> Test:
    """Compares pairs by the mean of the logarithms of their ratios, by Student's t.

    Args:
        first: a value for each pair.
        second: the other value of each, in the same order; at least two pairs.
        add: added to every value; 0.5 for counts, which may be 0.
    """
    logs = [math.log((b + add) / (a + add)) for a, b in zip(first, second, strict=True)]
    found = Moments.of(logs)
    error = math.sqrt(found.variance / found.size)
    if error == 0:
        ratio = math.exp(found.mean)
        return Test(Estimate(ratio, ratio, ratio), 0.0 if found.mean else 1.0)
    return _tested(found.mean, error, found.size - 1)


def _tested(log: float, error: float, freedom: float) -> Test:
    return Test(_around(log, error, freedom), 2 * tail_t(abs(log) / error, freedom))


# rates


def rate_test(first: Sequence[int], second: Sequence[int], *, longer: float) -> Test | None:
    """Compares how often something happened, from its counts in equal stretches of time.

    Events come in bursts, so that the spread is taken from the counts themselves and never below that of chance.

    Args:
        first: the count of each stretch of the first period; at least two of them, and at least one event.
        second: the same for the second period.
        longer: how many times as long the second period was.

    Returns:
        None where a period has no event or too few stretches.
    """
    a, b = sum(first), sum(second)
    if not a or not b or min(len(first), len(second)) < 2:
        return None
    log = math.log(b / a / longer)
    error = math.sqrt(_burst(first) / a + _burst(second) / b)
    return _tested(log, error, len(first) + len(second) - 2)


def _burst(counts: Sequence[int]) -> float:
    """How many times the spread of chance these counts have."""
    found = Moments.of(counts)
    return max(1.0, found.variance / found.mean)


def runs_needed(logs: Iterable[Sequence[float]], *, factor: float, alpha: float, power: float, paired: bool) -> int:
    """Gives how many values a side (or pairs) show a factor, from the spread of the logarithms seen so far.

    Args:
        logs: the logarithms of each sample, or those of the pairs' ratios as one sample.
        factor: what is to be seen, above 1.
        alpha: how often an unchanged series may be called changed.
        power: how often a changed one is to be seen.
        paired: whether the samples are pairs.
    """
    known = [Moments.of(sample).variance for sample in logs if len(sample) > 1]
    spread = sum(known) / len(known) if known else 1.0
    reach = _normal.inv_cdf(1 - alpha / 2) + _normal.inv_cdf(power)
    each = (1 if paired else 2 / RANKS_EFFICIENCY) * spread * (reach / math.log(factor)) ** 2
    least = next(n for n in itertools.count(2) if paired or 2 / math.comb(2 * n, n) <= alpha)
    return max(math.ceil(each), least)
