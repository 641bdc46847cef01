"""`otel-agent runs`: the finished runs of this machine."""

from __future__ import annotations

import click

from otel_agent.cli.runs.compare import compare_runs
from otel_agent.cli.runs.import_files import import_files
from otel_agent.cli.runs.listing import list_runs
from otel_agent.cli.runs.prune import prune
from otel_agent.cli.runs.report import report
from otel_agent.cli.runs.show import show, tree

__all__ = ["runs"]


@click.group(short_help="Look at finished runs, and prove what changed.")
def runs() -> None:
    """Look at finished runs: list them, draw one, compare two prompts or two weeks.

    Runs are kept where configure(history=...) or OTEL_AGENT_HISTORY says so. Without --history the commands look there,
    else in the user's cache folder.
    """


for _command in (list_runs, show, tree, compare_runs, report, import_files, prune):
    runs.add_command(_command)
