"""`otel-agent runs`: the finished runs of this machine."""

from __future__ import annotations

import click

from otel_agent.cli.lazy import LazyGroup

__all__ = ["runs"]


@click.group(
    cls=LazyGroup,
    places={
        "list": "otel_agent.cli.runs.listing:list_runs",
        "show": "otel_agent.cli.runs.show:show",
        "tree": "otel_agent.cli.runs.show:tree",
        "compare": "otel_agent.cli.runs.compare:compare_runs",
        "report": "otel_agent.cli.runs.report:report",
        "import": "otel_agent.cli.runs.import_files:import_files",
        "prune": "otel_agent.cli.runs.prune:prune",
    },
    short_help="Look at finished runs, and prove what changed.",
)
def runs() -> None:
    """Look at finished runs: list them, draw one, compare two prompts or two weeks.

    Runs are kept where configure(history=...) or OTEL_AGENT_HISTORY says so. Without --history the commands look there,
    else in the user's cache folder.
    """
