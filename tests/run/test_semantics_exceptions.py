"""What of an exception is on a span."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from otel_agent import Budget, BudgetExceeded, ToolDenied, agent_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.support.calls import ask, use

SECRET = "the prompt says xyzzy"


def failing_tool() -> None:
    raise ValueError(SECRET)


def fail(kept: Capture) -> Any:
    """Lets a tool fail and gives the exception's event."""
    with contextlib.suppress(ValueError), agent_run("agent"), tool_call("search"):
        failing_tool()
    (event,) = kept.span("execute_tool search").events
    return event


def everything(kept: Capture) -> str:
    return "".join(span.to_json() for span in kept.spans) + repr([event.log_record for event in kept.events])


def test_exceptions_on_spans_have_type_and_frames_but_no_message(kept: Capture) -> None:
    event = fail(kept)
    assert event.name == "exception"
    assert set(event.attributes) == {"exception.type", "exception.stacktrace"}
    assert event.attributes["exception.type"] == "ValueError"
    frames = event.attributes["exception.stacktrace"]
    line = failing_tool.__code__.co_firstlineno + 1
    assert f'File "{__file__}", line {line}, in failing_tool' in frames
    assert "xyzzy" not in everything(kept)


def test_exceptions_on_spans_have_their_message_where_asked(kept: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_CAPTURE_EXCEPTIONS", "full")
    assert fail(kept).attributes["exception.message"] == SECRET


def test_exceptions_on_spans_have_their_type_alone_where_asked(kept: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_CAPTURE_EXCEPTIONS", "type")
    assert dict(fail(kept).attributes) == {"exception.type": "ValueError"}


def test_exceptions_on_spans_are_there_once_on_the_innermost(kept: Capture) -> None:
    outer, inner = agent_run("outer"), agent_run("inner")
    with contextlib.suppress(ValueError), outer, inner, tool_call("search"), llm_call("some-model"):
        failing_tool()
    recorded = {span.name: len(span.events) for span in kept.spans}
    assert recorded == {
        "chat some-model": 1,
        "execute_tool search": 0,
        "invoke_agent inner": 0,
        "invoke_agent outer": 0,
    }
    assert {span.attributes["error.type"] for span in kept.spans} == {"ValueError"}
    assert not any(span.status.is_ok or span.status.is_unset for span in kept.spans)


def test_exceptions_on_spans_of_another_run_are_there_again(kept: Capture) -> None:
    error = ValueError()
    for _ in range(2):
        with contextlib.suppress(ValueError), agent_run("agent"):
            raise error
    assert [len(span.events) for span in kept.spans] == [1, 1]


def test_exceptions_on_spans_are_no_decisions_of_ours(kept: Capture) -> None:
    limits = Budget(max_steps=0, max_calls_per_tool={"search": 0})
    with contextlib.suppress(ToolDenied), agent_run("denied", budget=limits), tool_call("outer"):
        use("search")
    with contextlib.suppress(BudgetExceeded), agent_run("stopped", budget=limits), tool_call("outer"):
        ask()
    assert [event.name for span in kept.spans for event in span.events] == ["otel_agent.budget.exceeded"]


def test_exceptions_on_spans_are_cut_in_the_middle_of_nothing(kept: Capture) -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError(SECRET)
        deep(levels - 1)

    with contextlib.suppress(ValueError), tool_call("search"):
        deep(200)
    frames = kept.span("execute_tool search").events[0].attributes["exception.stacktrace"].splitlines()
    assert len(frames) == 52
    assert frames[0].endswith("frames more")
    assert frames[-1] == "ValueError"


def test_exceptions_on_spans_may_have_a_message_that_fails(kept: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    monkeypatch.setenv("OTEL_AGENT_CAPTURE_EXCEPTIONS", "full")
    with pytest.raises(Mute), agent_run("agent") as run, tool_call("search"):
        raise Mute
    assert run.result.stop_reason == "tool_error"
    assert kept.span("execute_tool search").attributes["error.type"].endswith("Mute")
