"""`otel-agent stack`: the collector, the rules, the dashboards and the servers around your agents."""

from __future__ import annotations

import click

from otel_agent.cli.lazy import LazyGroup

__all__ = ["stack"]


@click.group(
    cls=LazyGroup,
    places={
        "init": "otel_agent.cli.stack.init:init",
        "check": "otel_agent.cli.stack.check:check",
        "up": "otel_agent.cli.stack.up:up",
    },
    short_help="Install what stands around agents.",
    epilog="Start with: otel-agent stack init stack && otel-agent stack up stack",
)
def stack() -> None:
    """Install what stands around agents: collector, Jaeger, Prometheus, Alertmanager, Grafana."""
