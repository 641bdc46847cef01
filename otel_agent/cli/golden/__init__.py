"""`otel-agent golden`: tasks that an agent must do as it did before."""

from __future__ import annotations

import click

from otel_agent.cli.lazy import LazyGroup

__all__ = ["golden"]


@click.group(
    cls=LazyGroup,
    places={
        "run": "otel_agent.cli.golden.run:run",
        "compare": "otel_agent.cli.golden.compare:compare_results",
        "list": "otel_agent.cli.golden.list:list_",
        "add": "otel_agent.cli.golden.add:add",
    },
    short_help="Golden tasks: what a prompt must pass before it ships.",
)
def golden() -> None:
    """Golden tasks: what an agent must do as it did before, whatever its prompt.

    They stand under testing.golden_tasks in otel-agent.yaml, and in the files that testing.files names.
    """
