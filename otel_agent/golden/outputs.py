"""Whether an answer is what it must be: what it contains, a regular expression, a JSON Schema.

Decides that and nothing else. Never quotes the answer: it may hold what must not be in a report.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from otel_agent import checks
from otel_agent.config.values import GoldenTask, OutputCheck
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import shown

__all__ = ["HINT", "MOST_SEARCHED", "Miss", "check_library", "misses"]

MOST_SEARCHED = 100_000
MOST_SHOWN = 60
HINT = "output.json_schema needs a library: pip install 'otel-agent[golden]'"


class Miss(NamedTuple):
    """What an answer lacks: the field of the check, what was asked for, and what was found, without quoting it."""

    field: str
    allowed: str
    found: str


def misses(check: OutputCheck, output: object) -> Iterator[Miss]:
    """Gives what an answer lacks.

    Args:
        check: what it must be like.
        output: what the agent returned; of a value, its JSON is searched.
    """
    text = output if isinstance(output, str) else _written(output)
    for number, part in enumerate(check.contains):
        if text is None or part not in text:
            field = "output.contains" if len(check.contains) == 1 else f"output.contains[{number}]"
            yield Miss(field, f"with {_short(part)} in it", _kind(output, text))
    if check.regex is not None and (text is None or not re.search(check.regex, text[:MOST_SEARCHED])):
        yield Miss("output.regex", f"where {_short(check.regex)} is found", _kind(output, text))
    if check.json_schema is not None:
        yield from _schema_misses(check.json_schema, output)


def _written(output: object) -> str | None:
    if output is None:
        return None
    try:
        return json.dumps(_plain(output), ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(output)


def _plain(output: Any) -> Any:
    """Gives the fields of a dataclass or of a pydantic model."""
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return dataclasses.asdict(output)
    dump = getattr(output, "model_dump", None)
    return dump(mode="json") if callable(dump) else output


def _short(text: str) -> str:
    return repr(text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}...")


def _kind(output: object, text: str | None) -> str:
    if text is None:
        return "no output"
    what = "a text" if isinstance(output, str) else f"a {type(output).__name__}"
    return f"{what} of {len(text):,} characters without it"


def _schema_misses(schema: Mapping[str, Any], output: object) -> Iterator[Miss]:
    try:
        value = json.loads(output) if isinstance(output, str) else json.loads(_written(output) or "null")
    except ValueError:
        yield Miss("output.json_schema", "JSON", f"{type(output).__name__} that is no JSON")
        return
    try:
        wrong = _worst(schema, value)
    except _Unusable as unusable:
        yield Miss("output.json_schema", "checked", str(unusable))
        return
    if wrong is not None:
        rule = f"{wrong.validator} {json.dumps(wrong.validator_value, default=str)}"
        yield Miss(
            "output.json_schema", f"with {_short(rule)} at {wrong.json_path}", f"a {type(wrong.instance).__name__}"
        )


def check_library(task: GoldenTask) -> None:
    """Checks that the answers of a task can be judged here.

    Raises:
        InvalidSetting: it has a JSON Schema, and the library for that is not installed.
    """
    if task.output is None or task.output.json_schema is None:
        return
    try:
        importlib.import_module("jsonschema")
    except ModuleNotFoundError:
        place = "" if task.file is None else f"{shown(task.file)}:{task.line or 1}: "
        allowed = "left out, or pip install 'otel-agent[golden]'"
        raise InvalidSetting(
            field=f"{place}task {task.id!r}: output.json_schema", value="given", allowed=allowed
        ) from None


class _Unusable(Exception):
    """Nothing can be checked by a schema; the message says why."""


def _worst(schema: Mapping[str, Any], value: Any) -> Any:
    """Gives the error that tells most, or None. A registry of one's own keeps the library from fetching anything."""
    try:
        jsonschema: Any = importlib.import_module("jsonschema")
        referencing: Any = importlib.import_module("referencing")
    except ModuleNotFoundError:
        raise _Unusable(HINT) from None
    plain = _thawed(schema)
    kind = jsonschema.validators.validator_for(plain, default=jsonschema.Draft202012Validator)
    try:
        return jsonschema.exceptions.best_match(kind(plain, registry=referencing.Registry()).iter_errors(value))
    except referencing.exceptions.Unresolvable as missing:
        raise _Unusable(f"a schema that cannot be used: $ref {missing.ref!r} leads nowhere") from None
    except RecursionError:
        raise _Unusable("a schema that cannot be used: its $ref lead round in a circle") from None


def _thawed(schema: Any) -> Any:
    """Gives a schema as the library takes it: with dicts."""
    if checks.is_mapping(schema):
        return {key: _thawed(each) for key, each in schema.items()}
    return [_thawed(each) for each in schema] if checks.is_list(schema) else schema
