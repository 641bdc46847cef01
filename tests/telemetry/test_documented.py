"""docs/telemetry.md names what the vocabulary names, with the same units."""

from __future__ import annotations

import re
from pathlib import Path

from otel_agent import semconv
from otel_agent.semconv import Metric

PAGE = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text("utf-8")
LATER = {"otel_agent.kill_switch.active"}
"""Metrics whose rooms are not built yet."""


def metrics() -> dict[str, Metric]:
    """Gives every metric of the vocabulary by name."""
    found = [value for value in vars(semconv).values() if isinstance(value, Metric)]
    return {metric.name: metric for metric in [*found, *semconv.USAGE_COUNTS.values()]}


def section(title: str) -> str:
    """Gives the text of one section of the page."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_metric_is_documented_with_its_unit() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", section("Metrics"), re.MULTILINE))
    assert set(rows) == set(metrics()) - LATER
    for name, kind in rows.items():
        unit = metrics()[name].unit
        assert f"`{unit}`" in kind if unit else "no unit" in kind, name


def test_every_event_that_can_be_emitted_is_documented() -> None:
    events = {
        semconv.RUN_STARTED,
        semconv.RUN_FINISHED,
        semconv.BUDGET_WARNING,
        semconv.BUDGET_EXCEEDED,
        semconv.BUDGET_CHANGED,
        semconv.POLICY_DECISION,
        semconv.PROMPT_ACTIVATED,
        semconv.PROMPT_ROLLED_BACK,
        semconv.PROMPT_ROLLOUT_CHANGED,
    }
    assert set(re.findall(r"^\| `([^`]+)` \|", section("Log events"), re.MULTILINE)) == events
