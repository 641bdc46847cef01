"""`otel-agent stack check DIR`: what is missing or wrong in a stack."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from otel_agent import InvalidSetting
from otel_agent.deploy.stack.checking import check as look

__all__ = ["check"]

WRONG, WRONG_USAGE = 1, 2
PROGRAMS = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(short_help="Say what is missing or wrong.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--bin", "programs", type=PROGRAMS, help="Look for programs here before the PATH.")
@click.option("--strict", is_flag=True, help="Fail also where something could not be checked.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def check(context: click.Context, folder: Path, programs: Path | None, strict: bool, as_json: bool) -> None:
    """Say what is missing or wrong in DIR: by the collector's validate, promtool and amtool.

    Exit codes: 0 when nothing is missing or wrong, 1 when something is, 2 when DIR holds no stack.
    """
    try:
        found = look(folder, programs=programs)
    except InvalidSetting as wrong:
        click.echo(f"otel-agent stack check: {wrong}", err=True)
        context.exit(WRONG_USAGE)
    bad = [
        each for each in found if each.state in (("wrong", "missing", "unchecked") if strict else ("wrong", "missing"))
    ]
    if as_json:
        document = {"folder": str(folder), "ok": not bad, "findings": [dataclasses.asdict(each) for each in found]}
        click.echo(json.dumps(document, indent=2))
    else:
        for each in found:
            click.echo(f"{each.state:<9}  {each.what}" + (f": {each.said}" if each.said else ""))
        unchecked = sum(each.state == "unchecked" for each in found)
        ok = sum(each.state == "ok" for each in found)
        click.echo(f"{ok} ok, {len(found) - ok - unchecked} wrong or missing, {unchecked} not checked")
    context.exit(WRONG if bad else 0)
