"""Real servers for tests: collector, Jaeger, Prometheus, Alertmanager, on free ports of 127.0.0.1, stopped by pid.

with Jaeger(tmp_path) as jaeger, Collector(tmp_path, OTEL_AGENT_TRACES_ENDPOINT=jaeger.otlp) as collector:
    ...  # OTEL_EXPORTER_OTLP_ENDPOINT=collector.http
    until(lambda: jaeger.traces("support"))

`needs("collector", "jaeger")` skips the test where one is not installed, and fails it where `NEED_SERVERS` is set, as
`.ci/run` does. A server is looked for on the PATH, then where `.ci/servers` puts what it builds.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
import yaml

from tests.support.offline import ROOT

__all__ = [
    "CONFIG",
    "HOST",
    "Alertmanager",
    "Collector",
    "Jaeger",
    "Prometheus",
    "Server",
    "binary",
    "every",
    "fetch",
    "free_port",
    "needs",
    "until",
    "writing_to",
]

CONFIG = ROOT / "collector-config.yaml"
HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 30.0

BINARIES = {
    "collector": ("otelcol-agent", "otelcol-contrib"),
    "jaeger": ("jaeger",),
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "amtool": ("amtool",),
    "agentmesh": ("agentmesh",),
    "clustertrace": ("clustertrace",),
}

T = TypeVar("T")


@functools.cache
def _built() -> str:
    # tests/conftest.py gives each run of the tests a cache folder of its own; the servers are in the user's.
    env = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    where = [ROOT / ".ci" / "servers", "--where"]
    return subprocess.run(where, env=env, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@functools.cache
def binary(server: str) -> str | None:
    """Gives the path of a server's program, or None where it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), _built()])
    return next((found for name in BINARIES[server] if (found := shutil.which(name, path=path))), None)


def every(server: str) -> list[str]:
    """Gives the paths of a server's programs: Debian's and the one that was built, where both are there."""
    found = [shutil.which(name, path=path) for name in BINARIES[server] for path in (None, _built())]
    return list(dict.fromkeys(filter(None, found)))


def needs(*servers: str) -> None:
    """Skips the test, with a reason, where one of these servers is not installed."""
    missing = [server for server in servers if binary(server) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)}; see docs/collector.md"
        pytest.fail(reason) if os.environ.get("NEED_SERVERS") else pytest.skip(reason)


def free_port() -> int:
    """Gives a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


def until(look: Callable[[], T], seconds: float = 60.0) -> T:
    """Asks again until the answer is truthy, and gives it; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.1)
    return found


def fetch(url: str, body: bytes | None = None, **headers: str) -> str:
    """Gives the answer to a GET, or to a POST of a body."""
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
        return answer.read().decode()


def answers(url: str) -> bool:
    """Says whether a GET is answered with success."""
    try:
        fetch(url)
    except (urllib.error.URLError, OSError):
        return False
    return True


