"""`otel-agent config`: what holds here and why, what is wrong with a file, and its JSON Schema. One command a file."""

from __future__ import annotations

import click

from otel_agent.cli.lazy import LazyGroup

__all__ = ["config"]


@click.group(
    cls=LazyGroup,
    places={
        "show": "otel_agent.cli.config.show:show",
        "check": "otel_agent.cli.config.check:check",
        "schema": "otel_agent.cli.config.schema:schema",
    },
    short_help="See what is configured here, and what is wrong with it.",
    epilog="Start with: otel-agent config check",
)
def config() -> None:
    """See what is configured here, where each value comes from, and what is wrong with it.

    The file is the one that OTEL_AGENT_CONFIG names, else otel-agent.yaml in the working directory. A variable goes
    before the file, and an argument of configure() before both.
    """
