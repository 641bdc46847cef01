"""Recording: every request of a trial goes where it goes, and what comes of it is kept for the file.

Decides what cannot be replayed, and tells so when the recording ends. Nothing is written before that, and a file that
is there keeps the trials of the tasks that were not recorded now.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from otel_agent import context as ctx
from otel_agent import redaction
from otel_agent.config.values import GoldenTask
from otel_agent.context import Frame
from otel_agent.golden.replay import bodies, tools
from otel_agent.golden.replay.player import leave, stand
from otel_agent.golden.replay.recording import Answer, Exchange, Kind, RecordedTrial, read_recording, write_recording
from otel_agent.golden.replay.transports import failed
from otel_agent.golden.tasks import task_digest
from otel_agent.run.blame import is_decision
from otel_agent.run.llm import LLMCall
from otel_agent.stop import InvalidSetting

__all__ = ["Recorder"]


class Recorder:
    """Records the trials that run inside its `with` block, and writes those that ended, unless it ends by an error.

    Args:
        path: the file; one that is there keeps its trials of other tasks.

    Attributes:
        replays: no, it asks.

    Raises:
        InvalidSetting: the file is there and is no recording, a line of it is damaged, or its folder is not there.
    """

    replays = False

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise InvalidSetting(field=str(path), value="no such folder", allowed="in a folder that is there")
        self._path = path
        self._before = read_recording(path) if path.exists() else ()
        self._tapes: list[_Recorded] = []

    def __enter__(self) -> Self:
        stand()
        return self

    def __exit__(self, kind: object, exc: object, tb: object, /) -> None:
        leave()
        if exc is None:
            self._write()

    def _write(self) -> None:
        new = [tape.trial() for tape in self._tapes if tape.ended]
        anew = {trial.task for trial in new}
        if new:
            write_recording(self._path, [*(trial for trial in self._before if trial.task not in anew), *new])

    def tape(self, task: GoldenTask, repeat: int) -> _Recorded:
        """Gives the tape of a trial."""
        tape = _Recorded(task, repeat)
        self._tapes.append(tape)
        return tape

    @property
    def notes(self) -> tuple[str, ...]:
        """What cannot be replayed, is called in a replay, or was changed; a line each, the same one once."""
        return tuple(dict.fromkeys(note for tape in self._tapes if tape.ended for note in tape.notes()))


class _Recorded:
    """One trial that is recorded."""

    def __init__(self, task: GoldenTask, repeat: int) -> None:
        self.problem: str | None = None
        self.ended = False
        self._task, self._repeat = task, repeat
        self._lock = threading.Lock()
        self._asked: list[_Pending] = []
        self._tools: dict[Frame, _Pending] = {}
        self._calls: set[LLMCall] = set()
        self._unplayable: list[str] = []

    # the boundary

    def opens(self, verb: Any, wrapped: Callable[..., Any] | None) -> None:
        why = tools.unplayable(verb, wrapped)
        if why is not None:
            self._unplayable.append(why)
            self._mark_tools_around(ctx.current_frame())

    def tool(self, verb: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        frame = ctx.current_frame()
        pending = self._ask("tool", verb.tool, *tools.key_of(verb, fn, args, kwargs))
        if frame is not None:
            self._mark_tools_around(frame.above)
            self._tools[frame] = pending
        try:
            result = fn(*args, **kwargs)
        except BaseException as exc:
            pending.failed(exc)
            raise
        if inspect.iscoroutine(result):
            return _later(result, pending)
        pending.returned(result)
        return result

    def model(self, name: str, key: str, size: int, call: LLMCall) -> _Pending:
        self._mark_tools_around(call.above)
        self._calls.add(call)
        return self._ask("model", name, key, size)

    def end(self, steps: int) -> None:
        unseen = steps - len(self._calls)
        if unseen > 0:
            self._unplayable.append(f"of its LLM calls {unseen} made no request through httpx")
        self.ended = True
        self._calls.clear()
        self._tools.clear()

    def _ask(self, kind: Kind, name: str, key: str, size: int) -> _Pending:
        with self._lock:
            pending = _Pending(kind, name, key, size, len(self._asked) + 1)
            self._asked.append(pending)
        return pending

    def _mark_tools_around(self, frame: Frame | None) -> None:
        """Remembers of the tools that something is asked for in that they ask."""
        while frame is not None:
            if frame in self._tools:
                self._tools[frame].asks = True
            frame = frame.above

    # afterwards

    def trial(self) -> RecordedTrial:
        """Gives what was recorded."""
        exchanges = tuple(pending.exchange() for pending in self._asked)
        missing = (f"{_named(each)} {each.answer.value}" for each in exchanges if each.answer.outcome == "missing")
        return RecordedTrial(
            task=self._task.id,
            repeat=self._repeat,
            asks=task_digest(self._task),
            unplayable=tuple(dict.fromkeys([*self._unplayable, *missing])),
            exchanges=exchanges,
        )

    def notes(self) -> Iterator[str]:
        """Gives what people should know of it."""
        trial = self.trial()
        for why in trial.unplayable:
            yield f"{trial.task} cannot be replayed: {why}"
        for pending, each in zip(self._asked, trial.exchanges, strict=True):
            if each.answer.outcome == "through":
                yield f"{_named(each)} asks for models or tools itself: a replay calls it, and answers those"
            elif pending.changed:
                place = f"{trial.task}, trial {trial.repeat}, request {each.position}"
                yield f"{place}: what looks like a secret was taken out of the answer of {_named(each)}"


def _named(exchange: Exchange) -> str:
    return f"{exchange.kind} {exchange.name}"


async def _later(result: Coroutine[Any, Any, Any], pending: _Pending) -> Any:
    pending.awaited = True
    try:
        found = await result
    except BaseException as exc:
        pending.failed(exc)
        raise
    pending.returned(found)
    return found


class _Pending:
    """One request on its way, and what came of it."""

    answer = None  # it goes where it goes

    def __init__(self, kind: Kind, name: str, key: str, size: int, position: int) -> None:
        self._of: dict[str, Any] = {"kind": kind, "name": name, "key": key, "size": size, "position": position}
        self._came = Answer(outcome="missing", value="had given no answer when its trial ended")
        self.asks = self.awaited = self.changed = False

    def answered(self, answer: Answer) -> None:
        """Keeps what came of it, without what looks like a secret."""
        body = self._of["kind"] == "model" and answer.outcome == "gives"
        clean = bodies.redacted(answer) if body else redaction.redacted(answer.value)
        self.changed = clean != answer.value
        self._came = replace(answer, value=clean, awaited=self.awaited)

    def returned(self, result: object) -> None:
        """Keeps a tool's result."""
        if tools.holds(result):
            self.answered(Answer(outcome="gives", value=result))
        else:
            what = type(result).__qualname__
            self.answered(Answer(outcome="missing", value=f"gives a {what}, which JSON does not give back as it was"))

    def failed(self, exc: BaseException) -> None:
        """Keeps a tool's error; a stop or denial of ours will come again by itself."""
        if is_decision(exc):
            self.asks = True
        elif isinstance(exc, Exception):
            self.answered(failed(exc))

    def exchange(self) -> Exchange:
        """Gives the request with what came of it until now."""
        return Exchange(**self._of, answer=Answer(outcome="through") if self.asks else self._came)
