"""`otel-agent prompts list`: every version, what it is released as, and where that and its text come from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from otel_agent.cli.prompts.book import Book, Row, read_book, shown
from otel_agent.cli.prompts.options import Command, reads
from otel_agent.cli.prompts.printing import document, note, release_json, say, table
from otel_agent.cli.prompts.targets import NAME, name_of
from otel_agent.stores.sources import LEFT_OUT
from otel_agent.views.text import Cell, Span

__all__ = ["list_"]

HEADERS = ("prompt", "version", "id", "released", "released by", "lock", "text")
STYLES = {"locked": "", "not locked": "yellow", "changed": "red"}


@click.command("list", cls=Command, short_help="Every version, and what it is released as.")
@click.argument("name", required=False, type=NAME)
@reads
def list_(name: str | None, config: Path | None, as_json: bool) -> None:
    """List every version: its id, what it is released as and by what, whether it is locked, where its text stands.

    With NAME only those of that prompt.
    """
    book = read_book(config)
    only = None if name is None else name_of(book, name)
    rows = [row for row in book.rows() if only in (None, row.name)]
    if as_json:
        document(_json(book, rows))
        return
    if rows:
        table(HEADERS, [_cells(row) for row in rows])
    else:
        say("There is no prompt: none in otel-agent.yaml, and no folder of prompts. --config FILE names another file.")
    _notes(book, rows)


def _cells(row: Row) -> list[Cell]:
    text = row.text
    style = "green" if row.active else "yellow" if row.percent is not None else ""
    return [
        row.name,
        Span(row.version),
        Span("no text", "red") if text is None else Span(text.prompt.id.rpartition(":")[2]),
        None if row.released is None else Span(row.released, style),
        row.source,
        None if row.lock is None else Span(row.lock, STYLES[row.lock]),
        None if text is None else shown(text.place),
    ]


def _notes(book: Book, rows: list[Row]) -> None:
    for name in dict.fromkeys(row.name for row in rows):
        forced = book.forced(name)
        if forced is not None:
            note(f"{forced[0]}={forced[1]} is set here and wins over all of this")
    for wrong in book.left_out:
        note(f"{wrong}; {LEFT_OUT}")
    for row in rows:
        if row.lock == "changed":
            note(
                f"the text of {row.ref} has changed under its version: `otel-agent prompts diff {shlex.quote(row.ref)}`"
            )
        if row.text is None and row.active and row.name in book.registry.names:
            note(f"{row.ref} is active and has no text here: selecting it is an error")
    if any(row.lock == "not locked" for row in rows) and book.lock is not None:
        note("`otel-agent prompts lock` records what is not locked")


def _json(book: Book, rows: list[Row]) -> dict[str, Any]:
    names = dict.fromkeys(row.name for row in rows)
    return {
        "config": None if book.config.file is None else str(book.config.file),
        "override": str(book.files.override),
        "lock": str(book.lock_file),
        "releases": [
            {**(release_json(book.release(name)) or {"name": name}), "source": book.source(name)} for name in names
        ],
        "versions": [_row_json(row) for row in rows],
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "id": None if row.text is None else row.text.prompt.id,
        "active": row.active,
        "rollback": row.rollback,
        "canary_percent": row.percent,
        "released_by": row.source,
        "lock": row.lock,
        "text": None if row.text is None else str(row.text.place),
    }
