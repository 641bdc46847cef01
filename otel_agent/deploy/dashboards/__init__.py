"""The Grafana dashboards: what each panel asks Prometheus, and the script that turns them into Grafana's JSON.

`python -m otel_agent.deploy.dashboards` writes the JSON that ships beside it; only that needs grafana-foundation-sdk.
"""

from __future__ import annotations

from otel_agent.deploy.dashboards.agents import AGENTS
from otel_agent.deploy.dashboards.panels import Board
from otel_agent.deploy.dashboards.prompts import PROMPTS
from otel_agent.deploy.dashboards.telemetry import TELEMETRY

__all__ = ["BOARDS"]

BOARDS: tuple[Board, ...] = (AGENTS, PROMPTS, TELEMETRY)