class Server:
    """One server process; `with` starts it, waits until it is ready, and stops it."""

    name: str

    def __init__(self, folder: Path, command: Sequence[str], ready: str, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.command = list(command)
        self.ready = ready
        self.environment = dict(environment)
        self.log = folder / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until it is ready; fails with its last words where it does not come up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | self.environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(self._is_up, START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} did not start:\n{self.said()[-3000:]}"
        return answers(self.ready)

    def stop(self) -> None:
        """Ends it as an operator would, with SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash would, with SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def said(self) -> str:
        """Gives all that it has written to its log."""
        return self.log.read_text("utf-8", "replace")

    def resident_mib(self) -> float:
        """Gives its resident memory, in MiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Collector(Server):
    """The collector with the configuration that ships; keywords are its variables."""

    name = "collector"

    def __init__(self, folder: Path, *, config: Path = CONFIG, **variables: str) -> None:
        self.ports = {name: free_port() for name in ("GRPC", "HTTP", "SCRAPE", "SUMS", "OWN_METRICS", "HEALTH")}
        ports = {f"OTEL_AGENT_{name}_PORT": str(port) for name, port in self.ports.items()}
        queue = {"OTEL_AGENT_QUEUE_DIR": str(folder / "queue")}
        command = [binary("collector") or "", "--config", str(config)]
        super().__init__(folder, command, f"http://{HOST}:{self.ports['HEALTH']}/", ports | queue | variables)

    @property
    def http(self) -> str:
        """Where OTLP over HTTP goes."""
        return f"http://{HOST}:{self.ports['HTTP']}"

    @property
    def grpc(self) -> str:
        """Where OTLP over gRPC goes."""
        return f"http://{HOST}:{self.ports['GRPC']}"

    @property
    def targets(self) -> list[str]:
        """What Prometheus scrapes: live streams, sums, and the collector's own metrics."""
        return [f"{HOST}:{self.ports[name]}" for name in ("SCRAPE", "SUMS", "OWN_METRICS")]

    def own(self, metric: str) -> float:
        """Gives one of the collector's own metrics, summed over its labels; 0 where there is none yet."""
        lines = fetch(f"http://{self.targets[2]}/metrics").splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{metric}{{", f"{metric} ")))


class Jaeger(Server):
    """Jaeger with its storage in memory."""

    name = "jaeger"

    def __init__(self, folder: Path, *, max_traces: int = 100_000) -> None:
        self.otlp_port, self.query_port, health = free_port(), free_port(), free_port()
        self.config = folder / "jaeger.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(yaml.safe_dump(self._configuration(health, max_traces)))
        command = [binary("jaeger") or "", "--config", str(self.config)]
        super().__init__(folder, command, f"http://{HOST}:{health}/status", {})

    def _configuration(self, health: int, max_traces: int) -> dict[str, Any]:
        return {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"{HOST}:{self.otlp_port}"}}}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "extensions": {
                "healthcheckv2": {"use_v2": True, "http": {"endpoint": f"{HOST}:{health}"}},
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": max_traces}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": f"{HOST}:{self.query_port}"},
                    "grpc": {"endpoint": f"{HOST}:0"},
                },
            },
            "service": {
                "extensions": ["healthcheckv2", "jaeger_storage", "jaeger_query"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            },
        }

    @property
    def otlp(self) -> str:
        """Where OTLP over gRPC goes, as `host:port`."""
        return f"{HOST}:{self.otlp_port}"

    def traces(self, service: str, limit: int = 1500, **tags: str) -> list[dict[str, Any]]:
        """Asks the query API for the traces of a service, with these tags."""
        asked = {"service": service, "limit": limit, "lookback": "1h"} | ({"tags": json.dumps(tags)} if tags else {})
        answer = fetch(f"http://{HOST}:{self.query_port}/api/traces?{urllib.parse.urlencode(asked)}")
        return json.loads(answer)["data"]


class Prometheus(Server):
    """Prometheus; scrapes its targets each second, and reads rule files. `program` is one of several that are here."""

    name = "prometheus"

    def __init__(
        self,
        folder: Path,
        *,
        targets: Sequence[str] = (),
        rules: Sequence[Path] = (),
        alertmanager: str | None = None,
        flags: Sequence[str] = (),
        interval: str = "1s",
        program: str | None = None,
    ) -> None:
        self.port = free_port()
        self.config = folder / "prometheus.yml"
        alerting = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]} if alertmanager else {}
        content = {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(path) for path in rules],
            "alerting": alerting,
            "scrape_configs": [{"job_name": "collector", "static_configs": [{"targets": list(targets)}]}],
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(yaml.safe_dump(content))
        command = [
            program or binary("prometheus") or "",
            f"--config.file={self.config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--enable-feature=exemplar-storage",
            *flags,
        ]
        super().__init__(folder, command, f"{self.url}/-/ready", {})

    @property
    def url(self) -> str:
        """Where its page and its API are."""
        return f"http://{HOST}:{self.port}"

    def api(self, path: str, **asked: str | float) -> Any:
        """Gives what the HTTP API answers under `/api/v1/`."""
        return json.loads(fetch(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"))["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Asks for an expression now: the labels and the value of each series."""
        result = self.api("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def value(self, expression: str) -> float | None:
        """Asks for an expression that has one series, or none yet."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None


def writing_to(prometheus: Prometheus) -> dict[str, str]:
    """The variables of a collector that writes its metrics into Prometheus, which must take them."""
    where = {"OTEL_AGENT_REMOTE_WRITE_ENDPOINT": f"{prometheus.url}/api/v1/write"}
    return {"OTEL_AGENT_METRICS": "prometheus_remote_write"} | where


class Alertmanager(Server):
    """Alertmanager with a configuration."""

    name = "alertmanager"

    def __init__(self, folder: Path, config: Path) -> None:
        self.port = free_port()
        command = [
            binary("alertmanager") or "",
            f"--config.file={config}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]
        super().__init__(folder, command, f"http://{self.address}/-/ready", {})

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"{HOST}:{self.port}"
