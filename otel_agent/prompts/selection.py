"""Which version a run gets: the active one, or the canary for those whose bucket is below its share.

Decides from a release and an audience alone. Where releases come from, and in which order they count, is behind the
port `Selector`, which the room that reads files fills.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from otel_agent.prompts.prompt import Prompt
from otel_agent.prompts.registry import Registry
from otel_agent.prompts.release import Canary, Release, bucket

__all__ = [
    "NOBODY",
    "Audience",
    "Gate",
    "Offer",
    "PromptInfo",
    "Role",
    "Selected",
    "Selector",
    "Source",
    "Variant",
    "choose",
    "only_version",
    "roles",
]

Variant = Literal["active", "canary"]
Role = Literal["baseline", "candidate"]
Source = Literal["pinned", "environment", "override", "openfeature", "configuration", "last_known_good", "golden"]


class Audience(NamedTuple):
    """Whom a run is for: the ids that decide whether it is in a canary; None where nobody said."""

    conversation_id: str | None = None
    user_id: str | None = None
    tenant: str | None = None
    environment: str | None = None


NOBODY = Audience()


class Selected(NamedTuple):
    """The prompt that a run gets, as which variant (None for a pinned one), and what decided it."""

    prompt: Prompt
    variant: Variant | None
    source: Source


class PromptInfo(NamedTuple):
    """One prompt in use: what the gauge tells of it."""

    name: str
    id: str
    version: str
    role: Role


class Selector(Protocol):
    """Whoever knows the releases of this process."""

    def select(self, name: str, audience: Audience, /) -> Selected:
        """Gives the prompt that a run gets.

        Raises:
            InvalidSetting: nothing is known under the name, or the version to use has no text.
        """
        ...

    def check(self, prompt: Prompt, /) -> None:
        """Holds a prompt that pins itself against what is recorded.

        Raises:
            InvalidSetting: its text has changed under its version.
        """
        ...

    def infos(self) -> Iterable[PromptInfo]:
        """Gives the prompts in use with their roles."""
        ...


class Gate(Protocol):
    """Whoever knows which prompts have passed their golden tasks."""

    def lets_through(self, prompt: Prompt, /) -> bool:
        """Tells whether a run may use a prompt."""
        ...


def choose(release: Release, audience: Audience) -> tuple[str, Variant]:
    """Gives the version that an audience gets, as `name:version`, and as which variant."""
    canary, candidate = release.canary, release.candidate
    if canary is not None and candidate is not None and _included(canary, release.salt, audience):
        return candidate, "canary"
    return release.active, "active"


def _included(canary: Canary, salt: str, audience: Audience) -> bool:
    unit = audience.conversation_id if canary.by == "conversation" else audience.user_id
    if unit is None or (canary.tenants and audience.tenant not in canary.tenants):
        return False
    if canary.environments and audience.environment not in canary.environments:
        return False
    return bucket(salt, unit) < canary.points


def roles(release: Release) -> tuple[tuple[str, Role], ...]:
    """Gives the versions that are compared, as `name:version`.

    While a canary runs the active one is the baseline and the canary the candidate; otherwise the active one is the
    candidate and the one to go back to the baseline, unless that is active already.
    """
    if release.candidate is not None:
        return (release.active, "baseline"), (release.candidate, "candidate")
    if release.rollback not in (None, release.active):
        return (release.rollback, "baseline"), (release.active, "candidate")
    return ((release.active, "candidate"),)


class Offer(NamedTuple):
    """What one name stands for now: its release, who decided it, and the prompts; None for a version without a text."""

    release: Release
    origin: Source
    active: Selected | None
    canary: Selected | None

    @classmethod
    def of(cls, release: Release, registry: Registry, origin: Source, told: Source | None = None) -> Offer:
        """Finds the texts of a release.

        Args:
            release: the release.
            registry: the texts that there are.
            origin: what decided it.
            told: what is said to have decided it, where that differs.
        """
        source = origin if told is None else told
        active, candidate = _found(registry, release.active), _found(registry, release.candidate)
        return cls(
            release,
            origin,
            None if active is None else Selected(active, "active", source),
            None if candidate is None else Selected(candidate, "canary", source),
        )

    def select(self, audience: Audience) -> Selected | None:
        """Gives the prompt that an audience gets, or None where that version has no text."""
        return self.active if choose(self.release, audience)[1] == "active" else self.canary


def _found(registry: Registry, ref: str | None) -> Prompt | None:
    return registry.get(ref) if ref is not None and ref in registry else None


def only_version(registry: Registry, name: str) -> Release | None:
    """Gives the release of a prompt that has one version and needs nobody to say which, or None."""
    versions = registry.versions(name)
    return Release(name=name, active=f"{name}:{versions[0]}") if len(versions) == 1 else None
