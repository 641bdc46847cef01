"""The proof: two sets of finished runs, what changed between them, and whether the prompt or the traffic did it.

Decides the verdict. Takes runs as values; knows no file, no clock and no format.

    dearer runs    tokens, tool calls and cost of one run, by ranks, or paired by task where tasks repeat     -> prompt
    more runs      runs in equal stretches of each period, their bursts taken into account                    -> traffic

Each half may be wrong in 1 of 200 unchanged series, all its tests together, so that a false verdict is rarer than 1 %.
A change below `MATERIAL` is no finding, however many runs show it. Spend is split exactly: what more runs cost at the
mean price, what dearer runs cost at the mean traffic (Shapley's halves, so that neither comes first).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from otel_agent.golden.estimates import (
    Estimate,
    Moments,
    Test,
    mean_of,
    pairs,
    rank_test,
    rate_test,
    ratio_of_means,
    runs_needed,
    share_of,
)
from otel_agent.usage import PastRun

__all__ = ["Comparison", "Gauge", "Period", "Share", "Side", "Spend", "Verdict", "compare"]

ALPHA = 0.005
POWER = 0.95
MATERIAL = 1.1
SEEN_IN_RUNS = 1.5
SEEN_IN_TRAFFIC = 2.0
LEAST_TASKS = 5
MOST_STRETCHES = 24
RUNS_A_STRETCH = 3
AT_ONCE = 0.5
DAY = 86_400.0
NANO = 1_000_000_000


class Verdict(StrEnum):
    """Why spend changed."""

    PROMPT = "prompt"
    TRAFFIC = "traffic"
    BOTH = "both"
    NEITHER = "neither"
    NOT_ENOUGH = "not enough runs"


class Period(NamedTuple):
    """From when to when, in nanoseconds since 1970; the end is outside."""

    since_ns: int
    until_ns: int

    @property
    def days(self) -> float:
        """How long it is, in days."""
        return (self.until_ns - self.since_ns) / NANO / DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often runs of each side ended with one stop reason."""

    stop_reason: str
    a: Estimate
    b: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One measure of a run on both sides.

    Attributes:
        name: "tokens", "tokens_per_request", "tool_calls", "seconds" or "usd".
        a: the mean of the first side.
        b: the mean of the second.
        ratio: b over a; None where one of them is 0.
        superiority: how often a run of b is above one of a, ties counting half; None where paired by task.
        p: how likely such a difference is where nothing changed, two-sided.
        method: "ranks" or "pairs".
        runs: how many runs of each side have this measure.
    """

    name: str
    a: Estimate
    b: Estimate
    ratio: Estimate | None
    superiority: Estimate | None
    p: float
    method: str
    runs: tuple[int, int]

    def changed(self, alpha: float) -> bool:
        """Whether it changed, by more than chance and by enough to matter."""
        return self.p <= alpha and (self.ratio is None or _matters(self.ratio.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two sets: its name, its runs, when they ran, and how many a day."""

    name: str
    runs: int
    prompt_ids: tuple[str, ...]
    period: Period
    per_day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Spend a day and what its change is made of: `change == traffic + prompt`.

    Attributes:
        unit: "usd", or "tokens" where costs are not known.
        a: of the first side.
        b: of the second.
        traffic: what more (or fewer) runs make of the change.
        prompt: what dearer (or cheaper) runs make of it.
    """

    unit: str
    a: float
    b: float
    traffic: float
    prompt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides, what was measured, and the verdict.

    Attributes:
        a: the first side.
        b: the second side.
        gauges: the measures, in a fixed order; those that no run has are missing.
        shares: stop reasons, the most frequent first.
        traffic: the ratio of runs a day; None where both ran at the same time, since a rollout decides it then, or
            where it cannot be told.
        spend: spend a day, split.
        verdict: why spend changed.
        because: the verdict in one line.
        needed: how many runs a side (or tasks) show half as much again, or the double of traffic.
        tasks: how many tasks were paired; 0 where runs were compared by ranks.
        at_once: whether both sides ran at the same time.
    """

    a: Side
    b: Side
    gauges: tuple[Gauge, ...]
    shares: tuple[Share, ...]
    traffic: Test | None
    spend: Spend
    verdict: Verdict
    because: str
    needed: int
    tasks: int
    at_once: bool


