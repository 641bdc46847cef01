"""A result as a table for a terminal."""

from __future__ import annotations

from otel_agent.golden.reports.facts import HEADERS, about, baseline_row, headline, rows_of
from otel_agent.golden.results import Result
from otel_agent.views.text import UNICODE, Glyphs, Span, clean, render_table

__all__ = ["BASELINE_HEADERS", "STYLES", "terminal_text"]

STYLES = {"passed": "green", "failed": "red", "inconclusive": "yellow"}
BASELINE_HEADERS = ("geometric means over tasks", "baseline", "now", "ratio [95 %]", "p", "")


def terminal_text(result: Result, *, color: bool = False, width: int | None = None, glyphs: Glyphs = UNICODE) -> str:
    """Gives the table, the baseline where there is one, and the verdict as the last line.

    Args:
        result: what is told.
        color: whether to use escape codes.
        width: columns that the table may take; None is no limit.
        glyphs: what rules are drawn with.
    """
    rows = [(row.task, Span(row.state, STYLES[row.state]), *row[2:]) for row in rows_of(result)]
    parts = [render_table(HEADERS, rows, color=color, width=width, wrapped="what broke", glyphs=glyphs)]
    if result.comparison is not None and result.comparison.gauges:
        gauges = [baseline_row(gauge) for gauge in result.comparison.gauges]
        parts.append(render_table(BASELINE_HEADERS, gauges, color=color, width=width, glyphs=glyphs))
    parts.append("\n".join(clean(line) for line in (*about(result), headline(result))))
    return "\n\n".join(parts)
