"""What the commands know: every text and where it stands, the lock, and what is released by whom.

Reads all of it once. A text that has changed under a version that is recorded is shown here, where a run would be
refused: a prompt can be taken back while another one is in disorder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from otel_agent import InvalidSetting
from otel_agent.config.current import FILE_NAME, existing, find, with_environment
from otel_agent.config.file import load_prompts
from otel_agent.config.values import Config
from otel_agent.prompts import Override, Prompt, Ref, Registry, Release, only_version, parse_ref, version_order
from otel_agent.prompts.release import Percent
from otel_agent.stores.files import shown
from otel_agent.stores.prompt_lock import LOCK_FILE, PromptLock
from otel_agent.stores.release_writer import OVERRIDE_FILE, ReleaseFiles
from otel_agent.stores.sources import Sources, sources_of, variable_of
from otel_agent.stores.survey import Survey, survey

__all__ = ["Book", "LockState", "Row", "Text", "read_book", "read_what_can_be", "shown"]

LockState = Literal["locked", "not locked", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text.

    Attributes:
        prompt: the prompt.
        place: the file that it stands in.
        owner: whose it is, or None.
        description: what it is for, or None.
        code: where it stands in code, as `module:attribute`, or None for a text of a file.
    """

    prompt: Prompt
    place: Path
    owner: str | None = None
    description: str | None = None
    code: str | None = None


class Row(NamedTuple):
    """One version: its text, where there is one, and what it is released as, by what."""

    name: str
    version: str
    text: Text | None
    lock: LockState | None
    active: bool
    rollback: bool
    percent: Percent | None
    source: str | None

    @property
    def ref(self) -> str:
        """The version as `name:version`."""
        return f"{self.name}:{self.version}"

    @property
    def released(self) -> str | None:
        """What it is released as, in words: active, rollback, a canary with its share, or several of them."""
        canary = [] if self.percent is None else [f"canary {self.percent} %"]
        return ", ".join(["active"] * self.active + ["rollback"] * self.rollback + canary) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Everything, as it was when it was read.

    Attributes:
        config: the configuration.
        texts: every text, by `name:version`.
        registry: the same, to look prompts up.
        lock: what is recorded, or None without a lock file.
        lock_file: the lock file.
        configured: the releases of the configuration, by prompt name.
        files: the override file and the history.
        override: what stands in the override file.
        broken: why the override file cannot be read, or None.
        problems: everything else that is wrong, of which nothing is in here.
        left_out: why files of the folder are no prompts, where a process that starts leaves them out.
    """

    config: Config
    texts: Mapping[str, Text]
    registry: Registry
    lock: PromptLock | None
    lock_file: Path
    configured: Mapping[str, Release]
    files: ReleaseFiles
    override: Override
    broken: InvalidSetting | None = None
    problems: tuple[InvalidSetting, ...] = ()
    left_out: tuple[InvalidSetting, ...] = ()

    @property
    def names(self) -> list[str]:
        """Every prompt that has a text or a release."""
        return sorted({*self.registry.names, *self.configured, *self.override.releases})

    def release(self, name: str) -> Release | None:
        """Gives what is released of a prompt, or None."""
        return self.override.release(name, self.configured.get(name))

    def source(self, name: str) -> str | None:
        """Gives what released it: the file's name, or `only version` where nobody needs to say."""
        if name in self.override.releases:
            return self.files.override.name
        if name not in self.configured:
            return None
        said = any(parse_ref("active", ref).name == name for ref in self.config.prompts.active)
        return (self.config.file.name if self.config.file else "configuration") if said else "only version"

    def forced(self, name: str) -> tuple[str, str] | None:
        """Gives the variable of this environment that sets a prompt's version, and its value."""
        value = os.environ.get(variable_of(name))
        return (variable_of(name), value) if value else None

    def id_of(self, ref: Ref) -> str | None:
        """Gives the whole id of a version: that of its text, or without one that which the lock records; else None."""
        text = self.texts.get(f"{ref.name}:{ref.version}")
        entry = None if self.lock is None else self.lock.entries.get(f"{ref.name}:{ref.version}")
        known = text.prompt.id if text is not None else None if entry is None else entry.id
        return known if known is None or ref.hash in (None, known.rpartition(":")[2]) else None

    def lock_state(self, prompt: Prompt) -> LockState:
        """Tells whether a text is recorded."""
        recorded = None if self.lock is None else self.lock.recorded(prompt)
        return "not locked" if recorded is None else "locked" if recorded == prompt.id else "changed"

    def rows(self) -> Iterator[Row]:
        """Gives every version, by name and then by version."""
        for name in self.names:
            release = self.release(name)
            released = [] if release is None else [release.active, release.rollback, release.candidate]
            versions = {parse_ref("released", ref).version for ref in released if ref is not None}
            for version in sorted({*self.registry.versions(name), *versions}, key=version_order):
                yield self._row(name, version, release)

    def _row(self, name: str, version: str, release: Release | None) -> Row:
        text = self.texts.get(f"{name}:{version}")
        active, rollback, tried = (_is(version, ref) for ref in _refs(release))
        canary = release.canary if release is not None and tried else None
        return Row(
            name=name,
            version=version,
            text=text,
            lock=None if text is None else self.lock_state(text.prompt),
            active=active,
            rollback=rollback,
            percent=None if canary is None else canary.percent,
            source=self.source(name) if active or rollback or tried else None,
        )