class _Measure(NamedTuple):
    """How a measure is read off a run (None: it has none), what is added before logarithms, whether it decides."""

    read: Callable[[PastRun], float | None]
    add: float
    decides: bool


def _tokens(run: PastRun) -> float:
    return run.input_tokens + run.output_tokens


def _per_request(run: PastRun) -> float | None:
    return _tokens(run) / run.steps if run.steps else None


def _usd(run: PastRun) -> float | None:
    return None if run.micro_usd is None else run.micro_usd / 1e6


_MEASURES: dict[str, _Measure] = {
    "tokens": _Measure(_tokens, 0.5, True),
    "tokens_per_request": _Measure(_per_request, 0.5, False),
    "tool_calls": _Measure(attrgetter("tool_calls"), 0.5, True),
    "seconds": _Measure(attrgetter("seconds"), 0.001, False),
    "usd": _Measure(_usd, 1e-6, True),
}


def compare(
    a: Sequence[PastRun],
    b: Sequence[PastRun],
    *,
    names: tuple[str, str] = ("A", "B"),
    periods: tuple[Period, Period] | None = None,
) -> Comparison:
    """Compares two sets of finished runs.

    Args:
        a: the runs before; of a run and one under it only the upper one counts.
        b: the runs after.
        names: what to call them.
        periods: when each was looked at; None takes the time from its first to its last run.

    Returns:
        What changed, and the verdict.

    Raises:
        ValueError: one side has no run.
    """
    if not a or not b:
        raise ValueError(f"{names[0] if not a else names[1]} has no runs")
    a, b = _uppermost(a), _uppermost(b)
    sides = _side(a, names[0], periods and periods[0]), _side(b, names[1], periods and periods[1])
    tasks = _tasks(a, b)
    gauges = tuple(found for name in _MEASURES if (found := _gauge(name, a, b, tasks)) is not None)
    at_once = periods is None and _at_once(sides[0].period, sides[1].period)
    stretches = tuple(
        _stretches(runs, side.period, min(len(a), len(b))) for runs, side in zip((a, b), sides, strict=True)
    )
    longer = sides[1].period.days / sides[0].period.days if sides[0].period.days > 0 else 0.0
    traffic = rate_test(*stretches, longer=longer) if not at_once and longer > 0 else None
    needed = _needed(a, b, tasks, traffic is not None)
    verdict, because = _judge(sides, gauges, traffic, needed, tasks)
    return Comparison(
        a=sides[0],
        b=sides[1],
        gauges=gauges,
        shares=_shares(a, b),
        traffic=traffic,
        spend=_spend(sides, gauges),
        verdict=verdict,
        because=because,
        needed=needed,
        tasks=len(tasks),
        at_once=at_once,
    )


def _uppermost(runs: Sequence[PastRun]) -> Sequence[PastRun]:
    """Leaves out runs under one that is there itself, which has counted what they used."""
    if not any(run.parent_id for run in runs):
        return runs
    known = {run.run_id for run in runs}
    return [run for run in runs if run.parent_id not in known]


def _side(runs: Sequence[PastRun], name: str, period: Period | None) -> Side:
    if period is None:
        ends = [run.ended_ns for run in runs]
        period = Period(min(ends), max(ends) + 1)
        events = max(1, len(runs) - 1)  # the first run opens the period and does not fall into it
    else:
        events = len(runs)
    ids = Counter(run.prompt_id for run in runs if run.prompt_id)
    prompt_ids = tuple(name for name, _ in ids.most_common())
    return Side(name=name, runs=len(runs), prompt_ids=prompt_ids, period=period, per_day=events / period.days)


