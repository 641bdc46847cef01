"""Tells of a change of releases that this process has just seen: one log event for each prompt, with who and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_agent import semconv
from otel_agent.prompts import Change, Registry, Release, parse_ref
from otel_agent.telemetry import events
from otel_agent.telemetry.pipeline import current_pipeline

__all__ = ["announce"]

_EVENTS = {
    "activated": semconv.PROMPT_ACTIVATED,
    "rolled_back": semconv.PROMPT_ROLLED_BACK,
    "rollout_changed": semconv.PROMPT_ROLLOUT_CHANGED,
}


def announce(before: Release | None, after: Release | None, change: Change | None, registry: Registry) -> None:
    """Emits the event of one prompt's change, if it has changed.

    Args:
        before: its release before, or None.
        after: its release now, or None.
        change: what the override file says of it, if that is news.
        registry: the texts, for the ids.
    """
    what = _what(before, after, change)
    if what is None or after is None:
        return
    tried = after.candidate if what == "rollout_changed" else None
    ref = parse_ref("ref", tried or after.active)
    fields: dict[str, Any] = {
        semconv.PROMPT_NAME: after.name,
        semconv.PROMPT_VERSION: ref.version,
        semconv.PROMPT_ID: _id(registry, str(ref)),
        semconv.EVENT_PROMPT_BEFORE: None if before is None else _id(registry, before.active),
        semconv.EVENT_PERCENT: None if after.canary is None else after.canary.points / 100,
        **_said(change),
    }
    events.emit(current_pipeline().logger, _EVENTS[what], fields)


def _what(before: Release | None, after: Release | None, change: Change | None) -> str | None:
    if after is None or before == after:
        return None
    if change is not None and change.what in _EVENTS:
        return change.what
    if before is None or before.active != after.active:
        return "rolled_back" if before is not None and before.rollback == after.active else "activated"
    return "rollout_changed" if before.canary != after.canary else None


def _said(change: Change | None) -> Mapping[str, Any]:
    if change is None:
        return {}
    return {semconv.EVENT_ACTOR: change.who, semconv.EVENT_WHY: change.why}


def _id(registry: Registry, ref: str) -> str:
    """Gives the id of a version, or what it is asked for by where it has no text."""
    return registry.get(ref).id if ref in registry else ref
