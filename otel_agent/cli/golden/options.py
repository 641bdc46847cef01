"""What the commands on golden tasks share: how they end, how they print, and which tasks are meant."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from otel_agent import InvalidSetting
from otel_agent.config import CONFIG
from otel_agent.config.current import current
from otel_agent.config.values import Config
from otel_agent.golden.tasks import TaskSet, load_tasks
from otel_agent.views.screen import encodable
from otel_agent.views.text import clean

__all__ = [
    "USAGE",
    "Command",
    "as_json_option",
    "completed",
    "config_option",
    "configured",
    "document",
    "files_argument",
    "note",
    "say",
    "selection_options",
]

F = TypeVar("F", bound=Callable[..., Any])

USAGE = 2


class _Wrong(click.ClickException):
    exit_code = USAGE


class Command(click.Command):
    """A command that says in one line what cannot be, and exits with 2: 1 is what a check found."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except InvalidSetting as wrong:
            for line in str(wrong).splitlines():
                click.echo(encodable(f"otel-agent golden: {clean(line)}", sys.stderr.encoding), err=True)
            ctx.exit(USAGE)
        except click.UsageError:
            raise
        except click.ClickException as wrong:
            raise _Wrong(wrong.message) from None


def say(text: str) -> None:
    """Prints a line on stdout."""
    click.echo(encodable(clean(text), sys.stdout.encoding))


def note(text: str) -> None:
    """Prints a line on stderr."""
    click.echo(encodable(f"otel-agent golden: {clean(text)}", sys.stderr.encoding), err=True)


def document(value: Any) -> None:
    """Prints a JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


def as_json_option(command: F) -> F:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def config_option(command: F) -> F:
    """Adds `--config`."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The configuration; by default OTEL_AGENT_CONFIG, else otel-agent.yaml here.",
    )(command)


def configured(file: Path | None) -> Config:
    """Gives the configuration, and to all that is asked for it later, such as an agent, the same."""
    found = current(file, field="--config")
    if file is not None:
        os.environ[CONFIG.variable] = str(file.absolute())
    return found


def files_argument(command: F) -> F:
    """Adds the files of tasks."""
    return click.argument("files", nargs=-1, metavar="[FILES]...", type=click.Path(dir_okay=False, path_type=Path))(
        command
    )


def selection_options(command: F) -> F:
    """Adds `--task` and `--tag`."""
    command = click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="WORD",
        shell_complete=completed(lambda tasks: sorted({tag for task in tasks.tasks for tag in task.tags})),
        help="Only tasks with this tag; may be given several times.",
    )(command)
    return click.option(
        "--task",
        "ids",
        multiple=True,
        metavar="ID",
        shell_complete=completed(lambda tasks: [task.id for task in tasks.tasks]),
        help="Only this task; may be given several times.",
    )(command)


def completed(
    words: Callable[[TaskSet], list[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes from the tasks that are meant; tasks that cannot be read have nothing."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            tasks = load_tasks(ctx.params.get("files") or ())
        except (InvalidSetting, OSError):
            return []
        return [CompletionItem(word) for word in words(tasks) if word.startswith(incomplete)]

    return complete
