"""Takes the pictures of the README: the demo, through the real collector, into Phoenix and Prometheus.

    python docs/pictures/make.py --phoenix ENVIRONMENT/bin/phoenix [--bin FOLDER]

`--phoenix` is the command of `pip install arize-phoenix`, `--bin` the collector's folder, which `.ci/servers` prints.
Also needs Prometheus and Chromium. Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

from otel_agent.demo.prompts import V13, V14
from otel_agent.deploy.stack.contents import SETTINGS, Choice, contents
from otel_agent.deploy.stack.ports import HOST, PORTS
from otel_agent.deploy.stack.running import Stack
from otel_agent.deploy.stack.servers import Server
from otel_agent.deploy.stack.writing import write

HERE = Path(__file__).parent
ALERT = "AgentToolCallSpike"
ROUNDS = 8
PLAYER = """
from otel_agent import configure
configure("otel-agent-demo", config="otel-agent.yaml", mode="enforce")
from otel_agent.demo.play import run_demo
from otel_agent.demo.scenarios import SCENARIOS
raise SystemExit(run_demo([each for each in SCENARIOS if each.name in ("answer", "thorough")], as_json=True))
"""
PATIENCE = 400.0
CHROMIUM = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--virtual-time-budget=15000"),
)

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def until(what: str, look: Callable[[], T]) -> T:
    end = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError):  # it is not up yet
            if found := look():
                return found
        if time.monotonic() > end:
            raise SystemExit(f"{what}: nothing after {PATIENCE:g} seconds")
        time.sleep(1)


@contextmanager
def phoenix(command: str, folder: Path, grpc: int) -> Iterator[str]:
    """Runs Phoenix with its data in a folder; gives the address of its page."""
    port = free_port()
    own = {"HOST": HOST, "PORT": port, "GRPC_PORT": grpc, "WORKING_DIR": folder, "TELEMETRY_ENABLED": "false"}
    own |= {"ALLOW_EXTERNAL_RESOURCES": "false"}
    env = os.environ | {f"PHOENIX_{name}": str(value) for name, value in own.items()}
    with (folder / "phoenix.log").open("wb") as log:
        process = subprocess.Popen([command, "serve"], env=env, stdout=log, stderr=log)
    try:
        url = f"http://{HOST}:{port}"
        until("Phoenix", lambda: fetch(f"{url}/v1/projects"))
        yield url
    finally:
        process.terminate()
        process.wait()


def stack_of(folder: Path, traces: int) -> None:
    """Writes a stack on free ports whose collector sends its traces to another backend."""
    ports = {port.name: free_port() for port in PORTS}
    files = contents(Choice(ports=ports, sampler=False))
    there = f"OTEL_AGENT_TRACES_ENDPOINT={HOST}:"
    files[SETTINGS] = files[SETTINGS].replace(f"{there}{ports['jaeger-otlp']}", f"{there}{traces}")
    write(folder, files)


def play(folder: Path, settings: Mapping[str, str]) -> None:
    """Plays the demo as one process after another: v13, the baseline, answers; v14 is thorough."""
    texts = {prompt.version: prompt.text for prompt in (V13, V14)}
    prompts = {"active": "support:v14", "rollback": "support:v13", "texts": {"support": texts}}
    (folder / "otel-agent.yaml").write_text(yaml.safe_dump({"prompts": prompts}))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_"))}
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{HOST}:{settings['OTEL_AGENT_HTTP_PORT']}"
    env["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] = "delta"
    for _ in range(ROUNDS):
        subprocess.run([sys.executable, "-c", PLAYER], cwd=folder, env=env, check=True, capture_output=True)
        time.sleep(3)


def picture(url: str, file: Path, folder: Path, size: str) -> None:
    """Takes a picture of a page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
    with tempfile.TemporaryDirectory(dir=folder) as profile:
        own = (f"--user-data-dir={profile}", f"--window-size={size}", f"--screenshot={file}")
        subprocess.run([browser, *CHROMIUM, *own, url], check=True, capture_output=True, timeout=180)
    print(f"{file}: {file.stat().st_size // 1000} kB")


def thorough(url: str) -> str:
    """Gives the page of the newest run that a limit stopped."""
    project = fetch(f"{url}/v1/projects")["data"][0]["id"]
    spans = fetch(f"{url}/v1/projects/{project}/spans?limit=500")["data"]
    span = next(each for each in spans if each["attributes"].get("otel_agent.stop_reason") == "max_tool_calls")
    trace = span["context"]["trace_id"]
    root = next(each for each in spans if each["context"]["trace_id"] == trace and not each["parent_id"])
    return f"{url}/projects/{project}/traces/{trace}?selectedSpanNodeId={root['id']}"


def alerts_page(url: str) -> str:
    """Gives the page of alerts; Debian's Prometheus has the classic one only."""
    try:
        with urllib.request.urlopen(f"{url}/alerts", timeout=10):
            return f"{url}/alerts"
    except urllib.error.HTTPError:
        return f"{url}/classic/alerts"


def firing(url: str) -> bool:
    return any(
        alert["labels"]["alertname"] == ALERT and alert["state"] == "firing"
        for alert in fetch(f"{url}/api/v1/alerts")["data"]["alerts"]
    )


def _tell(what: str, server: Server, said: str) -> None:
    print(server.name, what, said)


def main() -> None:
    options = argparse.ArgumentParser(description="Takes the pictures of the README.")
    options.add_argument("--phoenix", required=True, help="the command of arize-phoenix")
    options.add_argument("--bin", type=Path, help="where the collector is")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, grpc = Path(name), free_port()
        stack_of(folder, grpc)
        with phoenix(given.phoenix, folder, grpc) as page, Stack(folder, programs=given.bin, told=_tell) as running:
            prometheus = f"http://{HOST}:{running.settings['PROMETHEUS_PORT']}"
            play(folder, running.settings)
            picture(until("the trace", lambda: thorough(page)), HERE / "trace.png", folder, "1400,900")
            until(ALERT, lambda: firing(prometheus))
            picture(alerts_page(prometheus), HERE / "alert.png", folder, "1400,900")


if __name__ == "__main__":
    main()
