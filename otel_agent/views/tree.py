"""The tree of one run: which of its calls are kept, and how it is cut.

Decides what stays of a long run: the first and the last calls, while those in the middle are only counted.
Knows nothing of lines' looks, reads no clock, and is not for several threads at once.

    RunNode                     a run
      CallNode                  a call of it, in order of start
      gap: 312 calls hidden     what was cut out
      RunNode                   a child run, with its own calls
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from otel_agent.usage import CallRecord, LimitUse, RunRecord, RunStarted

__all__ = ["LEAST_LINES", "LONGEST_NAME", "CallNode", "Hidden", "Node", "Order", "RunNode", "fold"]

LEAST_LINES = 8
LONGEST_NAME = 200


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
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    estimated: bool = False

    @classmethod
    def of(cls, call: CallRecord, order: Order) -> CallNode:
        """Keeps a call that has ended or was refused; of long names only the start."""
        verdict = "denied" if call.decision != "allow" else "failed" if call.error_type is not None else "ok"
        why = (call.reason if verdict == "denied" else call.error_type) or ""
        used = call.input_tokens, call.output_tokens, call.cost_usd, call.estimated
        return cls(order, call.kind, call.name[:LONGEST_NAME], call.seconds, verdict, why[:LONGEST_NAME], *used)


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
