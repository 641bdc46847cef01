"""Budgets: the limits of a run (`limits`), and the sums that are held against them (`account`).

Decides whether one more call fits. Reads no clock (who asks brings the time), does no I/O, imports no OpenTelemetry.
"""

from __future__ import annotations

from otel_agent.budget.account import (
    NANO,
    NO_LIMIT,
    NOTHING,
    ONE_STEP,
    ONE_TOOL_CALL,
    STEPS,
    TOKENS,
    TOOL_CALLS,
    USD,
    Account,
    Actual,
    Note,
    Refusal,
    Repeat,
    Spend,
)
from otel_agent.budget.limits import Budget, FinalCall

__all__ = [
    "NANO",
    "NOTHING",
    "NO_LIMIT",
    "ONE_STEP",
    "ONE_TOOL_CALL",
    "STEPS",
    "TOKENS",
    "TOOL_CALLS",
    "USD",
    "Account",
    "Actual",
    "Budget",
    "FinalCall",
    "Note",
    "Refusal",
    "Repeat",
    "Spend",
]