def _tasks(a: Sequence[PastRun], b: Sequence[PastRun]) -> list[tuple[list[PastRun], list[PastRun]]]:
    """Gives the runs of each task that both sides have, where these make most of either side; else nothing."""
    sides: list[dict[str, list[PastRun]]] = []
    for runs in (a, b):
        found: defaultdict[str, list[PastRun]] = defaultdict(list)
        for run in runs:
            if run.task is not None:
                found[run.task].append(run)
        sides.append(found)
    both = sorted(sides[0].keys() & sides[1].keys())
    covered = [sum(len(side[task]) for task in both) for side in sides]
    if len(both) < LEAST_TASKS or 2 * covered[0] < len(a) or 2 * covered[1] < len(b):
        return []
    return [(sides[0][task], sides[1][task]) for task in both]


def _read(name: str, runs: Sequence[PastRun]) -> list[float]:
    read = _MEASURES[name].read
    return [value for value in map(read, runs) if value is not None]


def _gauge(
    name: str, a: Sequence[PastRun], b: Sequence[PastRun], tasks: Sequence[tuple[list[PastRun], list[PastRun]]]
) -> Gauge | None:
    first, second = _read(name, a), _read(name, b)
    if not first or not second:
        return None
    ratio: Estimate | None
    superiority: Estimate | None = None
    moments = Moments.of(first), Moments.of(second)
    means = _task_means(name, tasks)
    if len(means) >= LEAST_TASKS:
        ratio, p = pairs(*zip(*means, strict=True), add=_MEASURES[name].add)
    else:
        superiority, p = rank_test(first, second)
        ratio = ratio_of_means(*moments)
    return Gauge(
        name=name,
        a=mean_of(moments[0]),
        b=mean_of(moments[1]),
        ratio=ratio,
        superiority=superiority,
        p=p,
        method="ranks" if superiority is not None else "pairs",
        runs=(len(first), len(second)),
    )


def _task_means(name: str, tasks: Sequence[tuple[list[PastRun], list[PastRun]]]) -> list[tuple[float, float]]:
    read = [(_read(name, before), _read(name, after)) for before, after in tasks]
    return [(sum(x) / len(x), sum(y) / len(y)) for x, y in read if x and y]


def _shares(a: Sequence[PastRun], b: Sequence[PastRun]) -> tuple[Share, ...]:
    counts = [Counter(run.stop_reason for run in runs) for runs in (a, b)]
    reasons = [reason for reason, _ in (counts[0] + counts[1]).most_common()]
    return tuple(
        Share(stop_reason=reason, a=share_of(counts[0][reason], len(a)), b=share_of(counts[1][reason], len(b)))
        for reason in reasons
    )


def _at_once(a: Period, b: Period) -> bool:
    """Tells whether most of the shorter period lies in the other, as in a canary."""
    together = min(a.until_ns, b.until_ns) - max(a.since_ns, b.since_ns)
    return together > AT_ONCE * min(a.until_ns - a.since_ns, b.until_ns - b.since_ns)


