"""The form of the override file and of the history: releases that commands write, and each change with who and why.

    {"prompts": {"support": {"active": "support:v12", "rollback": "support:v11", "canary": null, "change": {...}}}}

An entry takes the place of that prompt's whole release in the configuration; of the way back only where it has one.
Decides the form alone; reading and writing files is for the rooms that do.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from otel_agent import checks
from otel_agent.prompts.registry import parse_ref
from otel_agent.prompts.release import Canary, Percent, Release
from otel_agent.stop import InvalidSetting

__all__ = [
    "CHANGES",
    "LONGEST_WHY",
    "Change",
    "Override",
    "canary_from",
    "dump_change",
    "dump_override",
    "parse_change",
    "parse_override",
    "salvage_override",
]

T = TypeVar("T")

CHANGES = ("activated", "rolled_back", "rollout_changed", "reset")
_CANARY_KEYS = ("version", "percent", "by", "salt", "tenants", "environments")
_ENTRY_KEYS = ("active", "rollback", "canary", "change")
LONGEST_WHY = 2_000
_LONGEST_OBJECTION = 10_000


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a release: a line of the history.

    Attributes:
        what: "activated", "rolled_back", "rollout_changed", or "reset": what the configuration says holds again.
        prompt: the prompt's name.
        before: the version that was active, or tried, before, as `name:version`; None where there was none.
        after: the one that is now; None where a canary was taken away.
        percent: the canary's share now, or None where none runs.
        when: the time, UTC, as ISO 8601.
        who: who did it.
        why: the reason given, or None.
        id: the whole id of `after`, or None where its text was not known.
        overridden: what spoke against it, where it was done by force.

    Raises:
        InvalidSetting: a value can never work.
    """

    what: Literal["activated", "rolled_back", "rollout_changed", "reset"]
    prompt: str
    before: str | None
    after: str | None
    percent: Percent | None = None
    when: str
    who: str
    why: str | None = None
    id: str | None = None
    overridden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks.choice("Change.what", self.what, CHANGES)
        checks.name("Change.prompt", self.prompt)
        for name, ref in (("before", self.before), ("after", self.after)):
            if ref is not None:
                parse_ref(f"Change.{name}", ref)
        if self.percent is not None:
            # a canary knows what a share may be
            object.__setattr__(self, "percent", Canary(version="any", percent=self.percent).percent)
        checks.text("Change.when", self.when)
        checks.text("Change.who", self.who)
        if self.why is not None:
            checks.text("Change.why", self.why, longest=LONGEST_WHY)
        if self.id is not None:
            parse_ref("Change.id", self.id)
        if not checks.is_list(self.overridden):
            raise InvalidSetting(field="Change.overridden", value=self.overridden, allowed="a list of texts")
        for objection in self.overridden:
            checks.text("Change.overridden", objection, longest=_LONGEST_OBJECTION)
        object.__setattr__(self, "overridden", tuple(self.overridden))


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What commands have released, over the configuration.

    Attributes:
        releases: by prompt name.
        changes: the last change of each prompt, by its name.
    """

    releases: Mapping[str, Release] = field(default_factory=dict[str, Release])
    changes: Mapping[str, Change] = field(default_factory=dict[str, Change])

    def release(self, name: str, configured: Release | None) -> Release | None:
        """Gives what is released of a prompt: its entry, or else what is configured.

        Args:
            name: the prompt's name.
            configured: its release in the configuration, whose way back counts where the entry has none.
        """
        own = self.releases.get(name)
        if own is None or configured is None or own.rollback is not None:
            return own or configured
        return dataclasses.replace(own, rollback=configured.rollback)


def parse_override(text: str) -> Override:
    """Reads the text of an override file.

    Raises:
        InvalidSetting: it is no JSON, or holds what it must not; the field says where.
    """
    entries = _object("prompts", _object("the override file", _json(text), ("prompts",)).get("prompts", {}))
    found = {checks.name("prompts", name): _entry(f"prompts.{name}", name, entry) for name, entry in entries.items()}
    return Override(
        releases={name: release for name, (release, _) in found.items()},
        changes={name: change for name, (_, change) in found.items() if change is not None},
    )


def salvage_override(text: str) -> Override:
    """Gives what can be read of an override file that is broken: each entry that is whole."""
    try:
        whole = _json(text, None)  # of a key that stands twice the last counts: half an entry is better than none
        entries = _object("prompts", _object("the override file", whole).get("prompts", {}))
    except InvalidSetting:
        return Override()
    found = Override()
    for name, entry in entries.items():
        try:
            one = parse_override(json.dumps({"prompts": {name: entry}}))
        except InvalidSetting:
            continue
        found = Override(releases={**found.releases, **one.releases}, changes={**found.changes, **one.changes})
    return found


def _json(text: str, once: Callable[[list[tuple[str, Any]]], Any] | None = checks.each_key_once) -> Any:
    try:
        return json.loads(text, object_pairs_hook=once)
    except InvalidSetting:
        raise
    except (ValueError, RecursionError) as exc:
        allowed = f"JSON ({exc})" if isinstance(exc, json.JSONDecodeError) else "JSON"
        raise InvalidSetting(field="the text", value=text, allowed=allowed) from None


def _object(where: str, value: object, keys: Iterable[str] | None = None) -> Mapping[str, Any]:
    found = checks.mapping(where, value, "an object")
    known = list(found) if keys is None else list(keys)
    for key in found:
        if key not in known:
            allowed = f"one of the keys {', '.join(known)}{checks.nearest(key, known)}"
            raise InvalidSetting(field=where, value=key, allowed=allowed)
    return found


def _entry(where: str, name: str, value: object) -> tuple[Release, Change | None]:
    entry = _object(where, value, _ENTRY_KEYS)
    active: Any = entry.get("active")
    canary, change = entry.get("canary"), entry.get("change")
    release = _built(
        where,
        lambda: Release(
            name=name,
            active=active,
            rollback=entry.get("rollback"),
            canary=None if canary is None else canary_from(f"{where}.canary", canary),
        ),
    )
    return release, None if change is None else _change(f"{where}.change", change)


def canary_from(where: str, value: object) -> Canary:
    """Builds a canary from the mapping that files hold.

    Args:
        where: what the mapping stands under, for errors.
        value: `version` and `percent`, and maybe `by`, `salt`, `tenants`, `environments`.

    Raises:
        InvalidSetting: it is no such mapping.
    """
    entry = _object(where, value, _CANARY_KEYS)
    for key in ("version", "percent"):
        if key not in entry:
            raise InvalidSetting(field=f"{where}.{key}", value=None, allowed="given")
    return _built(where, lambda: Canary(**entry))


def _built(where: str, build: Callable[[], T]) -> T:
    """Builds a value and lets its errors say where it stands: `Canary.percent` is `prompts.support.canary.percent`."""
    try:
        return build()
    except InvalidSetting as exc:
        kind, dot, rest = exc.field.partition(".")
        inner = kind in ("Canary", "Change", "Release")
        raise InvalidSetting(
            field=f"{where}{dot}{rest}" if inner else exc.field, value=exc.value, allowed=exc.allowed
        ) from None


def _change(where: str, value: object) -> Change:
    keys = [item.name for item in dataclasses.fields(Change)]
    entry = _object(where, value, keys)
    missing = next((key for key in ("what", "prompt", "when", "who") if key not in entry), None)
    if missing is not None:
        raise InvalidSetting(field=f"{where}.{missing}", value=None, allowed="given")
    fields: dict[str, Any] = {"before": None, "after": None, **entry}
    return _built(where, lambda: Change(**fields))


def dump_override(override: Override) -> str:
    """Gives the text of an override file: sorted, one value a line, with a line feed at its end."""
    entries = {name: _dumped(release, override.changes.get(name)) for name, release in override.releases.items()}
    return json.dumps({"prompts": entries}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _dumped(release: Release, change: Change | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"active": release.active, "rollback": release.rollback, "canary": None}
    if release.canary is not None:
        entry["canary"] = _plain(release.canary, _CANARY_KEYS)
    if change is not None:
        entry["change"] = _plain(change, [item.name for item in dataclasses.fields(Change)])
    return entry


def _plain(value: Canary | Change, keys: Iterable[str]) -> dict[str, Any]:
    values: dict[str, Any] = {key: getattr(value, key) for key in keys}
    known = {key: item for key, item in values.items() if item not in (None, ())}
    return {key: list(item) if checks.is_list(item) else item for key, item in known.items()}


def parse_change(line: str) -> Change:
    """Reads one line of the history.

    Raises:
        InvalidSetting: it is none.
    """
    return _change("the line", _json(line))


def dump_change(change: Change) -> str:
    """Gives one line of the history, without a line feed."""
    return json.dumps(_plain(change, [item.name for item in dataclasses.fields(Change)]), ensure_ascii=False)
