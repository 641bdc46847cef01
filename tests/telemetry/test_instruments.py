"""Metrics under an application's own provider: fine boundaries where a run is measured, zeros before the first run."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import Any

import pytest

from otel_agent import Budget, agent_run, tool_call
from otel_agent.testing import Capture, FakeClock
from tests.support.calls import ask, use

APPLICATION = """
import json
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
provider = MeterProvider([reader])
metrics.set_meter_provider(provider)
from otel_agent import Budget, agent_run, configure, llm_call, tool_call
configure(console=False)
with agent_run(budget=Budget(max_steps=5)), llm_call("gpt-5-mini") as call, tool_call("search"):
    call.record(input_tokens=1, output_tokens=1)
assert metrics.get_meter_provider() is provider
found = {}
for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics:
    for metric in scope.metrics:
        found[metric.name] = [list(getattr(p, "explicit_bounds", ())) for p in metric.data.data_points][0]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def boundaries() -> dict[str, list[float]]:
    """The boundaries that every instrument has under an application's provider without any view."""
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", APPLICATION], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


SPREAD = {
    "otel_agent.run.duration": (0.1, 3600),
    "otel_agent.run.tokens": (500, 1_000_000),
    "otel_agent.run.cost": (0.001, 50),
    "otel_agent.run.steps": (1, 200),
    "otel_agent.run.tool_calls": (1, 200),
    "otel_agent.budget.utilization": (0.3, 1),
}


@pytest.mark.parametrize("name", SPREAD)
def test_run_level_boundaries_are_fine(name: str, boundaries: dict[str, list[float]]) -> None:
    bounds = boundaries[name]
    first, last = SPREAD[name]
    assert bounds == sorted(set(bounds))
    assert bounds[0] <= first
    assert bounds[-1] >= last
    neighbours = [(low, high) for low, high in itertools.pairwise(bounds) if first <= low < last]
    whole = name.endswith(("steps", "tool_calls"))
    coarse = [(low, high) for low, high in neighbours if high / low > 1.5 and not (whole and high - low == 1)]
    assert coarse == []


def test_an_incident_that_the_conventions_buckets_hide_is_seen(boundaries: dict[str, list[float]]) -> None:
    bounds = boundaries["otel_agent.run.tokens"]

    def bucket(value: float) -> int:
        return sum(bound < value for bound in bounds)

    assert bucket(14_200) - bucket(7_500) >= 1
    assert bounds[bucket(7_500)] < 7_500 * 1.5


def test_boundaries_of_the_conventions_are_theirs(boundaries: dict[str, list[float]]) -> None:
    seconds = [round(0.01 * 2**n, 2) for n in range(14)]
    assert boundaries["gen_ai.execute_tool.duration"] == seconds
    assert boundaries["gen_ai.client.inference.duration"] == seconds
    assert boundaries["gen_ai.invoke_agent.duration"] == [round(0.1 * 2**n, 1) for n in range(13)]
    for calls in ("inference_calls", "tool_calls"):
        assert boundaries[f"gen_ai.invoke_agent.{calls}"] == [2**n for n in range(8)]


def points(kept: Capture, name: str) -> dict[tuple[Any, ...], Any]:
    return {tuple(sorted(point.attributes.values())): point for point in kept.metrics()[name]}


def test_the_first_run_of_an_agent_writes_a_zero_before_it_ends(kept: Capture) -> None:
    with agent_run("agent"):
        assert {key: point.value for key, point in points(kept, "otel_agent.runs").items()} == {("agent", "finish"): 0}
    assert {key: point.value for key, point in points(kept, "otel_agent.runs").items()} == {("agent", "finish"): 1}


def test_open_runs_and_the_age_of_the_oldest_are_seen(kept: Capture, clock: FakeClock) -> None:
    with agent_run("slow"):
        clock.advance(30)
        with agent_run("slow"):
            clock.advance(12)
            assert points(kept, "otel_agent.runs.active")[("slow",)].value == 2
            assert points(kept, "otel_agent.run.oldest_age")[("slow",)].value == 42
    assert points(kept, "otel_agent.runs.active")[("slow",)].value == 0
    assert "otel_agent.run.oldest_age" not in kept.metrics()


def test_a_run_is_recorded_once_with_its_totals(kept: Capture, clock: FakeClock) -> None:
    with agent_run("agent", budget=Budget(max_steps=4, max_tool_calls=0)):
        ask(100, 20)
        clock.advance(3)
    one = {name: points(kept, f"otel_agent.run.{name}")[("agent",)] for name in ("steps", "tokens", "duration")}
    assert {name: (point.count, point.sum) for name, point in one.items()} == {
        "steps": (1, 1),
        "tokens": (1, 120),
        "duration": (1, 3.0),
    }
    shares = {key: point.sum for key, point in points(kept, "otel_agent.budget.utilization").items()}
    assert shares == {("agent", "max_steps"): 0.25, ("agent", "max_tool_calls"): 0.0}


def test_a_run_of_unknown_cost_has_none(kept: Capture) -> None:
    with agent_run("agent"):
        ask(model="nobody-knows")
    assert not {"otel_agent.run.cost", "otel_agent.cost"} & set(kept.metrics())


def test_a_failed_call_has_its_error_on_its_duration_only(kept: Capture) -> None:
    with agent_run("agent"):
        with pytest.raises(TimeoutError), tool_call("search"):
            raise TimeoutError
        use("search")
    durations = kept.metrics()["gen_ai.execute_tool.duration"]
    assert [(point.count, point.attributes.get("error.type")) for point in durations] == [
        (1, "TimeoutError"),
        (1, None),
    ]
