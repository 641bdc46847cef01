"""`otel-agent prompts diff A [B]`: how two texts differ, or one text and what the lock records of it."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from otel_agent.cli.prompts.book import Book, Text, read_book, shown
from otel_agent.cli.prompts.code import from_option, with_code
from otel_agent.cli.prompts.options import Command, reads
from otel_agent.cli.prompts.printing import document, say, say_lines
from otel_agent.cli.prompts.show import found_text
from otel_agent.cli.prompts.targets import Target
from otel_agent.views.text import Span, clean

__all__ = ["diff"]

EXITS = "Exit codes: 0 no difference; 1 there is one, or a file cannot be read; 2 wrong usage; 130 interrupted."
ANY = Target(versions=True, names=True)
DIFFERENT = 1


@click.command(cls=Command, short_help="How two versions differ, or a text and the lock.", epilog=EXITS)
@click.argument("a", type=ANY)
@click.argument("b", type=ANY, required=False)
@from_option
@reads
@click.pass_context
def diff(
    context: click.Context, a: str, b: str | None, config: Path | None, as_json: bool, places: Sequence[str]
) -> None:
    """Show how the text of B differs from that of A, such as support:v13 support:v14.

    A prompt's name alone is its active version. Without B the text of A is held against what the lock file records of
    it, and the command is printed that shows the older text.
    """
    book = with_code(read_book(config), places)
    first = found_text(book, a)
    same = _against_lock(book, first, as_json) if b is None else _texts(first, found_text(book, b), as_json)
    context.exit(0 if same else DIFFERENT)


def _texts(first: Text, second: Text, as_json: bool) -> bool:
    same = first.prompt.hash == second.prompt.hash
    lines = list(_unified(first, second))
    if as_json:
        document({"a": first.prompt.id, "b": second.prompt.id, "same": same, "diff": lines})
    elif same:
        say(f"{first.prompt.id} and {second.prompt.id} have the same text")
    else:
        say_lines([[Span(clean(line), _style(line))] for line in lines])
    return same


def _unified(first: Text, second: Text) -> Iterator[str]:
    one, other = (text.prompt.text.split("\n") for text in (first, second))
    return difflib.unified_diff(one, other, first.prompt.id, second.prompt.id, lineterm="")


def _style(line: str) -> str:
    if line.startswith(("---", "+++")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


def _against_lock(book: Book, text: Text, as_json: bool) -> bool:
    recorded = None if book.lock is None else book.lock.recorded(text.prompt)
    same = recorded in (None, text.prompt.id)
    command = shlex.join(["git", "log", "-p", "--", shown(text.place)])
    if as_json:
        document({"recorded": recorded, "now": text.prompt.id, "same": same, "command": None if same else command})
    elif recorded is None:
        say(f"{text.prompt.id} is not in {shown(book.lock_file)}: there is nothing to hold it against")
    elif same:
        say(f"{text.prompt.id} is what {shown(book.lock_file)} records")
    else:
        say(f"{shown(book.lock_file)} records  {recorded}")
        say(f"{shown(text.place)} has  {text.prompt.id}")
        say("The lock holds no texts; the older one is in the history of the file:")
        say(f"  {command}")
        say("Put the text back, or give the new one a new version.")
    return same
