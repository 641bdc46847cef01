"""What was told to the outside, kept in memory: spans, metrics, log events and the listeners' records of one block."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from otel_agent.telemetry.listeners import add_listener, remove_listener
from otel_agent.telemetry.pipeline import Pipeline, use_pipeline
from otel_agent.usage import CallRecord, CallStarted, RunRecord, RunStarted

__all__ = ["Capture", "Records", "capture"]


class Records:
    """A listener that keeps what it is told.

    Attributes:
        started: one for each run that opened.
        calls_started: one for each call that was let through.
        calls: one for each call that ended or was refused.
        runs: one for each run that ended.
    """

    def __init__(self) -> None:
        self.started: list[RunStarted] = []
        self.calls_started: list[CallStarted] = []
        self.calls: list[CallRecord] = []
        self.runs: list[RunRecord] = []

    def run_started(self, run: RunStarted, /) -> None:
        self.started.append(run)

    def call_started(self, call: CallStarted, /) -> None:
        self.calls_started.append(call)

    def call_ended(self, call: CallRecord, /) -> None:
        self.calls.append(call)

    def run_ended(self, run: RunRecord, /) -> None:
        self.runs.append(run)


class Capture:
    """Providers that keep everything in memory.

    Attributes:
        tracer_provider: gives tracers for plain spans that are to be kept too.
        records: what listeners were told.
    """

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self._logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        self.records = Records()

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order of their ends."""
        return list(self._spans.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """Gives the one span of a name.

        Raises:
            LookupError: there is none, or more than one.
        """
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            raise LookupError(f"{len(found)} spans named {name!r} among {[span.name for span in self.spans]}")
        return found[0]

    @property
    def events(self) -> list[ReadableLogRecord]:
        """The log events so far."""
        return list(self._logs.get_finished_logs())

    def event_names(self) -> list[str]:
        """The names of the log events so far."""
        return [str(event.log_record.event_name) for event in self.events]

    def metrics(self) -> dict[str, list[Any]]:
        """Collects all metrics now: data points by metric name."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def clear(self) -> None:
        """Forgets the spans, events and records so far."""
        self._spans.clear()
        self._logs.clear()
        self.records.__init__()  # type: ignore[misc]

    def shutdown(self) -> None:
        """Ends the providers."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()
        self.logger_provider.shutdown()


@contextmanager
def capture(*, sampler: Sampler | None = None) -> Generator[Capture]:
    """Keeps in memory what runs and calls inside the block tell, in the place of the providers that are set.

    Args:
        sampler: decides which spans are recorded; all by default.
    """
    kept = Capture(sampler)
    before = use_pipeline(Pipeline(kept.tracer_provider, kept.meter_provider, kept.logger_provider))
    add_listener(kept.records)
    try:
        yield kept
    finally:
        remove_listener(kept.records)
        use_pipeline(before)
        kept.shutdown()
