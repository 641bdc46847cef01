"""What a dashboard is made of: boards of rows of panels, each with the expressions it draws.

Decides nothing about Grafana: these are plain values, which the script draws and the tests ask Prometheus for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Board", "Panel", "Query", "Row", "grown", "mean", "named", "quantile", "rate"]

WINDOW = "[$window]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One expression, and how its series are called; `exemplar` asks for the traces behind it as well."""

    expression: str
    legend: str
    exemplar: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture: its title, what it says, its unit by Grafana's name, and its queries."""

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Literal["lines", "stack", "number"] = "lines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard: its address for good; what can be chosen on it: variable and label, of the series `chosen_from`.

    `window` can be chosen on every board: agents run a hundred times an hour, not a hundred times a second.
    """

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    chosen_from: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Gives the panels of all rows."""
        return tuple(panel for row in self.rows for panel in row.panels)


def rate(selector: str, *by: str) -> str:
    """Gives how much a counter grows in a second, over the chosen window, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({selector}{WINDOW}))"


def grown(selector: str, *by: str) -> str:
    """Gives how much a counter grew over the chosen window, summed by labels."""
    return f"sum by ({', '.join(by)}) (increase({selector}{WINDOW}))"


def mean(above: str, below: str, *by: str) -> str:
    """Gives one counter's growth over another's, over the chosen window."""
    return f"{rate(above, *by)} / {rate(below, *by)}"


def quantile(share: float, buckets: str, *by: str) -> str:
    """Gives a quantile of a histogram, over the chosen window."""
    return f"histogram_quantile({share}, {rate(buckets, 'le', *by)})"


def named(*labels: str) -> str:
    """Gives a legend of labels."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)
