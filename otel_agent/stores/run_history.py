"""Finished runs on this machine: a row a run in SQLite, and their spans beside it as OTLP JSON lines.

Decides the schema, what is asked of it, and what is given up first when it grows too old or too large. Several
processes write at once: SQLite in WAL mode orders the rows, and each process has span files of its own. A database
that is damaged costs no run whose spans are there: its rows are read off them again.

    folder/runs.db                            runs, and where each one's spans stand: file, offset, length
    folder/spans/20261127T101500-4711-ab.jsonl
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from otel_agent.stop import InvalidSetting
from otel_agent.stores.cache import cache_folder
from otel_agent.stores.otlp_json import NotOtlp, PastSpan, spans_of
from otel_agent.stores.past_spans import by_run, runs_of
from otel_agent.usage import PastRun

__all__ = [
    "DAYS",
    "MEGABYTES",
    "Pruned",
    "RunHistory",
    "SpansAt",
    "UnreadableHistory",
    "Wanted",
    "default_history",
    "new_span_file",
]

DAYS = 30.0
MEGABYTES = 500
SCHEMA = 1
BUSY_SECONDS = 5.0
NAME = "runs.db"
SPANS = "spans"

_COLUMNS = ", ".join(PastRun._fields)
_CREATE = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, parent_id TEXT, trace_id TEXT, task TEXT, agent TEXT NOT NULL, prompt_id TEXT,
    variant TEXT, mode TEXT NOT NULL, stop_reason TEXT NOT NULL, stop_detail TEXT, error_type TEXT,
    ended_ns INTEGER NOT NULL, seconds REAL NOT NULL, steps INTEGER NOT NULL, tool_calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, micro_usd INTEGER, estimated INTEGER NOT NULL
);
CREATE INDEX runs_by_time ON runs (ended_ns);
CREATE INDEX runs_by_prompt ON runs (prompt_id, ended_ns);
CREATE INDEX runs_by_parent ON runs (parent_id) WHERE parent_id IS NOT NULL;
CREATE TABLE spans (run_id TEXT NOT NULL, file TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL);
CREATE INDEX spans_by_run ON spans (run_id);
CREATE INDEX spans_by_file ON spans (file);
PRAGMA user_version = 1;
"""


class UnreadableHistory(Exception):
    """A history cannot be read; the message is one line that names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are asked for; what is None or empty does not narrow.

    Attributes:
        agent: the agent's name.
        prompt: a prompt's name, `name:version`, or whole id.
        stop_reason: the stop code.
        since_ns: ended at or after this, in nanoseconds since 1970.
        until_ns: ended before this.
        roots: whether to leave out runs under other runs.
    """

    agent: str | None = None
    prompt: str | None = None
    stop_reason: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    roots: bool = False

    def where(self) -> tuple[str, list[object]]:
        """Gives the condition in SQL, and its values."""
        parts: list[tuple[str, list[object]]] = [("1", [])]
        for column, value in (("agent", self.agent), ("stop_reason", self.stop_reason)):
            if value is not None:
                parts.append((f"{column} = ?", [value]))
        if self.prompt is not None:
            # ';' follows ':', so that this is every id that goes on behind the given part
            parts.append(
                (
                    "(prompt_id = ? OR (prompt_id >= ? AND prompt_id < ?))",
                    [self.prompt, f"{self.prompt}:", f"{self.prompt};"],
                )
            )
        if self.since_ns is not None:
            parts.append(("ended_ns >= ?", [self.since_ns]))
        if self.until_ns is not None:
            parts.append(("ended_ns < ?", [self.until_ns]))
        if self.roots:
            parts.append(("parent_id IS NULL", []))
        return " AND ".join(text for text, _ in parts), [value for _, values in parts for value in values]


