"""A golden task as YAML says it: its shape, what cannot stand beside what, and the value that comes of it.

The same entries stand under `testing.golden_tasks` and in files of their own, which may name the agent and the tools
that write as well. Decides nothing about how a task is run or judged.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from otel_agent import checks
from otel_agent.config.items import BROKEN, Item
from otel_agent.config.scalars import CallableRef, LongText, Money, Number, Text, Whole, Word
from otel_agent.config.shapes import WRONG, Checked, Key, ListOf, OneOrMany, Report, Schema, Section, Shape
from otel_agent.config.values import GoldenTask, OutputCheck
from otel_agent.stop import InvalidSetting, StopCode

__all__ = ["AGENT", "TASK", "TASK_FILE", "TOOLS", "Clash", "file_clashes", "task_clashes", "task_of"]

LONGEST_INPUT = 100_000
LONGEST_PATTERN = 10_000
LARGEST_TASK_USD = 10**9
PROSE = "prose differs from run to run though it says the same; use contains, regex or json_schema"


class Clash(NamedTuple):
    """A value that cannot stand beside another: where, as keys and indices from the root, and what is allowed there."""

    path: tuple[str | int, ...]
    allowed: str


# shapes


class _Plain(Shape):
    """A mapping of whatever YAML says."""

    words = "a mapping"
    secret = True

    def _read(self, item: Item, field: str, report: Report) -> Any:
        if checks.is_mapping(item.value):
            found = _plain(item)
            return WRONG if _has_wrong(found) else found
        report(item, field, self.words, shown=False)
        return WRONG

    def schema(self) -> Schema:
        return {"type": "object"}


def _plain(item: Item) -> Any:
    value: Any = item.value
    if value is BROKEN:
        return WRONG
    if checks.is_mapping(value):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if checks.is_list(value) else value


def _has_wrong(value: Any) -> bool:
    if checks.is_mapping(value):
        return any(map(_has_wrong, value.values()))
    return any(map(_has_wrong, value)) if checks.is_list(value) else value is WRONG


class _Input(_Plain):
    """What an agent is asked: a text, or arguments by name."""

    words = "any text, or a mapping of arguments by name"

    def __init__(self) -> None:
        self._text = LongText("any text", longest=LONGEST_INPUT)

    def _read(self, item: Item, field: str, report: Report) -> Any:
        text = isinstance(item.value, str)
        return self._text.read(item, field, report) if text else super()._read(item, field, report)

    def schema(self) -> Schema:
        return {"anyOf": [self._text.schema(), super().schema()]}


class _JsonSchema(_Plain):
    """A JSON Schema without references to other documents."""

    words = "a JSON Schema"

    def _read(self, item: Item, field: str, report: Report) -> Any:
        found = super()._read(item, field, report)
        wrong = None if found is WRONG else _wrong_schema(found)
        if wrong is not None:
            report(item, field, f"a JSON Schema: {wrong}", shown=False)
            return WRONG
        return found


def _wrong_schema(schema: Mapping[str, Any]) -> str | None:
    """Tells what is wrong with a schema; where the library is not installed, only what can be told without it."""
    if outside := [ref for ref in _references(schema) if not ref.startswith("#")]:
        return f"$ref {outside[0]!r} is another document, and nothing is fetched; begin it with #"
    try:
        validators: Any = importlib.import_module("jsonschema.validators")
    except ModuleNotFoundError:
        return None  # who checks an output says what to install
    try:
        validators.validator_for(schema, default=validators.Draft202012Validator).check_schema(schema)
    except validators.exceptions.SchemaError as wrong:
        return f"{wrong.json_path.removeprefix('$.')}: {wrong.message}"
    return None


def _references(schema: Any) -> Iterator[str]:
    if checks.is_list(schema):
        for each in schema:
            yield from _references(each)
    elif checks.is_mapping(schema):
        for key, each in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(each, str):
                yield each
            yield from _references(each)


class _Pattern(Checked):
    """A regular expression of Python."""

    def __init__(self) -> None:
        text = LongText("a regular expression", longest=LONGEST_PATTERN)
        self._text = text
        super().__init__(self._compiled, text.schema(), text.words, secret=True)

    def _compiled(self, field: str, value: object) -> str:
        found: str = self._text.check(field, value)
        try:
            re.compile(found)
        except (re.error, RecursionError, OverflowError) as wrong:
            allowed = f"a regular expression: {wrong}"
            raise InvalidSetting(field=field, value=type(value), allowed=allowed) from None
        return found


class _Output(Section):
    """Checks of an answer; a text alone would be a verbatim comparison."""

    def _read(self, item: Item, field: str, report: Report) -> Any:
        if isinstance(item.value, str):
            report(item, field, f"a mapping of {self.words}; no verbatim comparison: {PROSE}", shown=False)
            return WRONG
        return super()._read(item, field, report)


class _Placed(Section):
    """A mapping that remembers its line."""

    def _read(self, item: Item, field: str, report: Report) -> Any:
        found = super()._read(item, field, report)
        return found if found is WRONG else {**found, "line": item.place[0]}


class _TaskFile(Section):
    """A file of tasks: a mapping, or just their list."""

    def _read(self, item: Item, field: str, report: Report) -> Any:
        if checks.is_list(item.value):
            return {"tasks": self.keys["tasks"].shape.read(item, "tasks", report)}
        return super()._read(item, field, report)


def _at_most(what: str, *, least: int = 0) -> Key:
    return Key(Whole(least), f"{what} at most")


TOOLS = ListOf(Text("a tool's name"), "names of tools")
AGENT = CallableRef()
_VERBATIM = ("equals", "equal", "exact", "exactly", "is", "text", "verbatim", "expected", "matches_exactly")
_OUTPUT = _Output(
    {
        "contains": Key(
            OneOrMany(LongText("any text", longest=LONGEST_INPUT)), "what the output must contain, each of them"
        ),
        "regex": Key(_Pattern(), "what must be found in it"),
        "json_schema": Key(_JsonSchema(), "what it must fit: a value, or a text that is JSON"),
    },
    reserved=dict.fromkeys(_VERBATIM, f"no verbatim comparison: {PROSE}"),
    words="contains, regex, json_schema",
)
TASK = _Placed(
    {
        "id": Key(Text("a name"), "what the task is called; each id stands once", required=True),
        "expect_stop_reason": Key(Word(*StopCode), "the stop code that its run must end with", required=True),
        "input": Key(_Input(), "what the agent is asked; a mapping is passed as keyword arguments"),
        "tags": Key(ListOf(Text(), "words"), "words to select tasks by"),
        "repeats": Key(Whole(1, 1000), "how often it is run"),
        "quorum": Key(Whole(1, 1000), "how many of the repeats must stay within the bounds"),
        "max_steps": _at_most("LLM calls", least=1),
        "max_tool_calls": _at_most("tool calls"),
        "max_tokens": _at_most("input and output tokens"),
        "max_seconds": Key(
            Number(checks.seconds, "seconds above 0", above=0, most=checks.LARGEST_SECONDS), "seconds at most"
        ),
        "max_usd": Key(Money(LARGEST_TASK_USD), "USD at most"),
        "max_repeats": _at_most("calls of one tool with the same arguments", least=1),
        "must_call": Key(TOOLS, "tools that must be called; one that stands twice, twice"),
        "may_call": Key(TOOLS, "tools of `testing.writes` that may be called as well"),
        "must_not_call": Key(TOOLS, "tools that must not be called"),
        "call_order": Key(
            Word("exact", "in_order", "any"),
            "how the calls must match `must_call`: exactly these, these in this order, or in any order",
        ),
        "output": Key(_OUTPUT, "what the answer must be like"),
    },
    words="id, expect_stop_reason and bounds",
)
TASK_FILE = _TaskFile(
    {
        "agent": Key(AGENT, "the agent that does them"),
        "writes": Key(TOOLS, "tools that change something outside"),
        "tasks": Key(ListOf(TASK, "tasks"), "the tasks", required=True),
    },
    words="agent, writes and tasks, or a list of tasks",
)
"""The shape of a file of tasks."""


# what cannot stand together


def task_clashes(
    tasks: Sequence[Any], path: tuple[str | int, ...], taken: Mapping[str, str] | None = None
) -> Iterator[Clash]:
    """Gives what cannot stand together in tasks; where a value was wrong by itself, nothing is said of it.

    Args:
        tasks: the values of each task, or `WRONG`.
        path: where their list stands.
        taken: ids that are taken already, each with its place.
    """
    known = dict(taken or {})
    for number, task in enumerate(tasks):
        if task is WRONG:
            continue
        name = task.get("id")
        if isinstance(name, str) and name in known:
            where = f"; {known[name]} has it" if known[name] else ""
            yield Clash((*path, number, "id"), f"an id that no task before it has{where}")
        elif isinstance(name, str):
            known[name] = ""
        for key, allowed in _within(task):
            yield Clash((*path, number, key), allowed)


def file_clashes(
    taken: Mapping[str, str] | None = None, agent: tuple[str, str] | None = None
) -> Callable[[Mapping[str, Any]], Iterator[Clash]]:
    """Gives what tells of the values of a file of tasks what cannot stand together in it, or with others.

    Args:
        taken: ids that are taken by others, each with its place.
        agent: the agent that others name, and where they do.
    """

    def clashing(values: Mapping[str, Any]) -> Iterator[Clash]:
        if agent is not None and isinstance(own := values.get("agent"), str) and own != agent[0]:
            name, where = agent
            yield Clash(("agent",), f"{name}, as {where} says: the tasks of one run are for one agent")
        tasks: Any = values.get("tasks", ())
        if checks.is_list(tasks):
            yield from task_clashes(tasks, ("tasks",), taken)

    return clashing


def _within(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    repeats, quorum = task.get("repeats"), task.get("quorum")
    if isinstance(repeats, int) and isinstance(quorum, int) and quorum > repeats:
        yield "quorum", f"at most {repeats}, its repeats"
    must, most = _tools(task, "must_call"), task.get("max_tool_calls")
    if isinstance(most, int) and most < len(must):
        yield "max_tool_calls", f"at least {len(must)}, the tools of must_call"
    for other in ("must_call", "may_call"):
        if both := [tool for tool in _tools(task, other) if tool in _tools(task, "must_not_call")]:
            yield "must_not_call", f"without {both[0]}, which stands in {other} too"
    if task.get("call_order") in ("exact", "in_order") and "must_call" not in task:
        yield "call_order", "left out: there is no must_call"
    if task.get("call_order") == "exact" and _tools(task, "may_call"):
        yield "may_call", "left out: call_order is exact, so that only the tools of must_call are called"
    output = task.get("output", WRONG)
    if output is not WRONG and not any(output.values()):
        yield "output", f"at least one of {_OUTPUT.words}"


def _tools(task: Mapping[str, Any], key: str) -> list[str]:
    found = task.get(key, ())
    return [] if found is WRONG else [tool for tool in found if tool is not WRONG]


# values


def task_of(values: Mapping[str, Any], file: Path | None) -> GoldenTask:
    """Builds a task from values without a problem.

    Args:
        values: what its entry says.
        file: the file that it stands in.
    """
    found: dict[str, Any] = {**values, "expect_stop_reason": StopCode(values["expect_stop_reason"]), "file": file}
    if checks.is_mapping(found.get("input")):
        found["input"] = MappingProxyType(found["input"])
    if "output" in found:
        found["output"] = OutputCheck(**found["output"])
    return GoldenTask(**found)
