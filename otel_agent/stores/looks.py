"""When sources are looked at: by one thread at a time, whoever selects, with nothing running in the background.

    the last look is younger than half a second    nobody looks
    younger than a second                          one thread looks, the others go on with what holds
    older, as in a process that was idle           one thread looks, the others wait for it, half a second at most

Never waits for itself: who selects in a signal handler in the middle of a look goes on with what holds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from otel_agent import context as ctx

__all__ = ["LOOK_EVERY", "SECOND", "Looks"]

SECOND = 1_000_000_000
LOOK_EVERY = SECOND // 2
WAIT_SECONDS = 0.5


class Looks:
    """The looks of one process.

    Attributes:
        at: when the last look began that came to its end, in nanoseconds of the clock.
    """

    __slots__ = ("_lock", "_looking", "_pid", "_stuck", "at")

    def __init__(self) -> None:
        self.at = ctx.monotonic()
        self._renew()

    def _renew(self) -> None:
        self._lock, self._pid = threading.RLock(), os.getpid()
        self._looking = self._stuck = False

    def take(self, look: Callable[[], None]) -> None:
        """Looks, unless somebody else does."""
        if self._pid != os.getpid():  # the fork may have copied the lock while it was held
            self._renew()
        lock = self._lock
        first = lock.acquire(blocking=False)
        if not first and not self._waited(lock):
            return
        try:
            if not self._looking and (first or not self.fresh(LOOK_EVERY)):
                self._take(look)
        finally:
            lock.release()

    def fresh(self, age: int) -> bool:
        """Tells whether the last look is younger than that many nanoseconds."""
        return 0 <= ctx.monotonic() - self.at < age

    def _waited(self, lock: threading.RLock) -> bool:
        """Waits for the look that somebody else takes, if that is worth it; tells whether the lock is held then."""
        if self._stuck or self.fresh(SECOND):
            return False
        held = lock.acquire(timeout=WAIT_SECONDS)
        self._stuck = not held  # once is enough for a look that hangs
        return held

    def _take(self, look: Callable[[], None]) -> None:
        try:
            self._looking, self._stuck = True, False
            began = ctx.monotonic()
            look()
            self.at = began
        finally:
            self._looking = False
