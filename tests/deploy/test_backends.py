"""Our spans in other people's backends from PyPI, behind the collector: one takes protobuf, one JSON."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.deploy.otlp import SPANS_OF_A_RUN, post, runs
from tests.deploy.servers import CONFIG, HOST, Collector, Server, binary, fetch, free_port, needs, until

RUNS = 10


class AgentMesh(Server):
    """AgentMesh: OTLP over HTTP as protobuf, kept in SQLite."""

    name = "agentmesh"

    def __init__(self, folder: Path) -> None:
        self.url = f"http://{HOST}:{free_port()}"
        command = [binary("agentmesh") or "", "--db", str(folder / "mesh.db"), "dashboard", "--host", HOST]
        super().__init__(folder, [*command, "--port", self.url.rpartition(":")[2]], f"{self.url}/readyz", {})

    def spans(self) -> int:
        return sum(trace["span_count"] for trace in json.loads(fetch(f"{self.url}/api/traces")))

    def tokens(self) -> set[int]:
        return {trace["total_tokens"] for trace in json.loads(fetch(f"{self.url}/api/traces"))}


class ClusterTrace(Server):
    """clustertrace: OTLP over HTTP as JSON, kept in SQLite."""

    name = "clustertrace"

    def __init__(self, folder: Path) -> None:
        self.url = f"http://{HOST}:{free_port()}"
        command = [binary("clustertrace") or "", "dashboard", "--host", HOST, "--port", self.url.rpartition(":")[2]]
        super().__init__(folder, command, f"{self.url}/api/traces", {"HOME": str(folder)})

    def traces(self) -> int:
        return json.loads(fetch(f"{self.url}/api/traces"))["total"]


def second_file(folder: Path, url: str, encoding: str) -> list[str]:
    """Writes the second file that docs/collector.md shows, and gives the flags of a collector that reads it."""
    path = folder / "elsewhere.yaml"
    # clustertrace reads no compressed body.
    exporter = {"endpoint": url, "encoding": encoding, "compression": "none"}
    pipeline = {"exporters": ["otlp_http/elsewhere"]}
    content = {
        "exporters": {"otlp_http/elsewhere": exporter},
        "service": {"pipelines": {"traces/kept": pipeline}},
    }
    path.write_text(yaml.safe_dump(content))
    return ["--config", str(CONFIG), "--config", str(path)]


def deliver(folder: Path, url: str, encoding: str) -> None:
    """Sends ten runs through the collector and waits until it says that all were delivered."""
    collector = Collector(folder, OTEL_AGENT_SAMPLER="[]")
    collector.command[1:] = second_file(folder, url, encoding)
    with collector:
        for request in runs(RUNS, "elsewhere"):
            post(collector, "traces", request)
        until(lambda: collector.own("otelcol_exporter_sent_spans_total") == RUNS * SPANS_OF_A_RUN)


def test_agentmesh_shows_our_runs(tmp_path: Path) -> None:
    needs("collector", "agentmesh")
    with AgentMesh(tmp_path) as backend:
        deliver(tmp_path, backend.url, "proto")
        assert until(backend.spans) == RUNS * SPANS_OF_A_RUN
        assert backend.tokens() == {3 * 980}


def test_clustertrace_shows_our_runs(tmp_path: Path) -> None:
    needs("collector", "clustertrace")
    with ClusterTrace(tmp_path) as backend:
        deliver(tmp_path, backend.url, "json")
        assert until(backend.traces) == RUNS
