"""The end of workers of `multiprocessing`, which before Python 3.13 leave without running what `atexit` holds.

From 3.13 on they run what was registered in them, and forget what their parent registered.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from otel_agent.telemetry.guard import broken

__all__ = ["at_worker_exit"]

_works: list[Callable[[], object]] = []

_LAST = -1000
"""After every other finalizer, and after the worker's own children have ended."""


class _Followed:
    forks = False
    workers = False
    ends: int | None = None


def at_worker_exit(work: Callable[[], object]) -> None:
    """Has every worker that this process forks do some work before it leaves, and this process where it is one.

    What was given last is done first; what is given again moves there.
    """
    if work in _works:
        _works.remove(work)
    _works.append(work)
    if not _Followed.forks and hasattr(os, "register_at_fork"):
        _Followed.forks = True
        os.register_at_fork(before=_before_fork)
    if sys.version_info < (3, 13) and _is_forked_worker():
        _follow_end()


def _is_forked_worker() -> bool:
    """Tells whether this process was forked by `multiprocessing`, or by its server; a spawned one ends as any other."""
    loaded: Any = sys.modules.get("multiprocessing")
    if loaded is None or loaded.parent_process() is None:
        return False
    return bool(loaded.get_start_method(allow_none=True) != "spawn")


def _before_fork() -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _Followed.workers:
        _Followed.workers = True
        util.register_after_fork(_Followed, _in_worker)


def _in_worker(_: object) -> None:
    _follow_end()


def _follow_end() -> None:
    if _Followed.ends == os.getpid():
        return
    _Followed.ends = os.getpid()
    if sys.version_info >= (3, 13):
        atexit.register(_leave)
    else:
        util: Any = sys.modules["multiprocessing.util"]
        util.Finalize(None, _join_and_leave, exitpriority=_LAST)


def _join_and_leave() -> None:
    """Waits for the threads first, as every other process does: their runs go on until then."""
    join: Callable[[], None] = getattr(threading, "_shutdown", lambda: None)  # what the worker itself does next
    join()
    _leave()


def _leave() -> None:
    for work in reversed(_works):
        try:
            work()
        except Exception as exc:
            broken("delivering at a worker's exit", exc)
