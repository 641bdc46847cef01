"""Which prompt a run gets: releases out of every source in their order, kept up to date.

    a pinned Prompt  >  OTEL_AGENT_PROMPT_SUPPORT  >  override file  >  OpenFeature  >  configuration

Nothing runs in the background: a selection looks at the override file when the last look is half a second old, and at
the prompt folder while that is broken or lacks a text. What cannot be read any more leaves what was good before, with
one warning until it can be read again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
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
from otel_agent.stores.files import ABSENT, Signature
from otel_agent.stores.flags import Flagged
from otel_agent.stores.last_good import LastGood, recall, remember
from otel_agent.stores.looks import LOOK_EVERY, SECOND, Looks
from otel_agent.stores.override import OverrideFile
from otel_agent.stores.prompt_lock import SOMEWHERE, check_lock
from otel_agent.stores.sources import Sources, forced_releases, variable_of
from otel_agent.telemetry import guard

__all__ = ["ReleaseSelector"]

_log = logging.getLogger("otel_agent")

FIELD = "agent_run.prompt"
KEEP_EVERY = 60 * SECOND
FOLDER_SHARE = 20  # a folder that takes long to read is read at most for a twentieth of the time


class _State(NamedTuple):
    """Everything that a selection reads and what it was made of, replaced as a whole.

    Attributes:
        filed: the prompts of the folder.
        registry: the texts that there are.
        override: what the override file says.
        seen: which override file that was.
        broken: the sources of which this is what was good the last time.
        offers: what each name stands for.
        wanting: whether a released version has no text.
    """

    filed: tuple[Prompt, ...]
    registry: Registry
    override: Override
    seen: Signature | None
    broken: frozenset[str]
    offers: Mapping[str, Offer]
    wanting: bool


class ReleaseSelector:
    """Selects out of all sources.

    Args:
        sources: where prompts come from.

    Raises:
        InvalidSetting: a source is wrong, or cannot be read and nothing good is known from before.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._file = None if sources.override is None else OverrideFile(sources.override)
        self._forced = forced_releases(os.environ)
        good = None if sources.key is None else recall(sources.key)
        self._filed_once = () if good is None else good.prompts
        broken = set[str]()
        seen = None if self._file is None else self._file.signature()
        override = self._read_override(None if good is None else good.override, broken)
        filed = self._read_folder(self._filed_once, override, broken)
        self._recorded = sources.recorded()
        registry = sources.registry(filed, self._recorded)
        for name, release in self._forced.items():
            registry.get(release.active, field=variable_of(name))
        self._state = self._joined(filed, registry, override, seen, broken)
        agreed = {} if good is None else dict(good.flags)
        self._flagged = None if sources.flags is None else Flagged(sources.flags, agreed)
        self._looks = Looks()
        self._kept = self._folder_due = self._looks.at
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
        if not 0 <= ctx.monotonic() - self._looks.at < LOOK_EVERY:
            self._looks.take(self._look)
        state = self._state
        registry, offer = state.registry, state.offers.get(name)
        if self._flagged is not None and (offer is None or offer.origin == "configuration"):
            flagged = self._flagged.select(name, audience, offer, registry)
            if flagged is not None:
                return flagged
        found = None if offer is None else offer.select(audience)
        if found is None:
            raise _nothing(name, audience, offer, registry)
        return found

    def check(self, prompt: Prompt, /) -> None:
        """Holds a prompt that pins itself against the lock, as that was when this process began.

        Raises:
            InvalidSetting: its text has changed under its version.
        """
        check_lock(self._recorded, (prompt,), field=FIELD, place=SOMEWHERE)

    def infos(self) -> Iterator[PromptInfo]:
        """Gives the prompts in use with their roles."""
        self._looks.take(self._look)
        state = self._state
        for name, offer in state.offers.items():
            for ref, role in self._roles(name, offer):
                if ref in state.registry:
                    prompt = state.registry.get(ref)
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
        try:
            self._follow()
        except Exception as exc:  # nothing has been replaced then: the next look finds it again
            guard.broken("following the releases of prompts", exc)
        if self._flagged is not None and ctx.monotonic() - self._kept > KEEP_EVERY:
            self._keep()

    def _follow(self) -> None:
        """Looks at the sources; what they say now takes the place of all that held, or nothing does."""
        before, broken = self._state, set(self._state.broken)
        seen = None if self._file is None else self._file.signature()
        override = before.override
        if seen != before.seen or "override" in broken:
            override = self._read_override(before.override, broken)
        filed, registry = self._read_texts(before, override, broken)
        if (seen, override, filed, frozenset(broken)) == (before.seen, before.override, before.filed, before.broken):
            return
        after = self._state = self._joined(filed, registry, override, seen, broken)
        self._keep()
        self._tell(before, after)

    def _tell(self, before: _State, after: _State) -> None:
        """Tells what is released now; that a file is away which released something is worth a warning."""
        if after.seen == ABSENT and not after.broken & {"override"} and before.override.releases:
            names = ", ".join(before.override.releases)
            _log.warning("%s is away: the configuration decides again which %s runs get", self._sources.override, names)
        for name in after.offers:
            change = after.override.changes.get(name)
            news = change if change != before.override.changes.get(name) else None
            announce(_release(before, name), _release(after, name), news, after.registry)

    def _read_override(self, good: Override | None, broken: set[str]) -> Override:
        if self._file is None:
            return Override()
        try:
            found = self._file.read()
        except Exception as wrong:
            if good is None:
                raise
            self._warn("override", wrong, broken)
            return good
        broken.discard("override")
        return found

    def _read_texts(self, before: _State, override: Override, broken: set[str]) -> tuple[tuple[Prompt, ...], Registry]:
        """Reads the folder again while a released version has no text, or the folder is broken."""
        same, began = (before.filed, before.registry), ctx.monotonic()
        new = override != before.override and self._wanting(before.registry, override)
        if self._sources.folder is None or not (new or before.wanting or "folder" in broken):
            return same
        if not new and began < self._folder_due:
            return same
        try:
            filed = self._filed(before.filed, override)
            registry = self._sources.registry(filed)
        except Exception as wrong:
            self._warn("folder", wrong, broken)
            return same
        finally:
            self._folder_due = began + FOLDER_SHARE * (ctx.monotonic() - began)
        broken.discard("folder")
        return filed, registry

    def _read_folder(self, kept: tuple[Prompt, ...], override: Override, broken: set[str]) -> tuple[Prompt, ...]:
        try:
            return self._filed(kept, override)
        except InvalidSetting as wrong:
            if not kept:
                raise
            self._warn("folder", wrong, broken)
            return kept

    def _filed(self, kept: tuple[Prompt, ...], override: Override) -> tuple[Prompt, ...]:
        filed = self._sources.filed(kept)
        missed = () if filed else _missed(self._sources, self._wanted(override), kept)
        if missed:
            allowed = f"there: it had the text of {missed[0].id}"
            raise InvalidSetting(field=str(self._sources.folder), value=None, allowed=allowed)
        return filed

    def _warn(self, what: str, wrong: Exception, broken: set[str]) -> None:
        """Warns of a source that breaks, once until it is whole again."""
        if what not in broken:
            said = wrong if isinstance(wrong, InvalidSetting) else f"reading the {what} raised {type(wrong).__name__}"
            _log.warning("%s; what was good the last time is used instead", said)
        broken.add(what)

    def _keep(self) -> None:
        """Keeps what is good for the day when it cannot be read; of a broken source that is what was good before."""
        self._kept = ctx.monotonic()
        agreed = {} if self._flagged is None else self._flagged.agreed()
        if self._sources.key is not None:
            # of a folder that is away, and that nothing here needs, another process may need a text
            away = self._sources.folder is not None and not self._sources.folder.exists()
            filed = self._state.filed or (self._filed_once if away else ())
            good = LastGood(prompts=filed, override=self._state.override, flags=agreed)
            remember(self._sources.key, good)

    def _wanting(self, registry: Registry, override: Override) -> bool:
        return any(ref not in registry for ref in self._wanted(override))

    def _wanted(self, override: Override) -> Iterator[str]:
        """Gives the versions that are released, by whomever."""
        overriding = _overriding(self._sources, override)
        for release in (*self._sources.releases.values(), *overriding.values(), *self._forced.values()):
            yield from (ref for ref, _ in roles(release))

    def _joined(
        self,
        filed: tuple[Prompt, ...],
        registry: Registry,
        override: Override,
        seen: Signature | None,
        broken: set[str],
    ) -> _State:
        stale = {prompt.id for prompt in filed} if "folder" in broken else set[str]()
        single = {name: found for name in registry.names if (found := only_version(registry, name)) is not None}
        offers: dict[str, Offer] = {}
        levels: tuple[tuple[Mapping[str, Release], Source], ...] = (
            (single, "configuration"),
            (self._sources.releases, "configuration"),
            (_overriding(self._sources, override), "override"),
            (self._forced, "environment"),
        )
        for releases, origin in levels:
            for name, release in releases.items():
                old = (origin == "override" and "override" in broken) or _has(registry, release, stale)
                offers[name] = Offer.of(release, registry, origin, "last_known_good" if old else None)
        wanting = self._wanting(registry, override)
        return _State(filed, registry, override, seen, frozenset(broken), offers, wanting)


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


def _overriding(sources: Sources, override: Override) -> dict[str, Release]:
    """Gives what the override file releases; a way back that it does not have is that of the configuration."""
    found = {name: override.release(name, sources.releases.get(name)) for name in override.releases}
    return {name: release for name, release in found.items() if release is not None}


def _missed(sources: Sources, wanted: Iterable[str], kept: tuple[Prompt, ...]) -> list[Prompt]:
    """Gives the prompts of a folder that is gone, or empty, which a release needs and nothing else has.

    A prompt of one version needs no release; its folder has to be gone, for who empties one takes the prompt away.
    """
    if sources.folder is None or not kept:
        return []
    registry, old = sources.registry(()), Registry(kept)
    single = () if sources.folder.exists() else (only_version(old, name) for name in old.names)
    alone = [each.active for each in single if each is not None and not registry.versions(each.name)]
    return [old.get(ref) for ref in (*wanted, *alone) if ref not in registry and ref in old]


def _has(registry: Registry, release: Release, ids: set[str]) -> bool:
    return bool(ids) and any(ref in registry and registry.get(ref).id in ids for ref, _ in roles(release))


def _release(state: _State, name: str) -> Release | None:
    offer = state.offers.get(name)
    return None if offer is None else offer.release
