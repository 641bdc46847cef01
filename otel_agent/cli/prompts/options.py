"""What the commands have in common: their options, who changes something, and how they end."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from otel_agent import InvalidSetting
from otel_agent.checks import LONGEST_TEXT
from otel_agent.cli.prompts.printing import complain, note
from otel_agent.prompts.override import LONGEST_WHY

__all__ = ["EXITS", "REFUSED", "Command", "force_option", "reads", "who_or_user", "why_option", "writes"]

F = TypeVar("F", bound=Callable[..., Any])

EXITS = (
    "Exit codes: 0 done, or so already; 1 refused, and nothing changed; 2 wrong usage; 130 interrupted; 74 the output "
    "could not be written, or 141 its reader left: a change was made all the same."
)
REFUSED = 1


class Command(click.Command):
    """A command that says in one line what cannot be, and exits with 1."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"epilog": EXITS, **options})

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except InvalidSetting as wrong:
            complain(str(wrong))
            ctx.exit(REFUSED)


def reads(command: F) -> F:
    """Adds the options of every command: which configuration, and the form of what is printed."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The configuration; by default OTEL_AGENT_CONFIG, else otel-agent.yaml here.",
    )(command)


def writes(command: F) -> F:
    """Adds the options of every command that changes something."""
    command = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")(command)
    return click.option("--who", metavar="NAME", help="Who does it, for the record; by default the user.")(command)


def why_option(command: F) -> F:
    """Adds the reason that is kept."""
    return click.option("--why", metavar="TEXT", callback=_reason, help="The reason, for the record.")(command)


def _reason(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    return _one_line("the reason", value, LONGEST_WHY)


def _one_line(what: str, value: str | None, longest: int) -> str | None:
    """Makes one line that the history takes, or None of an empty one: no such word stops a change."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in value or "").split())
    if len(words) > longest:
        note(f"{what} is cut to {longest:,} characters")
        words = f"{words[: longest - 1]}…"
    return words or None


def force_option(command: F) -> F:
    """Adds what goes past the gates, and the reason that is kept."""
    command = click.option("--force", is_flag=True, help="Do it in spite of what speaks against it; needs --why.")(
        command
    )
    return why_option(command)


def who_or_user(who: str | None) -> str:
    """Gives the name that is kept: the one given, or that of the user of this system.

    Raises:
        UsageError: there is none.
    """
    try:
        return _one_line("--who", who, LONGEST_TEXT) or getpass.getuser()
    except (KeyError, OSError):
        raise click.UsageError("this system has no name for its user: say --who NAME") from None
