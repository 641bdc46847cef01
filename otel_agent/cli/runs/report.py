"""`otel-agent runs report`: one HTML page on many runs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from otel_agent.cli.runs.options import filters, history_option, opened, wanted
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import replace_text
from otel_agent.stores.past_spans import events_of
from otel_agent.stores.run_history import RunHistory
from otel_agent.usage import PastRun
from otel_agent.views.drawing import render_tree
from otel_agent.views.past import trees_of
from otel_agent.views.report import dearest, render_report, slowest
from otel_agent.views.text import plural

__all__ = ["report"]

TREE_WIDTH = 110
TREE_LINES = 60


@click.command(short_help="Write one HTML page that works offline.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("otel-agent-report.html"),
    show_default=True,
    help="The file to write; one that is there is replaced.",
)
@click.option("--title", default="Agent runs", show_default=True, help="Its heading.")
@filters()
@history_option
def report(output: Path, title: str, history: Path | None, **options: Any) -> None:
    """Write one HTML page: runs over time, tokens, tool calls and cost by prompt, stop reasons, the dearest runs.

    It needs no network and no script, and follows the light or dark setting of whoever reads it.
    """
    with opened(history) as source:
        runs = source.runs(wanted(options, roots=True), order="ended_ns ASC")
        listed = {run.run_id: run for run in (*slowest(runs), *dearest(runs))}
        with click.progressbar(
            listed.values(), label="trees", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as progress:
            trees = {run.run_id: lines for run in progress if (lines := _tree(source, run))}
    text = render_report(runs, trees, title=title, now=datetime.now(UTC))
    try:
        replace_text(output, text)
    except InvalidSetting as failed:
        raise click.ClickException(str(failed)) from None
    click.echo(f"{output}: {plural(len(runs), 'run')}")


def _tree(source: RunHistory, run: PastRun) -> list[str]:
    roots = trees_of(events_of(source.spans(run.run_id)), lines=TREE_LINES)
    return [line for root in roots for line in render_tree(root, width=TREE_WIDTH)]
