"""What stands in the stack's folder: every file with its text, for what the user chose.

Decides nothing about what is on the disk. What does not depend on a choice ships as it is under `deploy/files`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from string import Template

from otel_agent import deploy
from otel_agent.deploy.alertmanager import DEFAULT_WEBHOOK, render_alertmanager
from otel_agent.deploy.rules import RUNBOOK, Links, render_rules
from otel_agent.deploy.stack.ports import EVERYWHERE, HOST, LISTEN, settled
from otel_agent.deploy.thresholds import settled as settled_thresholds
from otel_agent.stop import InvalidSetting
from otel_agent.telemetry.variables import is_url

__all__ = ["AGENT_ENV", "COLLECTOR_CONFIG", "DASHBOARDS", "RULES", "SETTINGS", "Choice", "contents", "targets"]

SETTINGS, AGENT_ENV = ".env", "agent.env"
COLLECTOR_CONFIG = "collector-config.yaml"
RULES = "prometheus/rules.yml"
DASHBOARDS = "grafana/dashboards"


def _no_numbers() -> dict[str, float]:
    return {}


def _no_ports() -> dict[str, int]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a user chose for a stack.

    Attributes:
        thresholds: of alerts, by name, where they differ from the defaults.
        token_spike: False leaves out the alerts on tokens and tool calls.
        sampler: False takes tail sampling out: every trace is kept.
        ports: by name, where they differ from the defaults.
        webhook: where Alertmanager sends alerts.
        runbook: the page with a section for each alert, which alerts link to.
    """

    thresholds: Mapping[str, float] = field(default_factory=_no_numbers)
    token_spike: bool = True
    sampler: bool = True
    ports: Mapping[str, int] = field(default_factory=_no_ports)
    webhook: str = DEFAULT_WEBHOOK
    runbook: str = RUNBOOK


def contents(choice: Choice) -> dict[str, str]:
    """Gives the text of every file, by its path within the folder.

    Raises:
        InvalidSetting: a threshold, a port, the webhook or the runbook's address can never work.
    """
    ports, values = settled(choice.ports), settled_thresholds(choice.thresholds)
    links = Links(
        grafana=f"http://{HOST}:{ports['GRAFANA_PORT']}",
        traces=f"http://{HOST}:{ports['JAEGER_QUERY_PORT']}",
        runbook=_runbook(choice),
    )
    collector = resources.files(deploy).joinpath(COLLECTOR_CONFIG).read_text("utf-8")
    files = dict(_static(resources.files(deploy).joinpath("files")))
    files |= {
        COLLECTOR_CONFIG: collector,
        f"kubernetes/{COLLECTOR_CONFIG}": collector,
        "kubernetes/gateway.env": _gateway(choice),
        "kubernetes/kustomization.yaml": Template(files["kubernetes/kustomization.yaml"]).substitute(_versions()),
        RULES: render_rules(choice.thresholds, token_spike=choice.token_spike, links=links),
        "alertmanager/alertmanager.yml": render_alertmanager(webhook=choice.webhook),
        SETTINGS: _settings(choice, ports),
        AGENT_ENV: _agent(ports),
        ".gitignore": "data/\n",
    }
    files |= {path: _target(addresses) for path, addresses in targets(ports).items()}
    agents = f"{DASHBOARDS}/otel-agent.json"
    return files | {agents: _with_budget(files[agents], values["monthly_budget_usd"])}


def _runbook(choice: Choice) -> str:
    if choice.runbook != RUNBOOK and not is_url(choice.runbook):
        raise InvalidSetting(field="runbook", value=choice.runbook, allowed="an http or https address")
    return choice.runbook


def _static(folder: Traversable, within: str = "") -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _static(each, f"{within}{each.name}/")
        else:
            yield within + each.name, each.read_text("utf-8")


def _versions() -> dict[str, str]:
    text = resources.files(deploy).joinpath("versions.env").read_text("utf-8")
    lines = [line.partition("=") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: version for name, _, version in lines}


