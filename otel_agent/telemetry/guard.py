"""The one place that decides what happens when telemetry itself fails: one warning for each kind, then silence."""

from __future__ import annotations

import logging

__all__ = ["broken", "warn_once"]

_log = logging.getLogger("otel_agent")
_said: dict[str, object] = {}
MOST_REMEMBERED = 1000


def warn_once(key: str, message: str, *args: object) -> None:
    """Logs a warning the first time that a key comes; takes no lock that a handler, finalizer or fork could meet."""
    mine = object()
    if len(_said) < MOST_REMEMBERED and _said.setdefault(key, mine) is mine:
        _log.warning(message, *args)


def broken(what: str, exc: BaseException) -> None:
    """Reports that a part of telemetry raised; the call it belongs to goes on.

    Args:
        what: the part, in words.
        exc: what it raised; only its class is logged, since its message may quote content.
    """
    warn_once(f"broken:{what}", "%s raised %s; the run goes on without it", what, type(exc).__qualname__)
