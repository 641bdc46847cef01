"""Writes the part of docs/alerts.md that the declaration of the alerts decides: `python -m tests.deploy.alert_page`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from otel_agent.deploy.alerts import ALERTS, Alert, placeholders
from otel_agent.deploy.thresholds import Threshold, thresholds

__all__ = ["PAGE", "generated", "with_generated"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "alerts.md"
BEGIN, END = "<!-- alerts:begin -->", "<!-- alerts:end -->"


def generated() -> str:
    """Gives what stands between the two marks of the page."""
    return "\n".join(
        [BEGIN, "", *_overview(), *(line for alert in ALERTS for line in _section(alert)), *_values(), END]
    )


def with_generated(page: str) -> str:
    """Gives a page with that part as it should be."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: generated(), page, flags=re.DOTALL)


def _overview() -> Iterator[str]:
    yield from ("## All alerts", "", "| alert | severity | what it says |", "|---|---|---|")
    for alert in ALERTS:
        first = alert.meaning.partition(". ")[0].rstrip(".")
        yield f"| [{alert.name}](#{alert.name.lower()}) | {alert.severity} | {first} |"
    yield ""


def _section(alert: Alert) -> Iterator[str]:
    lasting = "" if alert.wait == "0m" else f" It must hold for {alert.wait.removesuffix('m')} minutes."
    yield from (f"### {alert.name}", "", alert.meaning + lasting, "")
    yield f"- **Look at**: {alert.look}"
    yield f"- **Prompt or traffic**: {alert.cause}"
    yield f"- **Do**: {alert.action}"
    if names := list(dict.fromkeys(placeholders(alert.expression))):
        yield f"- **Thresholds**: {', '.join(f'`{name}`' for name in names)}"
    yield ""


def _values() -> Iterator[str]:
    yield from ("## All thresholds", "", "| name | default | what it is |", "|---|---:|---|")
    yield from (f"| `{each.name}` | {_shown(each)} | {each.about} |" for each in thresholds())
    yield ""


def _shown(threshold: Threshold) -> str:
    if threshold.unit == "share":
        return f"{threshold.default:g}"
    return f"{threshold.default:g} x" if threshold.unit == "ratio" else f"{threshold.default:g} {threshold.unit}"


if __name__ == "__main__":
    PAGE.write_text(with_generated(PAGE.read_text("utf-8")), "utf-8")
