"""The configuration of Alertmanager: who is told, what is told together, what keeps quiet while its cause fires."""

from __future__ import annotations

from typing import Any, cast

import yaml

from otel_agent import semconv
from otel_agent.deploy import series
from otel_agent.stop import InvalidSetting
from otel_agent.telemetry.variables import is_url

__all__ = ["DEFAULT_WEBHOOK", "render_alertmanager"]

DEFAULT_WEBHOOK = "http://127.0.0.1:9199/"

_AGENT = [series.label(semconv.AGENT_NAME)]
_PROMPT = [*_AGENT, series.label(semconv.PROMPT_ID)]


def render_alertmanager(*, webhook: str = DEFAULT_WEBHOOK) -> str:
    """Gives the configuration as YAML.

    Args:
        webhook: the address that alerts are sent to, as JSON.

    Raises:
        InvalidSetting: it is no http or https address.
    """
    if not is_url(webhook):
        raise InvalidSetting(field="webhook", value=webhook, allowed="an http or https address")
    config = {
        "route": {
            "receiver": "webhook",
            "group_by": ["alertname", "job", *_PROMPT],
            "group_wait": "10s",
            "group_interval": "2m",
            "repeat_interval": "4h",
            "routes": [{"matchers": ['severity="critical"'], "receiver": "webhook", "repeat_interval": "1h"}],
        },
        "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        "inhibit_rules": list(_inhibitions()),
    }
    text: str = cast(Any, yaml).safe_dump(config, sort_keys=False)
    return text


def _inhibitions() -> list[dict[str, Any]]:
    return [
        # without the collector nothing else is known
        _quiet("CollectorDown", "AgentNoTelemetry|CollectorReceivesNothing", []),
        _quiet("CollectorReceivesNothing", "AgentNoTelemetry", []),
        # what was switched off on purpose is silent, and its runs end
        _quiet("AgentKillSwitchOn", "AgentNoTelemetry|AgentStopReasonShift", ["job"]),
        # one cause, told once: by tool calls and tokens rather than by what they cost
        _quiet("AgentTokenSpike", "AgentCostPerRun|AgentTokensPerRequest", ["job", *_PROMPT, "against"]),
        _quiet("AgentBudgetBurnFast", "AgentBudgetBurnSlow", []),
        _quiet("AgentBudgetStops|AgentErrorRatio|AgentLoops", "AgentStopReasonShift", ["job", *_AGENT]),
    ]


def _quiet(source: str, targets: str, equal: list[str]) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "source_matchers": [f'alertname=~"{source}"'],
        "target_matchers": [f'alertname=~"{targets}"'],
    }
    return {**rule, "equal": equal} if equal else rule
