"""The history of releases: one line of JSON for each change, only ever added to.

Decides what is missing in it: a writer that died behind a change leaves that to the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from otel_agent.prompts import Change, dump_change, parse_change
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import append_line, read_text

__all__ = ["HISTORY_FILE", "History", "add_changes", "read_history"]

HISTORY_FILE = "otel-agent.history.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What has changed, the oldest first.

    Attributes:
        changes: the changes.
        unreadable: the numbers of lines that are none, such as one that a full disk cut off.
    """

    changes: tuple[Change, ...] = ()
    unreadable: tuple[int, ...] = ()

    def missing(self, changes: Iterable[Change]) -> list[Change]:
        """Gives the changes that do not stand in it, the oldest first."""
        known = set(self.changes)
        return sorted((change for change in changes if change not in known), key=lambda change: change.when)

    def with_missing(self, changes: Iterable[Change]) -> History:
        """Gives the history with these changes in it."""
        both = sorted([*self.changes, *self.missing(changes)], key=lambda change: change.when)
        return History(changes=tuple(both), unreadable=self.unreadable)


def read_history(path: Path) -> History:
    """Reads a history; one that is not there is empty.

    Raises:
        InvalidSetting: the file cannot be read.
    """
    changes: list[Change] = []
    unreadable: list[int] = []
    text = read_text(path, errors="surrogateescape") or ""  # a character that was cut off spoils its own line alone
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            changes.append(parse_change(line))
        except InvalidSetting:
            unreadable.append(number)
    return History(changes=tuple(changes), unreadable=tuple(unreadable))


def add_changes(path: Path, changes: Iterable[Change]) -> None:
    """Adds lines to a history.

    Raises:
        InvalidSetting: the file cannot be written.
    """
    for change in changes:
        append_line(path, dump_change(change))
