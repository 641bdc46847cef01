"""The judge of a pytest session: hears of each trial, from whichever worker, and decides what a task comes to.

A trial that broke a bound is tolerated while the quorum can still be reached, and shown as such. The first one too many
is a failure. So the outcome is the same in whatever order, and on however many workers, the trials ran.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from otel_agent.golden.baseline import compare_tasks
from otel_agent.golden.results import Trial
from otel_agent.golden.saved import load_result
from otel_agent.usage import PastRun

__all__ = ["Judge", "State", "Told", "state_of"]

State: TypeAlias = Literal["clean", "broken", "failed"]

OK, FAILED = 0, 1


class Told(NamedTuple):
    """What a report says of its trial: "broken" is what a quorum may forgive."""

    file: str
    task: str
    repeat: int
    repeats: int
    quorum: int
    state: State
    run: PastRun | None = None

    def plain(self) -> dict[str, Any]:
        """Gives it as a report carries it from a worker."""
        return {**self._asdict(), "run": None if self.run is None else [*self.run]}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Told:
        """Gives it as it was told."""
        found = dict(plain)
        found["run"] = None if found["run"] is None else PastRun(*found["run"])
        return cls(**found)


def state_of(trial: Trial) -> State:
    """Tells whether a trial kept its bounds, broke some, or failed beyond what a quorum forgives."""
    if trial.passed:
        return "clean"
    strict = trial.problem is not None or any(violation.strict for violation in trial.violations)
    return "failed" if strict else "broken"


class _Heard:
    """The repeats of one task, by their state."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.tolerated: dict[int, str] = {}
        self.failed = False

    def count(self, state: State) -> int:
        return list(self.states.values()).count(state)


class Judge:
    """Judges the tasks of a session.

    Args:
        baseline: a saved result to compare with, or None.
    """

    def __init__(self, baseline: str | None) -> None:
        self._baseline = baseline
        self._tasks: defaultdict[Told, _Heard] = defaultdict(_Heard)
        self._runs: defaultdict[str, list[PastRun]] = defaultdict(list)
        self._lines: list[str] = []

    def hear(self, report: Any) -> None:
        """Hears of a trial, and makes its report a failure where it is one too many."""
        about = Told.read(report.golden)
        if about.run is not None:
            self._runs[about.task].append(about.run)
        heard = self._tasks[about._replace(repeat=0, state="clean", run=None)]
        heard.states[about.repeat] = about.state
        allowed, broken = about.repeats - about.quorum, heard.count("broken")
        if about.state == "failed":
            heard.failed = True
        elif about.state == "broken" and broken > allowed:
            heard.failed = True
            report.outcome, report.tolerated = "failed", False
            del report.wasxfail
            report.longrepr = f"{report.longrepr}\n{broken} of {about.repeats} trials broke a bound, {allowed} may"
        elif about.state == "broken":
            heard.tolerated[about.repeat] = f"{report.nodeid}\n{report.longrepr}"

    def finish(self, status: int) -> int:
        """Gives the exit status of the session, with what no single report could decide."""
        short = [*self._short()]
        self._lines += short
        worst = FAILED if short else OK
        if self._baseline is not None and self._runs:
            worst = max(worst, self._compare(Path(self._baseline)))
        return status or worst

    def _short(self) -> Iterator[str]:
        """Finds the tasks whose trials were not enough for a verdict, such as where only some of them were selected."""
        for about, heard in self._tasks.items():
            clean = heard.count("clean")
            if heard.tolerated and not heard.failed and clean < about.quorum:
                ran = f"{clean} of the {len(heard.states)} trials that ran were clean, {about.quorum} must be"
                yield f"{about.file}::{about.task} cannot be told: {ran}"

    def _compare(self, baseline: Path) -> int:
        found = compare_tasks(load_result(baseline).runs(), self._runs, name=str(baseline))
        self._lines.append(found.because)
        return FAILED if found.state == "dearer" else OK

    def summarize(self, terminal: Any) -> None:
        """Shows the trials that were tolerated, and what was decided at the end."""
        blocks = [text for heard in self._tasks.values() for _, text in sorted(heard.tolerated.items())]
        if not blocks and not self._lines:
            return
        terminal.section("golden tasks")
        for text in (*blocks, *self._lines):
            terminal.write_line(text)
