"""Results as JSON: for `--save`, `--json` and a baseline read again.

Decides the form of a saved result and what of one is believed: all of it is checked when it is read. It holds ids,
numbers and the names of tools, never what was asked or answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from otel_agent import checks
from otel_agent.golden.invariants import Violation
from otel_agent.golden.results import Result, allowed_by
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import read_text, replace_text
from otel_agent.usage import PastRun

__all__ = ["SCHEMA", "load_result", "result_json", "save_result"]

SCHEMA = 1
"""The version of the form; a change that older readers would misread raises it."""


def result_json(result: Result) -> dict[str, Any]:
    """Gives a result as JSON can write it, with its verdict."""
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        "zero_failures_allow": result.zero_failures,
        "states": {task.task: task.state for task in result.tasks},
    }
    return {**told, **_plain(result)}


def _plain(value: Any) -> Any:
    """Turns values into what JSON has, named tuples into objects; what a task or a run said in words is left out."""
    if isinstance(value, Violation):
        value = value._replace(allowed=allowed_by(value))
    if isinstance(value, PastRun):
        value = value._replace(stop_detail=None)
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    if checks.is_mapping(value):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if checks.is_list(value) else value


def save_result(path: Path, result: Result) -> None:
    """Writes a result to a file, whole or not at all.

    Raises:
        InvalidSetting: the file cannot be written.
    """
    replace_text(path, json.dumps(result_json(result), indent=2) + "\n")


def load_result(path: Path) -> Result:
    """Reads a result that was saved.

    Raises:
        InvalidSetting: there is none, or it is damaged; the error names the file and the field.
    """
    text = read_text(path)
    if text is None:
        allowed = "a result that `otel-agent golden run --save` wrote"
        raise InvalidSetting(field=str(path), value="no such file", allowed=allowed)
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise InvalidSetting(field=str(path), value=_where(wrong), allowed="JSON, as --save writes it") from None
    schema = document.get("schema") if checks.is_mapping(document) else None
    if schema != SCHEMA:
        raise InvalidSetting(field=f"{path}: schema", value=schema, allowed=f"{SCHEMA}, as --save writes it")
    result = _checked(path, {name: value for name, value in document.items() if name in _FIELDS})
    for number, task in enumerate(result.tasks):
        where = f"{path}: tasks.{number}"
        checks.count(f"{where}.repeats", task.repeats, least=1)
        checks.count(f"{where}.quorum", task.quorum, least=1, most=task.repeats)
    return result


_FIELDS = frozenset(each.name for each in fields(Result))


def _where(wrong: Exception) -> str:
    return f"line {wrong.lineno}" if isinstance(wrong, json.JSONDecodeError) else type(wrong).__name__


def _checked(path: Path, document: Mapping[str, Any]) -> Result:
    from pydantic import TypeAdapter, ValidationError  # it takes 100 ms to load

    try:
        return TypeAdapter(Result).validate_python(document)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        allowed = "there" if first["type"] == "missing" else first["msg"].lower().removeprefix("input should be ")
        raise InvalidSetting(field=f"{path}: {field}", value="damaged", allowed=allowed) from None
