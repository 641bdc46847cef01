"""The dashboard of prompts: the candidate beside the baseline, so that one look tells the prompt from the traffic.

Which prompt has which role comes from the gauge of prompts in use; without it these panels are empty.
"""

from __future__ import annotations

from otel_agent import semconv
from otel_agent.deploy import series
from otel_agent.deploy.dashboards.labels import AGENT, OF_PROMPT, PROMPT, PROMPT_NAME, ROLE, STOP
from otel_agent.deploy.dashboards.panels import Board, Panel, Query, Row, grown, mean, named, quantile, rate
from otel_agent.semconv import Metric

__all__ = ["PROMPTS"]

_RUNS = series.counter(semconv.RUNS)
_INFO = series.gauge(semconv.PROMPT_INFO)
_WHO = (PROMPT_NAME, ROLE, PROMPT)


def _with_role(expression: str) -> str:
    """Puts the role of each series' prompt beside it; during a release it may have two: one counts."""
    roles = f"topk by ({PROMPT}) (1, max by ({PROMPT}, {PROMPT_NAME}, {ROLE}) ({_INFO}))"
    return f"({expression}) * on ({PROMPT}) group_left ({PROMPT_NAME}, {ROLE}) {roles}"


def _beside(title: str, about: str, expression: str, *more: str, unit: str = "short", stacked: bool = False) -> Panel:
    query = Query(expression=_with_role(expression), legend=named(*_WHO, *more))
    return Panel(title=title, about=about, queries=(query,), unit=unit, kind="stack" if stacked else "lines")


def _mean(above: str, below: str, title: str, about: str, unit: str = "short") -> Panel:
    return _beside(title, about, mean(above + OF_PROMPT, below + OF_PROMPT, AGENT, PROMPT), AGENT, unit=unit)


def _mean_of(metric: Metric, title: str, about: str, unit: str = "short") -> Panel:
    return _mean(series.total(metric), series.count(metric), title, about, unit)


def _ratio(metric: Metric, title: str) -> Panel:
    """The candidate's mean over the baseline's, by agent and name of the prompt."""
    per_run = mean(series.total(metric) + OF_PROMPT, series.count(metric) + OF_PROMPT, AGENT, PROMPT)

    def of(role: str) -> str:
        roles = f'max by ({PROMPT}, {PROMPT_NAME}) ({_INFO}{{{ROLE}="{role}"}})'
        return f"avg by ({AGENT}, {PROMPT_NAME}) (({per_run}) * on ({PROMPT}) group_left ({PROMPT_NAME}) {roles})"

    return Panel(
        title=title,
        about="The candidate's mean over the baseline's. 1 is no change; more traffic does not move it.",
        queries=(Query(expression=f"{of('candidate')} / {of('baseline')}", legend=named(AGENT, PROMPT_NAME)),),
    )


_RATIOS = Row(
    title="Candidate over baseline",
    panels=(
        _ratio(semconv.RUN_TOKENS, "Tokens per run, ratio"),
        _ratio(semconv.RUN_TOOL_CALLS, "Tool calls per run, ratio"),
        _ratio(semconv.RUN_COST, "Cost per run, ratio"),
    ),
)

_BESIDE = Row(
    title="Candidate beside baseline",
    panels=(
        _beside(
            "Runs an hour", "Whether there are enough runs to judge by.", f"3600 * {rate(_RUNS + OF_PROMPT, PROMPT)}"
        ),
        _mean_of(semconv.RUN_TOKENS, "Tokens per run", "Means."),
        _beside(
            "Tokens per run, p95",
            "For reading only: of few runs it swings by half without any cause.",
            quantile(0.95, series.bucket(semconv.RUN_TOKENS) + OF_PROMPT, AGENT, PROMPT),
            AGENT,
        ),
        _mean(
            series.total(semconv.RUN_TOKENS),
            series.total(semconv.RUN_STEPS),
            "Tokens per request",
            "Tokens over LLM calls: a longer prompt or longer tool results.",
        ),
        _mean_of(semconv.RUN_TOOL_CALLS, "Tool calls per run", "Means."),
        _mean_of(semconv.RUN_STEPS, "LLM calls per run", "Means."),
        _mean_of(semconv.RUN_COST, "Cost per run", "Means.", "currencyUSD"),
        _mean_of(semconv.RUN_DURATION, "Duration of a run", "Means.", "s"),
        _beside(
            "Stop reasons",
            "Runs in the chosen window by how they ended.",
            grown(_RUNS + OF_PROMPT, PROMPT, STOP),
            STOP,
            stacked=True,
        ),
    ),
)

PROMPTS = Board(
    uid="otel-agent-prompts",
    title="Agents: candidate against baseline",
    about="One prompt beside another: what changed with the prompt, whatever the traffic did.",
    rows=(_RATIOS, _BESIDE),
    chosen_from=_RUNS,
    choices=(("agent", AGENT), ("prompt", PROMPT)),
)
