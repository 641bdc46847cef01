"""OpenFeature as a source of releases: the text flag `prompt.<name>` says which version a run gets.

Its value is a version, `name:version` or `name:version:hash`; an empty value, and a flag that does not exist, leave it
to the configuration. Who the run is for goes along: the targeting key is the conversation's id, or else the user's.
The version that the configuration has as active is the variant `active`, any other the canary.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Protocol

from otel_agent.prompts import Audience, Offer, Prompt, Registry, Selected, parse_ref
from otel_agent.prompts.selection import Source
from otel_agent.stop import InvalidSetting
from otel_agent.telemetry.guard import warn_once

__all__ = ["Flagged", "Flags", "FlagsAway", "OpenFeatureFlags"]

PREFIX = "prompt."
_MOST_UNITS = 4_096
_RECENT = 256


class FlagsAway(Exception):
    """The flags cannot be asked just now; what it says is the reason in a word."""


class Flags(Protocol):
    """Whoever can be asked which version a run gets."""

    def version(self, name: str, audience: Audience, /) -> str | None:
        """Gives what the flag of a prompt says, or None where it says nothing.

        Raises:
            FlagsAway: there is no answer.
        """
        ...


class OpenFeatureFlags:
    """Asks the provider that the application has set.

    Args:
        domain: the domain of the client, as OpenFeature has it; None for the default provider.

    Raises:
        InvalidSetting: the OpenFeature SDK is not installed.
    """

    def __init__(self, domain: str | None = None) -> None:
        try:
            from openfeature import api
            from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]
            from openfeature.exception import ErrorCode
        except ImportError:
            allowed = "used with the OpenFeature SDK: pip install 'otel-agent[openfeature]'"
            raise InvalidSetting(field="prompts.source", value="openfeature", allowed=allowed) from None
        self._client = api.get_client(domain)
        self._context = EvaluationContext
        self._not_there = ErrorCode.FLAG_NOT_FOUND

    def version(self, name: str, audience: Audience, /) -> str | None:
        try:
            found = self._client.get_string_details(f"{PREFIX}{name}", "", self._about(audience))
        except Exception as failed:  # of a provider or hook that is not ours
            raise FlagsAway(type(failed).__name__) from None
        if found.error_code is not None and found.error_code != self._not_there:
            raise FlagsAway(found.error_code.value)
        return found.value or None

    def _about(self, audience: Audience) -> Any:
        known: dict[str, Any] = {key: value for key, value in audience._asdict().items() if value is not None}
        return self._context(targeting_key=audience.conversation_id or audience.user_id, attributes=known)


class Flagged:
    """What the flags said, and what holds when they say nothing any more.

    While they cannot be asked, or say what cannot be, a unit gets what it got before; a new one gets what all got, or
    else what the other sources say.

    Args:
        flags: who is asked.
        agreed: by prompt name what all got before this process began.
    """

    def __init__(self, flags: Flags, agreed: dict[str, str]) -> None:
        self._flags = flags
        self._before = agreed
        self._by_unit: OrderedDict[tuple[str, str | None], str] = OrderedDict()
        self._recent: dict[str, deque[str]] = {}

    def select(self, name: str, audience: Audience, offer: Offer | None, registry: Registry) -> Selected | None:
        """Gives the prompt that a flag says, or None to leave it to the other sources."""
        unit = audience.conversation_id or audience.user_id
        try:
            said = self._flags.version(name, audience)
            prompt = None if said is None else _named(name, said, registry)
        except FlagsAway as away:
            warn_once("flags away", "OpenFeature does not answer (%s): what was good the last time is used", away)
            return self._last(name, unit, offer, registry)
        except InvalidSetting as wrong:
            warn_once(f"flag:{name}", "%s; what was good the last time is used instead", wrong)
            return self._last(name, unit, offer, registry)
        if prompt is None:
            return None
        self._note(name, unit, prompt)
        return _selected(prompt, offer, "openfeature")

    def _note(self, name: str, unit: str | None, prompt: Prompt) -> None:
        self._by_unit[name, unit] = prompt.id
        self._recent.setdefault(name, deque(maxlen=_RECENT)).append(prompt.id)
        if len(self._by_unit) > _MOST_UNITS:
            self._by_unit.popitem(last=False)

    def _last(self, name: str, unit: str | None, offer: Offer | None, registry: Registry) -> Selected | None:
        ref = self._by_unit.get((name, unit)) or self.agreed().get(name)
        if ref is None or ref not in registry or parse_ref(f"{PREFIX}{name}", ref).name != name:
            return None
        return _selected(registry.get(ref), offer, "last_known_good")

    def agreed(self) -> dict[str, str]:
        """Gives the ids of the prompts that everybody got of late, by name."""
        found = dict(self._before)
        for name in list(self._recent):
            ids = self.given(name)
            found.pop(name, None)
            if len(ids) == 1:
                found[name] = ids.pop()
        return found

    def given(self, name: str) -> set[str]:
        """Gives the ids of a prompt's versions that were given of late."""
        return set(self._recent.get(name, deque[str]()).copy())


def _named(name: str, said: str, registry: Registry) -> Prompt:
    """Gives the prompt that a flag names, which must be a version of the one that was asked for."""
    field = f"{PREFIX}{name}"
    ref = parse_ref(field, said if ":" in said else f"{name}:{said}")
    if ref.name != name:
        raise InvalidSetting(field=field, value=said, allowed=f"a version of {name}, such as {name}:v1")
    return registry.get(ref, field=field)


def _selected(prompt: Prompt, offer: Offer | None, source: Source) -> Selected:
    active = None if offer is None else parse_ref("active", offer.release.active)[:2]
    return Selected(prompt, "canary" if active not in (None, (prompt.name, prompt.version)) else "active", source)
