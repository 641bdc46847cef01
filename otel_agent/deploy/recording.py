"""What is recorded so that alerts can compare: means per run of a prompt with another's, of an agent with its own past.

Decides what is compared with what, and how certain that is. Knows no threshold.

    otel_agent:tokens_per_run:ratio{against="baseline"}   candidate over baseline, of the last day
    otel_agent:tokens_per_run:ratio{against="hour"}       the agent's last half hour over the hour before it
    otel_agent:tokens_per_run:ratio{against="day"}        its last hour over the three around it a day before
    otel_agent:tokens_per_run:ratio{against="week"}       its last day over the same a week before
    otel_agent:per_run:error{against=...}                 the square root of 1/runs + 1/runs of the two sides
    otel_agent:per_run:newer{against=...}                 the runs of the newer side, and
    otel_agent:per_run:older{against=...}                 of the older one
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from otel_agent import semconv
from otel_agent.deploy import series

__all__ = ["AGENT", "ERROR", "NEWER", "OLDER", "PROMPT", "STOP", "Record", "ratio", "records", "runs_of", "seen"]

JOB = "job"
AGENT = f"{JOB}, {series.label(semconv.AGENT_NAME)}"
PROMPT_ID = series.label(semconv.PROMPT_ID)
PROMPT_NAME = series.label(semconv.PROMPT_NAME)
PROMPT = f"{AGENT}, {PROMPT_ID}"
STOP = series.label(semconv.STOP_REASON)
ROLE = series.label(semconv.PROMPT_ROLE)

ERROR = "otel_agent:per_run:error"
NEWER = "otel_agent:per_run:newer"
OLDER = "otel_agent:per_run:older"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recording rule."""

    name: str
    expression: str
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A mean: one sum over another. `least` is the smallest earlier mean that a ratio is taken of."""

    name: str
    above: str
    below: str
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What an agent is compared with: its last `now` with the `then` that ended `ago`."""

    against: str
    now: str
    then: str
    ago: str


SUMS = {
    "runs": series.count(semconv.RUN_TOKENS),
    "tokens": series.total(semconv.RUN_TOKENS),
    "tool_calls": series.total(semconv.RUN_TOOL_CALLS),
    "steps": series.total(semconv.RUN_STEPS),
    "cost": series.counter(semconv.COST),
}
QUANTITIES = (
    Quantity(name="tokens_per_run", above="tokens", below="runs", least=1),
    Quantity(name="tool_calls_per_run", above="tool_calls", below="runs", least=1),
    Quantity(name="tokens_per_request", above="tokens", below="steps", least=1),
    Quantity(name="cost_per_run", above="cost", below="runs", least=0.0001),
)
PASTS = (
    Past(against="hour", now="30m", then="1h", ago="30m"),
    Past(against="day", now="1h", then="3h", ago="23h"),
    Past(against="week", now="1d", then="1d", ago="1w"),
)
SHORT_WINDOWS = ("30m", "1h", "3h")


def seen(metric: str, window: str, by: str) -> str:
    """Gives by how much a counter rose, with what it began with: `increase` alone loses each process's first run.

    It began in the window if nothing was there in the day before: a sum that is written, rather than scraped, has no
    sample while nothing is added to it. One that appears again after more than a day counts with all it has, so take
    this for means and shares only.
    """
    known = f"last_over_time({metric}[1d] offset {window})"
    first = f'label_replace(min_over_time({metric}[{window}]) unless {known}, "part", "first", "", "")'
    return f"sum by ({by}) (increase({metric}[{window}]) or {first})"


def ratio(quantity: str) -> str:
    """Gives the recorded ratio of a mean, for each `against`."""
    return f"otel_agent:{quantity}:ratio"


def runs_of(level: str, window: str) -> str:
    """Gives the recorded runs of an agent or a prompt in a window."""
    return f"{level}:otel_agent_runs:{window}"


def records() -> Iterator[Record]:
    """Gives every recording rule, each behind those that it reads."""
    yield from _sums()
    yield from _stops()
    yield from _against_baseline()
    for past in PASTS:
        yield from _against_past(past)


def _sums() -> Iterator[Record]:
    for what, metric in SUMS.items():
        of_prompt = Record(name=f"prompt:otel_agent_{what}:1d", expression=seen(metric, "1d", PROMPT))
        yield of_prompt
        yield Record(name=f"agent:otel_agent_{what}:1d", expression=f"sum by ({AGENT}) ({of_prompt.name})")
        for window in SHORT_WINDOWS:
            yield Record(name=f"agent:otel_agent_{what}:{window}", expression=seen(metric, window, AGENT))
    yield Record(name=runs_of("prompt", "30m"), expression=seen(SUMS["runs"], "30m", PROMPT))


def _stops() -> Iterator[Record]:
    runs = series.counter(semconv.RUNS)
    for window in ("1h", "1d"):
        yield Record(name=f"prompt_stop:otel_agent_runs:{window}", expression=seen(runs, window, f"{PROMPT}, {STOP}"))


def _of_role(role: str, what: str) -> str:
    info = f'{series.gauge(semconv.PROMPT_INFO)}{{{ROLE}="{role}"}}'
    known = f"max by ({JOB}, {PROMPT_ID}, {PROMPT_NAME}) ({info})"
    return f"prompt:otel_agent_{what}:1d * on ({JOB}, {PROMPT_ID}) group_left ({PROMPT_NAME}) {known}"


def _against_baseline() -> Iterator[Record]:
    family = f"{AGENT}, {PROMPT_NAME}"
    for what in SUMS:
        yield Record(name=f"candidate:otel_agent_{what}:1d", expression=_of_role("candidate", what))
        baseline = f"sum by ({family}) ({_of_role('baseline', what)})"
        yield Record(name=f"baseline:otel_agent_{what}:1d", expression=baseline)
    labels = {"against": "baseline"}
    match = f"on ({family}) group_left ()"
    new, old = "candidate:otel_agent_{}:1d", "baseline:otel_agent_{}:1d"
    yield from _compared(new, old, match, labels)


def _against_past(past: Past) -> Iterator[Record]:
    new, old = f"agent:otel_agent_{{}}:{past.now}", f"agent:otel_agent_{{}}:{past.then} offset {past.ago}"
    yield from _compared(new, old, "", {"against": past.against})


def _compared(new: str, old: str, match: str, labels: dict[str, str]) -> Iterator[Record]:
    runs, before = new.format("runs"), old.format("runs")
    yield Record(name=NEWER, expression=runs, labels=labels)
    yield Record(name=OLDER, expression=f"0 * {runs} + {match} {before}", labels=labels)
    yield Record(name=ERROR, expression=f"(1 / {runs} + {match} (1 / {before})) ^ 0.5", labels=labels)
    for each in QUANTITIES:
        mean = f"({new.format(each.above)} / {new.format(each.below)})"
        earlier = f"clamp_min({old.format(each.above)} / {old.format(each.below)}, {each.least})"
        yield Record(name=ratio(each.name), expression=f"{mean} / {match} {earlier}", labels=labels)
    spent, cost = new.format("cost"), f"{old.format('cost')} / {before}"
    extra = f"{spent} - {runs} * {match} ({cost})"
    if labels["against"] in ("baseline", "week"):
        yield Record(name="otel_agent:extra_spend:usd1d", expression=extra, labels=labels)