def _refs(release: Release | None) -> tuple[str | None, str | None, str | None]:
    return (None, None, None) if release is None else (release.active, release.rollback, release.candidate)


def _is(version: str, ref: str | None) -> bool:
    return ref is not None and parse_ref("released", ref).version == version


def read_book(file: Path | None = None) -> Book:
    """Reads everything.

    Args:
        file: the configuration file, or None for the one that is found.

    Raises:
        InvalidSetting: a file cannot be read, or holds what it must not.
    """
    book = read_what_can_be(file)
    for wrong in (*book.problems, book.broken):
        if wrong is not None:
            raise wrong
    return book


def read_what_can_be(file: Path | None = None) -> Book:
    """Reads everything that can be read, and notes what is wrong with the rest.

    Args:
        file: the configuration file, or None for the one that is found.

    Raises:
        InvalidSetting: the file that is named is not there.
    """
    problems: list[InvalidSetting] = []
    config = _configuration(file, problems)
    # what OpenFeature says concerns runs, and its SDK need not be here
    sources = sources_of(replace(config, prompts=replace(config.prompts, source="configuration")))
    found = survey(sources)
    files = ReleaseFiles(sources.override or config.folder / OVERRIDE_FILE)
    override, broken = _override(files)
    alone = {name: only for name in found.registry.names if (only := only_version(found.registry, name)) is not None}
    return Book(
        config=config,
        texts=dict(_texts(config, sources, found)),
        registry=found.registry,
        lock=found.lock,
        lock_file=sources.lock or config.folder / LOCK_FILE,
        configured={**alone, **sources.releases},
        files=files,
        override=override,
        broken=broken,
        problems=(*problems, *found.problems),
        left_out=found.left_out,
    )


def _configuration(file: Path | None, problems: list[InvalidSetting]) -> Config:
    try:
        found = find() if file is None else existing(file, "--config")
    except InvalidSetting as none:
        if none.field != FILE_NAME:  # somebody named that file
            raise
        problems.append(none)
        found = None
    config, wrong = (Config(said=frozenset()), None) if found is None else load_prompts(found, field="--config")
    problems += [] if wrong is None else [wrong]
    return with_environment(config, report=problems.append)


def _override(files: ReleaseFiles) -> tuple[Override, InvalidSetting | None]:
    try:
        return files.read(), None
    except InvalidSetting as wrong:
        return Override(), wrong


def _texts(config: Config, sources: Sources, found: Survey) -> Iterator[tuple[str, Text]]:
    """Gives each text with where it stands; of two under one name, that of the configuration is the last."""
    for file in found.files:
        text = Text(prompt=file.prompt, place=file.path, owner=file.owner, description=file.description)
        yield f"{file.prompt.name}:{file.prompt.version}", text
    for name, versions in sources.texts.items():
        for version, written in versions.items():
            yield f"{name}:{version}", Text(prompt=Prompt(name, version, written), place=config.file or config.folder)
