"""`otel-agent config schema`: the JSON Schema of the file, for editors."""

from __future__ import annotations

import json

import click

from otel_agent.config.schema import json_schema

__all__ = ["schema"]


@click.command(
    short_help="Print the JSON Schema of the file.",
    epilog="In the file, for editors with the YAML language server:  "
    "# yaml-language-server: $schema=otel-agent.schema.json",
)
def schema() -> None:
    """Print the JSON Schema of otel-agent.yaml, for an editor to check and complete it."""
    click.echo(json.dumps(json_schema(), indent=2))
