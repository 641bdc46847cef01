"""For each alert, series that bring it to `times` its threshold: a little more fires, a little less does not.

What is counted arrives at random moments, and what a run uses scatters; only the sums are exact.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from otel_agent.deploy.thresholds import settled
from tests.deploy.traffic import roles

Series = dict[str, str]
T = settled({})
HOUR = 60
DAY = 24 * HOUR
AGENT = {"job": "shop", "gen_ai_agent_name": "support-bot"}
OLD, NEW = "support:v13:0", "support:v14:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Series for one alert; asked after `minutes`, with one sample every `step` of them."""

    alert: str
    series: Callable[[float], Iterator[Series]]
    minutes: int
    step: int = 1


def named(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{', '.join(f'{key}={value!r}' for key, value in labels.items())}}}".replace("'", '"')


class Scrapes:
    """What is scraped of one process over a time: counters that rise at random moments by random amounts."""

    def __init__(self, minutes: int, step: int = 1, seed: int = 7) -> None:
        self.dice = random.Random(seed)
        self.count = minutes // step + 1
        self.step = step

    def counter(self, name: str, labels: dict[str, str], *stages: tuple[int, int, float], pieces: int = 300) -> Series:
        """Gives a counter that rises by `total` in each stage `(from, to, total)`, in whole steps if it is whole."""
        rises = [0.0] * self.count
        for start, end, total in stages:
            whole = float(total).is_integer()
            most = min(pieces, max(1, int(total))) if whole else pieces
            for share in self._shares(most, total, whole):
                rises[self.dice.randint(start // self.step + 1, end // self.step)] += share
        values = itertools.accumulate(rises)
        return {"series": named(name, labels), "values": " ".join(f"{value:.10g}" for value in values)}

    def _shares(self, pieces: int, total: float, whole: bool) -> list[float]:
        weights = [self.dice.lognormvariate(0, 0.5) for _ in range(pieces)]
        whole_weight = sum(weights)
        cuts = [total * part / whole_weight for part in itertools.accumulate(weights)]
        ends = [float(round(cut)) for cut in cuts] if whole else cuts
        return [end - start for start, end in itertools.pairwise([0.0, *ends])]

    def gauge(self, name: str, labels: dict[str, str], value: Callable[[int], float]) -> Series:
        """Gives a gauge by its value at each minute."""
        values = (f"{value(i * self.step):g}" for i in range(self.count))
        return {"series": named(name, labels), "values": " ".join(values)}

    def runs(self, prompt: str, start: int, end: int, runs: int, **per_run: float) -> Iterator[Series]:
        """Gives the totals of runs with a prompt: `tokens`, `tool_calls` and `usd` per run, and their model calls."""
        labels = {**AGENT, "otel_agent_prompt_id": prompt}
        calls = per_run.get("tool_calls", 4)
        yield self.counter("otel_agent_run_tokens_count", labels, (start, end, runs))
        yield self.counter("otel_agent_run_tokens_sum", labels, (start, end, round(runs * per_run.get("tokens", 4000))))
        yield self.counter("otel_agent_run_tool_calls_sum", labels, (start, end, round(runs * calls)))
        yield self.counter("otel_agent_run_steps_sum", labels, (start, end, round(runs * per_run.get("steps", 5))))
        yield self.counter("otel_agent_cost_total", labels, (start, end, runs * per_run.get("usd", 0.01)))


def _mean(**per_run: float) -> Callable[[float], Iterator[Series]]:
    """A canary of 400 runs beside 400 of the baseline; the values are those of the baseline."""
    ((what, base),) = per_run.items()
    limit = {
        "tokens": "token_spike_ratio",
        "tool_calls": "tool_call_spike_ratio",
        "steps": "tokens_per_request_ratio",
        "usd": "cost_per_run_ratio",
    }[what]

    def series(times: float) -> Iterator[Series]:
        scrapes, ratio = Scrapes(2 * HOUR), T[limit] * times
        yield from roles(v13="baseline", v14="candidate")
        yield from scrapes.runs(OLD, 0, 110, 400, **per_run)
        yield from scrapes.runs(NEW, 0, 110, 400, **{what: base / ratio if what == "steps" else base * ratio})

    return series


def _extra_spend(times: float) -> Iterator[Series]:
    scrapes, runs = Scrapes(2 * HOUR), 400
    yield from roles(v13="baseline", v14="candidate")
    yield from scrapes.runs(OLD, 0, 110, runs, usd=0.1)
    yield from scrapes.runs(NEW, 0, 110, runs, usd=0.1 + times * T["extra_spend_usd"] / runs)


def _stops(*reasons: str, limit: str) -> Callable[[float], Iterator[Series]]:
    def series(times: float) -> Iterator[Series]:
        scrapes, runs = Scrapes(70), 2000
        stopped = round(runs * T[limit] * times)
        labels = {**AGENT, "otel_agent_prompt_id": NEW}
        yield scrapes.counter(
            "otel_agent_runs_total", {**labels, "otel_agent_stop_reason": "finish"}, (0, 70, runs - stopped)
        )
        for number, reason in enumerate(reasons):
            part = stopped // len(reasons) + (number < stopped % len(reasons))
            yield scrapes.counter("otel_agent_runs_total", {**labels, "otel_agent_stop_reason": reason}, (0, 70, part))

    return series


def _stop_shift(times: float) -> Iterator[Series]:
    scrapes, labels = Scrapes(DAY + 75), {**AGENT, "otel_agent_prompt_id": OLD}
    before, after = 0.1, 0.1 + T["stop_share_shift"] * times
    for reason, first, then in (("finish", 1 - before, 1 - after), ("handoff", before, after)):
        stages = ((0, DAY, round(24_000 * first)), (DAY, DAY + 75, round(1_250 * then)))
        yield scrapes.counter("otel_agent_runs_total", {**labels, "otel_agent_stop_reason": reason}, *stages)


def _unannounced(times: float) -> Iterator[Series]:
    scrapes, share = Scrapes(3 * HOUR), T["unannounced_prompt_share"] * times
    for prompt, stages in (
        (OLD, ((0, 150, 250), (150, 180, round(200 * (1 - share))))),
        (NEW, ((150, 180, round(200 * share)),)),
    ):
        labels = {**AGENT, "otel_agent_prompt_id": prompt, "otel_agent_stop_reason": "finish"}
        yield scrapes.counter("otel_agent_runs_total", labels, *stages)


def _rate_limited(times: float) -> Iterator[Series]:
    scrapes, calls = Scrapes(30), 4000
    failed = round(calls * T["rate_limited_share"] * times)
    labels = {"job": "shop", "gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt-5-mini"}
    name = "gen_ai_client_inference_duration_seconds_count"
    yield scrapes.counter(name, labels, (0, 30, calls - failed))
    yield scrapes.counter(name, {**labels, "error_type": "openai.RateLimitError"}, (0, 30, failed))


def _spend(*models: str, usd: float, minutes: int, step: int = 1) -> Callable[[float], Iterator[Series]]:
    """Spend of so many USD an hour at `times` 1."""

    def series(times: float) -> Iterator[Series]:
        scrapes = Scrapes(minutes, step)
        for model in models:
            labels = {**AGENT, "otel_agent_prompt_id": OLD, "gen_ai_request_model": model}
            total = times * usd * minutes / HOUR / len(models)
            yield scrapes.counter("otel_agent_cost_total", labels, (0, minutes, total), pieces=40_000)

    return series


def _latency(times: float) -> Iterator[Series]:
    """One run in twenty takes longer than the limit where `times` is above 1; boundaries stand close to it."""
    scrapes, runs, labels = Scrapes(60), 2000, {**AGENT, "otel_agent_prompt_id": OLD}
    slow = round(runs * (0.06 if times > 1 else 0.04))
    yield scrapes.counter("otel_agent_run_tokens_count", labels, (0, 60, runs))
    moments = sorted(scrapes.dice.randint(1, 60) for _ in range(runs))
    taken = [T["latency_p95_seconds"] * (1.2 if i % runs < slow else 0.6) for i in range(runs)]
    scrapes.dice.shuffle(taken)
    for boundary in (0.5, 0.9, 1.0, 1.1, 1.3, math.inf):
        le = boundary * T["latency_p95_seconds"]
        rises = [0] * 61
        for moment, seconds in zip(moments, taken, strict=True):
            rises[moment] += seconds <= le
        values = " ".join(map(str, itertools.accumulate(rises)))
        bucket = {**labels, "le": "+Inf" if math.isinf(le) else f"{le:g}"}
        yield {"series": named("otel_agent_run_duration_seconds_bucket", bucket), "values": values}


def _denials(times: float) -> Iterator[Series]:
    scrapes, runs = Scrapes(70), 500
    yield scrapes.counter("otel_agent_run_tokens_count", {**AGENT, "otel_agent_prompt_id": OLD}, (0, 70, runs))
    labels = {**AGENT, "gen_ai_tool_name": "kb.search", "otel_agent_decision_reason": "max_calls_per_tool"}
    denied = round(runs * T["denials_per_run"] * times)
    yield scrapes.counter("otel_agent_tool_denials_total", labels, (0, 70, denied))


def _kill_switch(times: float) -> Iterator[Series]:
    yield Scrapes(10).gauge(
        "otel_agent_kill_switch_active", {"job": "shop", "otel_agent_kill_switch_scope": "global"}, lambda _: times > 1
    )


def _open_too_long(times: float) -> Iterator[Series]:
    """The oldest of many runs, each of which ends at some time, until one does not."""
    last = T["run_open_seconds"] * times
    yield Scrapes(60).gauge(
        "otel_agent_run_oldest_age_seconds", AGENT, lambda m: (m * 37) % 90 if m < 20 else last - (60 - m) * 1.5
    )


def _silent(times: float) -> Iterator[Series]:
    scrapes = Scrapes(DAY + 2 * HOUR, 5)
    labels = {**AGENT, "otel_agent_prompt_id": OLD, "otel_agent_stop_reason": "finish"}
    runs = round(T["silent_expected_runs"] * times)
    # in the silent case nothing runs in the last hour and a quarter, which the same hour of the day before did
    stages = [(0, HOUR, runs), (HOUR, 2 * HOUR, runs), (2 * HOUR, DAY + 40, 2000)]
    yield scrapes.counter("otel_agent_runs_total", labels, *stages)


def _received(times: float) -> Iterator[Series]:
    """It goes on receiving a little, or nothing at all."""
    stages = [(0, 80, 5000.0)] + ([] if times > 1 else [(80, 120, 40.0)])
    yield Scrapes(120).counter("otelcol_receiver_accepted_metric_points_total", {"job": "otel-collector"}, *stages)


def _up(times: float) -> Iterator[Series]:
    down = times > 1
    yield Scrapes(30).gauge(
        "up", {"job": "otel-collector"}, lambda minute: not ((down and minute > 20) or minute in (7, 13))
    )


def _lost(times: float) -> Iterator[Series]:
    lost = 3.0 if times > 1 else 0.0
    labels = {"job": "otel-collector", "exporter": "otlp_grpc"}
    yield Scrapes(30).counter("otelcol_exporter_sent_spans_total", labels, (0, 30, 5000.0))
    yield Scrapes(30).counter("otelcol_exporter_enqueue_failed_spans_total", labels, (22, 28, lost))


def _queue(times: float) -> Iterator[Series]:
    scrapes, labels = Scrapes(30), {"job": "otel-collector", "exporter": "otlp_grpc"}
    size = 1000 * T["queue_share"] * times
    yield scrapes.gauge("otelcol_exporter_queue_size", labels, lambda _: round(size - scrapes.dice.random() * 20))
    yield scrapes.gauge("otelcol_exporter_queue_capacity", labels, lambda _: 1000)


_MONTH = T["monthly_budget_usd"]

CASES = [
    Case(alert="AgentTokenSpike", series=_mean(tokens=4000), minutes=110),
    Case(alert="AgentToolCallSpike", series=_mean(tool_calls=4), minutes=110),
    Case(alert="AgentTokensPerRequest", series=_mean(steps=10), minutes=115),
    Case(alert="AgentCostPerRun", series=_mean(usd=0.01), minutes=115),
    Case(alert="AgentExtraSpend", series=_extra_spend, minutes=118),
    Case(alert="AgentPromptChanged", series=_unannounced, minutes=180),
    Case(alert="AgentStopReasonShift", series=_stop_shift, minutes=DAY + 75),
    Case(alert="AgentRateLimited", series=_rate_limited, minutes=30),
    Case(
        alert="AgentBudgetStops",
        series=_stops("max_steps", "max_tokens", "max_tool_calls", limit="budget_stop_share"),
        minutes=70,
    ),
    Case(alert="AgentSpendPerHour", series=_spend("a", "b", usd=T["spend_per_hour_usd"], minutes=90), minutes=90),
    Case(
        alert="AgentBudgetBurnFast",
        series=_spend("a", usd=T["burn_fast_share"] * _MONTH, minutes=180),
        minutes=180,
    ),
    Case(
        alert="AgentBudgetBurnSlow",
        series=_spend("a", usd=T["burn_slow_share"] * _MONTH / 24, minutes=DAY + HOUR, step=5),
        minutes=DAY + HOUR,
        step=5,
    ),
    Case(alert="AgentLatencyHigh", series=_latency, minutes=60),
    Case(alert="AgentErrorRatio", series=_stops("llm_error", "tool_timeout", "error", limit="error_share"), minutes=70),
    Case(alert="AgentLoops", series=_stops("loop_detected", "no_progress", limit="loop_share"), minutes=70),
    Case(alert="AgentToolDenials", series=_denials, minutes=70),
    Case(alert="AgentKillSwitchOn", series=_kill_switch, minutes=10),
    Case(alert="AgentRunOpenTooLong", series=_open_too_long, minutes=60),
    Case(alert="AgentNoTelemetry", series=_silent, minutes=DAY + 2 * HOUR, step=5),
    Case(alert="CollectorReceivesNothing", series=_received, minutes=105),
    Case(alert="CollectorDown", series=_up, minutes=30),
    Case(alert="CollectorLosesTelemetry", series=_lost, minutes=30),
    Case(alert="CollectorQueueFilling", series=_queue, minutes=30),
]
