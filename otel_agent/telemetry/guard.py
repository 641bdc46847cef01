"""The one place that decides what happens when telemetry itself fails: one warning for each kind, then silence."""

from __future__ import annotations

import logging
import threading

__all__ = ["broken", "warn_once"]

_log = logging.getLogger("otel_agent")
_lock = threading.Lock()
_said: set[str] = set()
MOST_REMEMBERED = 1000


def warn_once(key: str, message: str, *args: object) -> None:
    """Logs a warning the first time that a key comes."""
    if key in _said:
        return
    with _lock:
        if key in _said or len(_said) >= MOST_REMEMBERED:
            return
        _said.add(key)
    _log.warning(message, *args)


def broken(what: str, exc: BaseException) -> None:
    """Reports that a part of telemetry raised; the call it belongs to goes on.

    Args:
        what: the part, in words.
        exc: what it raised; only its class is logged, since its message may quote content.
    """
    warn_once(f"broken:{what}", "%s raised %s; the run goes on without it", what, type(exc).__qualname__)
