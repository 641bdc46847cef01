"""`otel-agent runs import`: files of a collector into the history."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from otel_agent.cli.runs.options import as_json_option, complain_of_lines, history_option, place
from otel_agent.stores.run_history import RunHistory, UnreadableHistory
from otel_agent.stores.run_import import Imported, import_file
from otel_agent.views.text import plural

__all__ = ["import_files"]

DAMAGED = 1


@click.command("import", short_help="Import files of a collector's file exporter.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@history_option
@as_json_option
def import_files(files: tuple[Path, ...], history: Path | None, as_json: bool) -> None:
    """Import FILES that a collector's file exporter wrote: OTLP JSON lines, also gzipped.

    Runs that are there already stay as they are. A damaged line is left out and named; the exit code is 1 then.
    """
    try:
        with RunHistory.create(place(history)) as target:
            found = [_imported(target, path, quiet=as_json) for path in files]
    except (OSError, UnreadableHistory) as failed:
        raise click.ClickException(str(failed)) from None
    problems = [problem for each in found for problem in each.problems]
    if as_json:
        click.echo(json.dumps([_document(each) for each in found], indent=2))
    complain_of_lines(problems)
    if problems:
        raise click.exceptions.Exit(DAMAGED)


def _imported(history: RunHistory, path: Path, *, quiet: bool) -> Imported:
    with click.progressbar(
        length=path.stat().st_size, label=path.name, file=sys.stderr, hidden=quiet or not sys.stderr.isatty()
    ) as progress:
        found = import_file(history, path, progress=progress.update)
    if not quiet:
        known = f", {plural(found.known, 'run')} there already" if found.known else ""
        click.echo(f"{path}: {plural(found.runs, 'run')} imported{known}, of {plural(found.spans, 'span')}")
    return found


def _document(found: Imported) -> dict[str, object]:
    return {
        "file": str(found.path),
        "imported": found.runs,
        "known": found.known,
        "spans": found.spans,
        "problems": found.problems,
    }
