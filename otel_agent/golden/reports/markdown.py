"""A result as Markdown, such as for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from otel_agent.golden.reports.facts import HEADERS, about, baseline_row, headline, rows_of
from otel_agent.golden.reports.terminal import BASELINE_HEADERS
from otel_agent.golden.results import Result
from otel_agent.views.text import clean

__all__ = ["markdown_text"]

MARKS = {"passed": "✅ passed", "failed": "❌ failed", "inconclusive": "❔ inconclusive"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~@])")


def markdown_text(result: Result) -> str:
    """Gives the verdict, the lines about it, and the tables; what stands in a name is never taken for Markdown."""
    rows = [(row.task, MARKS[row.state], *row[2:]) for row in rows_of(result)]
    parts = [
        f"### Golden tasks: {_escaped(headline(result))}",
        "\n".join(f"- {_escaped(line)}" for line in about(result)),
        _table(HEADERS, rows),
    ]
    if result.comparison is not None and result.comparison.gauges:
        parts.append(_table(BASELINE_HEADERS, [baseline_row(gauge) for gauge in result.comparison.gauges]))
    return "\n\n".join(parts) + "\n"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(headers), _line(["---"] * len(headers), raw=True), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else _escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", clean(text))
