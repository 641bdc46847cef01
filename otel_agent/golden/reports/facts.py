"""What every report tells of a result: a row a task, and the lines around the table.

Decides the words. Takes ids and numbers alone; what a task asks or an agent answers is in no report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from otel_agent.golden.baseline import BaselineGauge
from otel_agent.golden.results import Result, State, TaskResult, allowed_by
from otel_agent.views.text import plural

__all__ = [
    "HEADERS",
    "SHORT_ID",
    "Row",
    "about",
    "baseline_row",
    "broken",
    "headline",
    "rows_of",
]

HEADERS = ("task", "result", "passed", "stop", "tools", "tokens", "what broke", "run")
_MEASURES = {"tokens": "tokens per run", "tool_calls": "tool calls per run"}
SHORT_ID = 12
MOST_BROKEN = 3


class Row(NamedTuple):
    """One task: how many of its trials passed, what they used, what broke, and which run to look at."""

    task: str
    state: State
    passed: str
    stop: str
    tools: str
    tokens: str
    broke: str
    run_id: str


def rows_of(result: Result) -> list[Row]:
    """Gives a row a task, in their order."""
    return [_row(task) for task in result.tasks]


def _row(task: TaskResult) -> Row:
    runs = [trial.run for trial in task.own if trial.run is not None]
    return Row(
        task=task.task,
        state=task.state,
        passed=f"{task.clean}/{task.repeats}",
        stop=", ".join(dict.fromkeys(run.stop_reason for run in runs)) or "-",
        tools=_range([run.tool_calls for run in runs]),
        tokens=_range([run.tokens for run in runs]),
        broke="; ".join(broken(task)[:MOST_BROKEN]) or "-",
        run_id=_worth_a_look(task),
    )


def _range(values: Sequence[int]) -> str:
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def broken(task: TaskResult) -> list[str]:
    """Gives the bounds that broke, the most frequent first, and what kept trials from being judged."""
    found = Counter(violation.field for trial in task.own for violation in trial.violations)
    problems = Counter(trial.problem for trial in task.own if trial.problem)
    return [
        *(_broke(task, field) + _of(count, task) for field, count in found.most_common()),
        *(f"{problem}{_of(count, task)}" for problem, count in problems.most_common()),
    ]


def _broke(task: TaskResult, field: str) -> str:
    all_of = [violation for trial in task.own for violation in trial.violations if violation.field == field]
    found = ", ".join(dict.fromkeys(violation.found for violation in all_of))
    return f"{field}: {allowed_by(all_of[0])}, found {found}"


def _of(count: int, task: TaskResult) -> str:
    return f" ({count} of {task.repeats})" if task.repeats > 1 else ""


def _worth_a_look(task: TaskResult) -> str:
    """Gives the run of the first trial that did not pass, else that of the dearest."""
    ran = [(trial, trial.run) for trial in task.own if trial.run is not None]
    bad = [run for trial, run in ran if not trial.passed]
    found = bad[0] if bad else max((run for _, run in ran), key=lambda run: run.tokens, default=None)
    return "-" if found is None else found.run_id[:SHORT_ID]


def headline(result: Result) -> str:
    """Gives the result in one line."""
    states = Counter(task.state for task in result.tasks)
    parts = [f"{states[state]} {state}" for state in ("failed", "inconclusive") if states[state]]
    said = f"{states['passed']} of {plural(len(result.tasks), 'task')} passed"
    early = ", interrupted" if result.interrupted else ""
    return f"{result.verdict}: {', '.join([said, *parts])} ({plural(len(result.trials), 'run')}{early})"


def about(result: Result) -> list[str]:
    """Gives what is to be known beside the tasks: agent and prompts, what chance allows, what a baseline says."""
    prompts = ", ".join(result.prompt_ids) or "no prompt"
    lines = [f"agent {result.agent}, {prompts}, tasks {result.task_set}"]
    if (said := _zero_failures(result)) is not None:
        lines.append(said)
    if result.replayed:
        lines.append("Answers were recorded ones: this holds for the code around the model, not for the model.")
    if result.comparison is not None:
        lines.append(result.comparison.because)
    return lines + [line for task in result.tasks for line in _notes(task)]


def _notes(task: TaskResult) -> list[str]:
    counted = Counter(note for trial in task.own for note in trial.notes)
    return [f"note: {task.task}: {note}{_of(count, task)}" for note, count in counted.items()]


def _zero_failures(result: Result) -> str | None:
    """Says what no failure in so many runs still allows, or None where that cannot be said."""
    left = result.zero_failures
    if left is None:
        return None
    return f"0 failures in {plural(len(result.trials), 'run')} still allow a failure rate of up to {left:.1%} (95 %)."


def baseline_row(gauge: BaselineGauge) -> tuple[str, str, str, str, str, str]:
    """Gives a measure of both sides as texts: name, baseline, now, ratio with its interval, p, whether it is dearer."""
    ratio = gauge.ratio
    reach = "" if ratio.low is None or ratio.high is None else f" [{ratio.low:.2f}, {ratio.high:.2f}]"
    return (
        _MEASURES[gauge.name],
        f"{gauge.baseline:,.1f}",
        f"{gauge.candidate:,.1f}",
        f"{ratio.value:.2f}{reach}",
        "<0.0001" if gauge.p < 0.0001 else f"{gauge.p:.4f}",
        "dearer" if gauge.dearer else "-",
    )
