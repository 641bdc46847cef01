"""From an incident to a task: bounds that the runs of a good prompt kept, and whether the incident breaks them.

Decides the bounds, and from how many runs. Knows neither where runs are kept nor where tasks stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_agent.config.values import GoldenTask
from otel_agent.golden.invariants import Violation, violations
from otel_agent.golden.observed import Observed
from otel_agent.stop import StopCode
from otel_agent.usage import PastRun, micro_to_usd

__all__ = ["LEAST", "RECENT", "Proposal", "TooFewRuns", "propose", "rounded_up"]

LEAST = 10
"""The highest of ten runs is exceeded by the next one in at most 1 of 11 cases, and a tenth more far less often."""
RECENT = 50
MILLI = 1_000
SLOWER = 2
"""How much slower another machine may be than the one that the good runs were on."""


class TooFewRuns(ValueError):
    """The good prompt has too few runs to take bounds from; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A task that an incident makes.

    Attributes:
        task: the task.
        incident: the run that it is made from.
        baseline: the prompt whose runs the bounds are from.
        runs: how many of its runs that were.
        of_task: whether they all had the same task as the incident; else they are any runs of the agent.
        broken: what the incident does not keep of the task; empty for a task that would not have caught it.
    """

    task: GoldenTask
    incident: PastRun
    baseline: str
    runs: int
    of_task: bool
    broken: tuple[Violation, ...]


def propose(
    incident: Observed,
    runs: Sequence[PastRun],
    *,
    id: str,
    baseline: str,
    input: str | Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
) -> Proposal:
    """Proposes a task.

    The bounds are the highest of what the last `RECENT` runs used and a tenth, rounded up to two figures; the stop
    reason is the one that most of them ended with, and only those count. Where `LEAST` of them had the task of the
    incident, only these count. Seconds depend on the machine: their bound is twice that, and there only where the
    incident took longer.

    Args:
        incident: the run that went wrong.
        runs: runs of the baseline, the latest first; those of other agents, and the incident, are left out.
        id: what to call the task.
        baseline: what to call the baseline.
        input: what the agent was asked; None where that is not known.
        tags: words to select it by.

    Raises:
        TooFewRuns: there are fewer than `LEAST`.
    """
    chosen, of_task = _alike(incident.run, runs)
    code, ended_so = _as_most_ended(chosen)
    if len(ended_so) < LEAST:
        has = f"{baseline} has {len(ended_so)} runs of {incident.run.agent}" + (f" that ended {code}" if code else "")
        raise TooFewRuns(f"{has}; bounds need at least {LEAST}")
    task = GoldenTask(
        id=id,
        expect_stop_reason=StopCode(code),
        input=input,
        tags=tags,
        **_bounds(incident.run, ended_so),
    )
    broken = violations(task, incident, None)
    return Proposal(
        task=task, incident=incident.run, baseline=baseline, runs=len(ended_so), of_task=of_task, broken=broken
    )


def _alike(incident: PastRun, runs: Sequence[PastRun]) -> tuple[Sequence[PastRun], bool]:
    own = [run for run in runs if run.agent == incident.agent and run.run_id != incident.run_id]
    same = [run for run in own if incident.task is not None and run.task == incident.task]
    return (same[:RECENT], True) if len(same) >= LEAST else (own[:RECENT], False)


def _as_most_ended(runs: Sequence[PastRun]) -> tuple[str, Sequence[PastRun]]:
    if not runs:
        return "", []
    ((code, _),) = Counter(run.stop_reason for run in runs).most_common(1)
    return code, [run for run in runs if run.stop_reason == code]


def _bounds(incident: PastRun, runs: Sequence[PastRun]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "max_steps": max(1, rounded_up(max(run.steps for run in runs))),
        "max_tool_calls": rounded_up(max(run.tool_calls for run in runs)),
        "max_tokens": rounded_up(max(run.tokens for run in runs)),
    }
    costs = [run.micro_usd for run in (*runs, incident)]
    if None not in costs and any(costs):
        found["max_usd"] = micro_to_usd(rounded_up(max(run.micro_usd or 0 for run in runs)))
    seconds = rounded_up(max(1, *(round(run.seconds * SLOWER * MILLI) for run in runs))) / MILLI
    if incident.seconds > seconds:
        found["max_seconds"] = seconds
    return found


def rounded_up(highest: int) -> int:
    """Adds a tenth and rounds up to two figures: 4 gives 5, 7,410 gives 8,200."""
    more = -(-highest * 11 // 10)
    step: int = 10 ** max(0, len(str(more)) - 2)
    return -(-more // step) * step