def _stretches(runs: Sequence[PastRun], period: Period, fewer: int) -> list[int]:
    """Counts the runs in equal stretches of a period; as many as both sides can fill."""
    count = max(2, min(MOST_STRETCHES, fewer // RUNS_A_STRETCH))
    since, length = period.since_ns, max(1, period.until_ns - period.since_ns)
    found = Counter((run.ended_ns - since) * count // length for run in runs)
    return [found[at] for at in range(count)]


def _matters(ratio: float) -> bool:
    return ratio >= MATERIAL or ratio <= 1 / MATERIAL


def _deciding(gauges: Sequence[Gauge]) -> list[Gauge]:
    return [gauge for gauge in gauges if _MEASURES[gauge.name].decides]


def _needed(
    a: Sequence[PastRun], b: Sequence[PastRun], tasks: Sequence[tuple[list[PastRun], list[PastRun]]], timed: bool
) -> int:
    """Gives how many runs a side (or tasks) show that runs use half as much again, and that traffic doubled."""
    alpha = ALPHA / sum(measure.decides for measure in _MEASURES.values())
    means = _task_means("tokens", tasks)
    if means:
        logs = [[math.log((y + 0.5) / (x + 0.5)) for x, y in means]]
    else:
        logs = [[math.log(value + 0.5) for value in _read("tokens", runs)] for runs in (a, b)]
    runs = runs_needed(logs, factor=SEEN_IN_RUNS, alpha=alpha, power=POWER, paired=bool(means))
    if means or not timed:
        return runs
    chance = [[-1.0, 0.0, 1.0]]  # a spread of 1: what a count of events adds, per event
    return max(runs, runs_needed(chance, factor=SEEN_IN_TRAFFIC, alpha=ALPHA, power=POWER, paired=False))


def _spend(sides: tuple[Side, Side], gauges: Sequence[Gauge]) -> Spend:
    """Splits the change of spend a day; in tokens where not every run has its cost."""
    by_name = {gauge.name: gauge for gauge in gauges}
    priced = "usd" in by_name and by_name["usd"].runs == (sides[0].runs, sides[1].runs)
    gauge = by_name["usd" if priced else "tokens"]
    (cost_a, cost_b), (often_a, often_b) = (gauge.a.value, gauge.b.value), (sides[0].per_day, sides[1].per_day)
    return Spend(
        unit="usd" if priced else "tokens",
        a=often_a * cost_a,
        b=often_b * cost_b,
        traffic=(often_b - often_a) * (cost_a + cost_b) / 2,
        prompt=(cost_b - cost_a) * (often_a + often_b) / 2,
    )


def _judge(
    sides: tuple[Side, Side], gauges: Sequence[Gauge], traffic: Test | None, needed: int, tasks: Sequence[object]
) -> tuple[Verdict, str]:
    deciding = _deciding(gauges)
    dearer = [gauge for gauge in deciding if gauge.changed(ALPHA / len(deciding))]
    busier = traffic is not None and traffic.p <= ALPHA and _matters(traffic.ratio.value)
    count = len(tasks) or min(side.runs for side in sides)
    what = "tasks" if tasks else "runs a side"
    open_still = "" if count >= needed else f"; about {needed:,} {what} would show smaller changes"
    about_runs = _about_runs(dearer, sides) if dearer else ""
    about_traffic = "" if traffic is None else f"{_times(traffic.ratio.value)} as many runs a day"
    if dearer and busier:
        return Verdict.BOTH, f"both: {about_runs}, and there were {about_traffic}"
    if dearer:
        return Verdict.PROMPT, f"prompt: {about_runs}"
    if busier:
        return Verdict.TRAFFIC, f"traffic: {about_traffic}; a run uses what it used{open_still}"
    if count < needed:
        return Verdict.NOT_ENOUGH, f"not enough runs: {count:,} {what}; about {needed:,} {what} would tell"
    return Verdict.NEITHER, f"neither: a run uses what it used, and {_steady(traffic)}"


def _steady(traffic: Test | None) -> str:
    return "both ran at the same time" if traffic is None else "there were as many of them"


_WORDS: Mapping[str, str] = {"tokens": "tokens", "tool_calls": "tool calls", "usd": "cost"}


def _about_runs(dearer: Sequence[Gauge], sides: tuple[Side, Side]) -> str:
    parts = [f"{_times(gauge.ratio.value) if gauge.ratio else 'other'} the {_WORDS[gauge.name]}" for gauge in dearer]
    text = f"a run of {sides[1].name} takes {', '.join(parts[:-1])}{' and ' * bool(parts[:-1])}{parts[-1]}"
    if {gauge.name for gauge in dearer} == {"usd"}:
        return text + " for the same tokens: look at model and prices"
    if set(sides[0].prompt_ids) == set(sides[1].prompt_ids):
        return text + ", though the prompt is the same: look at model, tools and questions"
    return text


def _times(ratio: float) -> str:
    return f"{ratio:.2g} x" if ratio < 10 else f"{ratio:,.0f} x"
