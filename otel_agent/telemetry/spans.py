"""Spans: started, written to and ended such that no failure of an SDK, a processor or an exporter reaches the caller.

Decides what of an exception is on a span. Knows nothing of budgets.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode

from otel_agent import checks, semconv
from otel_agent.telemetry.guard import broken
from otel_agent.usage import RunRecord

__all__ = [
    "SPAN",
    "add_event",
    "end",
    "error_type",
    "fail",
    "keep",
    "kept",
    "record_exception",
    "start",
    "trace_id",
    "write",
]

MOST_FRAMES = 50
SPAN: str = next(iter(trace.set_span_in_context(INVALID_SPAN, Context())))
"""The key under which OpenTelemetry keeps the current span in a context."""

Attributes = Mapping[str, Any]


def start(tracer: trace.Tracer, name: str, context: Context, kind: SpanKind, attributes: Attributes) -> Span:
    """Starts a span, or gives one that does nothing where the SDK or a processor raises."""
    try:
        return tracer.start_span(name, context, kind, attributes)
    except Exception as exc:
        broken("starting a span", exc)
        return INVALID_SPAN


def write(span: Span, attributes: Attributes) -> None:
    """Sets attributes."""
    try:
        span.set_attributes(attributes)
    except Exception as exc:
        broken("setting attributes", exc)


def add_event(span: Span, name: str, attributes: Attributes) -> None:
    """Adds an event to a span."""
    try:
        span.add_event(name, attributes)
    except Exception as exc:
        broken("adding a span event", exc)


def fail(span: Span, error: str, message: str | None = None) -> None:
    """Marks a span as failed.

    Args:
        span: the span.
        error: the low-cardinality error type.
        message: a text for people; None leaves it out.
    """
    try:
        span.set_attribute(semconv.ERROR_TYPE, error)
        span.set_status(Status(StatusCode.ERROR, message))
    except Exception as exc:
        broken("setting a span's status", exc)


def end(span: Span) -> None:
    """Ends a span, and hands it on where somebody keeps our spans."""
    try:
        span.end()
    except Exception as exc:
        broken("ending a span", exc)
    keep(span)


def keep(ended: Span | RunRecord) -> None:
    """Hands on what has ended, where somebody keeps it."""
    if kept.take is not None:
        try:
            kept.take(ended)
        except Exception as exc:
            broken("the run history", exc)


class _Kept:
    """Who gets our own spans and runs when they have ended, whoever set the provider; never another's spans."""

    __slots__ = ("take",)

    def __init__(self) -> None:
        self.take: Callable[[Span | RunRecord], object] | None = None


kept = _Kept()


def trace_id(span: Span) -> str | None:
    """Gives the trace's id as 32 hex digits, or None when there is no trace."""
    context = span.get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def error_type(exc: BaseException) -> str:
    """Gives an exception's qualified name, without `builtins.`."""
    return checks.class_name(exc).removeprefix("builtins.")


def record_exception(span: Span, exc: BaseException, capture: str) -> None:
    """Adds the exception event.

    Args:
        span: the span.
        exc: what was raised.
        capture: "type" for its name alone, "frames" with file, line and function of each frame, "full" with the
            message too, which may quote a prompt.
    """
    try:
        if span.is_recording():
            span.add_event(semconv.EXCEPTION_EVENT, _described(exc, capture))
    except Exception as problem:
        broken("recording an exception", problem)


def _described(exc: BaseException, capture: str) -> dict[str, str]:
    found = {semconv.EXCEPTION_TYPE: error_type(exc)}
    if capture != "type":
        found[semconv.EXCEPTION_STACKTRACE] = _frames(exc)
    if capture == "full":
        found[semconv.EXCEPTION_MESSAGE] = _message(exc)
    return found


def _message(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as problem:
        return f"{error_type(problem)} instead of a message"


def _frames(exc: BaseException) -> str:
    lines = [
        f'File "{frame.f_code.co_filename}", line {number}, in {frame.f_code.co_name}'
        for frame, number in traceback.walk_tb(exc.__traceback__)
    ]
    if len(lines) > MOST_FRAMES:
        lines = [f"... {len(lines) - MOST_FRAMES} frames more", *lines[-MOST_FRAMES:]]
    return "\n".join([*lines, error_type(exc)])
