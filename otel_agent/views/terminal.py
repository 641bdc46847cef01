"""What a person sees in the terminal: a tree when a run ends, one status line while it is open.

Decides when something is written and by which thread. Whoever brings an event leaves it in a queue and goes on; one
thread at a time works the queue off, and only the end of a root run and the helper thread write. It never raises into
a run, never waits for itself, and after the stream broke once it stays silent.

    run_started, call_*  ->  queue  ->  OpenRuns (one thread at a time)  ->  finished trees  ->  Screen (one at a time)
    helper thread: tick() 5 times a second while a run is open           ->  status          ->  Screen
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import functools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import TextIO, TypeAlias

from otel_agent import checks
from otel_agent.usage import CallRecord, CallStarted, RunRecord, RunStarted
from otel_agent.views.live import OpenRuns, Status
from otel_agent.views.screen import Screen
from otel_agent.views.tree import LEAST_LINES, RunNode

__all__ = ["TerminalView"]

_log = logging.getLogger("otel_agent")

REFRESH = 0.2
PATIENCE = 1.0
MOST_EVENTS = 10_000
MOST_TREES = 100

_Event: TypeAlias = RunStarted | CallStarted | CallRecord | RunRecord
_Seconds: TypeAlias = float | timedelta | None


class _Turn:
    """A lock that is given up on after a while, and at once by the thread that holds it already."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def take(self, patience: float) -> bool:
        me = threading.get_ident()
        if self._holder == me or not self._lock.acquire(timeout=patience):
            return False
        self._holder = me
        return True

    def leave(self) -> None:
        self._holder = None
        self._lock.release()


