"""Which prompts have passed their golden tasks: one line of JSON for each check, only ever added to.

    {"prompt_id": "support:v13:5fa80991330d", "agent": "app:answer", "when": "2026-11-27T09:30:00.000000Z",
     "task_set": "0f3a9c11b2d4", "tasks": 20, "runs": 60, "result": "passed", "limits": ["steps"], "who": "anna"}

Decides the form of a line, and which of several is the newest. What a result means for a release is for who asks.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from otel_agent import checks
from otel_agent.config.values import Config
from otel_agent.prompts import parse_ref
from otel_agent.stop import InvalidSetting
from otel_agent.stores.cache import cache_folder
from otel_agent.stores.files import append_line, locked, read_text

__all__ = ["LEDGER_FILE", "Ledger", "LedgerEntry", "Verdict", "append", "latest", "ledger_file", "read_ledger"]

LEDGER_FILE = Path("golden") / "results.jsonl"
Verdict = Literal["passed", "regression", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("passed", "regression", "inconclusive")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One check of one prompt against the whole set of golden tasks.

    Attributes:
        prompt_id: the prompt's id, as `name:version:hash`.
        agent: what was run, as `module:function`.
        at_ns: when it ended, in nanoseconds since 1970 UTC; whole microseconds are kept.
        task_set: the digest of the tasks.
        tasks: how many tasks there were.
        runs: how many runs were judged.
        result: what came of it.
        limits: the names of the limits that every run of it had.
        who: who ran it.

    Raises:
        InvalidSetting: a value can never work.
    """

    prompt_id: str
    agent: str
    at_ns: int
    task_set: str
    tasks: int
    runs: int
    result: Verdict
    limits: tuple[str, ...] = ()
    who: str

    def __post_init__(self) -> None:
        if parse_ref("prompt_id", self.prompt_id).hash is None:
            allowed = "a whole prompt id, `name:version:hash`"
            raise InvalidSetting(field="prompt_id", value=self.prompt_id, allowed=allowed)
        for name in ("agent", "task_set", "who"):
            checks.text(name, getattr(self, name))
        checks.count("at_ns", self.at_ns, most=2**63 - 1)
        checks.count("tasks", self.tasks)
        checks.count("runs", self.runs)
        checks.choice("result", self.result, VERDICTS)
        for limit in self.limits:
            checks.text("limits", limit)
        object.__setattr__(self, "at_ns", self.at_ns - self.at_ns % 1000)

    @property
    def when(self) -> str:
        """The time, UTC, as ISO 8601."""
        moment = _EPOCH + timedelta(microseconds=self.at_ns // 1000)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


_KEYS = tuple("when" if field.name == "at_ns" else field.name for field in dataclasses.fields(LedgerEntry))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What stands in a file.

    Attributes:
        entries: the checks, in the order of the file.
        damaged: an error for each line that is none, such as one that a full disk cut off.
    """

    entries: tuple[LedgerEntry, ...] = ()
    damaged: tuple[InvalidSetting, ...] = ()

    def latest(self, prompt_id: str, *, agent: str | None = None) -> LedgerEntry | None:
        """Gives the newest check of a prompt, by the agent where one is given; None where there is none."""
        found = [each for each in self.entries if each.prompt_id == prompt_id and agent in (None, each.agent)]
        return max(reversed(found), key=lambda each: each.at_ns, default=None)  # of one moment the later line

    def passed(self) -> frozenset[str]:
        """Gives the ids of the prompts that have passed at some time."""
        return frozenset(each.prompt_id for each in self.entries if each.result == "passed")


def ledger_file(config: Config) -> Path:
    """Gives the ledger's file, there or not: `testing.results`, else one among the user's caches.

    Raises:
        InvalidSetting: nothing is set, and this user has no home.
    """
    if config.testing.results is not None:
        return config.testing.results
    caches = cache_folder()
    if caches is None:
        raise InvalidSetting(field="testing.results", value=None, allowed="given: this user has no home for caches")
    return caches / LEDGER_FILE


def append(file: Path, entry: LedgerEntry) -> None:
    """Adds a check to a ledger; its folder is made where it is missing.

    Raises:
        InvalidSetting: the file cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failed:
        raise InvalidSetting(field=str(file), value=failed.strerror, allowed="in a folder that can be made") from None
    with locked(file):
        append_line(file, _dumped(entry))


def read_ledger(file: Path) -> Ledger:
    """Reads a ledger; one that is not there is empty.

    Raises:
        InvalidSetting: the file cannot be read.
    """
    entries: list[LedgerEntry] = []
    damaged: list[InvalidSetting] = []
    text = read_text(file, errors="surrogateescape") or ""  # a byte that is no text costs its line alone
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(line))
        except InvalidSetting as wrong:
            where = f"{file}:{number}: {wrong.field}"
            damaged.append(InvalidSetting(field=where, value=wrong.value, allowed=wrong.allowed))
    return Ledger(entries=tuple(entries), damaged=tuple(damaged))


def latest(file: Path, prompt_id: str, *, agent: str | None = None) -> LedgerEntry | None:
    """Gives the newest check of a prompt in a file; lines that are damaged hide no other.

    Raises:
        InvalidSetting: the file cannot be read.
    """
    return read_ledger(file).latest(prompt_id, agent=agent)


def _dumped(entry: LedgerEntry) -> str:
    return json.dumps({key: getattr(entry, key) for key in _KEYS}, ensure_ascii=False)


def _entry(line: str) -> LedgerEntry:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidSetting(field="the line", value=line[:80], allowed="one JSON object") from None
    if not checks.is_mapping(value) or set(value) != set(_KEYS):
        raise InvalidSetting(field="the line", value=line[:80], allowed=f"an object of {', '.join(_KEYS)}")
    return _built(value)


def _built(value: Mapping[str, Any]) -> LedgerEntry:
    limits = value["limits"]
    if not checks.is_list(limits):
        raise InvalidSetting(field="limits", value=limits, allowed="a list of names")
    given = {key: each for key, each in value.items() if key not in ("when", "limits")}
    return LedgerEntry(at_ns=_moment(value["when"]), limits=tuple(limits), **given)


def _moment(when: object) -> int:
    try:
        moment = datetime.fromisoformat(checks.text("when", when))
    except ValueError:  # an InvalidSetting is one
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidSetting(field="when", value=when, allowed="a time as 2026-11-27T09:30:00Z")
    return (moment - _EPOCH) // _MICRO * 1000
