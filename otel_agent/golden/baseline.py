"""Golden tasks against a baseline: did the same tasks get dearer? Paired by task, one-sided.

Decides what counts as dearer: more tokens or more tool calls, by more than chance and by enough to matter. Of each task
and side the mean of the logarithms over its repeats is taken, so that one long run does not outweigh the rest; over the
tasks, Student's t then asks whether the ratio is above 1. Cheaper is no finding. `ALPHA` is shared by all measures; it
is half of the 1 % that may be false at most, since counts are not quite what Student's t takes them for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple

from otel_agent.golden.compare import MATERIAL
from otel_agent.golden.estimates import Estimate, pairs, runs_needed
from otel_agent.usage import PastRun

__all__ = ["BaselineComparison", "BaselineGauge", "compare_tasks"]

ALPHA = 0.005
POWER = 0.8
LEAST_TASKS = 5
ADD = 0.5
"""Added before logarithms: counts may be 0."""

State = Literal["dearer", "no dearer", "inconclusive"]


class _Measure(NamedTuple):
    """What it is called, how it is read off a run, and the factor that the tasks must be able to show."""

    words: str
    read: Callable[[PastRun], float]
    shows: float


_MEASURES: Mapping[str, _Measure] = {
    "tokens": _Measure("tokens", attrgetter("tokens"), 1.5),
    "tool_calls": _Measure("tool calls", attrgetter("tool_calls"), 2.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineGauge:
    """One measure of a run on both sides.

    Attributes:
        name: "tokens" or "tool_calls".
        baseline: the mean over tasks, by logarithms, of the baseline.
        candidate: the same of the candidate.
        ratio: candidate over baseline.
        p: how likely such a rise is where nothing changed, one-sided.
        needed: how many tasks would show a factor of 1.5 in tokens, or 2 in tool calls, in 80 of 100 cases; fewer
            are too few to say that nothing rose.
    """

    name: str
    baseline: float
    candidate: float
    ratio: Estimate
    p: float
    needed: int

    @property
    def dearer(self) -> bool:
        """Whether it rose, by more than chance and by enough to matter."""
        return self.p <= ALPHA / len(_MEASURES) and self.ratio.value >= MATERIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineComparison:
    """Tasks on both sides, and whether they got dearer.

    Attributes:
        baseline: what the candidate was held against: a file, a prompt, or "active".
        prompt_ids: the prompts of the baseline's runs.
        tasks: how many tasks have runs on both sides.
        gauges: the measures; none where tasks are too few.
        state: "dearer", "no dearer", or "inconclusive".
        because: the state in one line.
    """

    baseline: str
    prompt_ids: tuple[str, ...]
    tasks: int
    gauges: tuple[BaselineGauge, ...]
    state: State
    because: str


def compare_tasks(
    baseline: Mapping[str, Sequence[PastRun]], candidate: Mapping[str, Sequence[PastRun]], *, name: str
) -> BaselineComparison:
    """Compares the runs of tasks with those of a baseline.

    Args:
        baseline: the runs before, by task.
        candidate: the runs now, by task.
        name: what to call the baseline.
    """
    both = [task for task in candidate if candidate[task] and baseline.get(task)]
    sides = [baseline[task] for task in both], [candidate[task] for task in both]
    gauges = tuple(_gauge(each, *sides) for each in _MEASURES) if len(both) >= LEAST_TASKS else ()
    state, because = _judged(gauges, len(both), name)
    ids = dict.fromkeys(run.prompt_id for runs in sides[0] for run in runs if run.prompt_id)
    return BaselineComparison(
        baseline=name, prompt_ids=tuple(ids), tasks=len(both), gauges=gauges, state=state, because=because
    )


def _gauge(name: str, baseline: Sequence[Sequence[PastRun]], candidate: Sequence[Sequence[PastRun]]) -> BaselineGauge:
    measure = _MEASURES[name]
    before, after = ([_middle(measure, runs) for runs in side] for side in (baseline, candidate))
    ratio, two_sided = pairs(before, after)
    logs = [math.log(b / a) for a, b in zip(before, after, strict=True)]
    rose = ratio.value > 1
    return BaselineGauge(
        name=name,
        baseline=_geometric(before) - ADD,
        candidate=_geometric(after) - ADD,
        ratio=ratio,
        p=two_sided / 2 if rose else 1 - two_sided / 2,
        # one side of each test is asked for alone, which is what two sides of the double are
        needed=runs_needed([logs], factor=measure.shows, alpha=2 * ALPHA / len(_MEASURES), power=POWER, paired=True),
    )


def _middle(measure: _Measure, runs: Sequence[PastRun]) -> float:
    return _geometric([measure.read(run) + ADD for run in runs])


def _geometric(values: Sequence[float]) -> float:
    return round(math.exp(math.fsum(map(math.log, values)) / len(values)), 9)  # what is equal shall stay so


def _judged(gauges: Sequence[BaselineGauge], tasks: int, name: str) -> tuple[State, str]:
    risen = [gauge for gauge in gauges if gauge.dearer]
    if risen:
        said = " and ".join(f"{_MEASURES[each.name].words} x {each.ratio.value:.2f}" for each in risen)
        return "dearer", f"dearer than {name}: {said} over {tasks} tasks"
    if not gauges:
        return "inconclusive", f"too few tasks to compare with {name}: {tasks} ran on both sides, {LEAST_TASKS} must"
    short = max(gauges, key=lambda gauge: gauge.needed)
    if short.needed > tasks:
        measure = _MEASURES[short.name]
        text = f"too few tasks to compare with {name}: {measure.words} differ so much from run to run"
        return "inconclusive", f"{text} that {short.needed} tasks would show a factor of {measure.shows:g}, not {tasks}"
    return "no dearer", f"no dearer than {name}, over {tasks} tasks"
