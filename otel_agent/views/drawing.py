"""How a tree looks: one line a call, a header and budget bars a run.

Decides columns, colours and what gives way where a line is too narrow. Pure: reads no clock and writes nothing.

    support-bot · support:v13:50af3e26c3af · 3.2 s · 2 steps · ... · finish
    ├─ llm   gpt-5-mini   1.1 s  1,204 in  310 out  $0.0021
    ├─ ... 312 more calls
    ├─ researcher · 1.0 s · 1 step · ... · max_steps
    │  └─ llm   gpt-5  980 ms  900 in  120 out  $0.0017
    │  steps ██████████ 1/1
    └─ tool  kb.search   12 ms
    tool_calls ████████░░ 10/12
"""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from otel_agent.stop import GROUPS, StopCode
from otel_agent.usage import LimitUse, RunRecord, Usage
from otel_agent.views.text import (
    UNICODE,
    Glyphs,
    Line,
    Span,
    amount_text,
    bar,
    clean,
    count_text,
    fit,
    is_spent,
    limit_text,
    money_text,
    paint,
    plural,
    seconds_text,
    share,
    width_of,
)
from otel_agent.views.tree import LONGEST_NAME, CallNode, Hidden, RunNode

__all__ = ["render_tree"]

LEAST_NAME = 8
LEAST_WIDTH = 12
WARN_AT = 0.8

_LIMIT_OF: dict[str, str] = {
    StopCode.MAX_STEPS: "steps",
    StopCode.MAX_TOOL_CALLS: "tool_calls",
    StopCode.MAX_SECONDS: "seconds",
    StopCode.MAX_TOKENS: "tokens",
    StopCode.MAX_USD: "usd",
}


def render_tree(root: RunNode, *, width: int = 100, color: bool = False, glyphs: Glyphs = UNICODE) -> list[str]:
    """Draws a run and everything under it.

    Args:
        root: the run.
        width: columns that a line may take.
        color: whether to use escape codes.
        glyphs: the characters to draw with; names that they cannot show are the stream's business.

    Returns:
        The lines, without line ends.
    """
    return [paint(line, width=width, color=color, glyphs=glyphs) for line in _run_lines(root, width, glyphs)]


