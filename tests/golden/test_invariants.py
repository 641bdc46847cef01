"""Every bound of a task against what a run did: what is kept, what just is not, and what no quorum forgives."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from otel_agent.config.values import GoldenTask, OutputCheck
from otel_agent.golden.invariants import Violation, notes, violations
from otel_agent.golden.observed import Observed, ToolUse
from otel_agent.stop import StopCode
from tests.support.past import past_run


def observed(tools: Sequence[str] = (), **fields: object) -> Observed:
    """A run that called these tools; a name with `!` was denied, one with `:x` had the arguments x."""
    run = past_run(tool_calls=sum("!" not in tool for tool in tools), **fields)
    return Observed(run=run, tools=tuple(map(used, tools)), stop_reason=run.stop_reason)


def used(tool: str) -> ToolUse:
    name, _, arguments = tool.rstrip("!").partition(":")
    return ToolUse(name, arguments or None, denied=tool.endswith("!"), failed=False)


def found(seen: Observed, output: object = None, writes: Sequence[str] = (), **bounds: object) -> list[Violation]:
    task = GoldenTask(**{"id": "a", "expect_stop_reason": StopCode.FINISH, **bounds})  # type: ignore[arg-type]
    return list(violations(task, seen, output, writes=writes))


def test_a_run_that_keeps_to_everything() -> None:
    assert not found(
        observed(["kb.search:a", "kb.search:b", "refund:a"]),
        output="See #17",
        writes=["refund", "mail.send"],
        max_steps=4,
        max_tool_calls=3,
        max_tokens=3_600,
        max_seconds=2.0,
        max_usd=Decimal("0.0015"),
        max_repeats=1,
        must_call=("refund", "kb.search"),
        must_not_call=("mail.send",),
    )


@pytest.mark.parametrize(
    ("bound", "violation"),
    [
        ({"max_steps": 3}, Violation("max_steps", "at most 3", "4")),
        ({"max_tool_calls": 1}, Violation("max_tool_calls", "at most 1", "2")),
        ({"max_tokens": 3_599}, Violation("max_tokens", "at most 3,599", "3,600")),
        ({"max_seconds": 1.99}, Violation("max_seconds", "at most 1.99", "2")),
        ({"max_usd": Decimal("0.001499")}, Violation("max_usd", "at most 0.001499", "0.0015")),
        ({"expect_stop_reason": StopCode.HANDOFF}, Violation("expect_stop_reason", "handoff", "finish")),
    ],
)
def test_one_less_is_too_little(bound: dict[str, object], violation: Violation) -> None:
    assert found(observed(["a", "b"]), **bound) == [violation]
    assert not violation.strict


def test_a_missing_stop_reason_is_never_forgiven_and_a_wrong_one_is() -> None:
    seen = observed()
    missing = Observed(run=seen.run, stop_reason=None)
    assert [each.strict for each in found(missing)] == [True]
    assert [each.strict for each in found(observed(stop_reason="error"))] == [False]


def test_what_is_not_known_does_not_pass() -> None:
    seen = observed(micro_usd=None)
    hidden = Observed(run=seen.run, stop_reason="finish", unknown=frozenset({"tokens", "steps"}))
    assert [(each.field, each.found[:7]) for each in found(hidden, max_tokens=10**9, max_steps=99, max_usd=1)] == [
        ("max_steps", "unknown"),
        ("max_tokens", "unknown"),
        ("max_usd", "unknown"),
    ]
    assert not found(hidden)


def test_a_forbidden_tool_is_never_forgiven() -> None:
    assert found(observed(["a", "refund", "refund"]), must_not_call=("refund",)) == [
        Violation("must_not_call", "no call of refund", "called twice", strict=True)
    ]


def test_a_try_that_was_denied_is_no_violation_but_a_note() -> None:
    seen = observed(["refund!", "refund!", "a"])
    task = GoldenTask(id="a", expect_stop_reason=StopCode.FINISH, must_not_call=("refund",))
    assert not violations(task, seen, None, writes=["refund"])
    assert notes(task, seen) == ("refund, which must not be called, was tried twice and denied",)
    assert notes(task, observed(["a!"])) == ()


@pytest.mark.parametrize("allowed", [{"must_call": ("refund",)}, {"may_call": ("refund",)}])
def test_an_unexpected_write_is_never_forgiven(allowed: dict[str, object]) -> None:
    seen = observed(["a", "refund"])
    assert [(each.field, each.strict) for each in found(seen, writes=["refund"])] == [("may_call", True)]
    assert not found(seen, writes=["refund"], **allowed)
    assert not found(seen, writes=["mail.send"])
    both = found(seen, writes=["refund"], must_not_call=("refund",))
    assert [each.field for each in both] == ["must_not_call"]


def test_tools_that_must_be_called_as_often_as_they_stand_there() -> None:
    assert not found(observed(["b", "a", "a", "c"]), must_call=("a", "b", "a"))
    assert found(observed(["b", "a", "c!"]), must_call=("a", "b", "a", "c")) == [
        Violation("must_call", "a called twice", "once"),
        Violation("must_call", "c called", "never"),
    ]


@pytest.mark.parametrize(
    ("order", "tools", "field"),
    [
        ("any", ["b", "a"], None),
        ("in_order", ["x", "a", "x", "b", "a"], None),
        ("in_order", ["a", "b!", "b"], None),
        ("in_order", ["b", "a"], "call_order"),
        ("in_order", ["a"], "must_call"),
        ("exact", ["a", "b"], None),
        ("exact", ["a", "x!", "b"], None),
        ("exact", ["a", "b", "a"], "call_order"),
        ("exact", ["b", "a"], "call_order"),
        ("exact", ["a"], "call_order"),
        ("exact", [], "call_order"),
    ],
)
def test_the_order_of_calls(order: str, tools: list[str], field: str | None) -> None:
    assert [each.field for each in found(observed(tools), must_call=("a", "b"), call_order=order)] == (
        [field] if field else []
    )


def test_no_calls_at_all_can_be_asked_for() -> None:
    assert not found(observed(), must_call=(), call_order="exact")
    (wrong,) = found(observed(["a"] * 30), must_call=(), call_order="exact")
    assert wrong.allowed == "exactly no calls"
    assert wrong.found.endswith("a and 10 more")


def test_repeats_are_of_one_tool_with_the_same_arguments() -> None:
    seen = observed(["a:x", "b:x", "a:y", "a:x", "a:x!"])
    assert not found(seen, max_repeats=2)
    assert found(seen, max_repeats=1) == [
        Violation("max_repeats", "a at most once with the same arguments", "twice"),
    ]


def test_repeats_whose_arguments_are_hidden_do_not_pass_unless_they_cannot_be_too_many() -> None:
    seen = observed(["a", "a", "a:x"])
    assert not found(seen, max_repeats=3)
    (wrong,) = found(seen, max_repeats=2)
    assert wrong.found == "unknown: 2 of 3 spans say nothing of the arguments"


def test_the_output_is_looked_at_too() -> None:
    check = OutputCheck(contains=("#17",))
    task = GoldenTask(id="a", expect_stop_reason=StopCode.FINISH, output=check)
    assert not violations(task, observed(), "See #17")
    (wrong,) = violations(task, observed(), "See #18")
    assert (wrong.field, wrong.strict) == ("output.contains", False)
