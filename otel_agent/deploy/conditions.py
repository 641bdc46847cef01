"""When each alert fires, as expressions of Prometheus.

Decides what is compared; a number to compare with stands as `<name>` and comes from `thresholds.yaml`. Every name of a
metric comes from `semconv`, or is one of the collector's own.
"""

from __future__ import annotations

from typing import Final

from otel_agent import semconv
from otel_agent.deploy import series
from otel_agent.deploy.recording import AGENT, ERROR, NEWER, OLDER, PROMPT, STOP, ratio, runs_of, seen
from otel_agent.stop import GROUPS, StopCode

__all__ = [
    "BUDGET_STOPS",
    "BURN_FAST",
    "BURN_SLOW",
    "COLLECTOR_DEAF",
    "COLLECTOR_DOWN",
    "COLLECTOR_JOB",
    "COST_SPIKE",
    "DENIALS",
    "ERRORS",
    "EXTRA_SPEND",
    "KILL_SWITCH",
    "LATENCY",
    "LOOPS",
    "LOST",
    "OPEN_TOO_LONG",
    "QUEUE",
    "RATE_LIMITED",
    "SILENT",
    "SPEND",
    "STOP_SHIFT",
    "TOKENS_PER_REQUEST",
    "TOKEN_SPIKE",
    "TOOL_CALL_SPIKE",
    "UNANNOUNCED",
]

COLLECTOR_JOB: Final = "otel-collector"
"""The job under which Prometheus scrapes the collector's own metrics."""

_RUNS = series.counter(semconv.RUNS)
_SPENT = series.counter(semconv.COST)
_CALLS = series.count(semconv.INFERENCE_DURATION)
_PROMPT_ID = series.label(semconv.PROMPT_ID)
_MODEL = f"job, {series.label(semconv.PROVIDER)}, {series.label(semconv.REQUEST_MODEL)}"
_DENIED = f"{AGENT}, {series.label(semconv.TOOL_NAME)}, {series.label(semconv.DECISION_REASON)}"
_TURNED_AWAY = f'{series.label(semconv.ERROR_TYPE)}=~"(?i).*(rate_?limit|too_?many|throttl|quota|exhausted|429).*"'
_COLLECTOR = f'job="{COLLECTOR_JOB}"'
_RECEIVED = "otelcol_receiver_accepted_metric_points_total"
_LOST = (
    "otelcol_receiver_refused_spans_total",
    "otelcol_receiver_refused_metric_points_total",
    "otelcol_exporter_send_failed_spans_total",
    "otelcol_exporter_send_failed_metric_points_total",
    "otelcol_exporter_enqueue_failed_metric_points_total",
    "otelcol_exporter_enqueue_failed_spans_total",
    "otelcol_receiver_refused_log_records_total",
    "otelcol_exporter_send_failed_log_records_total",
    "otelcol_exporter_enqueue_failed_log_records_total",
    'otelcol_deltatocumulative_datapoints_total{error!=""}',
)


def _risen(what: str, margin: str = "history_margin") -> str:
    """Few runs scatter: the fewer there are on either side, the further the ratio must be from 1."""
    name = ratio(what)
    canary = f'{name}{{against="baseline"}} > 1 + <canary_margin> * {ERROR} and {NEWER} >= <canary_min_runs>'
    past = f'{name}{{against!="baseline"}} > 1 + <{margin}> * {ERROR} and {NEWER} >= <history_min_runs>'
    return f"(({canary}) or ({past})) and {OLDER} >= <older_min_runs>"


TOOL_CALL_SPIKE = f"({_risen('tool_calls_per_run', 'history_margin_tool_calls')}) > <tool_call_spike_ratio>"
# the same few runs prove both: where their tool calls have spiked, a smaller rise of tokens is none by chance
TOKEN_SPIKE = (
    f"({_risen('tokens_per_run')}) > <token_spike_ratio>"
    f" or ({ratio('tokens_per_run')} > <token_rise_with_tool_calls_ratio> and ({TOOL_CALL_SPIKE}))"
)
TOKENS_PER_REQUEST = f"({_risen('tokens_per_request')}) > <tokens_per_request_ratio>"
COST_SPIKE = f"({_risen('cost_per_run')}) > <cost_per_run_ratio>"
EXTRA_SPEND = f"otel_agent:extra_spend:usd1d > <extra_spend_usd> and ({_risen('cost_per_run')})"


def _unannounced() -> str:
    new, before = f"sum by ({PROMPT}) (increase({_RUNS}[30m]))", f"increase({_RUNS}[1d] offset 30m)"
    share = f'sum by ({PROMPT}) (increase({_RUNS}{{{_PROMPT_ID}!=""}}[30m]))'
    of_agent = f"on ({AGENT}) group_left () sum by ({AGENT}) ({new})"
    known = f"sum by ({PROMPT}) ({before}) > 0"
    old_agent = f"on ({AGENT}) (sum by ({AGENT}) ({before}) >= <share_min_runs>)"
    enough = f"on ({PROMPT}) ({new} >= <canary_min_runs>)"
    return f"({share} / {of_agent} > <unannounced_prompt_share>) unless ({known}) and {old_agent} and {enough}"


