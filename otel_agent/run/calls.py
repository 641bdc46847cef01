"""What LLM calls and tool calls have in common: the frame, the span at its start and its end, the span of a refusal."""

from __future__ import annotations

import functools
import inspect
import signal
from typing import Any, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from otel_agent import config, semconv
from otel_agent import context as ctx
from otel_agent.budget import Refusal
from otel_agent.context import FRAME, attach
from otel_agent.run.blame import blame, code_for, is_cancellation, is_decision
from otel_agent.run.drive import Verb
from otel_agent.run.exits import is_dying
from otel_agent.run.state import Run, RunFrame, plain, run_of
from otel_agent.stop import AgentStop, InvalidSetting, RunClosed, StopCode, StopIgnored, ToolDenied
from otel_agent.telemetry import spans
from otel_agent.telemetry.guard import broken, warn_once
from otel_agent.telemetry.listeners import heard, tell
from otel_agent.telemetry.pipeline import Pipeline
from otel_agent.telemetry.spans import SPAN
from otel_agent.usage import CallRecord, CallStarted, Listener

__all__ = [
    "Call",
    "CallVerb",
    "close_failed",
    "first_line",
    "fn_name",
    "record",
    "refused_span",
    "run_here",
    "start_frame",
    "tell_ended",
    "tell_refused",
    "tell_started",
]


C = TypeVar("C", bound="Call")


class Call(RunFrame):
    """One open call; `run` is None outside a run."""

    __slots__ = ("closed", "pipeline", "run", "span", "started")
    run: Run | None
    span: Span
    pipeline: Pipeline
    started: int
    closed: bool


def run_here(above: RunFrame | None, context: Context) -> Run | None:
    """Gives the run that a new call belongs to, or None.

    Raises:
        RunClosed: the run has ended and its code still makes calls.
        SystemExit: SIGTERM has ended it, and the process dies as soon as that is delivered.
    """
    run = above.run if above is not None else None
    if run is None or not run.account.closed:
        return run
    run = run_of(above, context)
    if run is None:
        return None
    if is_dying():
        raise SystemExit(128 + signal.SIGTERM)
    raise RunClosed(run_id=run.id)


class CallVerb(Verb[C]):
    """What `llm_call` and `tool_call` have in common: the name, kind and attributes of their spans."""

    span_kind: SpanKind
    span_name: str
    at_start: dict[str, Any]

    def attributes(self, call: C) -> dict[str, Any]:
        """Gives all attributes that are known before the call; asked only for a span that is recorded."""
        raise NotImplementedError


def start_frame(call: C, verb: CallVerb[C], context: Context) -> None:
    """Starts a call's span in a context and makes the call's frame the current one."""
    tracer = call.pipeline.tracer
    if tracer is None:
        call.span = INVALID_SPAN
        attach(Context({**context, FRAME: call}))
        return
    recorded = call.run is not None and call.run.recorded
    try:
        attributes = verb.attributes(call) if recorded else verb.at_start
        span = tracer.start_span(verb.span_name, context, verb.span_kind, attributes)
        if not recorded and span.is_recording():
            span.set_attributes(verb.attributes(call))
    except Exception as exc:
        broken("starting a span", exc)
        call.span = INVALID_SPAN
        attach(Context({**context, FRAME: call}))  # the span around stays the current one: the trace is not torn
        return
    call.span = span
    attach(Context({**context, FRAME: call, SPAN: span}))


def fn_name(fn: Any) -> str:
    """Gives the name of a callable."""
    while isinstance(fn, (functools.partial, functools.partialmethod)):
        fn = fn.func
    name = getattr(fn, "__name__", None)
    return name if name and isinstance(name, str) else type(fn).__name__


def first_line(fn: Any) -> str | None:
    """Gives the first line of a function's docstring, at most 200 characters, or None."""
    doc = getattr(fn, "__doc__", None) if inspect.isroutine(fn) else None
    return doc.strip().partition("\n")[0][:200] if isinstance(doc, str) and doc.strip() else None


