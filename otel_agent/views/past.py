"""Finished runs as trees: what happened, played again to what draws runs that are open.

Decides nothing of its own: a finished run looks as it did in the terminal when it ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_agent.usage import CallRecord, CallStarted, RunRecord, RunStarted
from otel_agent.views.live import OpenRuns
from otel_agent.views.tree import RunNode

__all__ = ["trees_of"]

LINES = 200
NANO = 1e9


def trees_of(
    events: Iterable[tuple[int, RunStarted | CallStarted | CallRecord | RunRecord]], *, lines: int = LINES
) -> list[RunNode]:
    """Gives the trees of finished runs.

    Args:
        events: what happened, each with its time in nanoseconds, in order.
        lines: what a tree is cut down to.
    """
    runs = OpenRuns(lines)
    found: list[RunNode] = []
    first: int | None = None
    for at, event in events:
        first = at if first is None else first
        now = (at - first) / NANO
        match event:
            case RunStarted():
                runs.run_started(event, now)
            case CallStarted():
                runs.call_started(event, now)
            case CallRecord():
                runs.call_ended(event, now)
            case RunRecord():
                root = runs.run_ended(event, now)
                found += [root] if root is not None else []
    return found
