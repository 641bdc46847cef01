"""A recording as a file: JSON lines, each trial's line before those of its exchanges.

Decides what is written of a request, which is never its text: a hash, the model or tool, the size. Reads it back whole,
or says file and line of what is wrong, never the value, which may be content.

    {"otel_agent_recording": 1}
    {"task": "kb_lookup", "repeat": 1, "asks": "51c0...", "unplayable": [], "exchanges": 2}
    {"position": 1, "kind": "model", "name": "gpt-5-mini", "key": "9a3e...", "bytes": 812, "answer": {...}}
    {"position": 2, "kind": "tool", "name": "kb.search", "key": "07f1...", "bytes": 31, "answer": {...}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from otel_agent.checks import is_mapping
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import read_text, replace_text

__all__ = ["Answer", "Exchange", "Kind", "RecordedTrial", "read_recording", "write_recording"]

FORMAT = "otel_agent_recording"
VERSION = 1

Kind: TypeAlias = Literal["model", "tool"]
Outcome: TypeAlias = Literal["gives", "raises", "through", "missing"]


def _no_headers() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request.

    Attributes:
        outcome: it `gives` a value or `raises` an error; `through` is a tool that asks models or tools itself, and is
            called in a replay too; `missing` is none that a recording can hold.
        value: the body of a model's answer, a tool's result, an error's message, or why it is missing.
        error: the qualified name of the error's class.
        status: the HTTP status of a model's answer.
        headers: the few headers that are kept of it.
        cut: the class of the error that ended a body before its end; empty where nobody read on; None for a whole one.
        awaited: whether a tool gave its result to be awaited.
    """

    outcome: Outcome
    value: Any = field(default=None, repr=False)
    error: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=_no_headers)
    cut: str | None = None
    awaited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request at the boundary and what came of it.

    Attributes:
        position: its place among the requests of its trial, from 1.
        kind: whether a model or a tool was asked.
        name: the model or the tool.
        key: the hash of the request.
        size: the bytes of the request.
        answer: what came of it.
    """

    position: int
    kind: Kind
    name: str
    key: str
    size: int
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTrial:
    """All exchanges of one trial.

    Attributes:
        task: the golden task's id.
        repeat: which of its trials it was, from 1.
        asks: the digest of what the task asks.
        unplayable: why it cannot be replayed, a line each.
        exchanges: in the order in which they were asked for.
    """

    task: str
    repeat: int
    asks: str
    unplayable: tuple[str, ...]
    exchanges: tuple[Exchange, ...]


# writing


def write_recording(path: Path, trials: Iterable[RecordedTrial]) -> None:
    """Puts a recording in the place of a file, readable for its owner alone where it is new.

    Raises:
        InvalidSetting: the file cannot be written.
    """
    lines: list[Mapping[str, Any]] = [{FORMAT: VERSION}]
    for trial in sorted(trials, key=lambda trial: (trial.task, trial.repeat)):
        lines.append(
            {
                "task": trial.task,
                "repeat": trial.repeat,
                "asks": trial.asks,
                "unplayable": trial.unplayable,
                "exchanges": len(trial.exchanges),
            }
        )
        lines.extend(map(_line, trial.exchanges))
    replace_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), mode=0o600)


def _line(exchange: Exchange) -> Mapping[str, Any]:
    return {
        "position": exchange.position,
        "kind": exchange.kind,
        "name": exchange.name,
        "key": exchange.key,
        "bytes": exchange.size,
        "answer": _said(exchange.answer),
    }


def _said(answer: Answer) -> dict[str, Any]:
    usual = Answer(outcome=answer.outcome)
    every = {name: getattr(answer, name) for name in Answer.__dataclass_fields__}
    return {name: value for name, value in every.items() if name == "outcome" or value != getattr(usual, name)}


# reading


def read_recording(path: Path) -> tuple[RecordedTrial, ...]:
    """Reads a recording.

    Raises:
        InvalidSetting: there is no such file, it is no recording, or a line of it is damaged or missing.
    """
    text = read_text(path)
    if text is None:
        raise InvalidSetting(field=str(path), value="no such file", allowed="a recording, from `golden run --record`")
    lines = iter(enumerate(text.split("\n"), 1))
    head = _Line.read(path, *next(lines))
    if head.found.get(FORMAT) != VERSION:
        head.wrong(FORMAT, f"{VERSION}, the first line of a recording")
    return tuple(_trials(path, lines))


def _trials(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[RecordedTrial]:
    for number, line in lines:
        if not line:
            continue
        head = _Line.read(path, number, line)
        task, many = head.get("task", str), head.get("exchanges", int)
        own = [each for each in islice(lines, many) if each[1]]
        if len(own) < many:
            missing = f"the other {many - len(own)} of the {many} exchanges of {task}: the file is cut off"
            raise InvalidSetting(field=f"{path}:{number + len(own) + 1}", value="the end", allowed=missing)
        yield RecordedTrial(
            task=task,
            repeat=head.get("repeat", int),
            asks=head.get("asks", str),
            unplayable=tuple(map(str, head.get("unplayable", list))),
            exchanges=tuple(_exchange(_Line.read(path, *each)) for each in own),
        )


def _exchange(line: _Line) -> Exchange:
    said = _Line(line.path, line.number, line.get("answer", dict))
    unknown = said.found.keys() - Answer.__dataclass_fields__.keys()
    if unknown:
        said.wrong(min(unknown), "left out: it is no part of an answer")
    if said.found.get("outcome") not in get_args(Outcome):
        said.wrong("outcome", f"one of {', '.join(get_args(Outcome))}")
    for name in _SAID.keys() & said.found.keys():
        said.get(name, _SAID[name])
    if line.get("kind", str) == "model" and said.found["outcome"] != "through":
        said.get("value", str)
    kind: Any = line.found["kind"]
    if kind not in get_args(Kind):
        line.wrong("kind", f"one of {', '.join(get_args(Kind))}")
    return Exchange(
        position=line.get("position", int),
        kind=kind,
        name=line.get("name", str),
        key=line.get("key", str),
        size=line.get("bytes", int),
        answer=Answer(**said.found),
    )


_SAID: dict[str, type[Any]] = {"error": str, "status": int, "headers": dict, "cut": str, "awaited": bool}
_WORDS: dict[type[Any], str] = {str: "a text", int: "a count", dict: "an object", list: "a list", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One line as it was read."""

    path: Path
    number: int
    found: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, number: int, line: str) -> _Line:
        try:
            found: Any = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not is_mapping(found):
            raise InvalidSetting(field=f"{path}:{number}", value=f"{len(line)} characters", allowed="a JSON object")
        return cls(path, number, found)

    def get(self, name: str, kind: type[Any]) -> Any:
        """Gives a field of a class, a number only where it is none below 0."""
        value: Any = self.found.get(name)
        if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
            self.wrong(name, _WORDS[kind])
        return value

    def wrong(self, name: str, allowed: str) -> None:
        shown = type(self.found.get(name)).__name__ if name in self.found else "nothing"
        raise InvalidSetting(field=f"{self.path}:{self.number}: {name}", value=shown, allowed=allowed)
