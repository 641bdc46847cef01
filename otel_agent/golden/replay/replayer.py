"""Replaying: every request of a trial is answered from a recording, or the trial fails; nothing goes anywhere.

Decides which recorded trial answers: that of the same task and repeat, else the task's first. Identical requests of
one trial get their answers in the order in which they were recorded.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

from otel_agent.config.values import GoldenTask
from otel_agent.golden.replay import tools
from otel_agent.golden.replay.player import leave, stand
from otel_agent.golden.replay.recording import Answer, Exchange, RecordedTrial, read_recording
from otel_agent.golden.replay.tools import ReplayedError
from otel_agent.golden.tasks import task_digest
from otel_agent.run.llm import LLMCall

__all__ = ["NotRecorded", "ReplayedError", "Replayer"]

CHANGED = "the prompt or the input changed since it was recorded"


class NotRecorded(BaseException):
    """A trial asked for what its recording does not have.

    No `Exception`, so that no client tries again and no agent goes on with it: the trial ends here.
    """


class Replayer:
    """Answers the trials that run inside its `with` block from a recording.

    Args:
        path: the recording.

    Attributes:
        replays: yes; nothing is asked.

    Raises:
        InvalidSetting: there is no such file, or it is damaged; the message names the line.
    """

    replays = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trials = read_recording(path)
        self._tapes: list[_Replayed] = []
        self._stands = False

    def __enter__(self) -> Self:
        if not self._stands:
            stand()
            self._stands = True
        return self

    def __exit__(self, *exc: object) -> None:
        if all(tape.ended for tape in self._tapes):  # else one goes on that nobody waits for, and must not get out
            leave()
            self._stands = False
            self._tapes.clear()

    def tape(self, task: GoldenTask, repeat: int) -> _Replayed:
        """Gives the tape of a trial."""
        of_task = [trial for trial in self._trials if trial.task == task.id]
        same = [trial for trial in of_task if trial.repeat == repeat]
        playable = [trial for trial in of_task if not trial.unplayable]
        tape = _Replayed(next(iter([*same, *playable, *of_task]), None), task, self._path)
        self._tapes.append(tape)
        return tape


class _Replayed:
    """One trial that is replayed."""

    def __init__(self, trial: RecordedTrial | None, task: GoldenTask, path: Path) -> None:
        self.problem = _problem(trial, task, path)
        self.ended = self.problem is not None
        self._where = f"{path}, task {task.id}"
        self._lock = threading.Lock()
        self._left: defaultdict[tuple[str, str], deque[Exchange]] = defaultdict(deque)
        for each in trial.exchanges if trial is not None else ():
            self._left[each.kind, each.key].append(each)
        self._known = frozenset(self._left)
        self._position = 0
        self._calls: set[LLMCall] = set()

    def opens(self, verb: Any, wrapped: Callable[..., Any] | None) -> None:
        why = tools.unplayable(verb, wrapped)
        if why is not None:
            self._fail(why)

    def tool(self, verb: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        answer = self._answer("tool", verb.tool, tools.key_of(verb, fn, args, kwargs)[0])
        if answer.outcome == "through":
            return fn(*args, **kwargs)
        return _later(answer) if answer.awaited else _now(answer)

    def model(self, name: str, key: str, size: int, call: LLMCall) -> _Found:
        self._calls.add(call)
        return _Found(self._answer("model", name, key))

    def end(self, steps: int) -> None:
        self.ended = True
        unseen = steps - len(self._calls)
        if self.problem is None and unseen > 0:
            self.problem = f"of its LLM calls {unseen} made no request through httpx, to be answered from {self._where}"

    def _answer(self, kind: str, name: str, key: str) -> Answer:
        with self._lock:
            self._position += 1
            left = self._left[kind, key]
            found = left.popleft() if left else None
        asked = f"request {self._position}, to {kind} {name},"
        if found is None:
            often = "was made less often when" if (kind, key) in self._known else "is not in"
            self._fail(f"{asked} {often} {self._where}: {CHANGED}")
        if found.answer.outcome == "missing":
            self._fail(f"{asked} has no answer in {self._where}: it {found.answer.value}")
        return found.answer

    def _fail(self, why: str) -> NoReturn:
        self.problem = self.problem or why
        raise NotRecorded(why)


def _problem(trial: RecordedTrial | None, task: GoldenTask, path: Path) -> str | None:
    if trial is None:
        return f"{path} has no trial of {task.id}: record it"
    if trial.asks != task_digest(task):
        return f"{task.id} asks something else than when {path} was recorded: record it again"
    if trial.unplayable:
        return f"{task.id} cannot be replayed from {path}: {trial.unplayable[0]}"
    return None


class _Found:
    """A request to a model, with its answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def answered(self, answer: Answer) -> None:
        """Hears nothing: nobody was asked."""


def _now(answer: Answer) -> Any:
    if answer.outcome == "raises":
        raise tools.raised(answer.error, answer.value)
    return copy.deepcopy(answer.value)  # the agent may change it, and another trial be given it


async def _later(answer: Answer) -> Any:
    return _now(answer)