def _settings(choice: Choice, ports: Mapping[str, int]) -> str:
    images = {name: version for name, version in _versions().items() if name.endswith("_IMAGE_VERSION")}
    return _lines(
        "# Settings of the servers, read by `otel-agent stack up` and by the compose file.",
        "# The collector's, which docs/collector.md explains:",
        {
            LISTEN: HOST,
            "OTEL_AGENT_TRACES_ENDPOINT": f"{HOST}:{ports['JAEGER_OTLP_PORT']}",
            "OTEL_AGENT_REMOTE_WRITE_ENDPOINT": f"http://{HOST}:{ports['PROMETHEUS_PORT']}/api/v1/write",
            "OTEL_AGENT_QUEUE_DIR": "data/queue",
        },
        {"OTEL_AGENT_SAMPLER": _sampler(choice), "OTEL_AGENT_SAMPLING_PERCENT": 10},
        "# Ports. The files in prometheus/ repeat some: change them with `stack init --port`.",
        ports,
        "# Images of the compose file.",
        {"COLLECTOR_VERSION": _versions()["COLLECTOR_VERSION"]} | images,
    )


def _sampler(choice: Choice) -> str:
    return "[tail_sampling]" if choice.sampler else "[]"


def _gateway(choice: Choice) -> str:
    return _lines(
        "# Settings of the second tier; docs/collector.md explains each.",
        {LISTEN: EVERYWHERE, "OTEL_AGENT_QUEUE_DIR": "/var/lib/otel-agent/queue"},
        {"OTEL_AGENT_SAMPLER": _sampler(choice), "OTEL_AGENT_SAMPLING_PERCENT": 10},
        "# Your trace backend: OTLP over gRPC, with TLS unless it stands beside this.",
        {"OTEL_AGENT_TRACES_ENDPOINT": "jaeger.otel-agent.svc:4317", "OTEL_AGENT_TRACES_INSECURE": "true"},
    )


def _agent(ports: Mapping[str, int]) -> str:
    return _lines(
        "# For the processes that your agents run in: set -a; . ./agent.env; set +a",
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{ports['OTEL_AGENT_HTTP_PORT']}"},
        "# Deltas add up in the collector, also those of processes that live for one run.",
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta", "OTEL_METRIC_EXPORT_INTERVAL": 15000},
    )


def _lines(*parts: str | Mapping[str, object]) -> str:
    lines: list[str] = []
    for part in parts:
        lines += [part] if isinstance(part, str) else [f"{name}={value}" for name, value in part.items()]
    return "\n".join(lines) + "\n"


def targets(ports: Mapping[str, int]) -> dict[str, list[str]]:
    """Gives who is scraped and told, by file: processes of this machine, and services of the compose file.

    Args:
        ports: all of them, by their variables.
    """
    scraped = [ports["OTEL_AGENT_SCRAPE_PORT"], ports["OTEL_AGENT_SUMS_PORT"]]
    own, alertmanager = ports["OTEL_AGENT_OWN_METRICS_PORT"], ports["ALERTMANAGER_PORT"]
    found: dict[str, list[str]] = {}
    for folder, collector, told in (
        ("prometheus/targets", HOST, f"{HOST}:{alertmanager}"),
        ("prometheus/compose-targets", "collector", "alertmanager:9093"),
    ):
        found[f"{folder}/agents.yml"] = [f"{collector}:{port}" for port in scraped]
        found[f"{folder}/collector.yml"] = [f"{collector}:{own}"]
        found[f"{folder}/alertmanager.yml"] = [told]
    return found


def _target(addresses: list[str]) -> str:
    return json.dumps([{"targets": addresses}]) + "\n"


def _with_budget(dashboard: str, budget: float) -> str:
    board = json.loads(dashboard)
    for variable in board["templating"]["list"]:
        if variable["name"] == "budget":
            variable["query"] = f"{budget:g}"
    return json.dumps(board, indent=2, sort_keys=True) + "\n"
