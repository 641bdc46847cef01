"""A task as text, and a file with one task more.

Decides the form of what is written. What stands in a file stays as it is, byte by byte: the task is put behind it, and
only when the whole, read again, says what it said before and the task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from otel_agent import checks
from otel_agent.config.file import read_as
from otel_agent.config.nodes import compose
from otel_agent.config.problems import InvalidFile
from otel_agent.config.tasks import TASK_FILE, file_clashes, task_of
from otel_agent.config.values import GoldenTask
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import locked, read_text, replace_text, shown
from otel_agent.views.text import clean

__all__ = ["CannotAppend", "block", "with_task", "write_task"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS = ("null", "true", "false")
_NOT_WRITTEN = ("file", "line")


class CannotAppend(ValueError):
    """A task cannot be put behind what stands in a file; the message says why, in one line."""


def block(task: GoldenTask, comments: Sequence[str], *, indent: int = 0) -> str:
    """Gives a task as an entry of a list in YAML, with comments before it.

    Args:
        task: the task.
        comments: lines that say where it comes from.
        indent: how far the list stands in.
    """
    fields = [f"{name}: {text}" for name, text in _fields(task)]
    lines = [*(f"# {clean(comment)}" for comment in comments), f"- {fields[0]}", *(f"  {each}" for each in fields[1:])]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _fields(task: GoldenTask) -> list[tuple[str, str]]:
    values = {name: getattr(task, name) for name in task.__dataclass_fields__ if name not in _NOT_WRITTEN}
    values["expect_stop_reason"] = str(task.expect_stop_reason)
    if task.output is not None:
        output = {name: getattr(task.output, name) for name in task.output.__dataclass_fields__}
        values["output"] = {name: each for name, each in output.items() if each}
    if task.call_order == "any":
        del values["call_order"]
    return [(name, _yaml(value)) for name, value in values.items() if value not in (None, ())]


def _yaml(value: Any) -> str:
    """Writes a value on one line, a text in quotes where it could be read as something else."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else _quoted(value)
    if isinstance(value, Decimal):
        return f'"{value:f}"'
    if checks.is_mapping(value):
        return "{" + ", ".join(f"{_yaml(str(key))}: {_yaml(each)}" for key, each in value.items()) + "}"
    if checks.is_list(value):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Writes a text as JSON does, which YAML reads alike but for characters that it wants to see escaped."""
    found = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in found)


def with_task(text: str | None, task: GoldenTask, comments: Sequence[str], *, name: str = "tasks") -> str:
    """Gives the text of a file with a task more.

    Args:
        text: what stands there; None or nothing for a new file.
        task: the task.
        comments: lines that say where it comes from.
        name: what the file is called, for errors.

    Raises:
        InvalidFile: what stands there is no file of tasks, or the task cannot stand beside it.
        CannotAppend: the list of tasks is not the last that stands there, or is written in brackets.
    """
    before = _read(text, name) if text else []
    indent = _indent(text, name) if before and text else 0
    newline = "\r\n" if "\r\n" in (text or "") else "\n"
    gap = newline if text and not text.endswith("\n") else ""
    added = block(task, comments, indent=indent).replace("\n", newline)
    whole = f"{text or ''}{gap}{newline if text else ''}{added}"
    if _after(whole, name) != [*before, task]:
        raise CannotAppend("its list of tasks is not what stands at its end")
    return whole


def _after(whole: str, name: str) -> list[GoldenTask] | None:
    """Reads the new text; None where it is not YAML any more, which is no mistake of what stood there."""
    try:
        return _read(whole, name)
    except InvalidFile as wrong:
        if any(problem.kind == "syntax" for problem in wrong.problems):
            return None
        raise


def _read(text: str, name: str) -> list[GoldenTask]:
    if not _values(text, name):
        return []
    values, problems = read_as(TASK_FILE, file_clashes(), text.encode(), name)
    if problems:
        raise InvalidFile(file=name, problems=problems)
    return [task_of(each, None) for each in values["tasks"]]


def _values(text: str, name: str) -> bool:
    """Tells whether there is anything but comments."""
    root, _ = compose(text.encode(), name)
    return root.value is not None


def _indent(text: str, name: str) -> int:
    """Tells how far the list of tasks stands in.

    Raises:
        CannotAppend: it is written in brackets.
    """
    root, _ = compose(text.encode(), name)
    listed = root if checks.is_list(root.value) else root.value["tasks"]
    line, column = listed.place
    if text.splitlines()[line - 1].lstrip("\ufeff")[column - 1] != "-":
        raise CannotAppend("its list of tasks is written in brackets")
    return int(column) - 1


def write_task(path: Path, task: GoldenTask, comments: Sequence[str]) -> None:
    """Puts a task behind those of a file, or into a new one: all of it, or nothing.

    Args:
        path: the file; its folder is made where it is missing.
        task: the task.
        comments: lines that say where it comes from.

    Raises:
        InvalidSetting: the file cannot be read or written.
        InvalidFile: what stands there is no file of tasks, or the task cannot stand beside it.
        CannotAppend: it cannot be put behind what stands there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        why = failed.strerror or type(failed).__name__
        raise InvalidSetting(field=str(path), value=why, allowed="in a folder that can be made") from None
    with locked(path):
        replace_text(path, with_task(read_text(path), task, comments, name=shown(path)))
