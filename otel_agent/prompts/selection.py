"""Which version a run gets: the active one, or the canary for those whose bucket is below its share.

Decides from a release and an audience alone. Where releases come from, and in which order they count, is behind the
port `Selector`, which the room that reads files fills.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from otel_agent.prompts.prompt import Prompt
from otel_agent.prompts.release import Canary, Release, bucket

__all__ = ["NOBODY", "Audience", "PromptInfo", "Role", "Selected", "Selector", "Source", "Variant", "choose", "roles"]

Variant = Literal["active", "canary"]
Role = Literal["baseline", "candidate"]
Source = Literal["pinned", "environment", "override", "openfeature", "configuration", "last_known_good"]


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

    @property
    def require_prompt(self) -> bool:
        """Whether a run without a prompt is refused."""
        ...

    def select(self, name: str, audience: Audience, /) -> Selected:
        """Gives the prompt that a run gets.

        Raises:
            InvalidSetting: nothing is known under the name, or the version to use has no text.
        """
        ...

    def infos(self) -> Iterable[PromptInfo]:
        """Gives the prompts in use with their roles."""
        ...


def choose(release: Release, audience: Audience) -> tuple[str, Variant]:
    """Gives the version that an audience gets, as `name:version`, and as which variant."""
    canary = release.canary
    if canary is not None and _included(canary, release.salt, audience):
        return f"{release.name}:{canary.version}", "canary"
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
