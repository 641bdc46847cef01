"""`otel-agent runs compare`: was it the prompt, or the traffic?"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from otel_agent.cli.runs.options import (
    Span,
    as_json_option,
    completed,
    filters,
    history_option,
    moment_text,
    opened,
    wanted,
)
from otel_agent.golden import Comparison, Gauge, Verdict, compare
from otel_agent.golden.compare import Period, Side
from otel_agent.golden.estimates import Estimate
from otel_agent.stores.run_history import RunHistory
from otel_agent.usage import PastRun
from otel_agent.views.screen import colored, encodable
from otel_agent.views.text import clean, count_text, glyphs_for, money_text, render_table, seconds_text

__all__ = ["compare_runs"]

CHANGED, TOO_FEW = 1, 3

NAMES = {
    "tokens": "tokens per run",
    "tokens_per_request": "tokens per request",
    "tool_calls": "tool calls per run",
    "seconds": "time per run",
    "usd": "cost per run",
}
_WRITE: dict[str, Callable[[float], str]] = {
    "seconds": seconds_text,
    "usd": lambda value: money_text(Decimal(value)),
    "tool_calls": lambda value: f"{value:,.1f}",
}


@click.command("compare", short_help="Tell whether the prompt or the traffic changed spend.")
@click.argument("prompts", nargs=-1, metavar="[BEFORE AFTER]", shell_complete=completed("prompt_id"))
@click.option(
    "--window",
    "windows",
    type=Span(),
    multiple=True,
    metavar="START..END",
    help="Compare two windows of time, given twice, the earlier one first: --window 14d..7d --window 7d..now.",
)
@click.option(
    "--exit-code", is_flag=True, help="Exit with 1 where runs changed (prompt, both), 3 where runs are too few."
)
@filters(prompt=False)
@history_option
@as_json_option
def compare_runs(
    prompts: tuple[str, ...],
    windows: tuple[tuple[int, int], ...],
    exit_code: bool,
    history: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare the runs of two prompts, such as support:v13 support:v14, or of two windows of time.

    With both, the first prompt is taken in the first window and the second in the second. The verdict is prompt (runs
    got dearer or cheaper), traffic (there were more or fewer), both, neither, or not enough runs.
    """
    if len(prompts) not in (0, 2) or len(windows) not in (0, 2) or not (prompts or windows):
        raise click.UsageError("give two prompts, such as support:v13 support:v14, or --window twice")
    with opened(history) as source:
        sides = [_side(source, options, at, prompts, windows) for at in (0, 1)]
    names = prompts or ("A", "B")
    lacking = [name for name, runs in zip(names, sides, strict=True) if not runs]
    if lacking:
        have = "has" if len(lacking) == 1 else "have"
        _too_few(f"{Verdict.NOT_ENOUGH}: {' and '.join(lacking)} {have} none", as_json)
    periods = (Period(*windows[0]), Period(*windows[1])) if windows else None
    found = compare(sides[0], sides[1], names=(names[0], names[1]), periods=periods)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, default=str))
    else:
        click.echo(encodable(_text(found), sys.stdout.encoding))
    if exit_code and found.verdict in (Verdict.PROMPT, Verdict.BOTH):
        raise click.exceptions.Exit(CHANGED)
    if exit_code and found.verdict is Verdict.NOT_ENOUGH:
        raise click.exceptions.Exit(TOO_FEW)


def _too_few(text: str, as_json: bool) -> None:
    document = json.dumps({"verdict": str(Verdict.NOT_ENOUGH), "because": text}, indent=2)
    click.echo(document if as_json else text)
    raise click.exceptions.Exit(TOO_FEW)


def _side(
    source: RunHistory,
    options: dict[str, Any],
    at: int,
    prompts: tuple[str, ...],
    windows: tuple[tuple[int, int], ...],
) -> list[PastRun]:
    chosen = dict(options)
    if windows:
        chosen["since"], chosen["until"] = windows[at]
    if prompts:
        chosen["prompt"] = prompts[at]
    found = source.runs(wanted(chosen), order=None)
    if not found and prompts and not source.count(wanted({"prompt": prompts[at]})):
        _unknown(source, prompts[at])
    return found


