"""Prompts in disorder: what can be read of them all the same, and everything that is wrong at once.

A process that starts refuses the first mistake. Who mends them wants all of them, and who takes a prompt back does not
want to be held up by those of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from otel_agent.prompts import Prompt, Registry
from otel_agent.stop import InvalidSetting
from otel_agent.stores.prompt_folder import PromptFile, read_prompt_folder
from otel_agent.stores.prompt_lock import PromptLock, check_lock, read_lock
from otel_agent.stores.sources import Sources

__all__ = ["Survey", "changed_texts", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found.

    Attributes:
        files: the files of the folder that hold a prompt.
        registry: all prompts; of two texts under one name and version, the first.
        lock: what is recorded, or None where there is no lock file, or it cannot be read.
        problems: what is wrong.
        left_out: why files of the folder are no prompts, where a process that starts leaves them out.
    """

    files: tuple[PromptFile, ...]
    registry: Registry
    lock: PromptLock | None
    problems: tuple[InvalidSetting, ...]
    left_out: tuple[InvalidSetting, ...] = ()


def survey(sources: Sources) -> Survey:
    """Reads folder, texts and lock, and goes on behind everything that is wrong."""
    problems: list[InvalidSetting] = []
    left_out: list[InvalidSetting] = []
    files = _files(sources, left_out if sources.folder_found else problems)
    written = (Prompt(name, version, text) for name, texts in sources.texts.items() for version, text in texts.items())
    registry = _registry((*sources.prompts, *written, *(file.prompt for file in files)), problems)
    lock = _lock(sources, problems)
    return Survey(files=files, registry=registry, lock=lock, problems=tuple(problems), left_out=tuple(left_out))


def _files(sources: Sources, problems: list[InvalidSetting]) -> tuple[PromptFile, ...]:
    if sources.folder is None or not sources.has_folder:
        return ()
    try:
        return tuple(read_prompt_folder(sources.folder, report=lambda _, wrong: problems.append(wrong)))
    except InvalidSetting as wrong:
        problems.append(wrong)
        return ()


def _registry(prompts: Iterable[Prompt], problems: list[InvalidSetting]) -> Registry:
    found: dict[tuple[str, str], Prompt] = {}
    for prompt in prompts:
        first = found.setdefault((prompt.name, prompt.version), prompt)
        try:
            Registry((first, prompt))
        except InvalidSetting as wrong:
            problems.append(wrong)
    return Registry(found.values())


def _lock(sources: Sources, problems: list[InvalidSetting]) -> PromptLock | None:
    try:
        return None if sources.lock is None else read_lock(sources.lock)
    except InvalidSetting as wrong:
        problems.append(wrong)
        return None


def changed_texts(found: Survey) -> Iterator[InvalidSetting]:
    """Gives an error for each text that has changed under a version that is recorded."""
    for prompt in found.registry:
        try:
            check_lock(found.lock or PromptLock(), [prompt])
        except InvalidSetting as wrong:
            yield wrong
