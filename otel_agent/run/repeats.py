"""Whether tool calls carry the hash of their arguments where no limit on repeats needs it.

A switch for who judges runs by their spans. Only runs that open while it is on look at it, so that a call pays nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["arguments_hashed", "hashing_arguments"]


class _Switch:
    users = 0
    lock = threading.Lock()


@contextmanager
def arguments_hashed() -> Generator[None]:
    """Lets the tool calls of every run that opens in the block carry that hash, in all threads of the process."""
    _turn(1)
    try:
        yield
    finally:
        _turn(-1)


def _turn(by: int) -> None:
    with _Switch.lock:
        _Switch.users += by


def hashing_arguments() -> bool:
    """Tells whether a run that opens now hashes the arguments of its tool calls."""
    return _Switch.users > 0
