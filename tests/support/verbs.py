"""The three verbs, for tests of what is the same for all of them, and what such tests look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any, NamedTuple

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_agent import agent_run, current_run, llm_call, tool_call
from otel_agent.testing import Capture

__all__ = ["VERBS", "Balance", "Verb", "clean", "current_span_name", "parent_of", "plain_span", "wait_for"]


class Verb(NamedTuple):
    """One verb: `make` gives a new decorator or block each time, whose span is called `span`."""

    name: str
    make: Callable[[], Any]
    span: str


VERBS = (
    Verb("agent_run", lambda: agent_run("it"), "invoke_agent it"),
    Verb("llm_call", lambda: llm_call("it"), "chat it"),
    Verb("tool_call", lambda: tool_call("it"), "execute_tool it"),
)


class Balance(SpanProcessor):
    """Counts the spans that are open."""

    def __init__(self) -> None:
        self.open = 0

    def on_start(self, span: Span, parent_context: otel.Context | None = None) -> None:
        self.open += 1

    def on_end(self, span: ReadableSpan) -> None:
        self.open -= 1


@contextmanager
def clean() -> Iterator[None]:
    """Asserts that a block leaves the current context as the very object it was, and no run behind."""
    before, run = otel.get_current(), current_run()
    yield
    assert otel.get_current() is before
    assert current_run() is run


def plain_span(kept: Capture, name: str) -> Any:
    """Opens a span of plain OpenTelemetry."""
    return kept.tracer_provider.get_tracer("plain").start_as_current_span(name)


def current_span_name() -> str | None:
    """Gives the name of the current span, or None."""
    return getattr(trace.get_current_span(), "name", None)


def parent_of(kept: Capture, name: str) -> str | None:
    """Gives the name of a span's parent, or None for a root."""
    parent = kept.span(name).parent
    if parent is None:
        return None
    (found,) = [span.name for span in kept.spans if span.context.span_id == parent.span_id]
    return found


def wait_for(true: Callable[[], bool]) -> None:
    """Waits until something that another thread does has been done."""
    for _ in range(1000):
        if true():
            return
        Event().wait(0.01)
    raise AssertionError("it never came")
