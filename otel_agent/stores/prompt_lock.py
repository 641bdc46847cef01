"""`prompts.lock`: which text each version is, who recorded it and when.

    {"id": "support:v12:5fa80991330d", "who": "anna", "when": "2026-11-27T09:30:00Z"}

One line of JSON for each version, sorted, so that a diff shows one line for one prompt and an owner can approve it.
Decides whether a text still is the one that was recorded. A version without a line is not locked yet: no error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_agent import checks
from otel_agent.prompts import Prompt, Ref, parse_ref, version_order
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import locked, read_text, replace_text

__all__ = ["LOCK_FILE", "SOMEWHERE", "Locked", "PromptLock", "check_lock", "lock_prompts", "read_lock"]

LOCK_FILE = "prompts.lock"
SOMEWHERE = "MODULE:ATTRIBUTE"  # where prompts stand in code that only their author knows
_KEYS = ("id", "who", "when")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One line of the lock.

    Attributes:
        id: the prompt's id, as `name:version:hash`.
        who: who recorded it.
        when: the time, UTC, as ISO 8601.

    Raises:
        InvalidSetting: a value can never work.
    """

    id: str
    who: str
    when: str
    ref: Ref = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ref = parse_ref("id", self.id)
        if ref.hash is None:
            raise InvalidSetting(field="id", value=self.id, allowed="a whole prompt id, `name:version:hash`")
        checks.text("who", self.who)
        checks.text("when", self.when)
        object.__setattr__(self, "ref", ref)


@dataclass(frozen=True, slots=True)
class PromptLock:
    """What is recorded, by name and version.

    Attributes:
        entries: one for each `name:version`.
    """

    entries: Mapping[str, Locked] = field(default_factory=dict[str, Locked])

    @classmethod
    def of(cls, entries: Iterable[Locked]) -> PromptLock:
        """Builds a lock out of lines; of two with one id the earlier counts, as after a merge of two branches.

        Raises:
            InvalidSetting: two ids stand under one name and version.
        """
        found: dict[str, Locked] = {}
        for entry in entries:
            key = _key(entry.ref)
            known = found.setdefault(key, entry)
            if known.id != entry.id:
                raise InvalidSetting(field=key, value=entry.id, allowed=f"one id: {known.id} is recorded too")
            found[key] = min(known, entry, key=lambda each: (each.when, each.who))
        return cls(found)

    @classmethod
    def parse(cls, text: str, *, where: str = LOCK_FILE) -> PromptLock:
        """Reads the text of a lock.

        Args:
            text: one JSON object a line; empty lines are left aside.
            where: what the text is of, for errors.

        Raises:
            InvalidSetting: a line is none, or two lines contradict each other; the field says which line.
        """
        entries = [_entry(f"{where}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        try:
            return cls.of(entries)
        except InvalidSetting as wrong:
            raise InvalidSetting(field=f"{where}: {wrong.field}", value=wrong.value, allowed=wrong.allowed) from None

    def dump(self) -> str:
        """Gives the text of the lock: sorted by name and then by version, v9 before v10."""
        return "".join(_line(entry) for entry in self)

    def __iter__(self) -> Iterator[Locked]:
        return iter(sorted(self.entries.values(), key=lambda entry: (entry.ref.name, version_order(entry.ref.version))))

    def __len__(self) -> int:
        return len(self.entries)

    def recorded(self, prompt: Prompt) -> str | None:
        """Gives the id that is recorded for a prompt's name and version, or None."""
        entry = self.entries.get(f"{prompt.name}:{prompt.version}")
        return None if entry is None else entry.id

    def changed(self, prompts: Iterable[Prompt]) -> list[Prompt]:
        """Gives the prompts whose text is not the one that was recorded."""
        return [prompt for prompt in prompts if self.recorded(prompt) not in (None, prompt.id)]

    def missing(self, prompts: Iterable[Prompt]) -> list[Prompt]:
        """Gives the prompts that are not recorded."""
        return [prompt for prompt in prompts if self.recorded(prompt) is None]

    def merged(self, other: PromptLock) -> PromptLock:
        """Gives what both record.

        Raises:
            InvalidSetting: they contradict each other.
        """
        return PromptLock.of([*self.entries.values(), *other.entries.values()])


def _key(ref: Ref) -> str:
    return f"{ref.name}:{ref.version}"


def _line(entry: Locked) -> str:
    return json.dumps({key: getattr(entry, key) for key in _KEYS}, ensure_ascii=False) + "\n"


def _entry(where: str, line: str) -> Locked:
    try:
        value: Any = json.loads(line, object_pairs_hook=checks.each_key_once)
    except InvalidSetting as twice:
        raise InvalidSetting(field=where, value=twice.value, allowed=twice.allowed) from None
    except (ValueError, RecursionError):
        raise InvalidSetting(field=where, value=line, allowed="one JSON object") from None
    if not checks.is_mapping(value) or set(value) != set(_KEYS):
        raise InvalidSetting(field=where, value=line, allowed="an object of id, who and when")
    try:
        return Locked(**value)
    except InvalidSetting as wrong:
        raise InvalidSetting(field=f"{where}: {wrong.field}", value=wrong.value, allowed=wrong.allowed) from None


def read_lock(path: Path) -> PromptLock | None:
    """Reads a lock file; None where there is none.

    Raises:
        InvalidSetting: it cannot be read.
    """
    text = read_text(path)
    return None if text is None else PromptLock.parse(text, where=str(path))


def check_lock(
    lock: PromptLock, prompts: Iterable[Prompt], *, field: str = "prompts", place: str | None = None
) -> None:
    """Refuses a text that has changed under a version that is recorded.

    Args:
        lock: what is recorded.
        prompts: the texts.
        field: what they are given as, for the error.
        place: where they stand in code, as `module:attribute`; None for texts of files.

    Raises:
        InvalidSetting: there is one; the error says which command shows what changed.
    """
    for prompt in lock.changed(prompts):
        ref = f"{prompt.name}:{prompt.version}"
        allowed = (
            f"the text that {LOCK_FILE} records as {lock.recorded(prompt)}, which is {prompt.id} now: "
            f"give the new text a new version, or see what changed with `{_diff(ref, place)}`"
        )
        raise InvalidSetting(field=field, value=ref, allowed=allowed)


def _diff(ref: str, place: str | None) -> str:
    import shlex  # only for an error

    words = ["otel-agent", "prompts", "diff", ref, *(() if place is None else ("--from", place))]
    return shlex.join(words)


def lock_prompts(path: Path, prompts: Iterable[Prompt], *, who: str, when: str, dry_run: bool = False) -> list[Locked]:
    """Records the prompts that are not recorded yet; what is recorded stays.

    Args:
        path: the lock file, which need not be there.
        prompts: all that shall be recorded.
        who: who records them.
        when: the time, UTC, as ISO 8601.
        dry_run: tells what would be recorded and writes nothing.

    Returns:
        The new lines.

    Raises:
        InvalidSetting: a text has changed under its version, or the file cannot be read or written.
    """
    if dry_run:
        return _added(read_lock(path), prompts, who, when)[1]
    with locked(path):
        lock, added = _added(read_lock(path), prompts, who, when)
        if added:
            replace_text(path, lock.dump())
    return added


def _added(lock: PromptLock | None, prompts: Iterable[Prompt], who: str, when: str) -> tuple[PromptLock, list[Locked]]:
    known, given = lock or PromptLock(), list(prompts)
    check_lock(known, given)
    added = [Locked(id=prompt.id, who=who, when=when) for prompt in known.missing(given)]
    return known.merged(PromptLock.of(added)), added
