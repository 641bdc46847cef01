"""Limits of the user's own in place of a scenario's."""

from __future__ import annotations

from decimal import Decimal

import pytest

from otel_agent import InvalidSetting, StopCode
from otel_agent.demo.limits import LIMITS, limit, limited
from otel_agent.demo.scenarios import SCENARIOS

ANSWER = SCENARIOS[0]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("max_steps=3", ("max_steps", 3)),
        ("max_seconds=1.5", ("max_seconds", 1.5)),
        ("max_usd=0.10", ("max_usd", "0.10")),
        ("max_usd=none", ("max_usd", None)),
    ],
)
def test_is_read(text: str, read: tuple[str, object]) -> None:
    assert limit(text) == read


@pytest.mark.parametrize("text", ["", "max_steps", "max_steps=", "max_steps=x", "steps=3", "max_calls_per_tool=1"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="limit"):
        limit(text)


def test_replaces_only_what_it_names() -> None:
    changed = limited(ANSWER, {"max_steps": 2, "max_usd": None})
    assert (changed.budget.max_steps, changed.budget.max_usd) == (2, None)
    assert changed.budget.max_tokens == ANSWER.budget.max_tokens
    assert ANSWER.budget.max_usd == Decimal("0.05")


def test_may_end_the_run() -> None:
    assert limited(ANSWER, {"max_steps": 2}).ends == (StopCode.FINISH, StopCode.MAX_STEPS)
    assert StopCode.UNPRICED_MODEL in limited(ANSWER, {"max_usd": "1"}).ends
    assert limited(ANSWER, {"max_usd": None}).ends == (StopCode.FINISH,)


def test_every_name_is_a_stop_reason() -> None:
    assert set(LIMITS) <= set(StopCode)


def test_a_value_that_can_never_work_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="max_steps"):
        limited(ANSWER, {"max_steps": -1})
