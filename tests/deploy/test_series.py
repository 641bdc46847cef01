"""Our metrics bear in Prometheus the names that OpenTelemetry's translation gives them."""

from __future__ import annotations

from otel_agent import semconv
from otel_agent.deploy import series


def test_names_are_translated() -> None:
    assert series.counter(semconv.RUNS) == "otel_agent_runs_total"
    assert series.gauge(semconv.RUN_OLDEST_AGE) == "otel_agent_run_oldest_age_seconds"
    assert series.bucket(semconv.RUN_DURATION) == "otel_agent_run_duration_seconds_bucket"
    assert series.total(semconv.RUN_COST) == "otel_agent_run_cost_sum"
    assert series.count(semconv.BUDGET_UTILIZATION) == "otel_agent_budget_utilization_count"
    assert series.label(semconv.STOP_REASON) == "otel_agent_stop_reason"
