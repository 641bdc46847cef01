"""What a golden task allows, held against what a run did."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Violation"]


class Violation(NamedTuple):
    """A bound that broke: which one, what it allows, what was found; `strict` ones allow no exception."""

    field: str
    allowed: str
    found: str
    strict: bool
