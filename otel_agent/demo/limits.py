"""Limits of the user's own, put over those of a scenario.

Decides which limits can be changed, how their values are written, and that a run may then end by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from otel_agent import InvalidSetting, StopCode
from otel_agent.demo.scenarios import Scenario

__all__ = ["LIMITS", "NONE", "limit", "limited"]

LIMITS = ("max_steps", "max_tool_calls", "max_seconds", "max_tokens", "max_usd")
NONE = "none"


def limit(text: str) -> tuple[str, float | str | None]:
    """Reads one limit, such as `max_steps=3` or `max_usd=none`.

    Args:
        text: name and value; `none` is no limit.

    Returns:
        The name and the value as `Budget` takes it: a number, for `max_usd` its text, None for no limit.

    Raises:
        InvalidSetting: there is no such limit, or the value is no number.
    """
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise InvalidSetting(field="limit", value=text, allowed=f"NAME=VALUE, where NAME is one of {', '.join(LIMITS)}")
    if value == NONE:
        return name, None
    return name, value if name == "max_usd" else _number(name, value)


def limited(scenario: Scenario, limits: Mapping[str, Any]) -> Scenario:
    """Gives a scenario under other limits: its runs may then end by these, or finish where they did not before.

    Args:
        scenario: the scenario.
        limits: values by name; None is no limit. What is not named stays.

    Raises:
        InvalidSetting: a value can never work.
    """
    ends = [*scenario.ends, StopCode.FINISH, *(StopCode(name) for name, value in limits.items() if value is not None)]
    if StopCode.MAX_USD in ends:
        ends.append(StopCode.UNPRICED_MODEL)
    budget = replace(scenario.budget, **limits)
    return replace(scenario, budget=budget, ends=tuple(dict.fromkeys(ends)), denies=None)


def _number(name: str, value: str) -> float:
    with suppress(ValueError):
        return int(value)
    try:
        return float(value)
    except ValueError:
        raise InvalidSetting(field=f"limit.{name}", value=value, allowed=f"a number, or {NONE}") from None
