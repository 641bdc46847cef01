"""The rules, in the real promtool: valid, and each alert fires just above its threshold and not just below."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_agent import InvalidSetting, semconv
from otel_agent.deploy import series
from otel_agent.deploy.alerts import ALERTS
from otel_agent.deploy.rules import render_rules
from otel_agent.deploy.thresholds import Threshold, settled, thresholds
from tests.deploy.cases import CASES, NEW, OLD, Case, Scrapes, T
from tests.deploy.promtool import Question, ask, promtools, unit_tests
from tests.deploy.servers import needs
from tests.deploy.traffic import DAY, Behaviour, Traffic, roles

ABOVE, BELOW = 1.08, 0.92

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def promtool_there() -> None:
    needs("promtool")


def of_kind(kind: str, **options: Any) -> list[dict[str, Any]]:
    groups = yaml.safe_load(render_rules({}, **options))["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


@pytest.mark.usefixtures("promtool_there")
@pytest.mark.parametrize("promtool", promtools())
@pytest.mark.parametrize("token_spike", [True, False])
def test_promtool_accepts_the_rules(promtool: str, token_spike: bool, tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(render_rules({}, token_spike=token_spike), "utf-8")
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert [case.alert for case in CASES] == [alert.name for alert in ALERTS]


def firing(case: Case, times: float, expected: bool) -> dict[str, Any]:
    samples = [{"labels": "{}", "value": 1}] if expected else []
    question = {
        "expr": f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}}) > bool 0',
        "eval_time": f"{case.minutes}m",
        "exp_samples": samples,
    }
    return {"interval": f"{case.step}m", "input_series": list(case.series(times)), "promql_expr_test": [question]}


@pytest.mark.usefixtures("promtool_there")
@pytest.mark.parametrize("promtool", promtools())
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_alert_fires_above_its_threshold_and_not_below(case: Case, promtool: str, tmp_path: Path) -> None:
    tests = [firing(case, ABOVE, True), firing(case, BELOW, False)]
    said = unit_tests(tmp_path, tests, alerts=(case.alert,), minutes=case.step, promtool=promtool)
    assert not said, said


def few(runs: int, times: float, before: int = 400) -> Case:
    """A canary of so few runs that each make `times` the tool calls of the baseline's."""

    def of(_: float) -> Iterator[dict[str, str]]:
        scrapes = Scrapes(60)
        yield from roles(v13="baseline", v14="candidate")
        yield from scrapes.runs(OLD, 0, 60, before, tool_calls=4)
        yield from scrapes.runs(NEW, 20, 60, runs, tool_calls=4 * times)

    return Case(alert="AgentToolCallSpike", series=of, minutes=60)


@pytest.mark.usefixtures("promtool_there")
def test_few_runs_need_a_larger_rise_and_fewer_than_the_minimum_prove_nothing(tmp_path: Path) -> None:
    least, before = int(T["canary_min_runs"]), int(T["older_min_runs"])
    margin = 1 + T["canary_margin"] * math.sqrt(1 / least + 1 / 400)
    tests = [
        firing(few(least, margin * ABOVE), 1, True),
        firing(few(least, margin * BELOW), 1, False),
        firing(few(least - 1, 20), 1, False),
        firing(few(100, 20, before=before), 1, True),
        firing(few(100, 20, before=before - 1), 1, False),
    ]
    said = unit_tests(tmp_path, tests, alerts=("AgentToolCallSpike",), minutes=1)
    assert not said, said


def expensive(hours: int) -> Case:
    """The incident's money: 620 USD in 36 hours more than 100 runs an hour cost with the baseline."""

    def of(_: float) -> Iterator[dict[str, str]]:
        scrapes, end = Scrapes(8 * 60, 5), (3 + hours) * 60
        yield from roles(v13="baseline", v14="candidate")
        yield from scrapes.runs(OLD, 0, 180, 300, usd=0.1)
        yield from scrapes.runs(NEW, 180, end, 100 * hours, usd=0.1 + 620 / 36 / 100)

    return Case(alert="AgentExtraSpend", series=of, minutes=(3 + hours) * 60 + 10, step=5)


@pytest.mark.usefixtures("promtool_there")
def test_the_extra_spend_of_the_incident_is_noticed_after_a_twelfth_of_it(tmp_path: Path) -> None:
    tests = [firing(expensive(2), 1, False), firing(expensive(3), 1, True)]
    said = unit_tests(tmp_path, tests, alerts=("AgentExtraSpend",), minutes=5)
    assert not said, said


