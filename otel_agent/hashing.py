"""Hashes of values: one canonical JSON text for equal values, whole and never cut: equal arguments hash equally.

The form follows RFC 8785 where Python's numbers allow it: sorted keys, no white space, 1.0 as 1. What JSON has no word
for is taken by its class and its own public value; what has none either is only equal to itself: it is numbered, as an
address may soon be another object's. Never raises.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import itertools
import json
import re
import weakref
from typing import Any

from otel_agent import checks

__all__ = ["canonical", "digest", "keyed_digest"]

MOST_DEPTH = 64
_NO_VALUE = re.compile(r" at 0x[0-9a-f]|\.\.\.|\u2026|^\.\.\s", re.IGNORECASE | re.MULTILINE)
"""A text that names an address, or is cut short, as those of large tables are: others may have the same."""

_numbers = itertools.count()
_numbered: dict[int, tuple[weakref.ref[Any], int]] = {}


def canonical(value: object) -> bytes:
    """Gives the canonical JSON text of a value, as UTF-8.

    Args:
        value: anything; iterators are not consumed.

    Returns:
        The same bytes for equal values of plain types, dataclasses and pydantic models.
    """
    text = json.dumps(_plain(value, 0), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def digest(value: object) -> str:
    """Gives the sha256 of the canonical text, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def keyed_digest(key: bytes, value: object) -> str:
    """Gives the HMAC-sha256 of the canonical text, as 64 hex digits: without the key it cannot be looked up."""
    return hmac.new(key, canonical(value), hashlib.sha256).hexdigest()


def _plain(value: object, depth: int) -> Any:
    try:
        return _form(value, depth)
    except Exception:
        return _itself(value)


def _form(value: object, depth: int) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(value)
    return _itself(value) if depth > MOST_DEPTH else _container(value, depth + 1)


def _number(value: float) -> Any:
    if value != value or value in (float("inf"), float("-inf")):
        return {"float": repr(value)}
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)


def _container(value: object, depth: int) -> Any:
    if checks.is_mapping(value):
        return {_key(key): _plain(item, depth) for key, item in value.items()}
    if checks.is_list(value):
        return [_plain(item, depth) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(canonical(item).decode("utf-8", "surrogatepass") for item in checks.each(value))}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    return {checks.class_name(value): _object(value, depth)}


def _object(value: Any, depth: int) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), depth) for field in dataclasses.fields(value)}
    dump = getattr(_class_of(value), "model_dump", None)
    if callable(dump):
        return _plain(dump(value), depth)
    kind = _class_of(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return _itself(value)
    return _valued(value)


def _class_of(value: object) -> Any:
    return type(value)


def _valued(value: object) -> str:
    """Gives a value as text, or its number where others may have that text."""
    text = str(value)
    return _itself(value) if _NO_VALUE.search(text) or str(id(value)) in text else text


def _key(key: object) -> str:
    return key if isinstance(key, str) else f"{checks.class_name(key)}:{_valued(key)}"


def _itself(value: object) -> str:
    return f"{checks.class_name(value)}@{_number_of(value):012x}"


def _number_of(value: object) -> int:
    """Gives the number of one object, the same as long as it lives; each time another where that cannot be known."""
    key = id(value)
    known = _numbered.get(key)
    if known is not None and known[0]() is value:
        return known[1]
    number = next(_numbers)
    try:
        _numbered[key] = weakref.ref(value, lambda gone: _forget(key, gone)), number
    except TypeError:  # as of an iterator of a list
        return number
    return number


def _forget(key: int, gone: weakref.ref[Any]) -> None:
    known = _numbered.get(key)
    if known is not None and known[0] is gone:
        del _numbered[key]