class SpansAt(NamedTuple):
    """Where spans of a run stand: the file's name, and the line in it, in bytes."""

    run_id: str
    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was given up, or would be: rows, span files, and bytes of those files."""

    runs: int
    files: int
    bytes: int


def default_history() -> Path:
    """Gives the history of this user, which `configure(history=True)` takes.

    Raises:
        InvalidSetting: this user has no home.
    """
    folder = cache_folder()
    if folder is None:
        raise InvalidSetting(field="history", value=True, allowed="a path: this user has no home folder")
    return folder / "history"


class RunHistory:
    """The history in one folder. One object is for one thread.

    Args:
        folder: where it is.
        database: the open database.
        damage: what was found damaged and is read off the span files instead, in one line, or None.

    Attributes:
        damaged_lines: the lines of spans that were met and are damaged, each told with file, line and field.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, damage: str | None = None) -> None:
        self.folder = folder
        self.damage = damage
        self.damaged_lines: list[str] = []
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    @classmethod
    def create(cls, folder: Path) -> RunHistory:
        """Opens a history to write to, and makes it where there is none. A damaged one is set aside and built anew.

        Raises:
            OSError: the folder cannot be made or written.
            UnreadableHistory: a newer version wrote it, or it stays locked.
        """
        for each in (folder, folder / SPANS):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / NAME
        with _one_line(path):
            try:
                return cls(folder, _opened(path))
            except sqlite3.DatabaseError as wrong:
                if isinstance(wrong, sqlite3.OperationalError):
                    raise
                aside = _set_aside(path)
                damage = f"{path} was damaged ({wrong}); it is {aside.name} now, and its runs were read off their spans"
                return _rebuilt(cls(folder, _opened(path), damage))

    @classmethod
    def read(cls, folder: Path) -> RunHistory:
        """Opens a history to read from.

        Raises:
            UnreadableHistory: there is none, or it cannot be read.
        """
        path = folder / NAME
        if not path.is_file():
            raise UnreadableHistory(f"there is no run history in {folder}")
        with _one_line(path):
            try:
                return cls(folder, _opened(path, whole=True))
            except sqlite3.DatabaseError as wrong:
                if isinstance(wrong, sqlite3.OperationalError):
                    raise
                damage = f"{path} is damaged ({wrong}); what follows was read off the spans beside it"
                database = _prepared(sqlite3.connect(":memory:", isolation_level=None))
                return _rebuilt(cls(folder, database, damage))

    # writing

    def add(self, runs: Iterable[PastRun], spans: Iterable[SpansAt] = (), tasks: Iterable[tuple[str, str]] = ()) -> int:
        """Adds finished runs and where spans stand, all or nothing; a run that is there already stays as it is.

        Args:
            runs: the runs.
            spans: where spans of any run stand.
            tasks: run ids and their tasks, for runs that are there already.

        Returns:
            How many runs were new.

        Raises:
            UnreadableHistory: the database cannot be written.
        """
        marks = ", ".join("?" * len(PastRun._fields))
        with _one_line(self.folder / NAME), self._transaction():
            before = self._database.total_changes
            self._database.executemany(f"INSERT OR IGNORE INTO runs ({_COLUMNS}) VALUES ({marks})", runs)  # noqa: S608
            new: int = self._database.total_changes - before
            self._database.executemany("INSERT INTO spans VALUES (?, ?, ?, ?)", spans)
            self._database.executemany("UPDATE runs SET task = ?2 WHERE run_id = ?1", tasks)
        return new

    def prune(self, *, days: float = DAYS, megabytes: float = MEGABYTES, dry_run: bool = False) -> Pruned:
        """Gives up what is too old, then the oldest spans, and last the oldest rows, until the rest is small enough.

        Args:
            days: how old a run may be.
            megabytes: how large rows and spans may be together, in millions of bytes.
            dry_run: only tell.
        """
        cut = time.time_ns() - int(days * 86_400e9)
        files = sorted((each.stat().st_mtime_ns, each.stat().st_size, each) for each in _span_files(self.folder))
        old = [each for each in files if each[0] < cut]
        rest = files[len(old) :]
        size = self._bytes() + sum(each[1] for each in rest)
        while rest and size > megabytes * 1e6:
            size -= rest[0][1]
            old.append(rest.pop(0))
        with _one_line(self.folder / NAME):
            doomed = "ended_ns < ?"
            (runs,) = self._database.execute(f"SELECT count(*) FROM runs WHERE {doomed}", [cut]).fetchone()  # noqa: S608
            if not dry_run:
                self._give_up(cut, [each for _, _, each in old])
                size = self._bytes()
            if size > megabytes * 1e6:
                runs += self._give_up_rows(size, megabytes * 1e6, dry_run=dry_run)
        return Pruned(runs=runs, files=len(old), bytes=sum(each[1] for each in old))

    def _give_up(self, cut: int, files: Sequence[Path]) -> None:
        with self._transaction():
            self._database.execute(
                "DELETE FROM spans WHERE run_id IN (SELECT run_id FROM runs WHERE ended_ns < ?)", [cut]
            )
            self._database.execute("DELETE FROM runs WHERE ended_ns < ?", [cut])
            self._database.executemany("DELETE FROM spans WHERE file = ?", [(each.name,) for each in files])
        for each in files:
            with suppress(OSError):  # another process has it open, on systems where that matters: the next one gets it
                each.unlink()
        self._database.execute("PRAGMA incremental_vacuum")

    def _give_up_rows(self, size: float, most: float, *, dry_run: bool) -> int:
        """Gives up as large a part of the rows as the database is too large, and a tenth more."""
        (count,) = self._database.execute("SELECT count(*) FROM runs").fetchone()
        part: int = min(count, int(count * min(1.0, (size - most) / size + 0.1)))
        if not part or dry_run:
            return part
        (last,) = self._database.execute(
            "SELECT ended_ns FROM runs ORDER BY ended_ns LIMIT 1 OFFSET ?", [part - 1]
        ).fetchone()
        self._give_up(last + 1, [])
        return part

    def _bytes(self) -> int:
        pages, free, size = (
            int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    # reading

    def runs(
        self, wanted: Wanted | None = None, *, order: str | None = "ended_ns DESC", limit: int | None = None
    ) -> list[PastRun]:
        """Gives the runs that are asked for.

        Args:
            wanted: which; None is all.
            order: a column of `PastRun`, and ASC or DESC; None is any order, and faster.
            limit: how many at most.
        """
        where, values = (wanted or Wanted()).where()
        column, _, direction = (order or "ended_ns").partition(" ")
        if column not in PastRun._fields or direction not in ("", "ASC", "DESC"):
            raise ValueError(f"no such order: {order!r}")
        sorting = f"ORDER BY {order}" if order else ""
        query = f"SELECT {_COLUMNS} FROM runs WHERE {where} {sorting} LIMIT ?"  # noqa: S608
        with _one_line(self.folder / NAME):
            rows = self._database.execute(query, [*values, -1 if limit is None else limit])
            return list(map(_run, rows))

    def count(self, wanted: Wanted | None = None) -> int:
        """Counts the runs that are asked for."""
        where, values = (wanted or Wanted()).where()
        found: int
        with _one_line(self.folder / NAME):
            (found,) = self._database.execute(f"SELECT count(*) FROM runs WHERE {where}", values).fetchone()  # noqa: S608
        return found

    def has(self, run_ids: Iterable[str]) -> set[str]:
        """Gives those of some run ids that are there."""
        query = "SELECT run_id FROM runs WHERE run_id = ?"
        with _one_line(self.folder / NAME):
            return {run_id for run_id in run_ids if self._database.execute(query, [run_id]).fetchone()}

    def find(self, start: str, *, most: int = 10) -> list[PastRun]:
        """Gives the runs whose run id or trace id begins so, the latest first."""
        with _one_line(self.folder / NAME):
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM runs WHERE substr(run_id, 1, ?) = ? OR substr(trace_id, 1, ?) = ?"  # noqa: S608
                " ORDER BY ended_ns DESC LIMIT ?",
                [len(start), start.lower(), len(start), start.lower(), most],
            ).fetchall()
        return list(map(_run, rows))

    def known(self, column: str) -> list[str]:
        """Gives the different values of "agent", "prompt_id" or "stop_reason", sorted."""
        if column not in ("agent", "prompt_id", "stop_reason"):
            raise ValueError(f"no such column: {column!r}")
        query = f"SELECT DISTINCT {column} FROM runs WHERE {column} IS NOT NULL ORDER BY 1"  # noqa: S608
        with _one_line(self.folder / NAME):
            return [value for (value,) in self._database.execute(query)]

    def spans(self, run_id: str) -> list[PastSpan]:
        """Gives the spans of a run and of all runs under it, as far as they are kept and whole."""
        query = (
            "WITH RECURSIVE under(id) AS (SELECT ? UNION SELECT run_id FROM runs JOIN under ON parent_id = id)"
            " SELECT DISTINCT file, offset, length FROM spans JOIN under ON run_id = id ORDER BY file, offset"
        )
        with _one_line(self.folder / NAME):
            places = self._database.execute(query, [run_id]).fetchall()
        found: dict[tuple[str, str], PastSpan] = {}
        for file, offset, length in places:
            for span in _spans_at(self.folder / SPANS / file, offset, length, self.damaged_lines):
                found[span.trace_id, span.span_id] = span
        return list(found.values())


