"""The recorder: what ends in this process is written to its history, and no call waits for that.

Decides when it is written and by whom. A call leaves its span in a queue, a run its record; a daemon thread gathers for
a moment and writes. It gets only spans of this package, handed on when they end, so that no processor has to be put on
an application's provider and none of an application's own spans are seen. Spans that nothing records (no SDK, not
sampled) are not there; the rows of their runs are.

    run ends  -> record -> queue ->  one line a run in this process's span file, then rows and places in one transaction
    span ends -> span   -> queue ->
"""

from __future__ import annotations

import atexit
import contextvars
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from otel_agent import semconv
from otel_agent.stores.otlp_json import line_of, written
from otel_agent.stores.run_history import DAYS, MEGABYTES, RunHistory, SpansAt, UnreadableHistory, new_span_file
from otel_agent.telemetry import spans
from otel_agent.telemetry.guard import broken, warn_once
from otel_agent.telemetry.workers import at_worker_exit
from otel_agent.usage import PastRun, RunRecord, usd_to_micro

__all__ = ["Recorder"]

GATHER_SECONDS = 0.25
EXIT_SECONDS = 1.5
MOST_WAITING = 20_000
MOST_A_FILE = 16_000_000
PRUNE_SECONDS = 600.0
RETRY_SECONDS = 2.0

_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


class _Ended(NamedTuple):
    record: RunRecord
    at_ns: int


class Recorder:
    """Records the runs of this process.

    Args:
        folder: the history's folder; it is made where it is missing.
        days: how old a run may become.
        megabytes: how large the history may become, in millions of bytes.

    Raises:
        OSError: the folder cannot be made or written.
        UnreadableHistory: it is a history that this version cannot write.
    """

    def __init__(self, folder: Path, *, days: float = DAYS, megabytes: float = MEGABYTES) -> None:
        self.folder = folder.absolute()
        self._days, self._megabytes = days, megabytes
        self._opened().close()
        self.begin()
        _recorders.add(self)
        _follow_process()

    def start(self) -> None:
        """Begins to keep what ends; one recorder of a process does."""
        spans.kept.take = self.take

    def close(self, seconds: float = EXIT_SECONDS) -> bool:
        """Stops keeping and writes what waits, within so many seconds; tells whether all was written."""
        if spans.kept.take == self.take:
            spans.kept.take = None
        _recorders.discard(self)
        done = self.flush(seconds)
        self._queue.put(None)
        return done

    def flush(self, seconds: float = EXIT_SECONDS) -> bool:
        """Writes what waits, within so many seconds; tells whether all was written."""
        done = _Flush()
        self._queue.put(done)
        self._hurry.set()
        return done.wait(seconds)

    def take(self, ended: Any) -> None:
        """Takes a span or a run that has ended: one entry in a queue that takes no lock a signal handler could meet."""
        if self._queue.qsize() < MOST_WAITING:
            self._queue.put(_Ended(ended, time.time_ns()) if isinstance(ended, RunRecord) else ended)
        else:
            warn_once("history:full", "the run history cannot be written as fast as runs end; some are missing in it")

    # the thread

    def begin(self) -> None:
        """Starts with nothing to write: at first, and in a process that was forked, where the queue is the parent's."""
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._hurry = threading.Event()
        self._file: Path | None = None
        self._pending = _Batch()
        self._pruned = 0.0
        thread = threading.Thread(target=self._work, args=(self._queue,), name="otel-agent-history", daemon=True)
        contextvars.Context().run(thread.start)

    def _work(self, queue: SimpleQueue[Any]) -> None:
        open_still = True
        while open_still:
            items = [queue.get()]
            self._hurry.wait(GATHER_SECONDS)
            self._hurry.clear()
            items += _drained(queue)
            open_still = None not in items
            done = self._written(items)
            for item in items:
                if isinstance(item, _Flush):
                    item.finish(done)
            if not done and queue.empty():
                self._hurry.wait(RETRY_SECONDS)
                queue.put(_Flush())

    def _written(self, items: Iterable[Any]) -> bool:
        """Writes what came and what could not be written before; tells whether nothing is left."""
        try:
            if not self._pending.full:
                self._pending.take(items)
            self._write_spans()
            self._write_rows()
        except (OSError, sqlite3.Error, UnreadableHistory) as failed:
            warn_once(f"history:{self.folder}", "the run history is not written for now: %s", failed)
            return False
        except Exception as exc:
            broken("the run history", exc)
            self._pending = _Batch()
            return False
        return True

    def _write_spans(self) -> None:
        waiting = self._pending.spans
        if not waiting:
            return
        if self._file is None or _size(self._file) > MOST_A_FILE:
            self._file = new_span_file(self.folder)
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        name, path = self._file.name, self._file
        self._file = None  # unless all goes well: half a line is nothing to go on behind
        with open(path, "ab", opener=partial(os.open, mode=0o600)) as file:
            offset = file.tell()
            lines = [(run_id, line_of(own)) for run_id, own in waiting.items()]
            file.write(b"".join(line for _, line in lines))
        for run_id, line in lines:
            self._pending.places.append(SpansAt(run_id, name, offset, len(line)))
            offset += len(line)
        self._file, self._pending.spans = path, {}

    def _write_rows(self) -> None:
        batch = self._pending
        if not batch.rows and not batch.places:
            return
        with self._opened() as history:
            history.add(batch.rows, batch.places, batch.tasks)
            batch.rows, batch.places, batch.tasks = [], [], []
            if time.monotonic() - self._pruned > PRUNE_SECONDS or not self._pruned:
                self._pruned = time.monotonic()
                history.prune(days=self._days, megabytes=self._megabytes)

    def _opened(self) -> RunHistory:
        history = RunHistory.create(self.folder)
        if history.damage is not None:
            warn_once(f"history:{history.damage}", "%s", history.damage)
        return history


