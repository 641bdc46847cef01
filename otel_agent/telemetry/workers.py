"""The end of workers of `multiprocessing`, which leave without running what `atexit` holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["at_worker_exit"]

_works: list[Callable[[], object]] = []


class _Followed:
    workers = False


def at_worker_exit(work: Callable[[], object]) -> None:
    """Has every worker that this process forks do some work before it leaves."""
    if not _works and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork)
    _works.append(work)


def _before_fork() -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _Followed.workers:
        _Followed.workers = True
        util.register_after_fork(_Followed, _in_worker)


def _in_worker(_: object) -> None:
    util: Any = sys.modules["multiprocessing.util"]
    for work in _works:
        util.Finalize(None, work, exitpriority=0)
