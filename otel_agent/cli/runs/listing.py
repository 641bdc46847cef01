"""`otel-agent runs list`: one line a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from otel_agent.cli.runs.options import as_json_option, filters, history_option, moment_text, opened, wanted
from otel_agent.cli.runs.rows import cost_of, document, stop_cell
from otel_agent.usage import PastRun
from otel_agent.views.screen import colored, columns, encodable
from otel_agent.views.text import clean, glyphs_for, plural, render_table, seconds_text

__all__ = ["list_runs"]

ORDERS = {"latest": "ended_ns DESC", "slowest": "seconds DESC", "dearest": "micro_usd DESC"}
HEADERS = ("run", "ended (UTC)", "agent", "prompt", "stop", "steps", "tools", "tokens", "cost", "time")


@click.command("list", short_help="List finished runs, the latest first.")
@filters()
@click.option("--limit", type=click.IntRange(1), default=30, show_default=True, help="How many to show.")
@click.option("--sort", type=click.Choice(list(ORDERS)), default="latest", show_default=True, help="Which come first.")
@click.option("--roots", is_flag=True, help="Leave out runs under other runs.")
@history_option
@as_json_option
def list_runs(limit: int, sort: str, roots: bool, history: Path | None, as_json: bool, **options: Any) -> None:
    """List finished runs, the latest first."""
    which = wanted(options, roots=roots)
    with opened(history) as source:
        found = source.runs(which, order=ORDERS[sort], limit=limit)
        total = source.count(which)
    if as_json:
        click.echo(json.dumps({"total": total, "runs": [document(run) for run in found]}, indent=2))
        return
    if not found:
        click.echo("no such runs")
        return
    glyphs = glyphs_for(sys.stdout.encoding)
    width = columns(sys.stdout) if sys.stdout.isatty() else None
    table = render_table(HEADERS, map(_cells, found), color=colored(sys.stdout), width=width, glyphs=glyphs)
    click.echo(encodable(table, sys.stdout.encoding))
    if total > len(found):
        click.echo(f"{plural(total, 'run')} in all; --limit shows more, --json all fields")


def _cells(run: PastRun) -> tuple[Any, ...]:
    cost = cost_of(run)
    return (
        run.run_id[:12],
        moment_text(run.ended_ns),
        clean(run.agent),
        clean(run.prompt_id) if run.prompt_id else None,
        stop_cell(run),
        run.steps,
        run.tool_calls,
        run.tokens,
        cost,
        seconds_text(run.seconds),
    )
