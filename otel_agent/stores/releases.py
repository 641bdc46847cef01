"""Which prompt a run gets: releases out of every source in their order, kept up to date.

    a pinned Prompt  >  OTEL_AGENT_PROMPT_SUPPORT  >  override file  >  OpenFeature  >  configuration

Nothing runs in the background: a selection looks at the override file when the last look is half a second old. What
cannot be read any more leaves what was good before, with one warning.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from otel_agent import checks
from otel_agent import context as ctx
from otel_agent.prompts import (
    NOBODY,
    Audience,
    Offer,
    Override,
    Prompt,
    PromptInfo,
    Registry,
    Release,
    Selected,
    only_version,
    roles,
)
from otel_agent.prompts.selection import Role, Source, choose
from otel_agent.stop import InvalidSetting
from otel_agent.stores.announce import announce
from otel_agent.stores.flags import Flagged
from otel_agent.stores.last_good import LastGood, recall, remember
from otel_agent.stores.override import OverrideFile
from otel_agent.stores.sources import Sources, forced_releases
from otel_agent.telemetry.guard import warn_once

__all__ = ["ReleaseSelector"]

FIELD = "agent_run.prompt"
SECOND = 1_000_000_000
LOOK_EVERY = SECOND // 2
KEEP_EVERY = 60 * SECOND


class _State(NamedTuple):
    """Everything that a selection reads, replaced as a whole."""

    registry: Registry
    override: Override
    offers: Mapping[str, Offer]


class ReleaseSelector:
    """Selects out of all sources.

    Args:
        sources: where prompts come from.

    Raises:
        InvalidSetting: a source is wrong, or cannot be read and nothing good is known from before.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._file = None if sources.override is None else OverrideFile(sources.override)
        self._broken: set[str] = set()
        good = None if sources.key is None else recall(sources.key)
        self._filed = self._read_folder(good)
        registry = sources.registry(self._filed)
        self._forced = forced_releases(os.environ, registry)
        self._state = self._joined(registry, self._read_override(None if good is None else good.override))
        agreed = {} if good is None else dict(good.flags)
        self._flagged = None if sources.flags is None else Flagged(sources.flags, agreed)
        self._looked = self._kept = ctx.monotonic()
        self._keep()

    @property
    def registry(self) -> Registry:
        """The texts that there are."""
        return self._state.registry

    def select(self, name: str, audience: Audience = NOBODY, /) -> Selected:
        """Gives the prompt that a run gets.

        Raises:
            InvalidSetting: nothing is known under the name, or the version to use has no text.
        """
        if not 0 <= ctx.monotonic() - self._looked < LOOK_EVERY:
            self._look()
        registry, _, offers = self._state
        offer = offers.get(name)
        if self._flagged is not None and (offer is None or offer.origin == "configuration"):
            flagged = self._flagged.select(name, audience, offer, registry)
            if flagged is not None:
                return flagged
        found = None if offer is None else offer.select(audience)
        if found is None:
            raise _nothing(name, audience, offer, registry)
        return found

    def infos(self) -> Iterator[PromptInfo]:
        """Gives the prompts in use with their roles."""
        self._look()
        registry, _, offers = self._state
        for name, offer in offers.items():
            for ref, role in self._roles(name, offer):
                if ref in registry:
                    prompt = registry.get(ref)
                    yield PromptInfo(prompt.name, prompt.id, prompt.version, role)

    def _roles(self, name: str, offer: Offer) -> list[tuple[str, Role]]:
        """Gives the versions that are compared; what flags give beside the active one is a candidate too."""
        given = set[str]() if self._flagged is None or offer.active is None else self._flagged.given(name)
        others = sorted(given - ({offer.active.prompt.id} if offer.active is not None else set()))
        if not others:
            return list(roles(offer.release))
        return [(offer.release.active, "baseline"), *((ref, "candidate") for ref in others)]

    # keeping up

    def _look(self) -> None:
        """Follows the override file, in one thread at a time; the others go on with what holds."""
        if self._pid != os.getpid():  # the fork may have copied the lock while it was held
            self._lock, self._pid = threading.Lock(), os.getpid()
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._looked = ctx.monotonic()
            if self._file is not None and (self._file.changed() or "override" in self._broken):
                self._follow()
            if self._flagged is not None and self._looked - self._kept > KEEP_EVERY:
                self._keep()
        finally:
            self._lock.release()

    def _follow(self) -> None:
        before, was_broken = self._state, "override" in self._broken
        override = self._read_override(before.override)
        if override == before.override and was_broken == ("override" in self._broken):
            return
        after = self._state = self._joined(self._with_new_texts(before.registry, override), override)
        self._keep()
        for name in after.offers:
            change = override.changes.get(name)
            news = change if change != before.override.changes.get(name) else None
            announce(_release(before, name), _release(after, name), news, after.registry)

    def _with_new_texts(self, registry: Registry, override: Override) -> Registry:
        """Reads the folder again where the override names a version that has no text yet."""
        wanted = (ref for release in override.releases.values() for ref, _ in roles(release))
        if self._sources.folder is None or all(ref in registry for ref in wanted):
            return registry
        try:
            filed = self._sources.filed()
            found = self._sources.registry(filed)
        except InvalidSetting as wrong:
            self._warn("folder", wrong)
            return registry
        self._filed = filed
        self._broken.discard("folder")
        return found

    def _read_override(self, good: Override | None) -> Override:
        if self._file is None:
            return Override()
        try:
            found = self._file.read()
        except InvalidSetting as wrong:
            if good is None:
                raise
            self._warn("override", wrong)
            return good
        self._broken.discard("override")
        return found

    def _read_folder(self, good: LastGood | None) -> tuple[Prompt, ...]:
        kept = () if good is None else good.prompts
        try:
            filed = self._sources.filed()
        except InvalidSetting as wrong:
            if not kept:
                raise
            self._warn("folder", wrong)
            return kept
        missed = () if filed else _missed(self._sources, kept)
        if missed:
            folder, allowed = str(self._sources.folder), f"there: it had the text of {missed[0].id}"
            self._warn("folder", InvalidSetting(field=folder, value=None, allowed=allowed))
        return filed or (kept if missed else ())

    def _warn(self, what: str, wrong: InvalidSetting) -> None:
        self._broken.add(what)
        warn_once(f"last good:{what}:{self._sources.key}", "%s; what was good the last time is used instead", wrong)

    def _keep(self) -> None:
        """Keeps what is good for the day when it cannot be read."""
        self._kept = ctx.monotonic()
        agreed = {} if self._flagged is None else self._flagged.agreed()
        good = LastGood(prompts=self._filed, override=self._state.override, flags=agreed)
        if self._sources.key is not None and not self._broken and good != LastGood():
            remember(self._sources.key, good)

    def _joined(self, registry: Registry, override: Override) -> _State:
        stale = {prompt.id for prompt in self._filed} if "folder" in self._broken else set[str]()
        single = {name: found for name in registry.names if (found := only_version(registry, name)) is not None}
        offers: dict[str, Offer] = {}
        levels: tuple[tuple[Mapping[str, Release], Source], ...] = (
            (single, "configuration"),
            (self._sources.releases, "configuration"),
            (override.releases, "override"),
            (self._forced, "environment"),
        )
        for releases, origin in levels:
            for name, release in releases.items():
                old = (origin == "override" and "override" in self._broken) or _has(registry, release, stale)
                offers[name] = Offer.of(release, registry, origin, "last_known_good" if old else None)
        return _State(registry, override, offers)


