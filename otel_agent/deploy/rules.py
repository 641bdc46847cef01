"""The rules file for Prometheus, 2.42 or later: what is recorded and what is alerted on, with its numbers filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from otel_agent.deploy.alerts import ALERTS, Alert
from otel_agent.deploy.recording import records
from otel_agent.deploy.thresholds import settled

__all__ = ["RUNBOOK", "Links", "render_rules"]

RUNBOOK = "docs/alerts.md"

_EVERY = "1m"
_PROMPT = (
    "{{ with $labels.otel_agent_prompt_id }}{{ . | urlquery }}{{ else }}"
    '{{ with printf "topk(1, prompt:otel_agent_runs:30m{job=%q,gen_ai_agent_name=%q})" $labels.job '
    '$labels.gen_ai_agent_name | query }}{{ . | first | label "otel_agent_prompt_id" | urlquery }}{{ end }}{{ end }}'
)
_DEAREST = (
    '{{ with printf "topk(1, prompt:otel_agent_cost:1d{job=~%q})" (or $labels.job ".+") | query }}{{ with . | first }}'
    "{traces}{{ end }}{{ end }}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where the links of an alert lead: addresses without a slash at the end."""

    grafana: str = "http://127.0.0.1:3000"
    traces: str = "http://127.0.0.1:16686"
    runbook: str = RUNBOOK


def render_rules(thresholds: Mapping[str, float], *, token_spike: bool = True, links: Links | None = None) -> str:
    """Gives the rules file as YAML.

    Args:
        thresholds: values by name for those that shall differ from `thresholds.yaml`.
        token_spike: False leaves out the alerts on tokens and tool calls per run and per request.
        links: where dashboard, traces and runbook are.

    Raises:
        InvalidSetting: there is no such threshold, or its value can be none.
    """
    values = settled(thresholds)
    alerts = [_alert(each, values, links or Links()) for each in ALERTS if token_spike or not each.spike]
    recorded = [{"record": each.name, "expr": _tidy(each.expression), "labels": each.labels} for each in records()]
    groups = [
        {"name": "otel-agent-records", "interval": _EVERY, "rules": [_without_empty(each) for each in recorded]},
        {"name": "otel-agent-alerts", "interval": _EVERY, "rules": alerts},
    ]
    text: str = cast(Any, yaml).dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return text


def _alert(alert: Alert, values: Mapping[str, float], links: Links) -> dict[str, Any]:
    expression = re.sub(r"<([a-z0-9_]+)>", lambda found: f"{values[found[1]]:g}", alert.expression)
    return {
        "alert": alert.name,
        "expr": _tidy(expression),
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.meaning,
            "action": alert.action,
            **_links(alert, links),
            "runbook_url": f"{links.runbook}#{alert.name.lower()}",
        },
    }


def _links(alert: Alert, links: Links) -> dict[str, str]:
    board = f"{links.grafana}/d/otel-agent"
    if alert.about == "collector":
        return {"dashboard": f"{board}-telemetry"}
    if alert.about == "all agents":
        traces = _traces(links, '(label "job" .)', '{{ label "otel_agent_prompt_id" . | urlquery }}')
        return {"dashboard": board, "traces": _DEAREST.replace("{traces}", traces)}
    agent = "{{ $labels.gen_ai_agent_name | urlquery }}"
    return {"dashboard": f"{board}?var-agent={agent}", "traces": _traces(links, "$labels.job", _PROMPT)}


def _traces(links: Links, job: str, prompt: str) -> str:
    service = f'{{{{ reReplaceAll "^.*/" "" {job} | urlquery }}}}'
    return f"{links.traces}/search?service={service}&tags=%7B%22otel_agent.prompt.id%22%3A%22{prompt}%22%7D"


def _tidy(expression: str) -> str:
    return " ".join(expression.split())


def _without_empty(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if value}


class _Dumper(yaml.SafeDumper):
    """Never writes `&id001`: two rules may share their labels."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
