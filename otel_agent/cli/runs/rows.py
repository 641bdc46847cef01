"""Runs as JSON and as cells of a table."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from otel_agent.stop import GROUPS, StopCode
from otel_agent.usage import PastRun, micro_to_usd
from otel_agent.views.text import Span, clean

__all__ = ["cost_of", "document", "ended", "stop_cell"]


def cost_of(run: PastRun) -> Decimal | None:
    """Gives the cost in USD, or None where it is not known."""
    return None if run.micro_usd is None else micro_to_usd(run.micro_usd)


def document(run: PastRun) -> dict[str, Any]:
    """Gives a run as JSON has it: times in UTC, money as text."""
    cost = cost_of(run)
    found = {name: value for name, value in run._asdict().items() if name not in ("ended_ns", "micro_usd")}
    at = datetime.fromtimestamp(run.ended_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    return {**found, "estimated": bool(run.estimated), "ended": at, "cost_usd": None if cost is None else f"{cost:f}"}


def ended(run: PastRun) -> str:
    """Writes how a run ended."""
    return clean(f"{run.stop_reason}:{run.stop_detail}" if run.stop_detail else run.stop_reason)


def stop_cell(run: PastRun) -> Span:
    """Gives how a run ended, in its colour."""
    done = run.stop_reason in GROUPS and GROUPS[StopCode(run.stop_reason)] == "done"
    return Span(ended(run), "green" if done else "yellow" if run.stop_reason == StopCode.CANCELLED else "red")