_tuple: Any = tuple
_run: Callable[[Any], PastRun] = partial(_tuple.__new__, PastRun)
"""Makes a run of a row; many are read, and this is three times as fast as naming the fields."""


def new_span_file(folder: Path) -> Path:
    """Gives the name of a span file that no other process writes."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return folder / SPANS / f"{stamp}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"


def _span_files(folder: Path) -> list[Path]:
    return sorted((folder / SPANS).glob("*.jsonl"))


def _spans_at(path: Path, offset: int, length: int, damaged: list[str]) -> list[PastSpan]:
    """Reads one line; what is gone or damaged has no spans, and what is damaged is told."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return spans_of(file.read(length))
    except OSError:
        return []
    except NotOtlp as wrong:
        damaged.append(f"{path}: line {_line_at(path, offset)}: {wrong}")
        return []


def _line_at(path: Path, offset: int) -> int:
    """Gives the number of the line that begins at so many bytes."""
    with path.open("rb") as file:
        return file.read(offset).count(b"\n") + 1


def _opened(path: Path, *, whole: bool = False) -> sqlite3.Connection:
    """Opens a database, and makes sure that it is whole where asked. Nothing stays open where that fails."""
    new = not path.exists()
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if new:
            path.chmod(0o600)
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        _prepared(database)
        if whole:
            _check(database)
        return database
    except BaseException:
        database.close()
        raise


