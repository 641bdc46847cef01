"""YAML as values that know where they stand. Loads nothing but plain values; runs nothing, whatever a tag says.

Reads the core schema of YAML 1.2, as editors and JSON Schema do: `yes` and `on` are texts, `1:30` is no number. Refuses
what no configuration needs and what could take a process down: files above 2 MB, values nested 50 deep or repeated by
anchors until they are 100,000, tags, keys that stand twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from otel_agent.config.items import BROKEN, Item, Place
from otel_agent.config.problems import InvalidFile, Problem

__all__ = ["compose"]

MOST_BYTES = 2_000_000
MOST_VALUES = 100_000
DEEPEST = 50


def compose(data: bytes, file: str) -> tuple[Item, list[Problem]]:
    """Reads one document.

    Args:
        data: the file's bytes, UTF-8.
        file: what the file is called, for errors.

    Returns:
        The document, and what is wrong with it as YAML: tags, and keys that stand twice.

    Raises:
        InvalidFile: it cannot be read as YAML at all, or is too much.
    """
    try:
        root = _composed(_decoded(data))
        reader = _Reader()
        return (Item(None, (1, 1)) if root is None else reader.item(root, "")), reader.problems
    except _Unreadable as wrong:
        raise InvalidFile(file=file, problems=[wrong.problem]) from None


class _Unreadable(Exception):
    def __init__(self, line: int, column: int, what: str) -> None:
        super().__init__(what)
        self.problem = Problem(line=line, column=column, field="", value=None, allowed=what, kind="syntax")


def _decoded(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise _Unreadable(1, 1, f"the file has more than {MOST_BYTES:,} bytes; long prompts go into the prompts folder")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        before = data[: wrong.start].decode("utf-8-sig", "replace")
        raise _Unreadable(*_place(before), f"the byte 0x{data[wrong.start]:02x} is not UTF-8") from None


def _place(before: str) -> Place:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


class _Loader(yaml.SafeLoader):
    """Composes nodes, with a table of plain scalars of its own: that of YAML 1.2."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            events: Any = self
            mark = events.peek_event().start_mark
            raise _Unreadable(mark.line + 1, mark.column + 1, f"values are nested more than {DEEPEST} deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_SCALARS = {
    "null": (re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    "int": (re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    "float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        list("-+.0123456789"),
    ),
}
_TAG = "tag:yaml.org,2002:"
_NAMED = {*_SCALARS, "str", "map", "seq", "binary", "timestamp", "set", "omap", "pairs"}
_Loader.yaml_implicit_resolvers = {}
_resolvers: Any = _Loader
for _name, (_pattern, _first) in _SCALARS.items():
    _resolvers.add_implicit_resolver(_TAG + _name, _pattern, _first)


def _composed(text: str) -> yaml.Node | None:
    loader: Any = None
    try:
        loader = _Loader(text)
        return loader.get_single_node()  # type: ignore[no-any-return]
    except yaml.reader.ReaderError as wrong:
        place = _place(text[: wrong.position])
        raise _Unreadable(*place, f"the character U+{wrong.character:04X} is not allowed in YAML") from None
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _Unreadable(line, column, f"not YAML: {_unquoted(wrong.problem or wrong.context)}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _unquoted(problem: str | None) -> str:
    """Leaves out the names that a problem quotes: a secret that begins with `*`, `&` or `!` is read as one."""
    return re.sub(r"(alias|anchor|tag handle) .*", r"\1; a text that begins so must be in quotes", problem or "")


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._left = MOST_VALUES
        self._inside: set[int] = set()

    def item(self, node: yaml.Node, at: str) -> Item:
        place = _start(node)
        self._left -= 1
        if self._left < 0 or id(node) in self._inside:
            raise _Unreadable(*place, f"more than {MOST_VALUES:,} values, with what anchors repeat")
        self._inside.add(id(node))
        try:
            keys: dict[str, Place] = {}
            return Item(self._value(node, at, keys), place, keys)
        finally:
            self._inside.remove(id(node))

    def _value(self, node: yaml.Node, at: str, keys: dict[str, Place]) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, at, keys)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.item(each, f"{at}[{number}]") for number, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and (value := _scalar(kind, node.value)) is not BROKEN:
            return value
        # a tag of somebody's own may be a secret that begins with `!`, which is to be put into quotes
        known = f"the tag !!{kind}" if kind in _NAMED else "a tag, which begins with !,"
        self._add(_start(node), at, f"{known} is not allowed here")
        return BROKEN

    def _mapping(self, node: yaml.MappingNode, at: str, keys: dict[str, Place]) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for key, value in _pairs(node):
            if not isinstance(key, yaml.ScalarNode):
                self._add(_start(key), at, "a key must be a plain text")
                continue
            if key.value == "<<" and key.style is None:
                self._add(_start(key), at, "the merge key << is not read: write out what it would bring")
                continue
            name = str(key.value)
            below = f"{at}.{name}" if at else name
            if name in found:
                self._add(_start(key), below, f"stands here twice, first in line {keys[name][0]}")
                continue
            keys[name] = _start(key)
            found[name] = self.item(value, below)
        return found

    def _add(self, place: Place, at: str, what: str) -> None:
        self.problems.append(Problem(line=place[0], column=place[1], field=at, value=None, allowed=what, kind="key"))


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    yield from node.value


def _start(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _scalar(kind: str, text: str) -> Any:
    """Gives the value of a scalar; one whose tag does not fit its text is broken."""
    if kind == "str":
        return text
    if kind not in _SCALARS or not _SCALARS[kind][0].match(text):
        return BROKEN
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    return _whole(text) if kind == "int" else _real(text)


def _whole(text: str) -> int | float:
    try:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    except ValueError:  # more digits than Python reads
        return _real(text)


def _real(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
