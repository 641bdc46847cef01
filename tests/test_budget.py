"""Budgets as values, and what an account does beside letting calls through."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from otel_agent import Budget, FinalCall, InvalidSetting
from otel_agent.budget import (
    NOTHING,
    ONE_STEP,
    ONE_TOOL_CALL,
    STEPS,
    TOKENS,
    TOOL_CALLS,
    USD,
    Account,
    Actual,
    Repeat,
)
from otel_agent.stop import StopCode

SECOND = 1_000_000_000


# the value


def test_a_budget_limits_nothing_by_default() -> None:
    account = Account(Budget(), "r")
    assert not any(account.limited(dimension) for dimension in (STEPS, TOOL_CALLS, TOKENS, USD))
    assert all(account.reserve((1, 1, 10**9, 10**12), now=10**18) is None for _ in range(100))


def test_zero_of_a_count_or_of_money_is_none_allowed() -> None:
    spends = {"max_steps": (1, 0, 0, 0), "max_tool_calls": (0, 1, 0, 0), "max_tokens": (0, 0, 1, 0)}
    for limit, spend in {**spends, "max_usd": (0, 0, 0, 1)}.items():
        refusal = Account(Budget(**{limit: 0}), "r").reserve(spend, now=0)
        assert refusal is not None
        assert (refusal.code, refusal.limit) == (limit, 0)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("0.5", "0.5"), (0.1, "0.1"), (0.1 + 0.2, "0.30000000000000004"), (3, "3"), (Decimal("1e-6"), "0.000001")],
)
def test_money_is_taken_by_its_shortest_repr(given: Any, kept: str) -> None:
    assert Budget(max_usd=given).max_usd == Decimal(kept)
    assert FinalCall(usd=given).usd == Decimal(kept)


def test_money_finer_than_a_millionth_is_rounded_down_in_a_limit() -> None:
    account = Account(Budget(max_usd="0.0000019"), "r")
    assert account.left(USD) == 1


def test_a_float_of_another_kind_is_still_money() -> None:
    class Share(float):
        def __repr__(self) -> str:
            return f"Share({float(self)})"

    assert Budget(max_usd=Share(0.5)).max_usd == Decimal("0.5")


def test_seconds_may_be_a_timedelta() -> None:
    assert Budget(max_seconds=timedelta(minutes=1, milliseconds=500)).max_seconds == 60.5


def test_a_budget_is_a_value() -> None:
    budget = Budget(
        max_steps=5, max_usd="0.5", max_calls_per_tool={"search": 2}, final_call=FinalCall(tokens=5, usd="0.1")
    )
    assert pickle.loads(pickle.dumps(budget)) == copy.deepcopy(budget) == budget
    assert dataclasses.replace(budget, max_steps=6).max_steps == 6
    with pytest.raises(dataclasses.FrozenInstanceError):
        budget.max_steps = 7  # type: ignore[misc]
    with pytest.raises(TypeError):
        Budget(5)  # type: ignore[call-arg]


def test_the_caps_of_tools_cannot_change_behind_a_budgets_back() -> None:
    caps = {"search": 2}
    budget = Budget(max_calls_per_tool=caps)
    caps["search"] = 100
    assert budget.max_calls_per_tool == {"search": 2}
    with pytest.raises(TypeError):
        budget.max_calls_per_tool["search"] = 100  # type: ignore[index]


@pytest.mark.parametrize(
    ("field", "limits"),
    [
        ("max_steps", {"max_steps": 0}),
        ("max_tokens", {"max_tokens": 299}),
        ("max_usd", {"max_usd": "0.19"}),
    ],
)
def test_a_final_call_must_fit_its_budget(field: str, limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=f"Budget.{field}.*kept for final_call"):
        Budget(**limits, final_call=FinalCall(tokens=300, usd="0.2"))
    Budget(max_steps=1, max_tokens=300, max_usd="0.2", final_call=FinalCall(tokens=300, usd="0.2"))


# the account


@contextlib.contextmanager
def locked_elsewhere(account: Account) -> Iterator[None]:
    """Another thread is in the middle of a gate."""
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with account.tree.lock:
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(20)
    try:
        yield
    finally:
        leave.set()
        thread.join(20)


def test_a_settle_never_waits_and_is_done_by_whoever_comes_next() -> None:
    account = Account(Budget(max_tokens=100), "r")
    held = (1, 0, 80, 0)
    assert account.reserve(held, now=0) is None
    with locked_elsewhere(account):
        account.settle(held, Actual(input_tokens=5, output_tokens=5))
        assert len(account.tree.late) == 1
    assert account.reserve((1, 0, 90, 0), now=0) is None
    assert account.usage(0).total_tokens == 10


def test_a_gate_that_cannot_get_the_lock_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_agent.budget.account.WAIT_SECONDS", 0.01)
    account = Account(Budget(max_steps=1), "r")
    with locked_elsewhere(account):
        refusal = account.reserve(ONE_STEP, now=0)
        batch = account.reserve_batch([("search", None)], now=0)
        account.mark(StopCode.HANDOFF, None)
        assert account.usage(0).steps == 0
    assert refusal is not None
    assert (refusal.pending, batch[0] and batch[0].pending) == (True, True)
    assert account.stop is not None
    assert account.stop.code == "handoff"


def test_a_forked_account_works_although_a_thread_held_the_lock() -> None:
    account = Account(Budget(max_steps=1), "r")
    with locked_elsewhere(account):
        account.forked()
        assert account.reserve(ONE_STEP, now=0) is None
    assert [note.kind for note in account.tree.notes] == ["forked"]


def test_only_so_many_different_calls_are_remembered() -> None:
    account = Account(Budget(max_repeats=1), "r")
    for number in range(10_000):
        assert account.reserve(NOTHING, now=0, repeat=Repeat(str(number), account), sent=True) is None
    assert len(account.seen) == 4096
    refusal = account.reserve(NOTHING, now=0, repeat=Repeat("9999", account), sent=True)
    assert refusal is not None
    assert refusal.code == "loop_detected"


def test_a_change_that_is_refused_changes_nothing() -> None:
    account = Account(Budget(max_steps=2, final_call=FinalCall(tokens=5)), "r")
    with pytest.raises(InvalidSetting):
        account.change(max_steps=0)
    assert account.budget.max_steps == 2
    assert account.left(STEPS) == 1


def test_warnings_come_at_the_exact_share() -> None:
    for percent in range(1, 101):
        account = Account(Budget(max_tool_calls=100, warn_at=percent / 100), "r")
        for _ in range(percent - 1):
            assert account.reserve(ONE_TOOL_CALL, now=0, sent=True) is None
        assert not account.tree.notes
        assert account.reserve(ONE_TOOL_CALL, now=0, sent=True) is None
        assert [note.used for note in account.tree.notes] == [percent]


def test_a_deadline_counts_from_the_start() -> None:
    account = Account(Budget(max_seconds=10), "r", now=5 * SECOND)
    assert account.reserve(ONE_STEP, now=15 * SECOND - 1) is None
    refusal = account.reserve(ONE_STEP, now=15 * SECOND)
    assert refusal is not None
    assert (refusal.code, refusal.used) == ("max_seconds", 10)