def _prepared(database: sqlite3.Connection) -> sqlite3.Connection:
    """Makes the tables where there are none, one process at a time."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        for statement in _CREATE.split(";") if version == 0 else ():
            database.execute(statement)
        database.execute("COMMIT")
    elif version > SCHEMA:
        raise UnreadableHistory(f"a newer otel-agent wrote it (schema {version}; this one knows {SCHEMA})")
    return database


def _check(database: sqlite3.Connection) -> None:
    """Raises where the database is damaged in a place that reading would meet."""
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(str(found).replace("\n", " "))


def _set_aside(path: Path) -> Path:
    aside = path.with_name(
        f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    )
    for end in ("-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + end).unlink()
    path.rename(aside)
    return aside


def _rebuilt(history: RunHistory) -> RunHistory:
    """Reads the rows off the span files; lines that are damaged are left out and told."""
    try:
        for path in _span_files(history.folder):
            spans, places = _scanned(path, history.damaged_lines)
            history.add(runs_of(spans), places)
    except BaseException:
        history.close()
        raise
    return history


def _scanned(path: Path, damaged: list[str]) -> tuple[list[PastSpan], list[SpansAt]]:
    spans: list[PastSpan] = []
    places: list[SpansAt] = []
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                found = spans_of(line)
                spans += found
                places += [SpansAt(run_id, path.name, offset, len(line)) for run_id in by_run(found)]
            except NotOtlp as wrong:
                damaged.append(f"{path}: line {number}: {wrong}")
            offset += len(line)
    return spans, places


@contextmanager
def _one_line(path: Path) -> Generator[None]:
    """Says in one line, with the file, what SQLite cannot do."""
    try:
        yield
    except UnreadableHistory as wrong:
        text = str(wrong)
        raise wrong if str(path.parent) in text else UnreadableHistory(f"{path}: {text}") from None
    except sqlite3.Error as wrong:
        raise UnreadableHistory(f"{path}: {wrong}") from wrong
