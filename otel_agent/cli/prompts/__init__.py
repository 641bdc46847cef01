"""`otel-agent prompts`: what is released of which prompt, and the commands that change it. One command a file.

The files beside the commands: `book` is what they know, `targets` what a reference on the command line means, `options`
what they have in common, `printing` how it looks, `gates` what must hold before a version may go out.
"""

from __future__ import annotations

import click

from otel_agent.cli.prompts.activate import activate
from otel_agent.cli.prompts.canary import canary
from otel_agent.cli.prompts.diff import diff
from otel_agent.cli.prompts.history import history
from otel_agent.cli.prompts.list import list_
from otel_agent.cli.prompts.lock import lock
from otel_agent.cli.prompts.options import EXITS
from otel_agent.cli.prompts.reset import reset
from otel_agent.cli.prompts.rollback import rollback
from otel_agent.cli.prompts.show import show

__all__ = ["prompts"]


@click.group(short_help="See and change which prompt runs get.", epilog=EXITS)
def prompts() -> None:
    """See which version of a prompt runs get; release another, try one on a share of the runs, take it back.

    The versions and their texts come from otel-agent.yaml and the prompt folder. What these commands release stands in
    the override file beside it, which every process follows while it runs: a change takes no restart.
    """


for _command in (list_, show, diff, lock, activate, canary, rollback, reset, history):
    prompts.add_command(_command)
