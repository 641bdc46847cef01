"""How many series come of many prompts and agents: the documented bound holds, and what is above it is counted."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from otel_agent import semconv
from tests.deploy.otlp import post
from tests.deploy.servers import Collector, fetch, needs, until
from tests.support.offline import ROOT

PROMPTS, AGENTS = 500, 50
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
OF_A_PAIR = (
    semconv.RUNS,
    semconv.RUN_DURATION,
    semconv.RUN_TOKENS,
    semconv.RUN_STEPS,
    semconv.RUN_TOOL_CALLS,
    semconv.RUN_COST,
)


def measured(metric: semconv.Metric, pairs: Iterable[tuple[int, int]]) -> Metric:
    """One run for each pair of an agent and a prompt, as a delta."""
    made = Metric(name=metric.name, unit=metric.unit)
    kind = made.histogram if metric.boundaries else made.sum
    kind.aggregation_temporality = DELTA
    for agent, prompt in pairs:
        labels = {semconv.AGENT_NAME: f"agent-{agent}", semconv.PROMPT_ID: f"p{prompt}:v1:{prompt:012x}"}
        point = kind.data_points.add(time_unix_nano=time.time_ns())
        point.attributes.extend(KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in labels.items())
        if metric.boundaries:
            point.count, point.sum = 1, 0.0
            point.explicit_bounds.extend(metric.boundaries)
            point.bucket_counts.extend([1] + [0] * len(metric.boundaries))
        else:
            kind.is_monotonic, point.as_int = True, 1
    return made


def count_runs(collector: Collector, pairs: list[tuple[int, int]], metrics: Iterable[semconv.Metric]) -> None:
    for first in range(0, len(pairs), 500):
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="many")))
        resource.scope_metrics.add().metrics.extend(measured(each, pairs[first : first + 500]) for each in metrics)
        post(collector, "metrics", request)


def series(collector: Collector) -> list[str]:
    lines = fetch(f"http://{collector.targets[1]}/metrics").splitlines()
    return [line for line in lines if not line.startswith("#")]


def runs_counted(collector: Collector) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in series(collector) if line.startswith("otel_agent_runs_total"))


def documented(name: str) -> int:
    """The number that docs/collector.md gives beside a name, in its table of bounds."""
    row = re.search(rf"\| {re.escape(name)} \| ([\d,]+)", (ROOT / "docs" / "collector.md").read_text("utf-8"))
    assert row, name
    return int(row[1].replace(",", ""))


def test_500_prompts_of_50_agents_stay_under_the_bound(tmp_path: Path) -> None:
    needs("collector")
    pairs = [(prompt % AGENTS, prompt) for prompt in range(PROMPTS)]
    with Collector(tmp_path) as collector:
        count_runs(collector, pairs, OF_A_PAIR)
        until(lambda: runs_counted(collector) == PROMPTS)
        found = len(series(collector))
        assert collector.own("otelcol_deltatocumulative_streams_tracked") == PROMPTS * len(OF_A_PAIR)
    assert PROMPTS * len(OF_A_PAIR) < found < documented("series of 500 prompts of 50 agents")


def test_every_prompt_with_every_agent_is_cut_off_at_the_limit_and_counted(tmp_path: Path) -> None:
    needs("collector")
    pairs = list(itertools.product(range(AGENTS), range(PROMPTS)))
    limit = documented("streams of deltas")
    with Collector(tmp_path) as collector:
        count_runs(collector, pairs[:100], [semconv.RUNS])
        until(lambda: runs_counted(collector) == 100)
        count_runs(collector, pairs, [semconv.RUNS])
        until(lambda: dropped_points(collector) == len(pairs) - limit)
        assert collector.own("otelcol_deltatocumulative_streams_tracked") == limit
        until(lambda: runs_counted(collector) == limit + 100)
    largest = max(len(metric.boundaries) + 3 for metric in vars(semconv).values() if isinstance(metric, semconv.Metric))
    assert limit * largest <= documented("series of deltas")


def dropped_points(collector: Collector) -> float:
    lines = fetch(f"http://{collector.targets[2]}/metrics").splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if "deltatocumulative" in line and 'error="limit"' in line
    )
