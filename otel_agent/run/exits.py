"""The end of the process: runs that are still open end as cancelled, and what they tell is delivered, in bounded time.

SIGTERM is handled only where nobody else handles it, and the process still dies of it; SIGINT never. The handler takes
no lock and waits for nothing: it hands the work to a thread and lets the interrupted code go on; the thread ends the
process.
"""

from __future__ import annotations

import _thread
import atexit
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from opentelemetry import _logs, metrics, trace

from otel_agent.run.collector import finish_late
from otel_agent.telemetry.guard import broken
from otel_agent.telemetry.workers import at_worker_exit

__all__ = ["deliver_too", "is_dying", "watch_exit"]

EXIT_SECONDS = 1.8

EndRuns = Callable[[str], None]
"""Ends the open runs as cancelled, with a detail."""


class _Watch:
    at_sigterm = False
    pipeline: object = None
    end_runs: EndRuns | None = None
    dying = threading.Event()
    ending = _thread.allocate_lock()
    deliver_too: Callable[[float], object] | None = None


def watch_exit(end_runs: EndRuns, pipeline: object) -> None:
    """Sees to it that open runs end before the process does, and before the providers that they tell.

    Args:
        end_runs: ends the open runs, given the detail: "exit", "sigterm" or "sigint".
        pipeline: whom runs tell now. What was registered last is done first at exit, so new providers mean anew.
    """
    if _Watch.pipeline is not pipeline:
        _Watch.pipeline, _Watch.end_runs = pipeline, end_runs
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)
        at_worker_exit(_at_exit)
    if not _Watch.at_sigterm and threading.current_thread() is threading.main_thread():
        _Watch.at_sigterm = True
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


def deliver_too(work: Callable[[float], object] | None) -> None:
    """Has SIGTERM wait for one more delivery, which is given the seconds that it may take; None takes it back."""
    _Watch.deliver_too = work


def is_dying() -> bool:
    """Tells whether SIGTERM has come and the process only delivers what it has."""
    return _Watch.dying.is_set()


def _at_exit() -> None:
    if is_dying():
        _deliver_and_die()
        return
    with _Watch.ending:
        _end_runs("sigint" if _is_interrupted() else "exit")


def _is_interrupted() -> bool:
    """Tells whether Ctrl-C has ended the main thread; at a prompt it ends but a line."""
    last = getattr(sys, "last_type", None)
    return isinstance(last, type) and issubclass(last, KeyboardInterrupt) and not hasattr(sys, "ps1")


def _at_last() -> None:
    """Lets the process still die of a SIGTERM that came while it was ending, and at once of one that comes now."""
    if signal.getsignal(signal.SIGTERM) is _on_sigterm and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if is_dying():
        _Watch.ending.acquire(timeout=EXIT_SECONDS)  # what is left is with the other thread, if there is one
        os.kill(os.getpid(), signal.SIGTERM)


def _end_runs(detail: str) -> None:
    finish_late()
    if _Watch.end_runs is not None:
        _Watch.end_runs(detail)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _Watch.dying.set()
    try:
        _thread.start_new_thread(_deliver_and_die, ())
    except RuntimeError:  # Python 3.12 starts no thread once it ends: what runs at exit delivers
        if _joins_threads(frame):
            _deliver_and_die()


def _joins_threads(frame: FrameType | None) -> bool:
    """Tells whether the main thread only waits for the others, maybe for ever, and holds nothing of ours."""
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == threading.__name__


def _deliver_and_die() -> None:
    """Ends the process, once what it has is delivered; who comes second waits for the first."""
    try:
        if _Watch.ending.acquire(timeout=EXIT_SECONDS):
            _end_and_deliver()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def _end_and_deliver() -> None:
    try:
        _end_runs("sigterm")
    finally:
        _deliver()


def _deliver() -> None:
    """Sends what waits: our own providers', and an application's, whose own end a signal would skip; all at a time."""
    from otel_agent.telemetry import providers  # only at the end

    deadline = time.monotonic() + EXIT_SECONDS
    works = [functools.partial(provider.force_flush, int(EXIT_SECONDS * 1000)) for provider in _applications()]
    if _Watch.deliver_too is not None:
        works.append(functools.partial(_Watch.deliver_too, EXIT_SECONDS))
    threads = [threading.Thread(target=_done, args=(work,), daemon=True) for work in works]
    left = [thread for thread in threads if not _started(thread)]
    providers.shutdown(EXIT_SECONDS)
    for thread in left:
        thread.run()
    for thread in threads:
        if thread not in left:
            thread.join(max(0.0, deadline - time.monotonic()))


def _applications() -> list[Any]:
    found: list[Any] = [trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()]
    return [provider for provider in found if hasattr(provider, "force_flush")]


def _started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:  # Python 3.12, once it ends
        return False
    return True


def _done(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as exc:
        broken("flushing at exit", exc)


def _anew() -> None:
    """Starts anew in a forked child, which does not die because its parent does."""
    _Watch.dying, _Watch.ending = threading.Event(), _thread.allocate_lock()


# Before whatever else of ours is registered, and so the last to be done.
atexit.register(_at_last)
at_worker_exit(_at_last)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)
