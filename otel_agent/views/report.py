"""Finished runs as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

Decides what is on it and in which order. What is not drawn is not guessed: runs without a known cost are counted apart.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import NamedTuple

from otel_agent.stop import StopCode
from otel_agent.usage import PastRun, micro_to_usd
from otel_agent.views.charts import Bar, Spread, bars, legend, shares, spreads
from otel_agent.views.page import render_page, render_tiles
from otel_agent.views.text import clean, count_text, money_text, plural, seconds_text

__all__ = ["dearest", "render_report", "slowest"]

MOST_COLORS = 8
REST = 8
MOST_BARS = 60
MOST_ROWS = 10
MOST_GROUPS = 20
NO_PROMPT = "no prompt"
STEPS = (60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800, 2_592_000)


class _Group(NamedTuple):
    """The runs of one prompt, and its colour."""

    name: str
    color: int
    runs: list[PastRun]


def slowest(runs: Sequence[PastRun], most: int = MOST_ROWS) -> list[PastRun]:
    """Gives the runs that took longest."""
    return sorted(runs, key=lambda run: -run.seconds)[:most]


def dearest(runs: Sequence[PastRun], most: int = MOST_ROWS) -> list[PastRun]:
    """Gives the runs that cost most, of those whose cost is known."""
    return sorted((run for run in runs if run.micro_usd), key=lambda run: -(run.micro_usd or 0))[:most]


def render_report(runs: Sequence[PastRun], trees: Mapping[str, Sequence[str]], *, title: str, now: datetime) -> str:
    """Gives the page.

    Args:
        runs: what it is about.
        trees: the lines of the trees of those runs that are listed one by one, by run id, as far as they are kept.
        title: its heading.
        now: when it was made.
    """
    groups = _groups(runs)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_span_text(runs)} Made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC.</p>",
        _tiles(runs),
        *(_sections(runs, groups) if runs else ()),
        _table("Slowest runs", slowest(runs), trees),
        _table("Dearest runs", dearest(runs), trees),
    ]
    return render_page(title, "\n".join(body))


def _groups(runs: Iterable[PastRun]) -> list[_Group]:
    """Groups runs by prompt, sorted by name; those that appear most have colours of their own."""
    found: defaultdict[str, list[PastRun]] = defaultdict(list)
    for run in runs:
        found[clean(run.prompt_id) if run.prompt_id else NO_PROMPT].append(run)
    often = sorted(found, key=lambda name: -len(found[name]))[:MOST_COLORS]
    colored = {name: color for color, name in enumerate(sorted(often))}
    return [_Group(name, colored.get(name, REST), found[name]) for name in sorted(found)]


def _span_text(runs: Sequence[PastRun]) -> str:
    if not runs:
        return "There are no such runs."
    first, last = (_at(pick(run.ended_ns for run in runs)) for pick in (min, max))
    return f"{plural(len(runs), 'run')} that ended from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC."


def _at(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)


def _tiles(runs: Sequence[PastRun]) -> str:
    unknown = sum(run.micro_usd is None for run in runs)
    cost = money_text(micro_to_usd(sum(run.micro_usd or 0 for run in runs)))
    done = sum(run.stop_reason == StopCode.FINISH for run in runs)
    tiles = [
        ("runs", count_text(len(runs))),
        ("ended with finish", f"{done / len(runs):.0%}" if runs else "-"),
        ("tokens", count_text(sum(run.tokens for run in runs))),
        ("tool calls", count_text(sum(run.tool_calls for run in runs))),
        ("cost" + (f", {unknown:,} of unknown cost" if unknown else ""), cost),
    ]
    return render_tiles(tiles)


def _sections(runs: Sequence[PastRun], groups: Sequence[_Group]) -> list[str]:
    return [
        _over_time(runs, groups),
        _spread_of("Tokens per run", groups, lambda run: run.tokens, lambda value: f"{value:,.0f}"),
        _spread_of("Tool calls per run", groups, lambda run: run.tool_calls, lambda value: f"{value:,.3g}"),
        _spread_of(
            "Cost per run",
            groups,
            lambda run: None if run.micro_usd is None else run.micro_usd / 1e6,
            lambda value: money_text(Decimal(value)),
        ),
        _stop_reasons(groups),
    ]


def _over_time(runs: Sequence[PastRun], groups: Sequence[_Group]) -> str:
    first, last = (pick(run.ended_ns for run in runs) // 1_000_000_000 for pick in (min, max))
    step = next((step for step in STEPS if (last - first) / step < MOST_BARS), (last - first) // MOST_BARS + 1)
    start = first // step * step
    names = _named(groups)
    columns = {color: at for at, (_, color) in enumerate(names)}
    counts = [[0] * len(names) for _ in range((last - start) // step + 1)]
    for group in groups:
        for run in group.runs:
            counts[(run.ended_ns // 1_000_000_000 - start) // step][columns[group.color]] += 1
    form = "%Y-%m-%d" if step >= 86_400 else "%m-%d %H:%M"
    found = [Bar(_at((start + at * step) * 1_000_000_000).strftime(form), parts) for at, parts in enumerate(counts)]
    about = f"Runs that ended, {_every(step)} a bar, by prompt"
    return f"<h2>Runs over time</h2><p>{about} (UTC).</p>{legend(names)}{bars(found, names, about=about)}"


def _every(step: int) -> str:
    size, noun = next(
        (size, noun)
        for size, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
        if step % size == 0
    )
    return plural(step // size, noun)


def _named(groups: Sequence[_Group]) -> list[tuple[str, int]]:
    """Gives the prompts that have a colour, and one name for the rest."""
    found = [(group.name, group.color) for group in groups if group.color != REST]
    rest = sum(group.color == REST for group in groups)
    return [*found, (f"{rest} more prompts", REST)] if rest else found


def _most(groups: Sequence[_Group]) -> list[_Group]:
    """Gives the groups that a chart has room for: those with most runs, in their order."""
    kept = sorted(groups, key=lambda group: -len(group.runs))[:MOST_GROUPS]
    return [group for group in groups if group in kept]


def _spread_of(
    heading: str, groups: Sequence[_Group], read: Callable[[PastRun], float | None], write: Callable[[float], str]
) -> str:
    found: list[Spread] = []
    for group in _most(groups):
        values = sorted(value for run in group.runs if (value := read(run)) is not None)
        if values:
            found.append(Spread(group.name, group.color, len(values), _marks(values)))
    if not found:
        return f"<h2>{heading}</h2><p>Not known of any run.</p>"
    about = f"{heading} by prompt. The line holds 90 of 100 runs, the box the middle half; the number is the median."
    return f"<h2>{heading}</h2><p>{about}</p>{spreads(found, write, about=about)}"


def _marks(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    if len(values) == 1:
        only = values[0]
        return only, only, only, only, only
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[0], cuts[4], cuts[9], cuts[14], cuts[18]


def _stop_reasons(groups: Sequence[_Group]) -> str:
    counts = Counter(run.stop_reason for group in groups for run in group.runs)
    # finish is always green; what is rare shares one colour
    often = [code for code, _ in counts.most_common() if code != StopCode.FINISH][: MOST_COLORS - 1]
    colors = [color for color in range(MOST_COLORS) if color != 2]
    names = [(str(StopCode.FINISH), 2), *zip(often, colors, strict=False)]
    rest = set(counts) - {name for name, _ in names}
    rows = [(group.name, _parts(group.runs, [name for name, _ in names], rest)) for group in _most(groups)]
    named = [*names, ("all others", REST)] if rest else names
    kept = rows if rest else [(name, parts[:-1]) for name, parts in rows]
    about = "How runs ended, by prompt"
    return f"<h2>Stop reasons</h2><p>{about}.</p>{legend(named)}{shares(kept, named, about=about)}"


def _parts(runs: Iterable[PastRun], names: Sequence[str], rest: set[str]) -> list[int]:
    counts = Counter(run.stop_reason for run in runs)
    return [*(counts[name] for name in names), sum(counts[name] for name in rest)]


HEADERS = ("run", "ended (UTC)", "agent", "prompt", "stop reason", "steps", "tools", "tokens", "cost", "time")
NUMBERS = 5


def _table(heading: str, runs: Sequence[PastRun], trees: Mapping[str, Sequence[str]]) -> str:
    if not runs:
        return ""
    head = "".join(
        f"<th{' class=number' if at >= NUMBERS else ''}>{escape(name)}</th>" for at, name in enumerate(HEADERS)
    )
    rows = "".join(_row(run, trees.get(run.run_id)) for run in runs)
    return f'<h2>{heading}</h2><div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _row(run: PastRun, tree: Sequence[str] | None) -> str:
    cost = None if run.micro_usd is None else micro_to_usd(run.micro_usd)
    texts = [
        f"<code>{escape(run.run_id[:12])}</code>",
        f"{_at(run.ended_ns):%Y-%m-%d %H:%M}",
        *(escape(clean(text)) for text in (run.agent, run.prompt_id or "-", run.stop_reason)),
    ]
    numbers = [
        count_text(run.steps),
        count_text(run.tool_calls),
        count_text(run.tokens),
        money_text(cost),
        seconds_text(run.seconds),
    ]
    cells = "".join(f"<td>{text}</td>" for text in texts) + "".join(f"<td class=number>{n}</td>" for n in numbers)
    if tree is None:  # its spans are not kept
        return f"<tr>{cells}</tr>"
    below = f"<details><summary>tree</summary><pre>{escape(chr(10).join(tree))}</pre></details>"
    return f'<tr class="upper">{cells}</tr><tr><td class="tree" colspan="{len(HEADERS)}">{below}</td></tr>'
