"""The runs that are open now: what listeners are told, put together into trees and a status.

Decides which run a call belongs to, and what is forgotten. Takes the time from its caller, writes nothing, and is not
for several threads at once. Its memory is bounded by the runs and calls that are open, never by those that were.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from otel_agent.usage import CallRecord, CallStarted, RunRecord, RunStarted
from otel_agent.views.text import Glyphs, clean, count_text, plural, seconds_text
from otel_agent.views.tree import LONGEST_NAME, CallNode, Order, RunNode, fold

__all__ = ["OpenRuns", "Status", "status_text"]

DEEPEST = 24
MOST_IN_FLIGHT = 256


class Status(NamedTuple):
    """What the run that has been open longest is doing now.

    `seconds` is how long it has been open, `doing` and `doing_seconds` the call in flight (None when there is none),
    `others` how many more runs are open.
    """

    agent: str
    seconds: float
    steps: int
    tool_calls: int
    tokens: int
    doing: str | None
    doing_seconds: float
    others: int


class _Flight(NamedTuple):
    kind: str
    name: str
    order: Order


@dataclass(slots=True, eq=False)
class _Root:
    """A root run with its sums; `fresh` counts what was kept since the tree was last folded."""

    node: RunNode
    open: dict[str, _Open] = field(default_factory=dict[str, "_Open"])
    steps: int = 0
    tool_calls: int = 0
    tokens: int = 0
    fresh: int = 0


@dataclass(slots=True, eq=False)
class _Open:
    node: RunNode
    root: _Root
    flights: deque[_Flight] = field(default_factory=lambda: deque[_Flight](maxlen=MOST_IN_FLIGHT))

    def land(self, call: CallRecord, began: float) -> _Flight | None:
        """Takes out the call in flight that has ended: of those with its name, the one that began when it did."""
        same = [flight for flight in self.flights if (flight.kind, flight.name) == (call.kind, call.name)]
        if not same or call.decision != "allow":
            return None
        found = min(same, key=lambda flight: abs(flight.order.began - began))
        self.flights.remove(found)
        return found


class OpenRuns:
    """All runs that are open, as trees that grow.

    Args:
        lines: what a tree is cut down to when its root ends; until then at most twice as many are kept.
    """

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._open: dict[str, _Open] = {}
        self._roots: dict[str, _Root] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._roots)

    def run_started(self, run: RunStarted, now: float) -> None:
        """Takes in a run; one whose parent is not open is a root."""
        if run.run_id in self._open:
            return
        above = self._open.get(run.parent_id) if run.parent_id is not None else None
        if above is None:
            root = self._roots[run.run_id] = _Root(RunNode(run, self._order(now)))
            node = root.node
        else:
            root = above.root
            node = self._child(above.node, run, now)
            self._grow(root)
        self._open[run.run_id] = root.open[run.run_id] = _Open(node, root)

    def call_started(self, call: CallStarted, now: float) -> None:
        """Takes in a call that was let through; one of an unknown or ended run is ignored."""
        run = self._open.get(call.run_id or "")
        if run is not None:
            run.flights.append(_Flight(call.kind, call.name, self._order(now)))
            _tally(run.root, call.kind)

    def call_ended(self, call: CallRecord, now: float) -> None:
        """Takes in a call that has ended or was refused; one of an unknown or ended run is ignored."""
        run = self._open.get(call.run_id or "")
        if run is None:
            return
        began = now - call.seconds
        flight = run.land(call, began)
        if flight is None and call.decision == "allow":
            _tally(run.root, call.kind)
        run.root.tokens += (call.input_tokens or 0) + (call.output_tokens or 0)
        run.node.add(CallNode.of(call, self._order(began) if flight is None else flight.order))
        self._grow(run.root)

    def run_ended(self, run: RunRecord, now: float) -> RunNode | None:
        """Takes in the end of a run.

        Returns:
            The finished tree when it was a root, which is then forgotten; else None.
        """
        ended = self._open.pop(run.run_id, None)
        if ended is None:
            return None
        del ended.root.open[run.run_id]
        ended.node.record = run
        self._leave_open(ended, now)
        if ended.node is not ended.root.node:
            return None
        return self._finish(self._roots.pop(run.run_id), now)

    def status(self, now: float) -> Status | None:
        """Says what the root that has been open longest is doing, or None when no run is open."""
        root = next(iter(self._roots.values()), None)
        if root is None:
            return None
        flights = [(-run.node.depth, flight.order, flight.name) for run in root.open.values() for flight in run.flights]
        _, since, doing = min(flights) if flights else (0, Order(now, 0), None)
        sums = root.steps, root.tool_calls, root.tokens
        seconds = now - root.node.order.began
        return Status(root.node.started.agent, seconds, *sums, doing, now - since.began, len(self._roots) - 1)

    def _order(self, began: float) -> Order:
        self._number += 1
        return Order(began, self._number)

    def _child(self, above: RunNode, run: RunStarted, now: float) -> RunNode:
        node = RunNode(run, self._order(now), above, above.depth + 1)
        if node.depth > DEEPEST:
            node.kept = False
            above.hide_run()
        else:
            above.add(node)
        return node

    def _grow(self, root: _Root) -> None:
        """Folds after every so many additions, so that a call costs the same in a long run."""
        root.fresh += 1
        if root.fresh >= self._lines:
            root.fresh = 0
            fold(root.node, self._lines)

    def _leave_open(self, run: _Open, now: float) -> None:
        """Keeps the calls that were still in flight when their run ended as such."""
        for kind, name, order in run.flights:
            run.node.add(CallNode(order, kind, name[:LONGEST_NAME], now - order.began, "open"))

    def _finish(self, root: _Root, now: float) -> RunNode:
        for run_id, run in root.open.items():
            del self._open[run_id]
            run.node.seconds = now - run.node.order.began
            self._leave_open(run, now)
        fold(root.node, self._lines)
        return root.node


def _tally(root: _Root, kind: str) -> None:
    root.steps += kind == "llm"
    root.tool_calls += kind == "tool"


def status_text(status: Status, glyphs: Glyphs) -> str:
    """Writes a status, what may be cut last: `bot · 41.2 s · in kb.search 12.0 s · 3 steps · ... (+2 more runs)`."""
    parts = [clean(status.agent[:LONGEST_NAME]), seconds_text(status.seconds)]
    if status.doing is not None:
        parts.append(f"in {clean(status.doing[:LONGEST_NAME])} {seconds_text(status.doing_seconds)}")
    parts += [plural(status.steps, "step"), plural(status.tool_calls, "tool call"), plural(status.tokens, "token")]
    runs = "run" if status.others == 1 else "runs"
    return glyphs.dot.join(parts) + (f" (+{count_text(status.others)} more {runs})" if status.others else "")
