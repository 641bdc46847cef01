"""Outcomes, ledgers and reports, made up for the tests of what is done with them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from otel_agent import RunResult, StopCode, Usage
from otel_agent.demo.report import Outcome, Report
from otel_agent.demo.scenarios import SCENARIOS
from otel_agent.testing.server import Ledger
from otel_agent.testing.server.ledger import Served

__all__ = ["ANSWER", "BATCH", "USAGE", "ledger", "outcome", "report"]

ANSWER, BATCH = (next(each for each in SCENARIOS if each.name == name) for name in ("answer", "batch"))
USAGE = Usage(steps=2, tool_calls=1, input_tokens=1_000, output_tokens=50, cost_usd=Decimal("0.0101"))


def outcome(reason: StopCode = StopCode.FINISH, usage: Usage = USAGE, scenario: Any = ANSWER, **more: Any) -> Outcome:
    result = RunResult(
        output="Yes.",
        stop_reason=reason,
        stop_detail=None,
        error=None,
        run_id="r" * 32,
        trace_id=None,
        prompt_id=more.pop("prompt_id", "support:v13:1"),
        usage=usage,
        own_usage=usage,
        denials=more.pop("denials", {}),
    )
    known: dict[str, Any] = {"question": "Why?", "asked": 1, "used": 1, "pieces": 0, "scripted": True, **more}
    return Outcome(scenario=scenario, result=result, **known)


def ledger(**more: int) -> Ledger:
    """Builds the ledger of a server that served one such run."""
    book = Ledger()
    fields: dict[str, Any] = {"path": "/", "status": 200, "completed": True}
    book.write(Served(number=0, input_tokens=400, output_tokens=20, tool_calls=1, **fields))
    book.write(Served(number=1, **{"input_tokens": 600, "output_tokens": 30, **fields, **more}))
    return book


def report(*outcomes: Outcome, **more: Any) -> Report:
    return Report(**{"model": "m", "outcomes": outcomes, "ledger": None, **more})
