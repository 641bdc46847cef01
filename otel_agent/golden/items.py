"""Golden tasks as pytest has them: a file of tasks is a collector, each repeat of a task an item.

Decides what a trial's report says. Whether a task passes is for `judging`, which hears of all its repeats, wherever
they ran: an item whose trial broke a bound that a quorum may forgive reports so, and is no failure yet.

    support.golden.yaml::kb_lookup[1]   kb_lookup[2]   kb_lookup[3]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_agent.bootstrap import prepare
from otel_agent.config.current import FILE_NAME, current
from otel_agent.config.values import Config, GoldenTask
from otel_agent.golden.agents import find_prompt, load_agent
from otel_agent.golden.judging import Told, state_of
from otel_agent.golden.keeping import golden_history
from otel_agent.golden.replay import Replayer
from otel_agent.golden.results import Trial, allowed_by
from otel_agent.golden.runner import check_baseline, quorum_of, repeats_of, run_trial
from otel_agent.golden.saved import load_result
from otel_agent.golden.tasks import TaskSet, load_tasks
from otel_agent.stop import InvalidSetting

__all__ = ["GoldenFile", "GoldenItem", "TrialFailed", "check_options", "told"]

_REPLAYER = pytest.StashKey[Replayer]()


def check_options(config: pytest.Config) -> None:
    """Checks what can be checked before anything runs.

    Raises:
        UsageError: a number can never work, a file is not there or damaged, or two options exclude each other.
    """
    repeats, baseline = config.getoption("golden_repeats"), config.getoption("golden_baseline")
    if repeats is not None and not 1 <= repeats <= 1000:
        raise pytest.UsageError(f"--golden-repeats = {repeats}: must be a number from 1 to 1000")
    if baseline is not None and config.getoption("golden_replay") is not None:
        raise pytest.UsageError(
            "--golden-baseline: recorded answers are compared with nothing; leave --golden-replay out"
        )
    try:
        if baseline is not None:
            load_result(Path(baseline))
        _replayer(config)
    except InvalidSetting as wrong:
        raise pytest.UsageError(str(wrong)) from None


def _replayer(config: pytest.Config) -> Replayer | None:
    """Gives the player of this process, or None where trials are live."""
    file = config.getoption("golden_replay")
    if file is not None and _REPLAYER not in config.stash:
        config.stash[_REPLAYER] = Replayer(Path(file))
    return config.stash.get(_REPLAYER, None)


class GoldenFile(pytest.File):
    """A file of golden tasks, or an `otel-agent.yaml` with some."""

    def collect(self) -> Iterator[GoldenItem]:
        """Gives an item for each repeat of each task.

        Raises:
            CollectError: the file has problems, or its agent or prompt cannot be found.
        """
        try:
            yield from self._items(self._tasks())
        except ValueError as wrong:  # all that is wrong with settings and files is one
            raise self.CollectError(str(wrong)) from None

    def _config(self) -> Config:
        return current(self.path if self.path.name == FILE_NAME else None)

    def _tasks(self) -> TaskSet:
        config = self._config()
        return load_tasks([] if config.file == self.path else [self.path], config=config)

    def _items(self, tasks: TaskSet) -> Iterator[GoldenItem]:
        ref = tasks.agent
        if ref is None:
            raise InvalidSetting(
                field=f"{self.path.name}: agent", value=None, allowed="module:function, here or testing.agent"
            )
        if str(self.config.rootpath) not in sys.path:
            sys.path.insert(0, str(self.config.rootpath))
        agent, option = load_agent(ref), self.config.getoption("golden_prompt")
        prepare(self._config())
        prompt = None if option is None else find_prompt(option, field="--golden-prompt")
        baseline = self.config.getoption("golden_baseline")
        if baseline is not None:
            check_baseline(tasks, load_result(Path(baseline)), whole=False, name=str(baseline))
        replayer = _replayer(self.config)
        for task in tasks.tasks:
            repeats = 1 if replayer is not None else repeats_of(task, self.config.getoption("golden_repeats"))
            for repeat in range(1, repeats + 1):
                kind: Any = GoldenItem
                item: GoldenItem = kind.from_parent(self, name=f"{task.id}[{repeat}]")
                item.set_trial(agent=agent, tasks=tasks, task=task, repeat=repeat, repeats=repeats, prompt=prompt)
                yield item


class TrialFailed(Exception):
    """A trial broke a bound, or could not be judged; the message is the block that is shown."""


class GoldenItem(pytest.Item):
    """One trial of a task."""

    def set_trial(self, *, task: GoldenTask, tasks: TaskSet, **how: Any) -> None:
        """Says what to run, and how often in all."""
        self._task, self._tasks, self._how = task, tasks, how
        self.trial: Trial | None = None
        self.extra_keyword_matches.update(task.tags)
        self.add_marker("golden")

    def runtest(self) -> None:
        """Runs the trial."""
        self.trial = run_trial(
            self._how["agent"],
            self._task,
            repeat=self._how["repeat"],
            writes=self._tasks.writes,
            prompt=self._how["prompt"],
            player=_replayer(self.config),
            history=golden_history(),
        )
        run = self.trial.run
        if run is not None:
            used = {"run_id": run.run_id, "tool_calls": run.tool_calls, "tokens": run.tokens}
            self.user_properties += [(f"golden_{name}", str(value)) for name, value in used.items()]
        if not self.trial.passed:
            raise TrialFailed(told(self.trial))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Shows what was not kept, without our own frames."""
        if isinstance(excinfo.value, (TrialFailed, InvalidSetting)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Gives where the task stands."""
        line = self._task.line
        return self._task.file or self.path, None if line is None else line - 1, self.name

    def tell_trial(self, report: Any) -> None:
        """Puts onto a report what the judge asks for."""
        trial = self.trial
        if trial is None:
            return
        repeats, state = self._how["repeats"], state_of(trial)
        about = Told(
            file=str(self.parent.nodeid if self.parent else ""),
            task=trial.task,
            repeat=trial.repeat,
            repeats=repeats,
            quorum=quorum_of(self._task, repeats),
            state=state,
            run=None if trial.run is None else trial.run._replace(stop_detail=None),
        )
        report.golden = about.plain()
        if state == "broken":
            report.outcome, report.tolerated = "skipped", True
            report.wasxfail = " ".join(str(report.longrepr).split())


def told(trial: Trial) -> str:
    """Gives the block that says what a trial did not keep, and which run to look at."""
    head = f"{trial.task}, trial {trial.repeat}"
    if trial.problem is not None:
        lines = [f"{head} could not be judged: {trial.problem}"]
    else:
        lines = [f"{head} broke {len(trial.violations)} of its bounds"]
        lines += [f"  {each.field}: {allowed_by(each)}, found {each.found}" for each in trial.violations]
    if trial.run is not None:
        lines.append(f"  run {trial.run.run_id}, prompt {trial.run.prompt_id or 'unknown'}")
        if (folder := golden_history()) is not None:
            lines.append(f"  otel-agent runs show {trial.run.run_id} --history {folder}")
    return "\n".join(lines)
