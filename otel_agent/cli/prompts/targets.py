"""What a reference on the command line means: `support:v13`, `v13` where there is one prompt, or `support` alone.

Decides that, and what a shell is offered. Knows no release but by its name.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from otel_agent import InvalidSetting, checks
from otel_agent.cli.prompts.book import Book, read_what_can_be
from otel_agent.prompts import Ref, parse_ref

__all__ = ["NAME", "VERSION", "Target", "name_of", "the_name", "version_of"]


class Target(click.ParamType[str]):
    """A prompt or one of its versions; a shell completes it from what there is.

    Args:
        versions: whether versions are offered.
        names: whether names alone are.
    """

    name = "target"

    def __init__(self, *, versions: bool, names: bool) -> None:
        self._versions = versions
        self._names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Gives the text as it is: what it means depends on the configuration."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Gives names and versions that begin so, of what can be read."""
        config = ctx.params.get("config")
        try:
            book = read_what_can_be(Path(config) if config else None)
        except InvalidSetting:
            return []
        items = [CompletionItem(name) for name in book.names if self._names]
        if self._versions:
            items += [CompletionItem(row.ref, help=row.released) for row in book.rows()]
        return [item for item in items if item.value.startswith(incomplete)]


VERSION = Target(versions=True, names=False)
NAME = Target(versions=False, names=True)


def version_of(book: Book, text: str) -> Ref:
    """Reads a version: `support:v13`, or `v13` where there is one prompt.

    Raises:
        BadParameter: it is neither.
    """
    if ":" not in text and len(book.names) == 1 and text not in book.names:
        text = f"{book.names[0]}:{text}"
    try:
        return parse_ref("version", text)
    except InvalidSetting:
        raise click.BadParameter(f"{text!r} is no version, such as support:v13{_meant(book, text)}") from None


def _meant(book: Book, text: str) -> str:
    """Gives what a text that is no version may stand for, for the end of an error."""
    of_several = [row.ref for row in book.rows() if row.version == text]
    if of_several:
        return f": there are several prompts, so say {' or '.join(of_several[:6])}"
    return checks.nearest(text, (row.ref for row in book.rows()))


def name_of(book: Book, text: str) -> str:
    """Reads the name of a prompt.

    Raises:
        BadParameter: there is no such prompt.
    """
    if text in book.names:
        return text
    raise click.BadParameter(f"there is no prompt {text!r}{checks.nearest(text, book.names) or _all(book)}")


def the_name(book: Book, command: str) -> str:
    """Gives the name of the only prompt.

    Raises:
        UsageError: there is another number of them.
    """
    if len(book.names) == 1:
        return book.names[0]
    if not book.names:
        raise click.UsageError(
            "there is no prompt here: no otel-agent.yaml, or it names none. --config FILE names one."
        )
    ways = " or ".join(f"`otel-agent prompts {command} {shlex.quote(name)}`" for name in book.names[:6])
    raise click.UsageError(f"there are several prompts: {ways}")


def _all(book: Book) -> str:
    return f"; there are {', '.join(book.names)}" if book.names else "; there is none"
