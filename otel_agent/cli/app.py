"""The command `otel-agent` itself: its options, and the list of its commands."""

from __future__ import annotations

import click

from otel_agent import __version__
from otel_agent.cli.check import check
from otel_agent.cli.completion import completion
from otel_agent.cli.config import config
from otel_agent.cli.demo import demo
from otel_agent.cli.golden import golden
from otel_agent.cli.prompts import prompts
from otel_agent.cli.runs import runs
from otel_agent.cli.stack import stack

__all__ = ["app"]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: otel-agent demo",
)
@click.version_option(__version__, prog_name="otel-agent", message="%(prog)s %(version)s")
def app() -> None:
    """OpenTelemetry for LLM agents: every run traced, held to its budget, and ended with a reason."""


app.add_command(check)
app.add_command(completion)
app.add_command(config)
app.add_command(demo)
app.add_command(golden)
app.add_command(prompts)
app.add_command(runs)
app.add_command(stack)