def _unknown(source: RunHistory, prompt: str) -> None:
    known = source.known("prompt_id")
    near = difflib.get_close_matches(prompt, [name.rpartition(":")[0] for name in known], n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else "; no run of this history has a prompt"
    raise click.UsageError(f"no run has the prompt {prompt!r}{hint}")


def _text(found: Comparison) -> str:
    glyphs, color = glyphs_for(sys.stdout.encoding), colored(sys.stdout)
    a, b = clean(found.a.name), clean(found.b.name)
    table = render_table(
        ("95 % intervals in brackets", a, b, f"{b} / {a}", "above", "p"),
        [_counts(found), *map(_row, found.gauges), *_shares(found)],
        color=color,
        glyphs=glyphs,
    )
    return "\n".join([table, "", *_about(found), *_spend(found), "", clean(found.because)])


def _counts(found: Comparison) -> tuple[Any, ...]:
    traffic = found.traffic
    a, b = (f"{count_text(side.runs)} ({_rate(side)} a day)" for side in (found.a, found.b))
    if traffic is None:
        return "runs", a, b, None, None, None
    return "runs", a, b, _ratio(traffic.ratio), None, _p(traffic.p)


def _rate(side: Side) -> str:
    return f"{side.per_day:,.0f}" if side.per_day >= 10 else f"{side.per_day:.2g}"


def _row(gauge: Gauge) -> tuple[Any, ...]:
    write = _WRITE.get(gauge.name, lambda value: f"{value:,.0f}")
    above = None if gauge.superiority is None else f"{gauge.superiority.value:.0%}"
    ratio = None if gauge.ratio is None else _ratio(gauge.ratio)
    return NAMES[gauge.name], _estimate(gauge.a, write), _estimate(gauge.b, write), ratio, above, _p(gauge.p)


def _shares(found: Comparison) -> list[tuple[Any, ...]]:
    def write(value: float) -> str:
        return f"{value:.0%}"

    return [
        (f"ended {share.stop_reason}", _estimate(share.a, write), _estimate(share.b, write), None, None, None)
        for share in found.shares
    ]


def _estimate(found: Estimate, write: Callable[[float], str]) -> str:
    if found.low is None or found.high is None:
        return write(found.value)
    return f"{write(found.value)} [{write(max(0.0, found.low))}, {write(found.high)}]"


def _ratio(found: Estimate) -> str:
    return _estimate(found, lambda value: f"{value:.2f}" if value < 100 else f"{value:,.0f}")


def _p(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _about(found: Comparison) -> list[str]:
    """Says what was compared how, where a table cannot."""
    how = f"paired by {found.tasks} tasks (mean log ratio, Student's t)" if found.tasks else "by ranks (Mann-Whitney)"
    lines = [f"Runs were compared {how}; `above`: how often a run of the second is above one of the first."]
    if found.at_once:
        lines.append("Both ran at the same time, so that a rollout decides their traffic: it was not compared.")
    else:
        spans = (
            f"{moment_text(side.period.since_ns)} to {moment_text(side.period.until_ns)}" for side in (found.a, found.b)
        )
        lines.append(f"They ran from {' and from '.join(spans)} (UTC).")
    return lines


def _spend(found: Comparison) -> list[str]:
    spend = found.spend
    write = _WRITE["usd"] if spend.unit == "usd" else _tokens
    parts = f"traffic {_signed(spend.traffic, write)}, runs {_signed(spend.prompt, write)}"
    return [f"Spend a day: {write(spend.a)} -> {write(spend.b)} ({_signed(spend.b - spend.a, write)}: {parts})"]


def _tokens(value: float) -> str:
    return f"{value:,.0f} tokens"


def _signed(value: float, write: Callable[[float], str]) -> str:
    return ("+" if value >= 0 else "-") + write(abs(value))
