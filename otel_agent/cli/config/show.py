"""`otel-agent config show`: each value that holds here, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from otel_agent import InvalidSetting
from otel_agent.checks import is_list
from otel_agent.cli.config.printing import WRONG, file_argument, out
from otel_agent.cli.config.released import released_rows
from otel_agent.config.current import find, with_environment
from otel_agent.config.file import load_prompts, read_file
from otel_agent.config.origins import Row, rows
from otel_agent.config.problems import InvalidFile
from otel_agent.config.values import Config

__all__ = ["show"]


@click.command(
    short_help="Show what holds here, and who says so.",
    epilog="Exit codes: 0 shown; 1 the file or a variable is wrong; 2 wrong usage.",
)
@file_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--all", "everything", is_flag=True, help="Also show what has its default because nobody says anything.")
@click.pass_context
def show(context: click.Context, file: Path | None, as_json: bool, everything: bool) -> None:
    """Show each value that holds here, and whether the environment, the file or the default says so.

    What `otel-agent prompts` has released stands in the override file, and is shown with the source `override`. Secrets
    and the texts of prompts are hidden. FILE is the file to read in place of the one that is found.
    """
    try:
        found = file if file is not None else find()
        values: Mapping[str, Any] = {} if found is None else _values(found)
        shown = _with_released(list(rows(values)), found)
    except InvalidSetting as wrong:
        click.echo(out(str(wrong)), err=True)
        context.exit(WRONG)
    if as_json:
        click.echo(json.dumps({"file": None if found is None else str(found), "settings": _as_json(shown)}, indent=2))
        return
    click.echo(out(f"file: {found or 'none; every setting has its default, or is in the environment'}"))
    _print([row for row in shown if everything or row.value not in (None, []) or row.hidden])


def _with_released(shown: list[Row], file: Path | None) -> list[Row]:
    config = Config(said=frozenset()) if file is None else load_prompts(file)[0]
    last = max(number for number, row in enumerate(shown) if row.name.startswith("prompts."))
    return [*shown[: last + 1], *released_rows(with_environment(config)), *shown[last + 1 :]]


def _values(file: Path) -> Mapping[str, Any]:
    values, problems = read_file(file)
    if problems:
        raise InvalidFile(file=str(file), problems=problems)
    return values


def _as_json(shown: list[Row]) -> list[dict[str, Any]]:
    return [{**row._asdict(), "variable": row.variable or None} for row in shown]


def _print(shown: list[Row]) -> None:
    texts = [(row.name, _text(row), row.source) for row in shown]
    widths = [max((len(each[column]) for each in texts), default=0) for column in range(2)]
    for name, value, source in texts:
        click.echo(out(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}"))


def _text(row: Row) -> str:
    if row.hidden:
        return "(hidden)"
    if row.value is None or row.value == []:
        return "-"
    if is_list(row.value):
        return ", ".join(map(str, row.value))
    return str(row.value).lower() if isinstance(row.value, bool) else str(row.value)
