"""The labels that panels sum by, and the selectors of what was chosen on a dashboard."""

from __future__ import annotations

from otel_agent import semconv
from otel_agent.deploy import series
from otel_agent.stop import StopCode

__all__ = [
    "AGENT",
    "ERROR",
    "LIMIT",
    "MODEL",
    "OF_AGENT",
    "OF_PROMPT",
    "PROMPT",
    "PROMPT_NAME",
    "PROVIDER",
    "REASON",
    "ROLE",
    "SCOPE",
    "STOP",
    "TOOL",
    "ended",
]

AGENT, PROMPT = series.label(semconv.AGENT_NAME), series.label(semconv.PROMPT_ID)
PROMPT_NAME, ROLE = series.label(semconv.PROMPT_NAME), series.label(semconv.PROMPT_ROLE)
STOP, LIMIT, ERROR = series.label(semconv.STOP_REASON), series.label(semconv.LIMIT), series.label(semconv.ERROR_TYPE)
MODEL, PROVIDER = series.label(semconv.REQUEST_MODEL), series.label(semconv.PROVIDER)
TOOL, REASON = series.label(semconv.TOOL_NAME), series.label(semconv.DECISION_REASON)
SCOPE = series.label(semconv.KILL_SWITCH_SCOPE)

OF_AGENT = f'{{{AGENT}=~"$agent"}}'
OF_PROMPT = f'{{{AGENT}=~"$agent", {PROMPT}=~"$prompt"}}'


def ended(*codes: StopCode, otherwise: bool = False) -> str:
    """Gives the selector of runs of the chosen agents and prompts that ended with these codes, or with any other."""
    how = "!~" if otherwise else "=~"
    return f'{{{AGENT}=~"$agent", {PROMPT}=~"$prompt", {STOP}{how}"{"|".join(codes)}"}}'
