"""`otel-agent golden`: tasks that an agent must do as it did before."""

from __future__ import annotations

import click

from otel_agent.cli.golden.add import add
from otel_agent.cli.golden.compare import compare_results
from otel_agent.cli.golden.list import list_
from otel_agent.cli.golden.run import run

__all__ = ["golden"]


@click.group(short_help="Golden tasks: what a prompt must pass before it ships.")
def golden() -> None:
    """Golden tasks: what an agent must do as it did before, whatever its prompt.

    They stand under testing.golden_tasks in otel-agent.yaml, and in the files that testing.files names.
    """


for _command in (run, compare_results, list_, add):
    golden.add_command(_command)
