"""Who is told of runs and calls beside spans and metrics: the terminal, the test kit, whoever registers.

Calls each listener in the thread of the call. What a listener raises is logged once and never reaches the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from otel_agent.telemetry.guard import broken
from otel_agent.usage import Listener

__all__ = ["add_listener", "heard", "remove_listener", "tell"]

_lock = threading.Lock()


class _Heard:
    """Who listens; empty, so that no record is built in vain, while nobody does."""

    __slots__ = ("listeners",)

    def __init__(self) -> None:
        self.listeners: tuple[Listener, ...] = ()


heard = _Heard()


def add_listener(listener: Listener) -> None:
    """Starts telling a listener."""
    with _lock:
        heard.listeners = (*heard.listeners, listener)


def remove_listener(listener: Listener) -> None:
    """Stops telling a listener."""
    with _lock:
        heard.listeners = tuple(known for known in heard.listeners if known is not listener)


def tell(what: Callable[[Listener], Callable[[Any], None]], record: Any) -> None:
    """Gives a record to every listener.

    Args:
        what: picks the listener's method.
        record: what it is given.
    """
    for listener in heard.listeners:
        try:
            what(listener)(record)
        except Exception as exc:
            broken(f"the listener {type(listener).__qualname__}", exc)
