"""`otel-agent prompts history`: every change of a release, with who and why."""

from __future__ import annotations

from pathlib import Path

import click

from otel_agent.cli.prompts.book import read_what_can_be, shown
from otel_agent.cli.prompts.options import Command, reads
from otel_agent.cli.prompts.printing import change_json, document, note, say, table, warn
from otel_agent.cli.prompts.targets import NAME
from otel_agent.prompts import Change
from otel_agent.stores.prompt_history import read_history
from otel_agent.views.text import Cell

__all__ = ["history"]

HEADERS = ("when", "prompt", "what", "from", "to", "canary", "who", "why")


@click.command(cls=Command, short_help="Every change, with who and why.")
@click.argument("name", required=False, type=NAME)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the last N changes.")
@reads
def history(name: str | None, limit: int | None, config: Path | None, as_json: bool) -> None:
    """Show what was activated, tried and rolled back, the newest first; with NAME only of that prompt.

    Of what was done by force, --json has what spoke against it as `overridden`.
    """
    book = read_what_can_be(config)
    for wrong in (*book.problems, book.broken):
        if wrong is not None:
            warn(str(wrong))
    files = book.files
    found = read_history(files.history).with_missing(book.override.changes.values())
    changes = [change for change in reversed(found.changes) if name in (None, change.prompt)][:limit]
    if as_json:
        document({"history": str(files.history), "changes": [change_json(change) for change in changes]})
    elif changes:
        table(HEADERS, [_cells(change) for change in changes])
    else:
        say(f"Nothing has been changed{'' if name is None else f' of {name}'}.")
    for line in found.unreadable:
        note(f"line {line} of {shown(files.history)} is none, and is left aside")


def _cells(change: Change) -> list[Cell]:
    share = None if change.percent is None else f"{change.percent} %"
    when = change.when[:19].replace("T", " ")
    what = f"{change.what} by force" if change.overridden else change.what
    return [when, change.prompt, what, change.before, change.after, share, change.who, change.why]
