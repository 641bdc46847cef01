"""An alert that fires reaches a webhook, through the real Prometheus and Alertmanager with the files as shipped."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_agent import InvalidSetting
from otel_agent.deploy.alertmanager import render_alertmanager
from otel_agent.deploy.rules import render_rules

METRICS = b'otel_agent_kill_switch_active{job="shop",otel_agent_kill_switch_scope="global"} 1\nup_and_running 1\n'


def needs(*programs: str) -> pytest.MarkDecorator:
    absent = [program for program in programs if not shutil.which(program) and "NEED_SERVERS" not in os.environ]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)} (Debian packages)")


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return result


def fetched(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read() or b"ok"
    except OSError:
        return None


@contextmanager
def running(command: list[str], folder: Path, ready: str) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or fetched(ready))
            assert process.poll() is None, (folder / f"{command[0]}.log").read_text("utf-8")
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def alertmanager(folder: Path, webhook: str) -> Iterator[str]:
    port = free_port()
    (folder / "alertmanager.yml").write_text(render_alertmanager(webhook=webhook), "utf-8")
    command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with running(command, folder, f"http://127.0.0.1:{port}/-/ready"):
        yield f"127.0.0.1:{port}"


@contextmanager
def prometheus(folder: Path, scraped: str, manager: str) -> Iterator[str]:
    port = free_port()
    (folder / "rules.yml").write_text(render_rules({}).replace("interval: 1m", "interval: 1s"), "utf-8")
    config = {
        "global": {"scrape_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": "agents", "honor_labels": True, "static_configs": [{"targets": [scraped]}]},
        ],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), "utf-8")
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with running(command, folder, f"http://127.0.0.1:{port}/-/ready"):
        yield f"127.0.0.1:{port}"


@needs("prometheus", "prometheus-alertmanager")
def test_a_firing_alert_reaches_the_webhook(site: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    address, received = site
    with alertmanager(tmp_path, f"http://{address}/") as manager, prometheus(tmp_path, address, manager):
        (alert,) = until(lambda: [a for group in received for a in group["alerts"] if "KillSwitch" in str(a)][:1])
    assert alert["status"] == "firing"
    assert alert["labels"]["otel_agent_kill_switch_scope"] == "global"
    assert alert["labels"]["severity"] == "warning"
    assert alert["annotations"]["summary"] == "the kill switch is on for global"
    assert alert["annotations"]["runbook_url"].endswith("#agentkillswitchon")


AGENT = {"job": "shop", "gen_ai_agent_name": "support-bot"}
ONE = {**AGENT, "otel_agent_prompt_id": "support:v14:0", "against": "baseline"}


@needs("prometheus-alertmanager")
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
    with alertmanager(tmp_path, "http://127.0.0.1:9/") as manager:
        url = f"http://{manager}/api/v2/alerts"
        assert fetched(url, [{"labels": cause}, {"labels": effect}])
        wanted = f"{url}?filter=alertname%3D{effect['alertname']}"
        (alert,) = until(lambda: [a for a in json.loads(fetched(wanted)) if a["status"]["state"] != "unprocessed"])
    assert (alert["status"]["state"] == "suppressed") is quiet


@needs("amtool")
def test_amtool_accepts_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(render_alertmanager(), "utf-8")
    done = subprocess.run(["amtool", "check-config", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("webhook", ["", "127.0.0.1:9199", "ftp://127.0.0.1/", "http://"])
def test_a_webhook_is_an_address(webhook: str) -> None:
    with pytest.raises(InvalidSetting, match="webhook"):
        render_alertmanager(webhook=webhook)
