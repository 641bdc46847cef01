"""Every query of every panel finds something in a Prometheus that scrapes the real collector, fed by real runs."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent.deploy import conditions, series
from otel_agent.deploy.dashboards import BOARDS
from otel_agent.deploy.stack.contents import Choice, contents
from tests.deploy.servers import Collector, Prometheus, needs, until
from tests.deploy.test_dashboards import concrete
from tests.deploy.test_rules import SERIES, WORD, expressions
from tests.support.offline import ROOT, environment
from tests.support.otlp import OtlpReceiver

WINDOW = "2m"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    needs("collector", "prometheus")
    folder = tmp_path_factory.mktemp("stack")
    with OtlpReceiver("grpc") as backend:
        variables = {"OTEL_AGENT_TRACES_ENDPOINT": f"127.0.0.1:{backend.port}", "OTEL_AGENT_DECISION_WAIT": "2s"}
        with (
            Collector(folder, **variables) as collector,
            _prometheus(folder, collector) as found,
            _fed(folder, collector),
        ):
            yield found


def _prometheus(folder: Path, collector: Collector) -> Prometheus:
    """Prometheus with the scrape configuration that ships, a second apart, and this collector's ports."""
    shipped = {path: text for path, text in contents(Choice()).items() if path.startswith("prometheus/")}
    live, sums, own = collector.targets
    shipped["prometheus/targets/agents.yml"] = f"[{{targets: ['{live}', '{sums}']}}]"
    shipped["prometheus/targets/collector.yml"] = f"[{{targets: ['{own}']}}]"
    shipped["prometheus/targets/alertmanager.yml"] = "[]"
    for path, text in shipped.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace("interval: 15s", "interval: 1s"))
    made = Prometheus(folder)
    made.command[1] = f"--config.file={folder / 'prometheus' / 'prometheus.yml'}"
    made.command[2] = f"--storage.tsdb.path={folder / 'tsdb'}"
    return made


class _fed:
    """Agents that run beside, in a process of their own."""

    def __init__(self, folder: Path, collector: Collector) -> None:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }
        self.environment = environment(folder, **variables)

    def __enter__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "tests.deploy.feed"], cwd=ROOT, env=self.environment)

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()


QUERIES = [
    pytest.param(concrete(query.expression, WINDOW), id=f"{board.uid}: {panel.title}: {number}")
    for board in BOARDS
    for panel in board.panels
    for number, query in enumerate(panel.queries)
]


@pytest.mark.parametrize("expression", QUERIES)
def test_a_query_has_an_answer(expression: str, prometheus: Prometheus) -> None:
    """NaN is no answer: it is what a rate over nothing new divides into."""
    until(lambda: any(not math.isnan(value) for _, value in prometheus.query(expression)), 90)


def test_every_series_that_a_rule_reads_is_there(prometheus: Prometheus) -> None:
    """All but those of losses, which tests/deploy/test_losses.py provokes."""
    read = {word for text in expressions() for word in WORD.findall(text)} & (SERIES.keys() | series.COLLECTOR)
    wanted = {name for name in read if name not in conditions.LOST}
    assert len(wanted) > 12
    until(lambda: wanted <= set(prometheus.api("label/__name__/values")), 90)


def test_a_latency_has_its_trace(prometheus: Prometheus) -> None:
    """The dots that Grafana draws: each with the id of a trace."""
    asked = {"query": series.SPAN_SECONDS, "start": 0, "end": 4e9}
    exemplars = until(lambda: prometheus.api("query_exemplars", **asked))
    labels = exemplars[0]["exemplars"][0]["labels"]
    assert len(labels["trace_id"]) == 32
