"""The dashboard of agents: runs, what they use and cost, how they end, how long they take.

All of it comes from the SDK's metrics, which no sampler thins out; but for the latency with exemplars, whose every dot
belongs to a trace.
"""

from __future__ import annotations

from otel_agent import semconv
from otel_agent.deploy import series
from otel_agent.deploy.dashboards.labels import (
    AGENT,
    ERROR,
    LIMIT,
    MODEL,
    OF_AGENT,
    OF_PROMPT,
    PROMPT,
    PROVIDER,
    REASON,
    SCOPE,
    STOP,
    TOOL,
    ended,
)
from otel_agent.deploy.dashboards.panels import Board, Panel, Query, Row, grown, mean, named, quantile, rate
from otel_agent.semconv import Metric
from otel_agent.stop import GROUPS, StopCode

__all__ = ["AGENTS"]

_RUNS = series.counter(semconv.RUNS)
_COST = series.counter(semconv.COST)
_HOUR, _MONTH = 3600, 30 * 24 * 3600
_DONE = tuple(code for code, group in GROUPS.items() if group == "done")
_LOOPS = tuple(code for code, group in GROUPS.items() if group == "loop")


def _one(title: str, about: str, expression: str, *labels: str, unit: str = "short", stacked: bool = False) -> Panel:
    query = Query(expression=expression, legend=named(*labels))
    return Panel(title=title, about=about, queries=(query,), unit=unit, kind="stack" if stacked else "lines")


def _per_run(metric: Metric, title: str, about: str, unit: str = "short") -> Panel:
    above, below = series.total(metric) + OF_PROMPT, series.count(metric) + OF_PROMPT
    buckets = series.bucket(metric) + OF_PROMPT
    queries = (
        Query(expression=mean(above, below, AGENT, PROMPT), legend=f"mean {named(PROMPT)}"),
        Query(expression=quantile(0.95, buckets, AGENT, PROMPT), legend=f"p95 {named(PROMPT)}"),
    )
    return Panel(title=title, about=about, queries=queries, unit=unit)


def _latency(metric: Metric, title: str, about: str, *by: str, of: str = OF_AGENT) -> Panel:
    buckets = series.bucket(metric) + of
    queries = tuple(
        Query(expression=quantile(share, buckets, *by), legend=f"p{share * 100:.0f} {named(*by)}")
        for share in (0.5, 0.95)
    )
    return Panel(title=title, about=about, queries=queries, unit="s")


_RUNS_ROW = Row(
    title="Runs",
    panels=(
        _one("Runs an hour", "How many runs ended.", f"{_HOUR} * {rate(_RUNS + OF_PROMPT, AGENT)}", AGENT),
        _one(
            "Active runs",
            "Runs that are open now.",
            f"sum by ({AGENT}) ({series.gauge(semconv.RUNS_ACTIVE)}{OF_AGENT})",
            AGENT,
        ),
        _one(
            "Oldest open run",
            "A run far older than its time limit hangs in a call that nothing interrupts.",
            f"max by ({AGENT}) ({series.gauge(semconv.RUN_OLDEST_AGE)}{OF_AGENT})",
            AGENT,
            unit="s",
        ),
        _one(
            "Stop reasons by prompt",
            "Why runs ended, in the chosen window. A change of shares from one prompt to the next is the prompt's.",
            grown(_RUNS + OF_PROMPT, PROMPT, STOP),
            PROMPT,
            STOP,
            stacked=True,
        ),
        _one(
            "Share that did not finish",
            "Runs that ended neither by a return nor by a hand-over.",
            mean(_RUNS + ended(*_DONE, otherwise=True), _RUNS + OF_PROMPT, AGENT, PROMPT),
            PROMPT,
            unit="percentunit",
        ),
    ),
)

_USE_ROW = Row(
    title="What a run uses",
    panels=(
        _per_run(semconv.RUN_TOKENS, "Tokens per run", "Input and output, as billed. Judge a prompt by the mean."),
        _one(
            "Tokens per request",
            "Tokens of a run over its LLM calls: longer contexts, rather than more calls.",
            mean(
                series.total(semconv.RUN_TOKENS) + OF_PROMPT, series.total(semconv.RUN_STEPS) + OF_PROMPT, AGENT, PROMPT
            ),
            PROMPT,
        ),
        _per_run(semconv.RUN_TOOL_CALLS, "Tool calls per run", "The first thing that a too thorough prompt changes."),
        _per_run(semconv.RUN_STEPS, "LLM calls per run", "Those that were sent."),
        _per_run(semconv.RUN_COST, "Cost per run", "Without runs whose model has no price.", "currencyUSD"),
    ),
)

_MONEY_ROW = Row(
    title="Money and budgets",
    panels=(
        _one(
            "Spend an hour",
            "At the rate of the chosen window.",
            f"{_HOUR} * {rate(_COST + OF_PROMPT, AGENT)}",
            AGENT,
            unit="currencyUSD",
        ),
        Panel(
            title="Spend of 30 days",
            about="What the chosen agents cost in the last 30 days, beside the budget of a month set above.",
            queries=(
                Query(expression=f"sum(increase({_COST}{OF_PROMPT}[30d]))", legend="spent"),
                Query(expression=f"0 * sum(increase({_COST}{OF_PROMPT}[30d])) + $budget", legend="budget"),
            ),
            unit="currencyUSD",
            kind="number",
        ),
        _one(
            "Burn rate",
            "Spend at the rate of the chosen window over the budget: 1 uses it up in a month, 2 in half of one.",
            f"{_MONTH} * sum(rate({_COST}{OF_PROMPT}[$window])) / $budget",
        ),
        _one(
            "Share of a limit that runs use",
            "95th percentile by limit. Near 1: the limit is too low for the prompt, or the prompt too hungry.",
            quantile(0.95, series.bucket(semconv.BUDGET_UTILIZATION) + OF_AGENT, AGENT, LIMIT),
            AGENT,
            LIMIT,
            unit="percentunit",
        ),
        _one(
            "Budget stops",
            "Runs that passed a limit, in the chosen window.",
            grown(series.counter(semconv.BUDGET_EXCEEDED_COUNT) + OF_PROMPT, PROMPT, LIMIT),
            PROMPT,
            LIMIT,
            stacked=True,
        ),
        _one(
            "Budget warnings",
            "Runs that came near a limit, in the chosen window.",
            grown(series.counter(semconv.BUDGET_WARNINGS) + OF_PROMPT, PROMPT, LIMIT),
            PROMPT,
            LIMIT,
            stacked=True,
        ),
    ),
)

