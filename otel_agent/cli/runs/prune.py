"""`otel-agent runs prune`: what is too old or too much goes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from otel_agent.cli.runs.options import as_json_option, history_option, opened
from otel_agent.stores.run_history import DAYS, MEGABYTES
from otel_agent.views.text import plural

__all__ = ["prune"]


@click.command(short_help="Delete runs that are too old, or too many.")
@click.option("--days", type=click.FloatRange(0), default=DAYS, show_default=True, help="Keep runs of so many days.")
@click.option(
    "--megabytes",
    type=click.FloatRange(0),
    default=MEGABYTES,
    show_default=True,
    help="Keep so much in all: the oldest spans go first, then the oldest runs.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@history_option
@as_json_option
def prune(days: float, megabytes: float, dry_run: bool, history: Path | None, as_json: bool) -> None:
    """Delete runs that are too old, and the oldest where the history is too large.

    Processes that record do so by themselves, with these defaults.
    """
    with opened(history) as source:
        found = source.prune(days=days, megabytes=megabytes, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "runs": found.runs, "files": found.files, "bytes": found.bytes}))
        return
    verb = "would be deleted" if dry_run else "deleted"
    size = f"{found.bytes / 1e6:,.1f} MB"
    click.echo(f"{plural(found.runs, 'run')} and {plural(found.files, 'span file')} ({size}) {verb}")
