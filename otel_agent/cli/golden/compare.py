"""`otel-agent golden compare`: two saved results, the earlier one as the baseline of the later one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from otel_agent.cli.golden.options import as_json_option
from otel_agent.cli.golden.printing import JudgingCommand, finish, report_option
from otel_agent.golden.reports import Report
from otel_agent.golden.runner import compared
from otel_agent.golden.saved import load_result

__all__ = ["compare_results"]

SAVED = click.Path(dir_okay=False, path_type=Path)


@click.command("compare", cls=JudgingCommand, short_help="Compare two saved results.")
@click.argument("before", type=SAVED, metavar="BEFORE.json")
@click.argument("after", type=SAVED, metavar="AFTER.json")
@report_option
@as_json_option
@click.pass_context
def compare_results(
    context: click.Context, before: Path, after: Path, reports: Sequence[Report], as_json: bool
) -> None:
    """Compare two results that `otel-agent golden run --save` wrote: is the later one dearer?

    The tasks must be the same. What is printed, and the exit code, are those of the later result with the earlier one
    as its baseline.
    """
    result = compared(load_result(before), load_result(after), name=str(before))
    context.exit(finish(result, reports, as_json=as_json))