class TerminalView:
    """Shows runs in a terminal, or as plain text where the stream is none. A listener: see `otel_agent.usage.Listener`.

    Args:
        stream: where to write; None is `sys.stderr`, looked up at each write.
        color: whether to use colours; None asks NO_COLOR, FORCE_COLOR, TERM and the stream.
        width: columns; None asks the terminal, and takes 120 where there is none.
        clock: gives seconds, of any origin, never going back.
        progress_after: seconds (or a `timedelta`) a run is open before a terminal shows its status; None is never.
        plain_progress_every: seconds (or a `timedelta`) between the status lines of a long run where the stream is no
            terminal; None is never.
        max_lines: what a tree is cut down to in its middle; headers that wrap are not counted. Also bounds memory.

    Raises:
        InvalidSetting: a value that can never work.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        color: bool | None = None,
        width: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        progress_after: _Seconds = 1.0,
        plain_progress_every: _Seconds = 10.0,
        max_lines: int = 200,
    ) -> None:
        if color is not None:
            color = checks.flag("TerminalView.color", color)
        if width is not None:
            width = checks.count("TerminalView.width", width, least=20, most=10_000)
        self._lines = checks.count("TerminalView.max_lines", max_lines, least=LEAST_LINES, most=100_000)
        self._after = _seconds("TerminalView.progress_after", progress_after)
        self._every = _seconds("TerminalView.plain_progress_every", plain_progress_every)
        self._screen = Screen(stream, color=color, width=width)
        self._clock = clock
        self._off = threading.Lock()
        self._closed = False
        self._reset()
        _watch_the_process()
        _views.add(self)

    def _reset(self) -> None:
        """Starts with no run open: at first, and in a process that was forked, where the open runs are the parent's."""
        self._events: deque[tuple[float, _Event]] = deque(maxlen=MOST_EVENTS)
        self._trees: deque[RunNode] = deque(maxlen=MOST_TREES)
        self._runs = OpenRuns(self._lines)
        self._counting = _Turn()
        self._writing = _Turn()
        self._helper: threading.Thread | None = None
        self._wake = threading.Event()
        self._noted = self._clock()
        self._screen.forget()

    def run_started(self, run: RunStarted, /) -> None:
        """Takes in a run that has opened."""
        self._safely(self._take, run)

    def call_started(self, call: CallStarted, /) -> None:
        """Takes in a call that was let through."""
        self._safely(self._take, call)

    def call_ended(self, call: CallRecord, /) -> None:
        """Takes in a call that has ended or was refused."""
        self._safely(self._take, call)

    def run_ended(self, run: RunRecord, /) -> None:
        """Takes in a run that has ended; when it is a root its tree has been written on return.

        A thread that is still writing is waited for at most a second; it then writes this tree too.
        """
        self._safely(self._take, run, PATIENCE)
        if run.parent_id is None or self._trees:
            self._safely(self._write_trees, PATIENCE)

    def tick(self) -> None:
        """Refreshes the status once: what the helper thread does while a run is open."""
        self._safely(self._refresh)
        self._safely(self._write_trees, 0.0)

    def close(self) -> None:
        """Takes the status line away and ends the helper thread; runs that are open still get their tree."""
        self._closed = True
        self._end_helper(PATIENCE)
        self._safely(self._write_trees, PATIENCE)
        self._safely(self._refresh, PATIENCE)

    def _safely(self, work: Callable[..., None], *args: object) -> None:
        """Lets no error out: after the first one, which is logged, the view is off."""
        if self._off.locked():
            return
        try:
            work(*args)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if not self._off.acquire(blocking=False):
            return
        self._events.clear()
        self._trees.clear()
        self._runs = OpenRuns(self._lines)
        with contextlib.suppress(Exception):
            _log.warning("the terminal view is off from now on: %r", error)

    def _take(self, event: _Event, patience: float = 0.0) -> None:
        self._events.append((self._clock(), event))
        self._work_off(patience)

    def _work_off(self, patience: float) -> None:
        """Takes in what has come; who has patience also waits for a thread that is just doing so."""
        waits = patience > 0
        while (self._events or waits) and self._counting.take(patience):
            waits = False
            try:
                while self._events:
                    self._apply(*self._events.popleft())
            finally:
                self._counting.leave()

    def _apply(self, now: float, event: _Event) -> None:
        match event:
            case CallStarted():
                self._runs.call_started(event, now)
            case CallRecord():
                self._runs.call_ended(event, now)
            case RunStarted():
                self._runs.run_started(event, now)
                self._ensure_helper()
            case RunRecord():
                tree = self._runs.run_ended(event, now)
                if tree is not None:
                    self._trees.append(tree)

    def _write_trees(self, patience: float) -> None:
        """Writes what has ended; who has patience also waits for a thread that is just doing so."""
        waits = patience > 0
        while (self._trees or waits) and self._writing.take(patience):
            waits = False
            try:
                while self._trees:
                    self._screen.tree(self._trees.popleft())
            finally:
                self._writing.leave()

    def _refresh(self, patience: float = 0.0) -> None:
        """Asks for the status with the stream in hand, so that no run can end and be drawn in between."""
        if not self._writing.take(patience):
            return
        try:
            now = self._clock()
            status = None if self._closed else self._status(now)
            if status is None:
                self._screen.clear()
            else:
                self._show(status, now)
        finally:
            self._writing.leave()

    def _status(self, now: float) -> Status | None:
        self._work_off(REFRESH)
        if not self._counting.take(REFRESH):
            return None
        try:
            return self._runs.status(now)
        finally:
            self._counting.leave()

    def _show(self, status: Status, now: float) -> None:
        if self._screen.live:
            if self._after is not None and status.seconds >= self._after:
                self._screen.status(status)
        elif self._every is not None and min(status.seconds, now - self._noted) >= self._every:
            self._noted = now
            self._screen.note(status)

    def _ensure_helper(self) -> None:
        """Starts the helper thread where there is none, in an empty context: it belongs to no run."""
        if self._helper is not None or self._closed or (self._after is None and self._every is None):
            return
        name = "otel_agent terminal view"
        helper = threading.Thread(target=self._watch, args=(self._wake,), name=name, daemon=True)
        with contextlib.suppress(RuntimeError):
            contextvars.Context().run(helper.start)
            self._helper = helper

    def _watch(self, wake: threading.Event) -> None:
        while not wake.wait(REFRESH):
            self.tick()
            if self._idle():
                return

    def _end_helper(self, patience: float) -> None:
        self._wake.set()
        helper = self._helper
        if helper is not None and helper is not threading.current_thread():
            helper.join(patience)

    def _pause(self) -> None:
        """Ends the helper before a fork, which must not meet it at work."""
        self._end_helper(REFRESH)

    def _resume(self) -> None:
        """Starts the helper again in the process that forked."""
        self._wake, self._helper = threading.Event(), None
        if self._runs and self._counting.take(REFRESH):
            try:
                self._ensure_helper()
            finally:
                self._counting.leave()

    def _idle(self) -> bool:
        """Tells whether no run is open; the next one then starts a new helper."""
        if not self._counting.take(REFRESH):
            return False
        try:
            if self._runs:
                return False
            self._helper = None
            return True
        finally:
            self._counting.leave()


def _seconds(field: str, value: _Seconds) -> float | None:
    return None if value is None else checks.seconds(field, value)


_views: weakref.WeakSet[TerminalView] = weakref.WeakSet()


def _each(work: Callable[[TerminalView], None]) -> None:
    for view in list(_views):
        work(view)


@functools.cache
def _watch_the_process() -> None:
    """Minds exits and forks, from the first view on."""
    atexit.register(_each, TerminalView.close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=functools.partial(_each, TerminalView._pause),  # pyright: ignore[reportPrivateUsage]
            after_in_parent=functools.partial(_each, TerminalView._resume),  # pyright: ignore[reportPrivateUsage]
            after_in_child=functools.partial(_each, TerminalView._reset),  # pyright: ignore[reportPrivateUsage]
        )