def _run_lines(node: RunNode, width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = _wrapped(_header(node), width, glyphs)
    blocks = _blocks(node, width - len(glyphs.pipe), glyphs)
    for position, block in enumerate(blocks):
        last = position == len(blocks) - 1
        lines += _hung(block, glyphs.last if last else glyphs.branch, " " * len(glyphs.pipe) if last else glyphs.pipe)
    return lines + _bars(node, glyphs)


def _hung(block: list[Line], hook: str, rope: str) -> list[Line]:
    return [[Span(hook if at == 0 else rope, "dim"), *line] for at, line in enumerate(block)]


def _blocks(node: RunNode, width: int, glyphs: Glyphs) -> list[list[Line]]:
    calls = iter(_call_lines(node, [item for item in node.items if isinstance(item, CallNode)], width, glyphs))
    blocks = [_run_lines(item, width, glyphs) if isinstance(item, RunNode) else [next(calls)] for item in node.items]
    if node.gap is not None:
        blocks.insert(node.gap, [[Span(_gap_text(node.hidden), "dim")]])
    return blocks


def _gap_text(hidden: Hidden) -> str:
    calls = f"{count_text(hidden.calls)} more call" + ("" if hidden.calls == 1 else "s")
    runs = f"{count_text(hidden.runs)} more run" + ("" if hidden.runs == 1 else "s")
    bad = [f"{count_text(n)} {word}" for n, word in ((hidden.denied, "denied"), (hidden.failed, "failed")) if n]
    calls += f" ({', '.join(bad)})" if bad else ""
    return "... " + ", ".join(([calls] if hidden.calls else []) + ([runs] if hidden.runs else []))


def _header(node: RunNode) -> list[Span]:
    parts = [Span(_name(node.started.agent), "bold")]
    if node.started.prompt_id:
        parts.append(Span(_name(node.started.prompt_id), "cyan"))
    if node.record is None:
        parts += [Span(seconds_text(node.seconds)), Span("still open", "yellow")]
    else:
        parts += [Span(text) for text in _usage_texts(node.record.usage)]
    if node.started.mode == "observe":
        parts.append(Span("observe mode", "yellow"))
    return parts if node.record is None else [*parts, _stop(node.record)]


def _name(text: str) -> str:
    return clean(text[:LONGEST_NAME])


def _usage_texts(usage: Usage) -> list[str]:
    about = "~" if usage.estimated else ""
    cost = money_text(usage.cost_usd)
    return [
        seconds_text(usage.seconds),
        plural(usage.steps, "step"),
        plural(usage.tool_calls, "tool call"),
        about + plural(usage.total_tokens, "token"),
        cost if usage.cost_usd is None else about + cost,
    ]


def _stop(run: RunRecord) -> Span:
    text = f"{run.stop_reason}:{run.stop_detail}" if run.stop_detail else str(run.stop_reason)
    if run.error_type and run.error_type != run.stop_reason:
        text += f" ({run.error_type})"
    return Span(_name(text), _stop_style(run.stop_reason))


def _stop_style(code: StopCode) -> str:
    if GROUPS[code] == "done":
        return "green"
    return "yellow" if GROUPS[code] == "policy" or code is StopCode.CANCELLED else "red"


def _wrapped(parts: list[Span], width: int, glyphs: Glyphs) -> list[Line]:
    """Puts parts on one line, or on several where they do not fit, so that the last one, the reason, is never lost."""
    lines: list[list[Span]] = [[]]
    width, used = max(LEAST_WIDTH, width), 0
    for part in parts:
        text = fit(part.text, width - 2, glyphs.ellipsis)
        joint = glyphs.dot if used else ""
        if used + len(joint) + width_of(text) > width:
            lines.append([])
            joint, used = "  ", 0
        lines[-1] += [Span(joint, "dim"), Span(text, part.style)]
        used += len(joint) + width_of(text)
    return [*lines]


def _bars(node: RunNode, glyphs: Glyphs) -> list[Line]:
    names = {name: clean(name) for name in node.limits}
    widest = max(map(width_of, names.values()), default=0)
    lines: list[Line] = []
    for name, (limit, used) in node.limits.items():
        label = names[name] + " " * (widest - width_of(names[name]) + 1)
        part = share(used, limit)
        style = "red" if is_spent(used, limit) else "yellow" if part >= WARN_AT else "green"
        text = Span(" " + limit_text(name, used, limit), "" if style == "green" else style)
        lines.append([Span(label), Span(bar(part, glyphs=glyphs), style), text])
    return lines


class _Row(NamedTuple):
    """A call as columns; `numbers` are time, tokens in, tokens out and cost, without the empty ones at the end."""

    kind: Span
    name: Span
    numbers: tuple[Span, ...]
    note: Span

    def width(self, numbers: list[int]) -> int:
        """Counts the columns that it takes beside its name, when the numbers are that wide."""
        used = sum(size + 2 for size in numbers[: len(self.numbers)] if size)
        return 6 + used + (2 + width_of(self.note.text) if self.note.text else 0)


def _call_lines(run: RunNode, calls: list[CallNode], width: int, glyphs: Glyphs) -> list[Line]:
    rows = [_row(run, call) for call in calls]
    columns = zip_longest(*(row.numbers for row in rows), fillvalue=Span(""))
    numbers = [max(width_of(span.text) for span in column) for column in columns]
    widest = max((width_of(row.name.text) for row in rows), default=0)
    named = min([widest, *(max(LEAST_NAME, width - row.width(numbers)) for row in rows)])
    return [_aligned(row, named, numbers, glyphs) for row in rows]


def _aligned(row: _Row, named: int, numbers: list[int], glyphs: Glyphs) -> Line:
    name = fit(row.name.text, named, glyphs.ellipsis)
    line = [Span(f"{row.kind.text:<4}  ", "dim"), Span(name), Span(" " * (named - width_of(name)))]
    for span, size in zip(row.numbers, numbers, strict=False):
        if size:
            line += [Span("  " + " " * (size - width_of(span.text))), span]
    return [*line, Span("  "), row.note]


def _row(run: RunNode, call: CallNode) -> _Row:
    numbers = [] if call.verdict == "denied" else [Span(seconds_text(call.seconds)), *_used(call)]
    while numbers and not numbers[-1].text:
        numbers.pop()
    return _Row(Span(_name(call.kind)), Span(_name(call.name)), tuple(numbers), _note(run, call))


def _used(call: CallNode) -> tuple[Span, Span, Span]:
    about = "~" if call.estimated else ""
    tokens = [(call.input_tokens, "in"), (call.output_tokens, "out")]
    into, out = (Span("" if count is None else f"{about}{count_text(count)} {word}") for count, word in tokens)
    if call.cost_usd is not None:
        return into, out, Span(about + money_text(call.cost_usd))
    unknown = call.kind == "llm" and call.verdict != "open"
    return into, out, Span(money_text(None) if unknown else "", "yellow")


def _note(run: RunNode, call: CallNode) -> Span:
    why = _name(call.why or "")
    if call.verdict == "denied":
        limit = _limit_behind(run, call.why)
        return Span(f"denied: {why}" + (f" (limit {limit})" if limit else ""), "yellow")
    if call.verdict == "failed":
        return Span(why, "red")
    return Span("still running", "yellow") if call.verdict == "open" else Span("")


def _limit_behind(run: RunNode, reason: str | None) -> str | None:
    """Finds the limit that a denial speaks of: the nearest one used up, or the only one there is."""
    name = _LIMIT_OF.get(reason or "", "")
    found: list[LimitUse] = []
    node: RunNode | None = run
    while node is not None:
        found += [node.limits[name]] if name in node.limits else []
        node = node.parent
    spent = [use for use in found if is_spent(use.used, use.limit)]
    chosen = spent[0] if spent else found[0] if len(found) == 1 else None
    return None if chosen is None else amount_text(name, chosen.limit)
