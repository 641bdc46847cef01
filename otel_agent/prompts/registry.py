"""The prompts that exist: one namespace of names and versions, wherever their texts come from.

Decides which text a `name:version` stands for, and that it stands for one. Which version a run gets is selection.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from otel_agent import checks
from otel_agent.prompts.prompt import SHORT_HASH, Prompt
from otel_agent.stop import InvalidSetting

__all__ = ["Ref", "Registry", "parse_ref", "version_order"]

_SHAPE = "`name:version`, or `name:version:` and the first 12 hex digits of the text's hash"
_DIGITS = re.compile(r"(\d+)")
_HASH = re.compile(rf"[0-9a-f]{{{SHORT_HASH}}}")


class Ref(NamedTuple):
    """What a prompt is asked for by: its name, its version and, to be certain of the text, its short hash."""

    name: str
    version: str
    hash: str | None = None

    def __str__(self) -> str:
        return ":".join(part for part in self if part is not None)


def parse_ref(field: str, value: object) -> Ref:
    """Reads `name:version` or `name:version:hash`.

    Args:
        field: what is set, for the error.
        value: the text.

    Raises:
        InvalidSetting: it is neither.
    """
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) not in (2, 3) or (len(parts) == 3 and not _HASH.fullmatch(parts[2])):
        raise InvalidSetting(field=field, value=value, allowed=_SHAPE)
    if not all(parts):
        raise InvalidSetting(field=field, value=value, allowed=_SHAPE)
    for part in parts[:2]:
        checks.name(field, part)
    return Ref(*parts)


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Gives a key to sort versions by: numbers inside count as numbers, so that v9 comes before v10."""
    parts = (part for part in _DIGITS.split(version) if part)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)


class Registry:
    """A set of prompts, by name and version.

    Args:
        prompts: the prompts; the same text twice under one name and version is one prompt.

    Raises:
        InvalidSetting: two texts stand under one name and version.
    """

    __slots__ = ("_of",)

    def __init__(self, prompts: Iterable[Prompt] = ()) -> None:
        self._of: dict[str, dict[str, Prompt]] = {}
        for prompt in prompts:
            checks.instance_of("Registry.prompts", prompt, Prompt, "prompts")
            self._add(prompt)

    def _add(self, prompt: Prompt) -> None:
        known = self._of.setdefault(prompt.name, {}).setdefault(prompt.version, prompt)
        if known.hash != prompt.hash:
            where = f"{prompt.name}:{prompt.version}"
            allowed = f"one text: {known.id} and {prompt.id} are two, so one of them needs a new version"
            raise InvalidSetting(field="Registry.prompts", value=where, allowed=allowed)

    def __iter__(self) -> Iterator[Prompt]:
        """Gives every prompt, by name and then by version."""
        return (self._of[name][version] for name in self.names for version in self.versions(name))

    def __len__(self) -> int:
        return sum(len(versions) for versions in self._of.values())

    def __contains__(self, ref: object) -> bool:
        """Tells whether there is a text for a `name:version`."""
        try:
            self.get(ref)
        except InvalidSetting:
            return False
        return True

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(self._of)

    def versions(self, name: str) -> list[str]:
        """Gives the versions under a name, v9 before v10; none where nothing has that name."""
        return sorted(self._of.get(name, ()), key=version_order)

    def get(self, ref: object, *, field: str = "prompt") -> Prompt:
        """Gives the prompt that a `name:version` stands for.

        Args:
            ref: `name:version`, or `name:version:hash`, where the hash must be that of the text.
            field: what is set to it, for the error.

        Raises:
            InvalidSetting: it is no such text, or nothing stands under it.
        """
        name, version, short = ref if isinstance(ref, Ref) else parse_ref(field, ref)
        found = self._of.get(name, {}).get(version)
        if found is None:
            raise InvalidSetting(field=field, value=f"{name}:{version}", allowed=self._known(name, version))
        if short is not None and short != found.hash[:SHORT_HASH]:
            raise InvalidSetting(field=field, value=str(ref), allowed=f"{found.id}: that is its text")
        return found

    def _known(self, name: str, version: str) -> str:
        if not self._of:
            return "a registered prompt; none is registered"
        if name not in self._of:
            return f"a registered prompt: {_some(self.names)}{checks.nearest(name, self.names)}"
        refs = [f"{name}:{known}" for known in self.versions(name)]
        return f"a version that has a text: {_some(refs)}{checks.nearest(f'{name}:{version}', refs)}"

    def merged(self, other: Iterable[Prompt]) -> Registry:
        """Gives one namespace with the prompts of both.

        Raises:
            InvalidSetting: they have two texts under one name and version.
        """
        return Registry((*self, *other))


def _some(words: list[str]) -> str:
    """Lists words, the newest dozen of many."""
    return ", ".join(words) if len(words) <= 12 else "..., " + ", ".join(words[-12:])
