"""How the commands that judge end: what is printed, the reports that are written, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from otel_agent import InvalidSetting
from otel_agent.cli.golden.options import USAGE, Command, document, note
from otel_agent.golden.reports import Report, report_to, terminal_text, write_report
from otel_agent.golden.results import Result
from otel_agent.golden.saved import result_json, save_result
from otel_agent.views.screen import colored, columns, encodable
from otel_agent.views.text import glyphs_for

__all__ = ["JudgingCommand", "finish", "report_option"]

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130
EXITS = (
    "Exit codes: 0 all passed; 1 a regression: a task failed, or the tasks got dearer than the baseline; 2 wrong "
    "usage; 3 inconclusive: trials that could not be judged, or too few tasks to compare; 130 interrupted."
)


class JudgingCommand(Command):
    """A command that judges, and tells its exit codes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"epilog": EXITS, **options})


class _ReportParam(click.ParamType[Report]):
    """A report that is asked for, as `FORMAT:FILE` or a file whose suffix says the form."""

    name = "report"

    def convert(self, value: Report | str, param: click.Parameter | None, ctx: click.Context | None) -> Report:
        """Gives form and file."""
        if isinstance(value, Report):
            return value
        try:
            return report_to(value)
        except InvalidSetting as wrong:
            self.fail(str(wrong), param, ctx)


def report_option(command: F) -> F:
    """Adds `--report`."""
    return click.option(
        "--report",
        "reports",
        type=_ReportParam(),
        multiple=True,
        metavar="[FORMAT:]FILE",
        help="Write a report too: json, junit (.xml), markdown (.md) or html. May be repeated.",
    )(command)


def finish(
    result: Result,
    reports: Sequence[Report],
    *,
    as_json: bool,
    save: Path | None = None,
    record: Callable[[], str] | None = None,
) -> int:
    """Keeps a result wherever it is to be, prints it, and gives the exit code.

    Args:
        result: what is told; its runs were paid for, so that a file that cannot be written costs no other, nor a word.
        reports: the reports to write.
        as_json: whether a document is printed in place of the table.
        save: the file to save it in, or None.
        record: records it and says so, or None.
    """
    told: list[str] = []
    failed = False
    for work in _works(result, reports, save, record):
        try:
            told += [said] if (said := work()) else []
        except InvalidSetting as wrong:
            told.append(str(wrong))
            failed = True
    if as_json:
        document(result_json(result))
    else:
        click.echo(encodable(_text(result), sys.stdout.encoding))
    for line in told:
        note(line)
    if failed:
        return USAGE
    return INTERRUPTED if result.interrupted else result.exit_code


def _works(
    result: Result, reports: Sequence[Report], save: Path | None, record: Callable[[], str] | None
) -> Iterator[Callable[[], str | None]]:
    if save is not None:
        yield partial(save_result, save, result)
    for report in reports:
        yield partial(write_report, report, result)
    if record is not None:
        yield record


def _text(result: Result) -> str:
    stream = sys.stdout
    width = columns(stream) if stream.isatty() else None
    return terminal_text(result, color=colored(stream), width=width, glyphs=glyphs_for(stream.encoding))