def _nothing(name: str, audience: Audience, offer: Offer | None, registry: Registry) -> InvalidSetting:
    """Says why nothing can be selected."""
    versions, names = registry.versions(name), registry.names
    if offer is not None:
        ref = choose(offer.release, audience)[0]
        allowed = f"a version that has a text; {offer.origin} says {ref}, and there is none of it"
        return InvalidSetting(field=FIELD, value=name, allowed=allowed)
    if versions:
        allowed = f"a prompt with an active version: set prompts.active to one of its {len(versions)}, such as "
        return InvalidSetting(field=FIELD, value=name, allowed=f"{allowed}{name}:{versions[-1]}")
    known = f"registered are {', '.join(names[:12])}" if names else "no prompt is registered under a name"
    return InvalidSetting(
        field=FIELD, value=name, allowed=f"a Prompt or a registered name; {known}{checks.nearest(name, names)}"
    )


def _missed(sources: Sources, kept: tuple[Prompt, ...]) -> list[Prompt]:
    """Gives the prompts of a folder that is gone which a release needs and nothing else has."""
    if sources.folder is None or not kept:
        return []
    registry = sources.registry(())
    wanted = [ref for release in sources.releases.values() for ref, _ in roles(release) if ref not in registry]
    old = Registry(kept)
    return [old.get(ref) for ref in wanted if ref in old]


def _has(registry: Registry, release: Release, ids: set[str]) -> bool:
    return bool(ids) and any(ref in registry and registry.get(ref).id in ids for ref, _ in roles(release))


def _release(state: _State, name: str) -> Release | None:
    offer = state.offers.get(name)
    return None if offer is None else offer.release