@pytest.mark.usefixtures("promtool_there")
def test_a_sum_that_nothing_was_added_to_for_hours_does_not_begin_again(tmp_path: Path) -> None:
    """What is written by the collector, rather than scraped, has no sample while nothing is added to it."""
    labels = 'job="shop", gen_ai_agent_name="support-bot", otel_agent_prompt_id="support:v13:0"'
    name = f'otel_agent_runs_total{{{labels}, otel_agent_stop_reason="max_tokens"}}'
    asked = {"expr": "prompt_stop:otel_agent_runs:1h", "eval_time": "480m", "exp_samples": []}
    series = [{"series": name, "values": "390 395 400 " + "_ " * 477 + "401"}]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}
    said = unit_tests(tmp_path, [test], alerts=("AgentBudgetStops",), minutes=1)
    assert not said, said


SELVES: dict[str, dict[str, Any]] = {
    "doubled": {"changes_at": 8 * DAY - 300, "new": Behaviour(tokens_p95=15_000)},
    "a little more": {"changes_at": 8 * DAY - 300, "new": Behaviour(tokens_p95=9_000)},
    "drifts": {"drift": 1.09},
    "drifts a little": {"drift": 1.03},
}


@pytest.mark.usefixtures("promtool_there")
def test_an_agent_is_compared_with_itself_of_a_day_and_a_week_before(tmp_path: Path) -> None:
    whole = Traffic(seed=3, minutes=8 * DAY + 5, step=5)
    agents = [each for name, more in SELVES.items() for each in replace(whole, **more).series("shop", name)]
    firing_now = Question(expression='ALERTS{alertstate="firing"}', minute=8 * DAY)
    (found,) = ask(tmp_path, agents, [firing_now], step=5, alerts=("AgentTokenSpike",))
    assert {(each["gen_ai_agent_name"], each["against"]) for each in found} == {("doubled", "day"), ("drifts", "week")}


@pytest.mark.usefixtures("promtool_there")
def test_an_alert_names_the_dashboard_and_the_traces_of_the_prompt(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.alert == "AgentTokenSpike")
    test = firing(case, ABOVE, True)
    del test["promql_expr_test"]
    test["alert_rule_test"] = [{"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": []}]
    said = unit_tests(tmp_path, [test], alerts=(case.alert,), minutes=1)
    assert "support-bot with support:v14:0 uses 1.6" in said
    assert "the tokens per run of its baseline prompt" in said
    assert "http://127.0.0.1:3000/d/otel-agent?var-agent=support-bot" in said
    assert (
        "http://127.0.0.1:16686/search?service=shop&tags=%7B%22otel_agent.prompt.id%22%3A%22support%3Av14%3A0%22%7D"
        in said
    )


@pytest.mark.usefixtures("promtool_there")
@pytest.mark.parametrize(
    ("alert", "version"),
    [("AgentToolDenials", "v13"), ("AgentBudgetBurnFast", "v13"), ("AgentKillSwitchOn", "v14")],
)
def test_an_alert_without_a_prompt_links_to_the_prompt_that_runs_or_spends_most(
    alert: str, version: str, tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.alert == alert)
    test = firing(case, ABOVE, True)
    if alert == "AgentKillSwitchOn":
        spent = f'otel_agent_cost_total{{job="shop", otel_agent_prompt_id="{NEW}", gen_ai_agent_name="support-bot"}}'
        test["input_series"].append({"series": spent, "values": "1+1x60"})
    del test["promql_expr_test"]
    test["alert_rule_test"] = [{"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": []}]
    said = unit_tests(tmp_path, [test], alerts=(case.alert,), minutes=1)
    assert f"search?service=shop&tags=%7B%22otel_agent.prompt.id%22%3A%22support%3A{version}%3A0%22%7D" in said


# names

GAUGES = {semconv.RUNS_ACTIVE, semconv.RUN_OLDEST_AGE, semconv.KILL_SWITCH_ACTIVE, semconv.PROMPT_INFO}
METRICS = [value for value in vars(semconv).values() if isinstance(value, semconv.Metric)]
METRICS += semconv.USAGE_COUNTS.values()
LABELS = {series.label(value) for value in vars(semconv).values() if isinstance(value, str)}
WORD = re.compile(r"(?<![\w:])(?:otel_agent|gen_ai|otelcol|error)_\w+(?![\w:])")


