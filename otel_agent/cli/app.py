"""The command `otel-agent` itself: its options, and the list of its commands."""

from __future__ import annotations

import click

from otel_agent import __version__
from otel_agent.cli.completion import completion
from otel_agent.cli.lazy import LazyGroup

__all__ = ["app"]


@click.group(
    cls=LazyGroup,
    places={
        "check": "otel_agent.cli.check:check",
        "config": "otel_agent.cli.config:config",
        "demo": "otel_agent.cli.demo:demo",
        "golden": "otel_agent.cli.golden:golden",
        "prompts": "otel_agent.cli.prompts:prompts",
        "runs": "otel_agent.cli.runs:runs",
        "stack": "otel_agent.cli.stack:stack",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: otel-agent demo",
)
@click.version_option(__version__, prog_name="otel-agent", message="%(prog)s %(version)s")
def app() -> None:
    """OpenTelemetry for LLM agents: every run traced, held to its budget, and ended with a reason."""


app.add_command(completion)  # it has a part in every completion, so that it must be there
