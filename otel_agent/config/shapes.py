"""What a setting may be: each shape reads a value out of a file or a variable, and says the same as JSON Schema.

Decides nothing about where a value comes from, nor what holds between two of them. A file's values arrive as items that
know their place, so that all that is wrong is found in one go; nothing here raises for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from otel_agent import checks
from otel_agent.config.items import BROKEN, Item
from otel_agent.stop import InvalidSetting

__all__ = [
    "WRONG",
    "Checked",
    "Key",
    "ListOf",
    "MapOf",
    "Nullable",
    "OneOrMany",
    "Report",
    "Schema",
    "Section",
    "Shape",
]

Schema = dict[str, Any]

WRONG: Any = object()
"""What stands where a value had a problem."""


class Report(Protocol):
    """Takes a problem.

    A value that may be a secret or a prompt is not `shown`; with `key`, the problem is that key of the mapping `item`.
    """

    def __call__(self, item: Item, field: str, allowed: str, *, shown: bool = True, key: str | None = None) -> None: ...


class Shape:
    """What a setting may be.

    Attributes:
        words: the values, in words, for tables.
    """

    words = ""

    def read(self, item: Item, field: str, report: Report) -> Any:
        """Gives the value of an item; what is wrong is reported, and `WRONG` is in its place."""
        return WRONG if item.value is BROKEN else self._read(item, field, report)

    def _read(self, item: Item, field: str, report: Report) -> Any:
        raise NotImplementedError

    def parse(self, field: str, text: str) -> Any:
        """Gives the value that a variable's text stands for.

        Raises:
            InvalidSetting: it is none of the allowed values.
        """
        raise NotImplementedError

    def plain(self, value: Any) -> Any:
        """Gives a value as JSON has it."""
        return list(value) if checks.is_list(value) else value

    def schema(self) -> Schema:
        """Gives the JSON Schema of what `read` takes."""
        raise NotImplementedError


class Checked(Shape):
    """A single value that a check accepts.

    Args:
        check: takes the field's name and the value, gives the value in its inner form, or raises `InvalidSetting`.
        schema: the same as JSON Schema.
        words: the same in words.
        secret: whether a wrong value is not to be shown.
    """

    def __init__(self, check: Callable[[str, Any], Any], schema: Schema, words: str, *, secret: bool = False) -> None:
        self.words = words
        self.secret = secret
        self.check = check
        self._schema = schema

    def _read(self, item: Item, field: str, report: Report) -> Any:
        try:
            return self.check(field, item.value)
        except InvalidSetting as wrong:
            report(item, field, wrong.allowed + self._hint(item.value), shown=not self.secret)
            return WRONG

    def _hint(self, value: object) -> str:
        """Helps who wrote a version such as 14 or 1.0, which YAML reads as a number."""
        plain = isinstance(value, (bool, int, float))
        return "; put it into quotes" if plain and self._schema.get("type") == "string" else ""

    def parse(self, field: str, text: str) -> Any:
        return self.check(field, text)

    def schema(self) -> Schema:
        return dict(self._schema)


class Nullable(Shape):
    """A shape, or null."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.words = shape.words

    def _read(self, item: Item, field: str, report: Report) -> Any:
        return None if item.value is None else self.shape.read(item, field, report)

    def parse(self, field: str, text: str) -> Any:
        return self.shape.parse(field, text)

    def plain(self, value: Any) -> Any:
        return None if value is None else self.shape.plain(value)

    def schema(self) -> Schema:
        return {"anyOf": [self.shape.schema(), {"type": "null"}]}


class ListOf(Shape):
    """A list, read as a tuple."""

    def __init__(self, shape: Shape, words: str) -> None:
        self.shape = shape
        self.words = words

    def _read(self, item: Item, field: str, report: Report) -> Any:
        if not checks.is_list(item.value):
            report(item, field, f"a list of {self.words}", shown=False)
            return WRONG
        return tuple(self.shape.read(each, f"{field}[{number}]", report) for number, each in enumerate(item.value))

    def schema(self) -> Schema:
        return {"type": "array", "items": self.shape.schema()}