def series_of(metric: semconv.Metric) -> dict[str, semconv.Metric]:
    if metric.boundaries:
        return dict.fromkeys((series.bucket(metric), series.total(metric), series.count(metric)), metric)
    return {series.gauge(metric) if metric in GAUGES else series.counter(metric): metric}


SERIES = {name: metric for each in METRICS for name, metric in series_of(each).items()}


def expressions() -> list[str]:
    return [rule["expr"] for rule in of_kind("expr")]


def test_rules_use_the_vocabulary_and_the_collectors_own_metrics_only() -> None:
    used = {word for text in expressions() for word in WORD.findall(text)}
    assert used - SERIES.keys() - LABELS - series.COLLECTOR == set()
    assert used & SERIES.keys() > {"otel_agent_runs_total", "otel_agent_run_tokens_sum", "otel_agent_prompt_info"}


def test_opentelemetry_names_become_prometheus_names() -> None:
    assert series.counter(semconv.RUNS) == "otel_agent_runs_total"
    assert series.bucket(semconv.RUN_DURATION) == "otel_agent_run_duration_seconds_bucket"
    assert series.gauge(semconv.RUN_OLDEST_AGE) == "otel_agent_run_oldest_age_seconds"
    assert series.label(semconv.PROMPT_ID) == "otel_agent_prompt_id"


def test_every_record_that_is_read_is_made_and_every_one_made_is_read() -> None:
    made = {rule["record"] for rule in of_kind("record")}
    read = {word for text in expressions() for word in re.findall(r"\w+:\w+:\w+", text)}
    assert read == made


def test_rules_never_match_a_bucket_by_its_boundary() -> None:
    assert not [text for text in expressions() if re.search(r"\ble\s*=", text)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_series_of_a_case_carry_the_labels_that_the_metric_has(case: Case) -> None:
    for each in case.series(ABOVE):
        name, labels = re.fullmatch(r"(\w+){(.*)}", each["series"]).groups()  # type: ignore[union-attr]
        keys = set(re.findall(r"(\w+)=", labels)) - {"job", "le", "exporter"}
        allowed = {series.label(label) for label in SERIES[name].labels} if name in SERIES else set[str]()
        assert keys <= allowed, each["series"]
        assert name in SERIES or name in series.COLLECTOR or name == "up"


# the declaration


def test_without_token_spikes_those_rules_are_left_out() -> None:
    left_out = {alert.name for alert in ALERTS if alert.spike}
    assert left_out == {"AgentTokenSpike", "AgentToolCallSpike", "AgentTokensPerRequest"}
    named = {rule["alert"] for rule in of_kind("alert", token_spike=False)}
    assert named == {alert.name for alert in ALERTS} - left_out


def test_every_alert_says_what_to_do() -> None:
    for rule in of_kind("alert"):
        assert rule["labels"]["severity"] in ("critical", "warning")
        texts = rule["annotations"]
        assert texts.keys() >= {"summary", "description", "action", "dashboard", "runbook_url"}
        assert ("traces" in texts) is not texts["dashboard"].endswith("-telemetry")


def test_every_threshold_is_used_and_every_one_used_exists() -> None:
    used = {name for alert in ALERTS for name in alert.thresholds}
    assert used == {each.name for each in thresholds()}


@pytest.mark.parametrize("threshold", thresholds(), ids=lambda each: each.name)
def test_a_threshold_that_is_set_stands_in_the_rules(threshold: Threshold) -> None:
    other = 0.4321 if threshold.unit == "share" else 4321.5
    assert f"{other:g}" not in render_rules({})
    assert f"{other:g}" in render_rules({threshold.name: other})


def test_an_unknown_threshold_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidSetting, match=r"did you mean token_spike_ratio\?"):
        render_rules({"token_spike_ration": 2})


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "2", True, None])
def test_a_threshold_is_a_number(value: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"thresholds\.token_spike_ratio"):
        settled({"token_spike_ratio": value})


def test_a_share_is_at_most_one() -> None:
    with pytest.raises(InvalidSetting, match="a share from 0 to 1"):
        settled({"error_share": 5})
