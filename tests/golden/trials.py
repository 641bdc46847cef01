"""Spans of one trial: of our own runs as they are kept, and of other frameworks as the GenAI conventions have them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from otel_agent.stores.otlp_json import PastSpan, line_of, spans_of, written
from otel_agent.testing import capture

__all__ = ["TRACE", "foreign", "spans_told"]

TRACE = "a" * 32
_ids = count(1)


def spans_told(trial: Callable[[], object]) -> list[PastSpan]:
    """Gives the spans that a trial leaves, written and read again as a history does."""
    with capture() as told:
        trial()
    return spans_of(line_of([kept for span in told.spans if (kept := written(span)) is not None]))


def foreign(
    name: str, attributes: dict[str, Any], *, under: PastSpan | None = None, at: int = 0, failed: bool = False
) -> PastSpan:
    """Gives a span of another framework, of one second from a second `at` on."""
    return PastSpan(
        trace_id=TRACE,
        span_id=f"{next(_ids):016x}",
        parent_span_id=None if under is None else under.span_id,
        name=name,
        start_ns=at * 10**9,
        end_ns=(at + 1) * 10**9,
        attributes=attributes,
        failed=failed,
        written=({}, {}, {}),
    )
