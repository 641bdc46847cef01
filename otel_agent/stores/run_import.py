"""Files of a collector's file exporter into a history: JSON lines, also gzipped.

Decides what of a file is kept: the spans of agents' runs whose own span is there. A damaged line is left out and told;
a run that the history has already stays as it is, so that a file can be imported again.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import cast

from otel_agent.stores.otlp_json import NotOtlp, PastSpan, line_of, spans_of
from otel_agent.stores.past_spans import by_run, runs_of
from otel_agent.stores.run_history import RunHistory, SpansAt, UnreadableHistory, new_span_file
from otel_agent.usage import PastRun

__all__ = ["Imported", "import_file"]

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came out of one file.

    Attributes:
        path: the file.
        runs: runs that are new in the history.
        known: runs that it had already.
        spans: spans in the file, those of no run among them.
        problems: one line for each damaged line, with file, line and field.
    """

    path: Path
    runs: int
    known: int
    spans: int
    problems: tuple[str, ...]


def import_file(history: RunHistory, path: Path, *, progress: Callable[[int], object] = lambda _: None) -> Imported:
    """Imports one file.

    Args:
        history: where to.
        path: the file.
        progress: is given the bytes that were read since it was last called.

    Raises:
        UnreadableHistory: the file cannot be read, or the history cannot be written.
    """
    problems: list[str] = []
    spans: list[PastSpan] = []
    for number, line in _lines(path, progress, problems):
        try:
            spans += spans_of(line)
        except NotOtlp as wrong:
            problems.append(f"{path}: line {number}: {wrong}")
    rows = {row.run_id: row for row in runs_of(spans)}
    known = history.has(rows)
    new = {run_id: row for run_id, row in rows.items() if run_id not in known}
    _keep(history, new, by_run(spans))
    return Imported(path=path, runs=len(new), known=len(known), spans=len(spans), problems=tuple(problems))


def _keep(history: RunHistory, rows: dict[str, PastRun], spans: dict[str, list[PastSpan]]) -> None:
    if not rows:
        return
    target = new_span_file(history.folder)
    places: list[SpansAt] = []
    with open(target, "xb", opener=partial(os.open, mode=0o600)) as file:
        for run_id in rows:
            line, offset = line_of([span.written for span in spans[run_id]]), file.tell()
            file.write(line)
            places.append(SpansAt(run_id, target.name, offset, len(line)))
    history.add(rows.values(), places)


def _lines(path: Path, progress: Callable[[int], object], problems: list[str]) -> Iterator[tuple[int, bytes]]:
    """Gives the lines of a file that are not empty, with their numbers; where it breaks off, that is a problem."""
    number = 0
    with _opened(path) as raw:
        start = raw.peek(4)[:4]
        if start == _ZSTD:
            raise UnreadableHistory(f"{path}: is compressed with zstd; unpack it first")
        lines = cast("Iterable[bytes]", gzip.GzipFile(fileobj=raw) if start[:2] == _GZIP else raw)
        read = 0
        try:
            for number, line in enumerate(lines, 1):
                progress(raw.tell() - read)
                read = raw.tell()
                if line.strip():
                    yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as wrong:
            problems.append(f"{path}: after line {number}: the gzip stream is damaged ({wrong})")


@contextmanager
def _opened(path: Path) -> Generator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as failed:
        raise UnreadableHistory(f"{path}: {failed.strerror or failed}") from failed
