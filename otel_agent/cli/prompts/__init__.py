"""`otel-agent prompts`: what is released of which prompt, and the commands that change it. One command a file.

The files beside the commands: `book` is what they know, `targets` what a reference on the command line means, `options`
what they have in common, `printing` how it looks, `gates` what must hold before a version may go out.
"""

from __future__ import annotations

import click

from otel_agent.cli.lazy import LazyGroup
from otel_agent.cli.prompts.options import EXITS

__all__ = ["prompts"]


@click.group(
    cls=LazyGroup,
    places={
        "list": "otel_agent.cli.prompts.list:list_",
        "show": "otel_agent.cli.prompts.show:show",
        "diff": "otel_agent.cli.prompts.diff:diff",
        "lock": "otel_agent.cli.prompts.lock:lock",
        "activate": "otel_agent.cli.prompts.activate:activate",
        "canary": "otel_agent.cli.prompts.canary:canary",
        "rollback": "otel_agent.cli.prompts.rollback:rollback",
        "reset": "otel_agent.cli.prompts.reset:reset",
        "history": "otel_agent.cli.prompts.history:history",
    },
    short_help="See and change which prompt runs get.",
    epilog=EXITS,
)
def prompts() -> None:
    """See which version of a prompt runs get; release another, try one on a share of the runs, take it back.

    The versions and their texts come from otel-agent.yaml and the prompt folder. What these commands release stands in
    the override file beside it, which every process follows while it runs: a change takes no restart.
    """