def close_failed(run: Run | None, span: Span, kind: str, exc: BaseException) -> str | None:
    """Writes an exception that leaves a call's block onto its span, and marks the exception.

    Returns:
        The error type, or None for an early close.
    """
    if isinstance(exc, GeneratorExit):
        spans.write(span, {semconv.STOP_REASON: str(StopCode.CANCELLED)})
        return None
    error = error_of(exc)
    if is_cancellation(exc):
        if run is not None:
            _mark_deadline(run, span)
        spans.write(span, {semconv.ERROR_TYPE: error})
        return error
    if not is_decision(exc) and blame(exc, run.root_id if run is not None else "", code_for(kind, exc)):
        record(span, exc)
    spans.fail(span, error)
    return error


def record(span: Span, exc: BaseException) -> None:
    """Adds an exception to a span, as much of it as the setting allows; a wrong setting is a warning, no error."""
    try:
        capture = config.CAPTURE_EXCEPTIONS.get()
    except InvalidSetting as wrong:
        capture = config.CAPTURE_EXCEPTIONS.default
        warn_once("capture", "%s; %s is taken", wrong, capture)
    spans.record_exception(span, exc, capture)


def error_of(exc: BaseException) -> str:
    """Gives the low-cardinality error type: the stop code of our own, else the class."""
    if isinstance(exc, StopIgnored):
        exc = exc.stop
    return str(exc.reason) if isinstance(exc, (AgentStop, ToolDenied)) else spans.error_type(exc)


def _mark_deadline(run: Run, span: Span) -> None:
    hit = run.deadline_hit()
    if hit is not None:
        stop = hit.account.time_is_up(ctx.monotonic())
        spans.write(span, {semconv.STOP_REASON: str(stop.code)})


def refused_span(
    run: Run, name: str, kind: SpanKind, context: Context, attributes: dict[str, Any], refusal: Refusal
) -> None:
    """Writes the span of a call that was refused: decision, reason, limit and use."""
    tracer = run.pipeline.tracer
    if tracer is None:
        return
    code = str(refusal.code)
    attributes = {**attributes, semconv.DECISION: "deny", semconv.DECISION_REASON: code}
    if refusal.limit is not None:
        attributes[semconv.LIMIT] = plain(refusal.limit)
        attributes[semconv.LIMIT_USED] = plain(refusal.used)
    if refusal.account.stop is refusal:
        attributes[semconv.STOP_REASON] = code
    span = spans.start(tracer, name, context, kind, attributes)
    spans.fail(span, code)
    spans.end(span)


def tell_started(kind: str, name: str, run: Run | None) -> None:
    """Tells the listeners of a call that was let through."""
    tell(_call_started, CallStarted(kind, name, run.id if run is not None else None))


def tell_ended(call: Call, kind: str, name: str, error: str | None, seconds: float, **fields: Any) -> None:
    """Tells the listeners of a call that has ended; `fields` are those of `CallRecord` that differ."""
    tell(_call_ended, _record(call.run, kind, name)._replace(seconds=seconds, error_type=error, **fields))


def tell_refused(run: Run, kind: str, name: str, refusal: Refusal) -> None:
    """Tells the listeners of a refused call."""
    if heard.listeners:
        code = str(refusal.code)
        tell(_call_ended, _record(run, kind, name)._replace(decision="deny", reason=code, error_type=code))


def _record(run: Run | None, kind: str, name: str) -> CallRecord:
    return CallRecord(
        kind=kind,
        name=name,
        run_id=run.id if run is not None else None,
        agent=run.agent if run is not None else None,
        prompt_id=run.prompt_id if run is not None else None,
        seconds=0.0,
        input_tokens=None,
        output_tokens=None,
        cost_usd=None,
        estimated=False,
        decision="allow",
        reason=None,
        error_type=None,
    )


def _call_started(listener: Listener) -> Any:
    return listener.call_started


def _call_ended(listener: Listener) -> Any:
    return listener.call_ended
