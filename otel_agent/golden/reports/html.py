"""A result as one HTML page that needs nothing else, light and dark as the reader's system is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from otel_agent.golden.reports.facts import HEADERS, about, baseline_row, broken, headline, rows_of
from otel_agent.golden.reports.terminal import BASELINE_HEADERS
from otel_agent.golden.results import Result, TaskResult
from otel_agent.usage import micro_to_usd
from otel_agent.views.charts import Spread, legend, spreads
from otel_agent.views.page import render_page, render_tiles
from otel_agent.views.text import clean, count_text, money_text, plural

__all__ = ["html_text"]

COLORS = {"passed": 2, "failed": 6, "inconclusive": 8}
MOST_TASKS = 60
NUMBERS = ("tools", "tokens")


def html_text(result: Result) -> str:
    """Gives the page: the verdict, the tasks, what broke, tokens by task, and the baseline."""
    made = datetime.fromtimestamp(result.at_ns / 1e9, UTC)
    title = f"Golden tasks: {result.verdict}"
    lines = "".join(f"<p>{escape(clean(line))}</p>" for line in (headline(result), *about(result)))
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{made:%Y-%m-%d %H:%M} UTC</p>",
        _tiles(result),
        lines,
        f"<h2>Tasks</h2>{_table(HEADERS, [tuple(row) for row in rows_of(result)])}",
        _what_broke(result.tasks),
        _baseline(result),
        _tokens(result.tasks),
    ]
    return render_page(title, "\n".join(body))


def _tiles(result: Result) -> str:
    runs = [trial.run for trial in result.trials if trial.run is not None]
    known = [run.micro_usd for run in runs if run.micro_usd is not None]
    return render_tiles(
        [
            ("verdict", result.verdict),
            ("tasks passed", f"{sum(task.passed for task in result.tasks)} of {len(result.tasks)}"),
            ("runs", count_text(len(result.trials))),
            ("tokens", count_text(sum(run.tokens for run in runs))),
            ("tool calls", count_text(sum(run.tool_calls for run in runs))),
            ("cost", money_text(micro_to_usd(sum(known)) if len(known) == len(runs) else None)),
        ]
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th{_kind(name)}>{escape(name)}</th>" for name in headers)
    lines = "".join(
        "<tr>"
        + "".join(f"<td{_kind(name)}>{escape(clean(cell))}</td>" for name, cell in zip(headers, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{lines}</table></div>'


def _kind(header: str) -> str:
    return " class=number" if header in NUMBERS else ""


def _what_broke(tasks: Sequence[TaskResult]) -> str:
    found = [(task, broken(task)) for task in tasks if broken(task)]
    if not found:
        return ""
    items = "".join(
        f"<details><summary>{escape(clean(task.task))}: {escape(task.state)}</summary>"
        f"<pre>{escape(chr(10).join([*map(clean, said), *_run_ids(task)]))}</pre></details>"
        for task, said in found
    )
    return f"<h2>What broke</h2>{items}"


def _run_ids(task: TaskResult) -> list[str]:
    return [
        f"run {trial.run.run_id} (repeat {trial.repeat})"
        for trial in task.own
        if trial.run is not None and not trial.passed
    ]


def _baseline(result: Result) -> str:
    found = result.comparison
    if found is None:
        return ""
    table = _table(BASELINE_HEADERS, [baseline_row(gauge) for gauge in found.gauges]) if found.gauges else ""
    return f"<h2>Against {escape(clean(found.baseline))}</h2><p>{escape(clean(found.because))}</p>{table}"


def _tokens(tasks: Sequence[TaskResult]) -> str:
    found = [
        Spread(task.task, COLORS[task.state], len(values), _marks(values))
        for task in tasks[:MOST_TASKS]
        if (values := sorted(trial.run.tokens for trial in task.own if trial.run is not None))
    ]
    if not found:
        return ""
    about = "Tokens per run by task. The line holds all repeats, the number is the median."
    more = f" {plural(len(tasks) - MOST_TASKS, 'task')} more are not drawn." if len(tasks) > MOST_TASKS else ""
    names = list(COLORS.items())
    drawn = spreads(found, lambda value: f"{value:,.0f}", about=about)
    return f"<h2>Tokens per run</h2><p>{about}{more}</p>{legend(names)}{drawn}"


def _marks(values: Sequence[int]) -> tuple[float, float, float, float, float]:
    if len(values) == 1:
        only = float(values[0])
        return only, only, only, only, only
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return float(values[0]), low, middle, high, float(values[-1])
