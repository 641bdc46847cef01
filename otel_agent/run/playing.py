"""Who answers for the tools while runs are recorded or replayed. Nobody does otherwise, and nothing else is asked then.

Decides nothing: budgets, gates and spans are the same with somebody here and without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["StandIn", "playing"]


class StandIn(Protocol):
    """Stands between a verb and the code that it is around."""

    def opens(self, verb: Any, wrapped: Callable[..., Any] | None) -> None:
        """Hears that a tool is about to be asked for, and may refuse by raising.

        Args:
            verb: the tool's verb.
            wrapped: the tool; None for a `with` block.
        """

    def call(self, verb: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Calls what a verb is around, or gives in its place what the call gives: a coroutine for a coroutine."""


class _Playing:
    __slots__ = ("stand_in",)

    def __init__(self) -> None:
        self.stand_in: StandIn | None = None


playing = _Playing()
