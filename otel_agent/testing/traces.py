"""The spans of single traces, kept in memory beside whatever else the providers of this process do with them.

Decides nothing of what a span says. Spans of this package come from a provider of its own, so that nothing of them is
exported and nothing is counted; spans of other instrumentations from the provider that is set, or from one that is set
here where there is none.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_agent.telemetry.pipeline import Pipeline, use_pipeline
from otel_agent.telemetry.spans import kept

__all__ = ["Traces", "kept_traces"]


class Traces(SpanProcessor):
    """Keeps the ended spans of the traces that somebody waits for."""

    def __init__(self) -> None:
        self._spans: dict[int, list[ReadableSpan]] = {}
        self._joined: list[object] = []

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        found = None if context is None else self._spans.get(context.trace_id)
        if found is not None:
            found.append(span)

    def begin(self) -> tuple[int, Context]:
        """Begins a trace: its id, and a context without a run in which all spans are of it and are sampled."""
        trace_id, span_id = secrets.randbits(128) or 1, secrets.randbits(64) or 1
        sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        parent = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)
        self._spans[trace_id] = []
        return trace_id, trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())

    def end(self, trace_id: int) -> list[ReadableSpan]:
        """Gives the spans of a trace, in the order of their ends, and waits for it no longer."""
        return self._spans.pop(trace_id, [])

    def join(self) -> None:
        """Takes spans from the provider that is set too, or from a new one where none is."""
        provider: Any = trace.get_tracer_provider()
        if type(provider).__name__.startswith("Proxy"):
            provider = TracerProvider(shutdown_on_exit=False)
            trace.set_tracer_provider(provider)
        if not any(known is provider for known in self._joined) and hasattr(provider, "add_span_processor"):
            provider.add_span_processor(self)
            self._joined.append(provider)


class _Kept:
    lock = threading.Lock()
    users = 0
    traces: Traces | None = None
    pipeline: Pipeline | None = None
    before: tuple[Any, Any] = (None, None)


@contextmanager
def kept_traces() -> Generator[Traces]:
    """Has what runs tell inside the block go nowhere but into these traces; the run history is off meanwhile."""
    with _Kept.lock:
        traces = _entered()
    try:
        yield traces
    finally:
        with _Kept.lock:
            _left()


def _entered() -> Traces:
    if _Kept.traces is None or _Kept.pipeline is None:
        _Kept.traces = Traces()
        own = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        own.add_span_processor(_Kept.traces)
        _Kept.pipeline = Pipeline(own, None, None)
    if _Kept.users == 0:
        _Kept.before = use_pipeline(_Kept.pipeline), kept.take
        kept.take = None
    _Kept.users += 1
    _Kept.traces.join()
    return _Kept.traces


def _left() -> None:
    _Kept.users -= 1
    if _Kept.users == 0:
        pipeline, kept.take = _Kept.before
        use_pipeline(pipeline)
