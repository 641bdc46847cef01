"""The tree of one run: what is kept of it, how it is cut, how it is drawn.

Decides which calls of a long run are kept (the first and the last; the middle is only counted) and how they look.
Pure: reads no clock and writes nothing.

    support-bot · support:v13:50af3e26c3af · 3.2 s · 2 steps · ... · finish     RunNode
    ├─ llm   gpt-5-mini  1.1 s  1,204 in  310 out  $0.0021                      CallNode
    ├─ ... 312 more calls                                                       Hidden
    └─ researcher · 1.0 s · 1 step · ... · max_steps                            RunNode
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple, TypeAlias

from otel_agent.stop import GROUPS, StopCode
from otel_agent.usage import CallRecord, LimitUse, RunRecord, RunStarted, Usage
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

__all__ = ["LEAST_LINES", "CallNode", "Hidden", "Node", "Order", "RunNode", "fold", "render_tree"]

LEAST_LINES = 8
LEAST_NAME = 8
LEAST_WIDTH = 12
LONGEST_NAME = 200
WARN_AT = 0.8

_LIMIT_OF: dict[str, str] = {
    StopCode.MAX_STEPS: "steps",
    StopCode.MAX_TOOL_CALLS: "tool_calls",
    StopCode.MAX_SECONDS: "seconds",
    StopCode.MAX_TOKENS: "tokens",
    StopCode.MAX_USD: "usd",
}


class Order(NamedTuple):
    """Where something stands in its run: when it began (seconds of the view's clock), and a number for equal times."""

    began: float
    number: int


class CallNode(NamedTuple):
    """One call as it is kept; `verdict` is "ok", "failed", "denied" or "open", and `why` says more."""

    order: Order
    kind: str
    name: str
    seconds: float
    verdict: str
    why: str | None = None
    record: CallRecord | None = None

    @classmethod
    def of(cls, call: CallRecord, order: Order) -> CallNode:
        """Keeps a call that has ended or was refused."""
        verdict = "denied" if call.decision != "allow" else "failed" if call.error_type is not None else "ok"
        why = call.reason if verdict == "denied" else call.error_type
        return cls(order, call.kind, call.name[:LONGEST_NAME], call.seconds, verdict, why, call)


@dataclass(slots=True)
class Hidden:
    """How many calls and runs were cut out of the middle, denied and failed calls among them."""

    calls: int = 0
    denied: int = 0
    failed: int = 0
    runs: int = 0

    def add_call(self, verdict: str) -> None:
        """Counts one call."""
        self.calls += 1
        self.denied += verdict == "denied"
        self.failed += verdict == "failed"

    def add(self, other: Hidden) -> None:
        """Counts what another one has counted."""
        self.calls += other.calls
        self.denied += other.denied
        self.failed += other.failed
        self.runs += other.runs


@dataclass(slots=True, eq=False)
class RunNode:
    """One run as it is kept: its first and last calls and child runs in order of start, and a count of the others.

    Attributes:
        started: what was told when it opened.
        order: where it stands in its parent.
        parent: the run above it, or None for a root.
        depth: how many runs are above it.
        record: what was told when it ended, or None while it is open.
        seconds: how long it has been open; its record knows better.
        items: what is kept, in order of start.
        gap: the index in `items` before which calls are missing, or None when none are.
        hidden: what is missing.
        kept: False when this run itself was cut out; what happens in it is then counted by the nearest run that is.
    """

    started: RunStarted
    order: Order
    parent: RunNode | None = None
    depth: int = 0
    record: RunRecord | None = None
    seconds: float = 0.0
    items: list[Node] = field(default_factory=list["Node"])
    gap: int | None = None
    hidden: Hidden = field(default_factory=Hidden)
    kept: bool = True

    @property
    def limits(self) -> Mapping[str, LimitUse]:
        """The limits that were set, with their use as far as it is known."""
        return self.started.limits if self.record is None else self.record.limits

    def add(self, node: Node) -> None:
        """Puts a call or a child run where its start belongs; counts it where this run was cut out."""
        if not self.kept:
            _count(node, self._shown().hidden)
            return
        last = not self.items or self.items[-1].order < node.order
        at = len(self.items) if last else bisect.bisect(self.items, node.order, key=_order)
        if self.gap is not None and at < self.gap:
            self.gap += 1
        self.items.insert(at, node)

    def hide_run(self) -> None:
        """Counts a child run that is not kept."""
        node = self._shown()
        node.gap = len(node.items) if node.gap is None else node.gap
        node.hidden.runs += 1

    def _shown(self) -> RunNode:
        node = self
        while not node.kept and node.parent is not None:
            node = node.parent
        return node


Node: TypeAlias = CallNode | RunNode


def _order(node: Node) -> Order:
    return node.order


def _count(node: Node, hidden: Hidden) -> None:
    """Forgets a node and everything under it, but for the numbers."""
    if isinstance(node, CallNode):
        hidden.add_call(node.verdict)
        return
    node.kept = False
    hidden.runs += 1
    hidden.add(node.hidden)
    for item in node.items:
        _count(item, hidden)
    node.items, node.gap, node.hidden = [], None, Hidden()


def _size(node: Node) -> int:
    """Counts the lines of a node."""
    if isinstance(node, CallNode):
        return 1
    return _frame(node) + sum(map(_size, node.items))


def _frame(node: RunNode) -> int:
    return 1 + len(node.limits) + (node.gap is not None)


def fold(node: RunNode, lines: int) -> None:
    """Cuts a tree down to a number of lines: each list keeps its beginning and its end, child runs share fairly.

    Args:
        node: the run; what is cut out of it is counted in `hidden`.
        lines: at least `LEAST_LINES`; a header that wraps counts as one.
    """
    if _size(node) <= lines:
        return
    room = lines - 2 - len(node.limits)
    first = _fitting(node.items[: node.gap], room // 2)
    rest = node.items[first if node.gap is None else node.gap :]
    last = _fitting(reversed(rest), room - sum(map(_least, node.items[:first])))
    _cut_out(node, first, last)
    _share_out(node, room)


def _least(node: Node) -> int:
    return min(_size(node), LEAST_LINES)


def _fitting(nodes: Iterable[Node], room: int) -> int:
    """Counts how many nodes fit, when each child run is cut as far as it can be."""
    count = 0
    for node in nodes:
        room -= _least(node)
        if room < 0:
            break
        count += 1
    return count


def _cut_out(node: RunNode, first: int, last: int) -> None:
    end = len(node.items) - last
    if first >= end:
        return
    for item in node.items[first:end]:
        _count(item, node.hidden)
    del node.items[first:end]
    node.gap = first


def _share_out(node: RunNode, room: int) -> None:
    """Gives each child run what it needs or its fair share, the smallest first."""
    runs = sorted((item for item in node.items if isinstance(item, RunNode)), key=_size)
    room -= len(node.items) - len(runs)
    for position, run in enumerate(runs):
        fold(run, max(LEAST_LINES, room // (len(runs) - position)))
        room -= _size(run)


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
    record = call.record
    if record is None:
        return Span(""), Span(""), Span("")
    about = "~" if record.estimated else ""
    tokens = [(record.input_tokens, "in"), (record.output_tokens, "out")]
    into, out = (Span("" if count is None else f"{about}{count_text(count)} {word}") for count, word in tokens)
    if record.cost_usd is None:
        return into, out, Span("cost unknown" if call.kind == "llm" else "", "yellow")
    return into, out, Span(about + money_text(record.cost_usd))


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
