"""`otel-agent prompts show VERSION`: one version, with its text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from otel_agent import InvalidSetting
from otel_agent.cli.prompts.book import Book, Row, Text, read_book, shown
from otel_agent.cli.prompts.options import Command, reads
from otel_agent.cli.prompts.printing import document, say
from otel_agent.cli.prompts.targets import Target, name_of, version_of
from otel_agent.prompts import parse_ref

__all__ = ["found_text", "show"]


@click.command(cls=Command, short_help="One version, with its text.")
@click.argument("version", type=Target(versions=True, names=True))
@click.option("--text", "text_only", is_flag=True, help="Print the text alone, byte for byte.")
@reads
def show(version: str, text_only: bool, config: Path | None, as_json: bool) -> None:
    """Show VERSION: what it is released as, its id, and its text. A prompt's name alone is its active version."""
    if text_only and as_json:
        raise click.UsageError("--text prints the text alone, and --json has it under `text`: say one of them")
    book = read_book(config)
    text = found_text(book, version)
    if text_only:
        sys.stdout.buffer.write(text.prompt.text.encode())
        return
    ref = f"{text.prompt.name}:{text.prompt.version}"
    row = next(row for row in book.rows() if row.ref == ref)
    if as_json:
        document(_json(book, row, text))
        return
    for name, value in _facts(book, row, text).items():
        say(f"{name:<11}  {value}")
    say("")
    for line in text.prompt.text.split("\n"):
        say(line)


def found_text(book: Book, version: str) -> Text:
    """Gives the text of a version, or of the active version of a prompt.

    Raises:
        BadParameter: there is none.
    """
    if version in book.names:
        release = book.release(name_of(book, version))
        if release is None:
            raise click.BadParameter(f"nothing is released of {version!r}: name a version, such as {version}:v1")
        version = release.active
    ref = version_of(book, version)
    try:
        prompt = book.registry.get(ref, field="version")
    except InvalidSetting as wrong:
        raise click.BadParameter(str(wrong)) from None
    return book.texts[f"{prompt.name}:{prompt.version}"]


def _facts(book: Book, row: Row, text: Text) -> dict[str, str]:
    facts = {
        "id": text.prompt.id,
        "sha256": text.prompt.hash,
        "text": shown(text.place),
        "owner": text.owner,
        "description": text.description,
        "variables": ", ".join(sorted(text.prompt.variables)),
        "released": f"{row.released}, by {row.source}" if row.released else "no",
        "lock": _lock_words(book, row, text),
    }
    return {name: value for name, value in facts.items() if value}


def _lock_words(book: Book, row: Row, text: Text) -> str:
    entry = None if book.lock is None else book.lock.entries.get(row.ref)
    if entry is None:
        return "not locked"
    if entry.id != text.prompt.id:
        return f"changed: {shown(book.lock_file)} records {entry.id}"
    return f"locked by {entry.who}, {entry.when}"


def _json(book: Book, row: Row, text: Text) -> dict[str, Any]:
    prompt = text.prompt
    entry = None if book.lock is None else book.lock.entries.get(str(parse_ref("version", row.ref)))
    return {
        "name": prompt.name,
        "version": prompt.version,
        "id": prompt.id,
        "hash": prompt.hash,
        "text": prompt.text,
        "variables": sorted(prompt.variables),
        "file": str(text.place),
        "owner": text.owner,
        "description": text.description,
        "active": row.active,
        "rollback": row.rollback,
        "canary_percent": row.percent,
        "released_by": row.source,
        "lock": row.lock,
        "locked": None if entry is None else {"id": entry.id, "who": entry.who, "when": entry.when},
    }
