"""Where the prompts of a process come from: texts of code, folder and configuration as one namespace, and releases.

Decides nothing of a selection. A text that changed under a version that the lock records is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otel_agent.config.values import Config
from otel_agent.prompts import Prompt, Registry, Release, parse_ref, releases
from otel_agent.stop import InvalidSetting
from otel_agent.stores.flags import Flags, OpenFeatureFlags
from otel_agent.stores.prompt_folder import SUFFIX, read_prompt_folder
from otel_agent.stores.prompt_lock import LOCK_FILE, SOMEWHERE, PromptLock, check_lock, read_lock
from otel_agent.stores.release_writer import OVERRIDE_FILE
from otel_agent.telemetry.guard import warn_once

__all__ = ["PROMPT_FOLDER", "Sources", "forced_releases", "override_of", "sources_of", "variable_of"]

PROMPT_FOLDER = "prompts"
LEFT_OUT = "it is left out, for no otel-agent.yaml and no variable says that this folder holds prompts"

_PREFIX = "OTEL_AGENT_PROMPT_"  # and the prompt's name, as in OTEL_AGENT_PROMPT_SUPPORT


def variable_of(name: str) -> str:
    """Gives the environment variable that sets a prompt's version, such as OTEL_AGENT_PROMPT_SUPPORT."""
    return _PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def forced_releases(environ: Mapping[str, str]) -> dict[str, Release]:
    """Gives the versions that the environment sets, by prompt name; whether they have texts is not asked.

    Raises:
        InvalidSetting: a variable names no version, or one of another prompt.
    """
    found: dict[str, Release] = {}
    for variable, value in environ.items():
        if variable.startswith(_PREFIX) and value.strip():
            ref = parse_ref(variable, value.strip())
            if variable_of(ref.name) != variable:
                raise InvalidSetting(field=variable, value=value, allowed=f"set as {variable_of(ref.name)}")
            found[ref.name] = Release(name=ref.name, active=str(ref))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the prompts of a process come from.

    Attributes:
        prompts: those in code.
        texts: texts of the configuration, by name and version.
        folder: the prompt folder, or None for none.
        folder_expected: whether the folder must be there.
        folder_found: whether nothing but its name says that it holds prompts: what in it is none is left out then.
        lock: the lock file, which need not be there, or None for none.
        releases: those of the configuration, by prompt name.
        override: the override file, which need not be there, or None for none.
        flags: asked before the configuration, or None.
        key: the file or folder under which what is good is kept; None keeps nothing.
    """

    prompts: tuple[Prompt, ...] = ()
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]], repr=False)
    folder: Path | None = None
    folder_expected: bool = True
    folder_found: bool = False
    lock: Path | None = None
    releases: Mapping[str, Release] = field(default_factory=dict[str, Release])
    override: Path | None = None
    flags: Flags | None = None
    key: Path | None = None

    def filed(self, known: Iterable[Prompt] = ()) -> tuple[Prompt, ...]:
        """Gives the prompts of the folder, as it is now.

        Args:
            known: those that were there before; none of them is left out as something else than a prompt.

        Raises:
            InvalidSetting: the folder cannot be read, or a file holds what it must not.
        """
        if self.folder is None or not self.has_folder:
            return ()
        below = {self.folder / prompt.name / f"{prompt.version}{SUFFIX}" for prompt in known}
        prompts = below | {path.parent for path in below}

        def report(path: Path, wrong: InvalidSetting) -> None:
            if path in prompts or not self.folder_found:
                raise wrong
            warn_once(f"left out:{path}", "%s; %s", wrong, LEFT_OUT)

        return tuple(file.prompt for file in read_prompt_folder(self.folder, report=report))

    @property
    def has_folder(self) -> bool:
        """Whether there is a folder to read, or has to be one."""
        return self.folder is not None and (self.folder_expected or self.folder.is_dir())

    def recorded(self) -> PromptLock:
        """Gives what the lock records, as it is now; nothing where there is none.

        Raises:
            InvalidSetting: it cannot be read.
        """
        return (None if self.lock is None else read_lock(self.lock)) or PromptLock()

    def registry(self, filed: Iterable[Prompt] | None = None, recorded: PromptLock | None = None) -> Registry:
        """Gives all prompts in one namespace, each with the text that the lock records.

        Args:
            filed: the prompts of the folder, or None to read it.
            recorded: what the lock records, or None to read it.

        Raises:
            InvalidSetting: two texts stand under one name and version, a text changed under a version that is
                recorded, or a file cannot be read.
        """
        written = (Prompt(name, version, text) for name, texts in self.texts.items() for version, text in texts.items())
        found = Registry((*self.prompts, *written, *(self.filed() if filed is None else filed)))
        lock = self.recorded() if recorded is None else recorded
        check_lock(lock, self.prompts, place=SOMEWHERE)
        check_lock(lock, found)
        return found


def override_of(config: Config) -> Path:
    """Gives the override file that a configuration names, there or not."""
    return config.prompts.override or config.folder / OVERRIDE_FILE


def sources_of(config: Config, prompts: Iterable[Prompt] = ()) -> Sources:
    """Gives the sources that a configuration names.

    Args:
        config: the configuration.
        prompts: those in code, in one namespace with all others.

    Raises:
        InvalidSetting: the releases contradict each other, or OpenFeature is asked for and not installed.
    """
    section, base = config.prompts, config.folder
    return Sources(
        prompts=tuple(prompts),
        texts=section.texts,
        folder=section.folder or base / PROMPT_FOLDER,
        folder_expected=section.folder is not None,
        folder_found=section.folder is None and config.file is None,
        lock=base / LOCK_FILE,
        releases=releases(section.active, section.rollback, section.canary),
        override=override_of(config),
        flags=OpenFeatureFlags() if section.source == "openfeature" else None,
        key=config.file or base,
    )
