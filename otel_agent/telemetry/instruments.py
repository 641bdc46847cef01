"""Metrics: the instruments of the vocabulary, and what each fact adds to them.

Each histogram brings its boundaries along, for whichever provider it is made on. Nothing here raises; no label is a
run, a user or a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from otel_agent import semconv
from otel_agent.prompts import PromptInfo
from otel_agent.semconv import Metric
from otel_agent.telemetry.guard import broken
from otel_agent.usage import LimitUse, RunRecord

__all__ = ["Instruments", "watch_open_runs", "watch_prompts"]

Labels = dict[str, Any]


_watchers: list[Callable[[], Mapping[str, float]]] = []


def watch_open_runs(ages: Callable[[], Mapping[str, float]]) -> None:
    """Names the function that tells the age of the oldest open run of each agent, in seconds."""
    _watchers[:] = [ages]


_prompts: list[Callable[[], Iterable[PromptInfo]]] = []


def watch_prompts(infos: Callable[[], Iterable[PromptInfo]]) -> None:
    """Names the function that tells which prompts are in use."""
    _prompts[:] = [infos]


def _in_use(options: CallbackOptions) -> Iterable[Observation]:
    try:
        return [Observation(1, _info_labels(info)) for infos in _prompts for info in infos()]
    except Exception as exc:
        broken("observing the prompts", exc)
        return []


def _info_labels(info: PromptInfo) -> Labels:
    return {
        semconv.PROMPT_NAME: info.name,
        semconv.PROMPT_ID: info.id,
        semconv.PROMPT_VERSION: info.version,
        semconv.PROMPT_ROLE: info.role,
    }


def _oldest(options: CallbackOptions) -> Iterable[Observation]:
    ages = [item for watcher in _watchers for item in watcher().items()]
    return [Observation(age, {semconv.AGENT_NAME: agent}) for agent, age in ages]


class Instruments:
    """Every instrument of the package, on one meter."""

    def __init__(self, meter: Meter) -> None:
        self._runs = _counter(meter, semconv.RUNS)
        self._cost = _counter(meter, semconv.COST)
        self._exceeded = _counter(meter, semconv.BUDGET_EXCEEDED_COUNT)
        self._warnings = _counter(meter, semconv.BUDGET_WARNINGS)
        self._denials = _counter(meter, semconv.TOOL_DENIALS)
        self._active = meter.create_up_down_counter(
            semconv.RUNS_ACTIVE.name, semconv.RUNS_ACTIVE.unit, semconv.RUNS_ACTIVE.about
        )
        meter.create_observable_gauge(
            semconv.RUN_OLDEST_AGE.name, [_oldest], semconv.RUN_OLDEST_AGE.unit, semconv.RUN_OLDEST_AGE.about
        )
        meter.create_observable_gauge(
            semconv.PROMPT_INFO.name, [_in_use], semconv.PROMPT_INFO.unit, semconv.PROMPT_INFO.about
        )
        self._duration = _histogram(meter, semconv.RUN_DURATION)
        self._tokens = _histogram(meter, semconv.RUN_TOKENS)
        self._steps = _histogram(meter, semconv.RUN_STEPS)
        self._tool_calls = _histogram(meter, semconv.RUN_TOOL_CALLS)
        self._run_cost = _histogram(meter, semconv.RUN_COST)
        self._utilization = _histogram(meter, semconv.BUDGET_UTILIZATION)
        self._agent_duration = _histogram(meter, semconv.AGENT_DURATION)
        self._agent_inference = _histogram(meter, semconv.AGENT_INFERENCE_CALLS)
        self._agent_tools = _histogram(meter, semconv.AGENT_TOOL_CALLS)
        self._tool_duration = _histogram(meter, semconv.TOOL_DURATION)
        self._inference_duration = _histogram(meter, semconv.INFERENCE_DURATION)
        self._usage = {key: _counter(meter, metric) for key, metric in semconv.USAGE_COUNTS.items()}
        self._known: set[tuple[str, str | None, str | None]] = set()

    def run_started(self, agent: str, prompt_id: str | None, variant: str | None = None) -> None:
        """Counts an open run; the first of its kind also writes zeros, so that a rate sees the first run end."""
        try:
            self._active.add(1, {semconv.AGENT_NAME: agent})
            kind = agent, prompt_id, variant
            if kind not in self._known and len(self._known) < 1000:
                self._known.add(kind)
                self._zero(_labels(*kind))
        except Exception as exc:
            broken("recording metrics", exc)

    def _zero(self, labels: Labels) -> None:
        self._runs.add(0, {**labels, semconv.STOP_REASON: "finish"})

    def run_ended(self, run: RunRecord) -> None:
        """Records a run's totals, once each."""
        try:
            self._run_totals(run, _labels(run.agent, run.prompt_id, run.variant))
            self._conventions(run)
        except Exception as exc:
            broken("recording metrics", exc)

    def _run_totals(self, run: RunRecord, labels: Labels) -> None:
        self._active.add(-1, {semconv.AGENT_NAME: run.agent})
        self._runs.add(1, {**labels, semconv.STOP_REASON: str(run.stop_reason)})
        self._duration.record(run.usage.seconds, labels)
        self._tokens.record(run.usage.total_tokens, labels)
        self._steps.record(run.usage.steps, labels)
        self._tool_calls.record(run.usage.tool_calls, labels)
        if run.usage.cost_usd is not None:
            self._run_cost.record(float(run.usage.cost_usd), labels)
        for limit, use in run.limits.items():
            self._utilization.record(_share(use), {semconv.AGENT_NAME: run.agent, semconv.LIMIT: f"max_{limit}"})

    def _conventions(self, run: RunRecord) -> None:
        labels: Labels = {semconv.AGENT_NAME: run.agent}
        self._agent_inference.record(run.own_usage.steps, labels)
        self._agent_tools.record(run.own_usage.tool_calls, labels)
        if run.error_type:
            labels = {**labels, semconv.ERROR_TYPE: run.error_type}
        self._agent_duration.record(run.usage.seconds, labels)

    def tool_ended(self, labels: Labels, seconds: float) -> None:
        """Records how long a tool took, in seconds."""
        try:
            self._tool_duration.record(seconds, labels)
        except Exception as exc:
            broken("recording metrics", exc)

    def inference_ended(self, labels: Labels, seconds: float, error: str | None, tokens: Mapping[str, int]) -> None:
        """Records how long a model call took, in seconds, and its tokens by attribute name."""
        try:
            self._inference_duration.record(seconds, {**labels, semconv.ERROR_TYPE: error} if error else labels)
            for key, amount in tokens.items():
                self._usage[key].add(amount, labels)
        except Exception as exc:
            broken("recording metrics", exc)

    def spent(self, agent: str, prompt_id: str | None, model: str | None, usd: float) -> None:
        """Counts what a call cost, in USD; a tool has no model."""
        labels = _labels(agent, prompt_id)
        if model is not None:
            labels[semconv.REQUEST_MODEL] = model
        try:
            self._cost.add(usd, labels)
        except Exception as exc:
            broken("recording metrics", exc)

    def denied(self, agent: str, tool: str, reason: str) -> None:
        """Counts a refused tool call."""
        labels = {semconv.AGENT_NAME: agent, semconv.TOOL_NAME: tool, semconv.DECISION_REASON: reason}
        try:
            self._denials.add(1, labels)
        except Exception as exc:
            broken("recording metrics", exc)

    def limit_noted(self, kind: str, agent: str, prompt_id: str | None, limit: str) -> None:
        """Counts a run that is near a limit ("warning") or passed it ("exceeded")."""
        counter = self._warnings if kind == "warning" else self._exceeded
        try:
            counter.add(1, {**_labels(agent, prompt_id), semconv.LIMIT: limit})
        except Exception as exc:
            broken("recording metrics", exc)


def _labels(agent: str, prompt_id: str | None, variant: str | None = None) -> Labels:
    labels: Labels = {semconv.AGENT_NAME: agent}
    if prompt_id is not None:
        labels[semconv.PROMPT_ID] = prompt_id
    if variant is not None:
        labels[semconv.PROMPT_VARIANT] = variant
    return labels


def _share(use: LimitUse) -> float:
    return float(use.used) / float(use.limit) if use.limit else float(bool(use.used))


def _counter(meter: Meter, metric: Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.about)


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    return meter.create_histogram(
        metric.name, metric.unit, metric.about, explicit_bucket_boundaries_advisory=list(metric.boundaries)
    )
