"""What the garbage collector finds open, closed just after: a collection may start in the middle of any code.

Also of code that holds a lock of the SDK or of a logging handler; whoever asked for that lock while the collection
runs would wait for itself. So nothing is told inside a collection: a thread of its own tells it a moment later.

The collector is watched by a method written in C. A function in Python could be where a Ctrl-C arrives, and what is
raised there is lost.
"""

from __future__ import annotations

import _thread
import gc
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from otel_agent.telemetry.guard import broken

__all__ = ["finish_late", "hand_over", "thrown_away", "watch_collector"]

_phases = OrderedDict.fromkeys(("start", "stop"))
"""What the collector says of itself; what it said last is at the end."""
_said: Any = _phases.move_to_end

_waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()


class _Worker:
    """Held by the one thread that does what waits."""

    lock = _thread.allocate_lock()


def watch_collector() -> None:
    """Sees to it that `thrown_away` can tell."""
    if _said not in gc.callbacks:
        gc.callbacks.append(_said)


def thrown_away(exc: BaseException) -> bool:
    """Tells whether an exception ends code that a garbage collection has found suspended and forgotten."""
    early = isinstance(exc, GeneratorExit) or isinstance(exc.__context__, GeneratorExit)
    return early and [*_phases][-1] == "start"


def hand_over(job: Callable[..., object], *args: Any) -> None:
    """Lets another thread do something, soon; takes no lock that anybody waits for."""
    _waiting.append((job, args))
    if _Worker.lock.acquire(blocking=False):
        try:
            _thread.start_new_thread(_work, ())
        except RuntimeError:  # the interpreter ends and starts no more threads
            _Worker.lock.release()


def _work() -> None:
    while True:
        finish_late()
        _Worker.lock.release()
        if not _waiting or not _Worker.lock.acquire(blocking=False):
            return


def finish_late() -> None:
    """Does what waits, in this thread."""
    while _waiting:
        try:
            job, args = _waiting.popleft()
        except IndexError:  # another thread was faster
            return
        try:
            job(*args)
        except Exception as exc:
            broken("closing what the garbage collector found open", exc)


def _leave_to_parent() -> None:
    """Starts anew in a forked child: it has no worker, and what waits is done by the parent's."""
    _waiting.clear()
    _Worker.lock = _thread.allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
