"""`otel-agent stack`: the collector, the rules, the dashboards and the servers around your agents."""

from __future__ import annotations

import click

from otel_agent.cli.stack.check import check
from otel_agent.cli.stack.init import init
from otel_agent.cli.stack.up import up

__all__ = ["stack"]


@click.group(
    short_help="Install what stands around agents.",
    epilog="Start with: otel-agent stack init stack && otel-agent stack up stack",
)
def stack() -> None:
    """Install what stands around agents: collector, Jaeger, Prometheus, Alertmanager, Grafana."""


stack.add_command(init)
stack.add_command(check)
stack.add_command(up)