class OneOrMany(Shape):
    """A value, or a list of them; a tuple in both cases."""

    def __init__(self, shape: Shape) -> None:
        self._one = shape
        self._many = ListOf(shape, shape.words)
        self.words = f"{shape.words}, or a list of them"
        self.secret = bool(getattr(shape, "secret", False))

    def _read(self, item: Item, field: str, report: Report) -> Any:
        if isinstance(item.value, list):
            return self._many.read(item, field, report)
        value = self._one.read(item, field, report)
        return WRONG if value is WRONG else (value,)

    def schema(self) -> Schema:
        return {"anyOf": [self._one.schema(), self._many.schema()]}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a section.

    Attributes:
        shape: what it may be.
        about: one line of meaning.
        required: whether it must be there.
    """

    shape: Shape
    about: str
    required: bool = False


class Section(Shape):
    """A mapping whose keys are known, and perhaps also takes names of the user's own.

    Args:
        keys: the known keys.
        others: the key of the user's own names, or None for none.
        names: what such a name may be.
        reserved: keys that are not allowed, and why.
        elsewhere: gives a hint where an unknown key belongs.
        words: the whole in words.
    """

    def __init__(
        self,
        keys: Mapping[str, Key],
        *,
        others: Key | None = None,
        names: Checked | None = None,
        reserved: Mapping[str, str] | None = None,
        elsewhere: Callable[[str], str] = lambda key: "",
        words: str = "a mapping",
    ) -> None:
        self.keys = keys
        self.others = others
        self.words = words
        self._names = names
        self._reserved = reserved or {}
        self._elsewhere = elsewhere

    def _read(self, item: Item, field: str, report: Report) -> Any:
        if not checks.is_mapping(item.value) and item.value is not None:
            report(item, field, f"a mapping: {self.words}" if self.words else "a mapping", shown=False)
            return WRONG
        inside: Mapping[str, Item] = item.value or {}
        for name, key in self.keys.items():
            if key.required and name not in inside:
                report(item, f"{field}.{name}" if field else name, "is missing", key="")
        return {name: self._value(item, name, f"{field}.{name}" if field else name, report) for name in inside}

    def _value(self, item: Item, name: str, field: str, report: Report) -> Any:
        if name in self.keys:
            return self.keys[name].shape.read(item.value[name], field, report)
        if self.others is None or self._names is None:
            report(item, field, self._unknown(name), key=name)
            return WRONG
        try:
            self._names.check(field, name)
        except InvalidSetting as wrong:
            report(item, field, f"the name must be {wrong.allowed}", key=name)
            return WRONG
        return self.others.shape.read(item.value[name], field, report)

    def _unknown(self, name: str) -> str:
        if name in self._reserved:
            return self._reserved[name]
        hint = checks.nearest(name, self.keys) or self._elsewhere(name)
        return "no such key" + (hint or f"; there are {', '.join(self.keys)}")

    def schema(self) -> Schema:
        found: Schema = {
            "type": ["object", "null"],
            "properties": {name: _described(key) for name, key in self.keys.items()},
            "additionalProperties": False,
        }
        if required := [name for name, key in self.keys.items() if key.required]:
            found |= {"type": "object", "required": required}
        if self.others is not None and self._names is not None:
            found |= {"additionalProperties": _described(self.others), "propertyNames": self._names.schema()}
        return found


def _described(key: Key) -> Schema:
    return {"description": key.about, **key.shape.schema()}


class MapOf(Section):
    """A mapping of the user's own names to values of one shape."""

    def __init__(self, shape: Shape, names: Checked, words: str) -> None:
        super().__init__({}, others=Key(shape, words), names=names, words=words)
