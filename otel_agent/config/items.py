"""The values of a file, each with the place where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["BROKEN", "Item", "Place"]

Place: TypeAlias = tuple[int, int]
"""Line and column, both from 1."""

BROKEN = object()
"""The value of an item that was complained about already."""

_NO_KEYS: Mapping[str, Place] = {}


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a file.

    Attributes:
        value: None, a bool, an int, a float, a str, a list of `Item`, a dict of `Item` by key, or `BROKEN`.
        place: where it starts.
        keys: where the keys of a mapping stand.
    """

    value: Any
    place: Place
    keys: Mapping[str, Place] = field(default_factory=lambda: _NO_KEYS)