class _Batch:
    """What is to be written: rows, the spans of each run, where spans stand, and tasks that spans named."""

    def __init__(self) -> None:
        self.rows: list[PastRun] = []
        self.spans: dict[str, list[Any]] = {}
        self.places: list[SpansAt] = []
        self.tasks: list[tuple[str, str]] = []

    @property
    def full(self) -> bool:
        """Whether too much waits already, since it cannot be written."""
        return len(self.rows) + len(self.spans) > MOST_WAITING

    def take(self, items: Iterable[Any]) -> None:
        """Sorts what came out of the queue."""
        for item in items:
            if isinstance(item, _Ended):
                self.rows.append(_row(*item))
            elif item is not None and not isinstance(item, _Flush):
                self._take_span(item)

    def _take_span(self, span: Any) -> None:
        found = written(span)
        run_id = None if found is None else span.attributes.get(semconv.RUN_ID)
        if found is None or run_id is None:
            return
        self.spans.setdefault(run_id, []).append(found)
        task = span.attributes.get(semconv.TASK_ID)
        if isinstance(task, str) and task:
            self.tasks.append((run_id, task))


class _Flush:
    """Somebody waits until all before this is written."""

    def __init__(self) -> None:
        self._running = threading.Lock()
        self._running.acquire()
        self._done = False

    def finish(self, done: bool) -> None:
        self._done = done
        self._running.release()

    def wait(self, seconds: float) -> bool:
        return self._running.acquire(timeout=max(0.0, seconds)) and self._done


def _row(run: RunRecord, at_ns: int) -> PastRun:
    usage = run.usage
    return PastRun(
        run_id=run.run_id,
        parent_id=run.parent_id,
        trace_id=run.trace_id,
        task=None,
        agent=run.agent,
        prompt_id=run.prompt_id,
        variant=run.variant,
        mode=run.mode,
        stop_reason=str(run.stop_reason),
        stop_detail=run.stop_detail,
        error_type=run.error_type,
        ended_ns=at_ns,
        seconds=usage.seconds,
        steps=usage.steps,
        tool_calls=usage.tool_calls,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        micro_usd=None if usage.cost_usd is None else usd_to_micro(usage.cost_usd),
        estimated=usage.estimated,
    )


def _drained(queue: SimpleQueue[Any]) -> list[Any]:
    found: list[Any] = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return MOST_A_FILE + 1


class _Process:
    followed = False


def _follow_process() -> None:
    """Writes what waits where this process ends, and starts anew where it forks."""
    if _Process.followed:
        return
    _Process.followed = True
    atexit.register(_at_exit)
    at_worker_exit(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _at_exit() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for recorder in list(_recorders):
        recorder.flush(deadline - time.monotonic())


def _after_fork() -> None:
    for recorder in list(_recorders):
        recorder.begin()
