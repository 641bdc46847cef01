"""The thresholds of the alert rules: which there are, what they are by default, what a user set instead.

They stand in `thresholds.yaml`, once. Refuses what is not one of them, and what is no number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from otel_agent import checks
from otel_agent.stop import InvalidSetting

__all__ = ["Threshold", "settled", "thresholds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One number that an alert compares with: its default, its unit and what it is, in one line."""

    name: str
    default: float
    unit: str
    about: str


@cache
def thresholds() -> tuple[Threshold, ...]:
    """Gives every threshold there is, in the order of the file."""
    text = resources.files("otel_agent.deploy").joinpath("thresholds.yaml").read_text("utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return tuple(Threshold(name=name, **fields) for name, fields in entries.items())


def settled(given: Mapping[str, float]) -> dict[str, float]:
    """Gives every threshold its value: the one given, else its default.

    Args:
        given: values by name; what is not named keeps its default.

    Raises:
        InvalidSetting: there is no such threshold (the nearest is named), or the value can be none.
    """
    defaults = {each.name: each for each in thresholds()}
    for name, value in given.items():
        _check(defaults[checks.choice("thresholds", name, defaults)], value)
    return {name: float(given.get(name, each.default)) for name, each in defaults.items()}


def _check(threshold: Threshold, value: object) -> None:
    most = 1.0 if threshold.unit == "share" else math.inf
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= most:
        return
    allowed = "a share from 0 to 1" if most == 1 else f"a number that is 0 or more ({threshold.unit})"
    raise InvalidSetting(field=f"thresholds.{threshold.name}", value=value, allowed=allowed)
