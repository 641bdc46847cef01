"""How a release changes: another version is activated, a canary begins or grows or ends, a version is rolled back.

Decides what the release is afterwards, and what the history says of it, from values alone. Each function gives the new
release with its `Change`, or None in place of that where nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from otel_agent.prompts.override import Change
from otel_agent.prompts.registry import parse_ref
from otel_agent.prompts.release import Canary, Percent, Release
from otel_agent.stop import InvalidSetting

__all__ = ["Author", "Changed", "Trial", "activate", "reset", "roll_back", "try_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes a release, when, and why.

    Attributes:
        who: a name.
        when: the time, UTC, as ISO 8601.
        why: the reason given, or None.
    """

    who: str
    when: str
    why: str | None = None


class Changed(NamedTuple):
    """A release as it is now, and what the history says; no change where it was so before."""

    release: Release
    change: Change | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A version to try on a share of the units; None leaves what is said of the canary of that version, or its default.

    Attributes:
        version: the version.
        percent: the share, 0 to 100; 0 ends the canary.
        by: whose id decides.
        salt: what the buckets are drawn with.
        tenants: only these tenants.
        environments: only these environments.
    """

    version: str
    percent: Percent
    by: Literal["conversation", "user"] | None = None
    salt: str | None = None
    tenants: tuple[str, ...] | None = None
    environments: tuple[str, ...] | None = None


def activate(release: Release | None, ref: str, author: Author) -> Changed:
    """Makes a version the one that every run gets; a canary ends, and the way back leads to what was active.

    Args:
        release: what is released now; None where nothing is.
        ref: the version, as `name:version`.
        author: who does it.

    Raises:
        InvalidSetting: the version is of another prompt, or can never work.
    """
    if release is None:
        new = Release(name=parse_ref("activate", ref).name, active=ref)
    elif _same(ref, release.active):
        new = replace(release, canary=None)
    else:
        new = replace(release, active=ref, rollback=release.active, canary=None)
    return _changed(
        release, new, author, what="activated", before=None if release is None else release.active, after=new.active
    )


def roll_back(release: Release, target: str | None, author: Author) -> Changed:
    """Takes a version back: every run gets the target, and a canary ends.

    Rolling back again without a target changes nothing: it never leads back to the version that was taken back.

    Args:
        release: what is released now.
        target: the version to go back to, as `name:version`; None is the release's own way back.
        author: who does it.

    Raises:
        InvalidSetting: there is no way back, or the target is of another prompt, or is a canary to which no way back
            leads: who names it most likely wants it gone.
    """
    to = target or release.rollback
    if to is None:
        allowed = f"a version, for {release.name} has no rollback: {release.active} is active"
        raise InvalidSetting(field="rollback", value=None, allowed=allowed)
    if _is(to, release.candidate) and not _is(to, release.rollback):
        allowed = f"the version to go back to; {to} is the canary, which `{release.active}` takes back"
        raise InvalidSetting(field="rollback", value=to, allowed=allowed)
    stays = _same(to, release.active)
    new = replace(release, active=to, rollback=release.rollback if stays else to, canary=None)
    before = release.candidate if stays else release.active
    return _changed(release, new, author, what="rolled_back", before=before, after=to)


def reset(release: Release, configured: Release, author: Author) -> Changed:
    """Takes away what commands have released: what the configuration says holds again.

    Args:
        release: what is released now.
        configured: what the configuration releases.
        author: who does it.
    """
    change = Change(
        what="reset",
        prompt=configured.name,
        before=release.active,
        after=configured.active,
        percent=None if configured.canary is None else configured.canary.percent,
        when=author.when,
        who=author.who,
        why=author.why,
    )
    return Changed(configured, change)


def try_out(release: Release, trial: Trial, author: Author) -> Changed:
    """Begins a canary, changes its share, or ends it.

    While the version stays, so does all that the trial leaves open: raising the share keeps every unit that is in.

    Args:
        release: what is released now.
        trial: the version and its share.
        author: who does it.

    Raises:
        InvalidSetting: the version is active already, it is not the one whose canary is to end, or can never work.
    """
    running = release.canary if release.canary is not None and release.canary.version == trial.version else None
    canary = _canary(release.name, trial, running)
    if canary.points == 0:
        return _ended(release, running, trial, author)
    ref = f"{release.name}:{canary.version}"
    if _same(ref, release.active):
        raise InvalidSetting(field="canary", value=ref, allowed=f"another version than the active {release.active}")
    new = replace(release, canary=canary)
    before = release.candidate or release.active
    return _changed(release, new, author, what="rollout_changed", before=before, after=ref)


def _canary(name: str, trial: Trial, running: Canary | None) -> Canary:
    said = {
        key: value for key in ("by", "salt", "tenants", "environments") if (value := getattr(trial, key)) is not None
    }
    try:
        base = running or Canary(version=trial.version, percent=0)
        return replace(base, percent=trial.percent, **said)
    except InvalidSetting as wrong:
        field = wrong.field.replace("Canary", "canary", 1)
        raise InvalidSetting(field=field, value=wrong.value, allowed=wrong.allowed) from None


def _ended(release: Release, running: Canary | None, trial: Trial, author: Author) -> Changed:
    if running is None and release.candidate is not None:
        ref = f"{release.name}:{trial.version}"
        raise InvalidSetting(field="canary", value=ref, allowed=f"{release.candidate}, whose canary runs")
    new = replace(release, canary=None)
    return _changed(release, new, author, what="rollout_changed", before=release.candidate, after=None)


def _same(one: str, other: str) -> bool:
    """Tells whether two references name one version, with or without its hash."""
    return parse_ref("version", one)[:2] == parse_ref("version", other)[:2]


def _is(one: str, other: str | None) -> bool:
    return other is not None and _same(one, other)


def _changed(
    release: Release | None,
    new: Release,
    author: Author,
    *,
    what: Literal["activated", "rolled_back", "rollout_changed"],
    before: str | None,
    after: str | None,
) -> Changed:
    if new == release:
        return Changed(new, None)
    change = Change(
        what=what,
        prompt=new.name,
        before=before,
        after=after,
        percent=None if new.canary is None else new.canary.percent,
        when=author.when,
        who=author.who,
        why=author.why,
    )
    return Changed(new, change)