UNANNOUNCED = _unannounced()


def _codes(*groups: str, also: tuple[StopCode, ...] = ()) -> str:
    return "|".join([*(code for code, group in GROUPS.items() if group in groups), *also])


def _stops(codes: str, least: str) -> str:
    runs = f"sum by ({PROMPT}) (prompt_stop:otel_agent_runs:1h)"
    stopped = f'sum by ({PROMPT}) (prompt_stop:otel_agent_runs:1h{{{STOP}=~"{codes}"}})'
    return f"{stopped} / {runs} > <{least}> and {runs} >= <share_min_runs>"


BUDGET_STOPS = _stops(_codes("budget"), "budget_stop_share")
ERRORS = _stops(_codes("model, tool", also=(StopCode.STORE_UNAVAILABLE, StopCode.ERROR)), "error_share")
LOOPS = _stops(_codes("loop"), "loop_share")


def _stop_shift() -> str:
    level, match = f"{AGENT}, {STOP}", f"on ({AGENT}) group_left ()"
    runs, before = (f"sum by ({AGENT}) (prompt_stop:otel_agent_runs:{each})" for each in ("1h", "1d offset 1h"))
    stops = f"sum by ({level}) (prompt_stop:otel_agent_runs:1h)"
    earlier = f"(sum by ({level}) (prompt_stop:otel_agent_runs:1d offset 1h) or 0 * {stops})"
    now, then = f"{stops} / {match} {runs}", f"{earlier} / {match} {before}"
    rise, chance = f"({now} - {then})", f"4 * (({then}) * (1 - {then}) / {match} {runs}) ^ 0.5"
    enough = " and ".join(f"on ({AGENT}) ({each} >= <share_min_runs>)" for each in (runs, before))
    return f"({rise} > <stop_share_shift> and {rise} > {chance}) and {enough}"


STOP_SHIFT = _stop_shift()

SPEND = f"sum by ({AGENT}) (increase({_SPENT}[1h])) > <spend_per_hour_usd>"


def _burn(share: str, long: str, short: str, times: int) -> str:
    longer, shorter = f"sum(increase({_SPENT}[{long}]))", f"sum(increase({_SPENT}[{short}]))"
    least = f"<{share}> * <monthly_budget_usd>"
    return f"{longer} > {least} and {times} * {shorter} > {least}"


BURN_FAST = _burn("burn_fast_share", "1h", "15m", 4)
BURN_SLOW = _burn("burn_slow_share", "1d", "2h", 12)


def _latency() -> str:
    p95 = f"histogram_quantile(0.95, sum by (le, {PROMPT}) (rate({series.bucket(semconv.RUN_DURATION)}[30m])))"
    return f"{p95} > <latency_p95_seconds> and {runs_of('prompt', '30m')} >= <share_min_runs>"


def _rate_limited() -> str:
    calls = seen(_CALLS, "15m", _MODEL)
    turned_away = seen(f"{_CALLS}{{{_TURNED_AWAY}}}", "15m", _MODEL)
    return f"{turned_away} / {calls} > <rate_limited_share> and {calls} >= <rate_limited_min_calls>"


def _denials() -> str:
    runs, denials = runs_of("agent", "1h"), seen(series.counter(semconv.TOOL_DENIALS), "1h", _DENIED)
    enough = f"on ({AGENT}) ({runs} >= <share_min_runs>)"
    return f"({denials} / on ({AGENT}) group_left () {runs} > <denials_per_run>) and {enough}"


def _open_too_long() -> str:
    # what a process reported last stays when it is gone, but no longer grows
    age = series.gauge(semconv.RUN_OLDEST_AGE)
    return f"max by ({AGENT}) ({age} and delta({age}[5m]) > 0) > <run_open_seconds>"


def _silent() -> str:
    now, yesterday = (f"sum by ({AGENT}) (increase({_RUNS}[1h]{ago}))" for ago in ("", " offset 1d"))
    return f"{yesterday} >= <silent_expected_runs> unless ({now} > 0)"


LATENCY = _latency()
RATE_LIMITED = _rate_limited()
DENIALS = _denials()
OPEN_TOO_LONG = _open_too_long()
SILENT = _silent()
KILL_SWITCH = (
    f"max by (job, {series.label(semconv.KILL_SWITCH_SCOPE)}) ({series.gauge(semconv.KILL_SWITCH_ACTIVE)}) > 0"
)


def _lost() -> str:
    each = (f'label_replace(sum(increase({lost}[10m])), "what", "{lost.partition("{")[0]}", "", "")' for lost in _LOST)
    return f"({' or '.join(each)}) > <dropped_items>"


COLLECTOR_DOWN = f"up{{{_COLLECTOR}}} == 0 or absent(up{{{_COLLECTOR}}})"
COLLECTOR_DEAF = f"sum(rate({_RECEIVED}[10m])) == 0 and sum(rate({_RECEIVED}[1h] offset 10m)) > 0"
LOST = _lost()
QUEUE = "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity) > <queue_share>"
