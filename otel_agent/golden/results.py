"""What golden tasks came to: trials, the judgement of each task, the verdict of all, and its JSON.

Decides when a task has passed and what the whole comes to. Holds ids and numbers, never what was asked or answered.

    Trial    one call of the agent: its run and what broke a bound, or why it could not be judged
    TaskResult   its trials -> passed, failed, inconclusive
    Result       all tasks, and perhaps a baseline -> passed (0), regression (1), inconclusive (3)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from otel_agent.golden.baseline import BaselineComparison
from otel_agent.golden.invariants import Violation
from otel_agent.usage import PastRun

__all__ = [
    "Result",
    "Side",
    "State",
    "TaskResult",
    "Trial",
    "Verdict",
    "allowed_by",
    "default_quorum",
    "failure_rate_left",
]

Side = Literal["candidate", "baseline"]
State = Literal["passed", "failed", "inconclusive"]
Verdict = Literal["passed", "regression", "inconclusive"]

LEVEL = 0.95
EXIT_CODES: Mapping[Verdict, int] = MappingProxyType({"passed": 0, "regression": 1, "inconclusive": 3})


def default_quorum(repeats: int) -> int:
    """Gives how many of so many repeats must be clean: more than half, 2 of 3."""
    return repeats // 2 + 1


def failure_rate_left(runs: int) -> float:
    """Gives the highest rate of failures that so many runs without one still allow, at 95 %."""
    return 1 - (1 - LEVEL) ** (1 / runs) if runs else 1.0


def allowed_by(violation: Violation) -> str:
    """Gives what a bound allows, for a report: of an answer's text the task says it, which is content."""
    return "what the task says" if violation.field.startswith("output") else violation.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One call of the agent with one task.

    Attributes:
        task: the task's id.
        repeat: which repeat this is, from 1.
        side: "candidate", or "baseline" for a run beside it.
        run: the agent's run; None where none could be found.
        violations: the bounds that broke.
        problem: why it could not be judged, in one line, or None.
        limits: the limits that the run was under, by name.
        replayed: whether the model's answers were recorded ones.
        notes: what is worth knowing and broke nothing, such as a forbidden tool that was tried and denied.
    """

    task: str
    repeat: int
    side: Side = "candidate"
    run: PastRun | None = None
    violations: tuple[Violation, ...] = ()
    problem: str | None = None
    limits: tuple[str, ...] = ()
    replayed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it was judged and stayed within every bound."""
        return self.problem is None and not self.violations


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """One task and its trials.

    Attributes:
        task: the task's id.
        trials: what was run, of both sides.
        repeats: how often it should run.
        quorum: how many of the repeats must be clean.
    """

    task: str
    trials: tuple[Trial, ...]
    repeats: int
    quorum: int

    @property
    def own(self) -> tuple[Trial, ...]:
        """The trials of the candidate, which alone are judged."""
        return tuple(trial for trial in self.trials if trial.side == "candidate")

    @property
    def clean(self) -> int:
        """How many of them passed."""
        return sum(trial.passed for trial in self.own)

    @property
    def state(self) -> State:
        """Whether it passed; of a trial without a verdict nobody knows whether it broke what allows no exception."""
        own = self.own
        strict = any(violation.strict for trial in own for violation in trial.violations)
        broken = sum(bool(trial.violations) for trial in own)
        if strict or self.repeats - broken < self.quorum:
            return "failed"
        whole = len(own) >= self.repeats and not any(trial.problem for trial in own)
        return "passed" if whole and self.clean >= self.quorum else "inconclusive"

    @property
    def passed(self) -> bool:
        """Whether it passed: no strict bound broke in any trial, and no other one in as many as the quorum."""
        return self.state == "passed"


def _no_digests() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What all tasks came to.

    Attributes:
        agent: the agent, as `module:function`.
        prompt_ids: the prompts that the candidate's runs say they used.
        tasks: the tasks, in their order.
        task_set: the digest of the tasks and their bounds.
        task_digests: what each task asks, as a digest.
        at_ns: when it was done, in nanoseconds since 1970.
        comparison: against a baseline, or None.
        whole: whether these are all tasks that there are, none left out by a selection.
        interrupted: whether it was broken off.
    """

    agent: str
    prompt_ids: tuple[str, ...]
    tasks: tuple[TaskResult, ...]
    task_set: str
    task_digests: Mapping[str, str] = field(default_factory=_no_digests)
    at_ns: int
    comparison: BaselineComparison | None = None
    whole: bool = True
    interrupted: bool = False

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The candidate's trials."""
        return tuple(trial for task in self.tasks for trial in task.own)

    @property
    def replayed(self) -> bool:
        """Whether any answer of the model was a recorded one, which proves nothing of how often the agent fails."""
        return any(trial.replayed for trial in self.trials)

    @property
    def limits(self) -> tuple[str, ...]:
        """The limits that every judged run was under, by name."""
        found = [trial.limits for trial in self.trials if trial.run is not None]
        return tuple(limit for limit in (found[0] if found else ()) if all(limit in each for each in found))

    @property
    def verdict(self) -> Verdict:
        """One word for all: a regression is one, also where other tasks could not be judged."""
        states = {task.state for task in self.tasks}
        compared = None if self.comparison is None else self.comparison.state
        if "failed" in states or compared == "dearer":
            return "regression"
        sure = states == {"passed"} and compared != "inconclusive" and not self.interrupted
        return "passed" if sure else "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 where all passed, 1 for a regression, 3 where it cannot be told."""
        return EXIT_CODES[self.verdict]

    @property
    def zero_failures(self) -> float | None:
        """The highest rate of failures still possible, at 95 %; None where a run failed or answers were recorded."""
        trials = self.trials
        if self.replayed or not trials or not all(trial.passed for trial in trials):
            return None
        return failure_rate_left(len(trials))

    def runs(self) -> dict[str, list[PastRun]]:
        """Gives the candidate's runs by task."""
        return {task.task: [trial.run for trial in task.own if trial.run is not None] for task in self.tasks}