_OPERATION = series.label(semconv.OPERATION)
_OF_RUNS = f'{{{AGENT}=~"$agent", {_OPERATION}="{semconv.OPERATION_RUN}"}}'
_LATENCY_ROW = Row(
    title="Latency",
    panels=(
        _latency(
            semconv.RUN_DURATION,
            "Duration of a run",
            "Waiting for models and tools included.",
            AGENT,
            PROMPT,
            of=OF_PROMPT,
        ),
        Panel(
            title="Duration of a run, with traces",
            about="From spans. Each dot is a run: click it for its trace, which a sampler may have dropped.",
            queries=(
                Query(
                    expression=quantile(0.95, series.SPAN_SECONDS + _OF_RUNS, AGENT),
                    legend=named(AGENT),
                    exemplar=True,
                ),
            ),
            unit="s",
        ),
        _latency(semconv.INFERENCE_DURATION, "Duration of a model call", "Of all agents.", PROVIDER, MODEL, of=""),
        _latency(semconv.TOOL_DURATION, "Duration of a tool call", "Refused calls do not count.", TOOL),
    ),
)

_CALLS = series.count(semconv.INFERENCE_DURATION)
_TOOL_CALLS = series.count(semconv.TOOL_DURATION)
_CALLS_ROW = Row(
    title="Models and tools",
    panels=(
        _one("Model calls an hour", "Of all agents.", f"{_HOUR} * {rate(_CALLS, PROVIDER, MODEL)}", PROVIDER, MODEL),
        _one(
            "Model calls that failed",
            "By error, in the chosen window. A rate limit is the provider's word for too much traffic.",
            grown(f'{_CALLS}{{{ERROR}!=""}}', MODEL, ERROR),
            MODEL,
            ERROR,
            stacked=True,
        ),
        Panel(
            title="Tokens an hour by model",
            about="Of all agents. Cached input is part of the input, reasoning part of the output.",
            queries=tuple(
                Query(expression=f"{_HOUR} * {rate(series.counter(metric), MODEL)}", legend=f"{named(MODEL)} {word}")
                for word, metric in (
                    ("input", semconv.USAGE_COUNTS[semconv.INPUT_TOKENS]),
                    ("output", semconv.USAGE_COUNTS[semconv.OUTPUT_TOKENS]),
                    ("cached", semconv.USAGE_COUNTS[semconv.CACHE_READ_TOKENS]),
                    ("reasoning", semconv.USAGE_COUNTS[semconv.REASONING_TOKENS]),
                )
            ),
        ),
        _one(
            "Spend an hour by model",
            "At the rate of the chosen window.",
            f"{_HOUR} * {rate(_COST + OF_PROMPT, MODEL)}",
            MODEL,
            unit="currencyUSD",
        ),
        _one("Tool calls an hour", "Those let through.", f"{_HOUR} * {rate(_TOOL_CALLS + OF_AGENT, TOOL)}", TOOL),
        _one(
            "Tool calls that failed",
            "By error, in the chosen window.",
            grown(f'{_TOOL_CALLS}{{{AGENT}=~"$agent", {ERROR}!=""}}', TOOL, ERROR),
            TOOL,
            ERROR,
            stacked=True,
        ),
    ),
)

_SAFETY_ROW = Row(
    title="Safety",
    panels=(
        _one(
            "Tool calls refused",
            "In the chosen window.",
            grown(series.counter(semconv.TOOL_DENIALS) + OF_AGENT, TOOL, REASON),
            TOOL,
            REASON,
            stacked=True,
        ),
        _one(
            "Runs that went in circles",
            "Stopped as loops, in the chosen window.",
            grown(_RUNS + ended(*_LOOPS), AGENT, PROMPT),
            AGENT,
            PROMPT,
            stacked=True,
        ),
        _one(
            "Kill switch",
            "1 while it is on.",
            f"max by ({SCOPE}) ({series.gauge(semconv.KILL_SWITCH_ACTIVE)})",
            SCOPE,
        ),
        _one(
            "Runs that a kill switch ended",
            "In the chosen window.",
            grown(_RUNS + ended(*(code for code, group in GROUPS.items() if group == "kill")), AGENT, STOP),
            AGENT,
            STOP,
            stacked=True,
        ),
        _one(
            "Runs that nobody waited for",
            "Cancelled by the process, its caller or its end, in the chosen window.",
            grown(_RUNS + ended(StopCode.CANCELLED), AGENT, PROMPT),
            AGENT,
            PROMPT,
            stacked=True,
        ),
    ),
)

AGENTS = Board(
    uid="otel-agent",
    title="Agents",
    about="Runs of LLM agents: how many, how they end, what they use, what they cost.",
    rows=(_RUNS_ROW, _USE_ROW, _MONEY_ROW, _LATENCY_ROW, _CALLS_ROW, _SAFETY_ROW),
    chosen_from=_RUNS,
    choices=(("agent", AGENT), ("prompt", PROMPT)),
)
