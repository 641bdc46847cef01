"""Changes a release in the override file: under its lock, from what stands there now, whole or not at all.

    lock -> read -> catch up the history -> change -> replace the file -> a line of history -> unlock

The file holds the last change of each prompt, so replacing it is the one moment at which a change is made. A writer
that dies before leaves the old state; one that dies behind it, or finds the disk full, leaves a line of history to the
next writer.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from otel_agent.prompts import Change, Override, Release, dump_override, parse_override, salvage_override
from otel_agent.prompts.changes import Author, Changed
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import LOCK_SECONDS, locked, read_text, replace_text
from otel_agent.stores.prompt_history import HISTORY_FILE, History, add_changes, read_history

__all__ = ["OVERRIDE_FILE", "ReleaseFiles", "now"]

_log = logging.getLogger("otel_agent")

OVERRIDE_FILE = "otel-agent.override.json"


def now() -> str:
    """Gives the time, UTC, as ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _log_unrecorded(wrong: InvalidSetting) -> None:
    _log.warning("a change of a release is made, and the history has no line of it: %s", wrong)


@dataclass(frozen=True, slots=True)
class ReleaseFiles:
    """The override file, and the history beside it.

    Attributes:
        override: the override file, which need not be there.
    """

    override: Path

    @property
    def history(self) -> Path:
        """The history's file."""
        return self.override.with_name(HISTORY_FILE)

    @property
    def broken(self) -> Path:
        """Where an override file is kept that was broken when a change was forced."""
        return self.override.with_name(f"{self.override.name}.broken")

    def read(self) -> Override:
        """Gives what is released over the configuration now.

        Raises:
            InvalidSetting: the file cannot be read, or is not what commands write.
        """
        text = read_text(self.override)
        if text is None:
            return Override()
        try:
            return parse_override(text)
        except InvalidSetting as wrong:
            allowed = f"{wrong.allowed}; mend the file, or take it away to go back to the configuration"
            raise InvalidSetting(field=f"{self.override}: {wrong.field}", value=wrong.value, allowed=allowed) from None

    def read_history(self) -> History:
        """Gives the history, also what a writer that died could not write any more.

        Raises:
            InvalidSetting: a file cannot be read.
        """
        return read_history(self.history).with_missing(self.read().changes.values())

    def change(
        self,
        name: str,
        configured: Release | None,
        how: Callable[[Release | None, Author], Changed],
        *,
        who: str,
        why: str | None = None,
        dry_run: bool = False,
        mend: bool = False,
        urgent: bool = False,
        unrecorded: Callable[[InvalidSetting], object] = _log_unrecorded,
        seconds: float = LOCK_SECONDS,
    ) -> Changed:
        """Changes the release of one prompt.

        Args:
            name: the prompt's name.
            configured: its release in the configuration, which counts where the override file has none; so does its way
                back where the release there has none.
            how: gives the new release; called once the file is locked, with what is released then.
            who: who changes it.
            why: the reason, or None.
            dry_run: tells what would be changed, takes no lock and writes nothing.
            mend: begins from what can be read where the override file is broken, and keeps that file as `broken`.
            urgent: goes on where the history cannot be read or written, which is told as below.
            unrecorded: takes why the history has no line of a change that was made; by default the log does.
            seconds: how long to wait for another writer.

        Returns:
            The release, and its change or None.

        Raises:
            InvalidSetting: out of `how`, or a file cannot be read or written; nothing is changed then.
        """
        if dry_run:
            known = self._begin(mend)[0].release(name, configured)
            return how(known, Author(who=who, when=now(), why=why))
        with locked(self.override, seconds=seconds):
            override, mended = self._begin(mend)
            failed = self._catch_up(override)
            changed = how(override.release(name, configured), Author(who=who, when=now(), why=why))
            if failed is not None and changed.change is not None and not urgent:
                raise failed
            if mended:
                shutil.copyfile(self.override, self.broken)
                replace_text(self.override, dump_override(override))
            if changed.change is not None:
                replace_text(self.override, dump_override(_with(override, changed.release, changed.change)))
                failed = self._record([changed.change]) or failed
                if failed is not None:
                    unrecorded(failed)
        return changed

    def _catch_up(self, override: Override) -> InvalidSetting | None:
        """Writes what a writer that died could not write any more; gives what is wrong with the history."""
        try:
            return self._record(read_history(self.history).missing(override.changes.values()))
        except InvalidSetting as wrong:
            return wrong

    def _record(self, changes: Iterable[Change]) -> InvalidSetting | None:
        """Adds lines to the history; gives why it takes none."""
        try:
            add_changes(self.history, changes)
        except InvalidSetting as wrong:
            return wrong
        return None

    def _begin(self, mend: bool) -> tuple[Override, bool]:
        """Gives what stands in the file, and whether it is only a part of that."""
        try:
            return self.read(), False
        except InvalidSetting:
            if not mend or not self.override.is_file():
                raise
            return salvage_override(self.override.read_bytes().decode(errors="replace")), True


def _with(override: Override, release: Release, change: Change) -> Override:
    if change.what == "reset":
        others = {name: kept for name, kept in override.releases.items() if name != release.name}
        said = {name: kept for name, kept in override.changes.items() if name != release.name}
        return Override(releases=others, changes=said)
    return Override(
        releases={**override.releases, release.name: release}, changes={**override.changes, release.name: change}
    )
