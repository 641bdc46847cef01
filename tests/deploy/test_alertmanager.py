"""An alert that fires reaches a webhook, through the real Prometheus and Alertmanager with the files as shipped."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_agent import InvalidSetting
from otel_agent.deploy.alertmanager import render_alertmanager
from otel_agent.deploy.rules import render_rules
from tests.deploy.servers import Alertmanager, Prometheus, binary, fetch, needs, until

METRICS = b'otel_agent_kill_switch_active{job="shop",otel_agent_kill_switch_scope="global"} 1\nup_and_running 1\n'


@pytest.fixture
def site() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A page of metrics that can be scraped, which is also a webhook that keeps what it is sent."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(METRICS)

        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    thread.join()
    server.server_close()


def manager(folder: Path, webhook: str) -> Alertmanager:
    config = folder / "alertmanager.yml"
    config.write_text(render_alertmanager(webhook=webhook), "utf-8")
    return Alertmanager(folder, config)


def hasty_rules(folder: Path) -> Path:
    rules = folder / "rules.yml"
    rules.write_text(render_rules({}).replace("interval: 1m", "interval: 1s"), "utf-8")
    return rules


def test_a_firing_alert_reaches_the_webhook(site: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    needs("prometheus", "alertmanager")
    address, received = site
    rules = [hasty_rules(tmp_path)]
    with (
        manager(tmp_path, f"http://{address}/") as alertmanager,
        Prometheus(tmp_path, targets=[address], rules=rules, alertmanager=alertmanager.address),
    ):
        alert = until(lambda: next((a for group in received for a in group["alerts"] if "KillSwitch" in str(a)), None))
    assert alert["status"] == "firing"
    assert alert["labels"]["otel_agent_kill_switch_scope"] == "global"
    assert alert["labels"]["severity"] == "warning"
    assert alert["annotations"]["summary"] == "the kill switch is on for global"
    assert alert["annotations"]["runbook_url"].endswith("#agentkillswitchon")


AGENT = {"job": "shop", "gen_ai_agent_name": "support-bot"}
ONE = {**AGENT, "otel_agent_prompt_id": "support:v14:0", "against": "baseline"}


@pytest.mark.parametrize(
    ("cause", "effect", "quiet"),
    [
        ({"alertname": "CollectorDown"}, {"alertname": "AgentNoTelemetry", **AGENT}, True),
        ({"alertname": "AgentTokenSpike", **ONE}, {"alertname": "AgentCostPerRun", **ONE}, True),
        ({"alertname": "AgentTokenSpike", **ONE}, {"alertname": "AgentCostPerRun", **ONE, "job": "other"}, False),
        ({"alertname": "AgentTokenSpike", **ONE}, {"alertname": "AgentBudgetStops", **ONE}, False),
        ({"alertname": "AgentKillSwitchOn", "job": "shop"}, {"alertname": "AgentNoTelemetry", **AGENT}, True),
    ],
)
def test_a_consequence_keeps_quiet_while_its_cause_fires(
    cause: dict[str, str], effect: dict[str, str], quiet: bool, tmp_path: Path
) -> None:
    needs("alertmanager")
    with manager(tmp_path, "http://127.0.0.1:9/") as alertmanager:
        url = f"http://{alertmanager.address}/api/v2/alerts"
        body = json.dumps([{"labels": cause}, {"labels": effect}]).encode()
        fetch(url, body, **{"Content-Type": "application/json"})
        wanted = f"{url}?filter=alertname%3D{effect['alertname']}"
        (alert,) = until(lambda: [a for a in json.loads(fetch(wanted)) if a["status"]["state"] != "unprocessed"])
    assert (alert["status"]["state"] == "suppressed") is quiet


def test_amtool_accepts_the_configuration(tmp_path: Path) -> None:
    needs("amtool")
    file = tmp_path / "alertmanager.yml"
    file.write_text(render_alertmanager(), "utf-8")
    done = subprocess.run(
        [binary("amtool") or "", "check-config", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("webhook", ["", "127.0.0.1:9199", "ftp://127.0.0.1/", "http://"])
def test_a_webhook_is_an_address(webhook: str) -> None:
    with pytest.raises(InvalidSetting, match="webhook"):
        render_alertmanager(webhook=webhook)
