"""What the SDK builds for one signal: a provider with its exporters, counted, quiet in an outage, and ended in time.

Imports the SDK, so it is itself imported only where something is to be built, in an environment that holds no wrong
value (see `variables`). Does not decide which signal goes where, and sets no provider.

    spans, log records -> the SDK's batch processor, counting what it takes -> Exporter, counting what went out
    metrics            -> the SDK's periodic reader                         -> Exporter
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import itertools
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint
from queue import SimpleQueue
from typing import Any, cast

from opentelemetry.sdk._logs import LoggerProvider, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from otel_agent.telemetry.variables import PROTOCOLS, Given, Signal, Variables

__all__ = ["Builder", "Exporter", "Exports", "Job", "Throttle"]

QUIET_SECONDS = 600.0
TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"

_log = logging.getLogger("otel_agent")
_outage_log = logging.getLogger("otel_agent.outage")

_FAILURE: dict[Signal, object] = {
    "traces": SpanExportResult.FAILURE,
    "metrics": MetricExportResult.FAILURE,
    "logs": LogRecordExportResult.FAILURE,
}


class Throttle(logging.Filter):
    """Lets the first warning of an outage through, then one every ten minutes that says how many it stands for.

    Args:
        seconds: how long to be silent after a warning.
        clock: gives the time in seconds.
    """

    def __init__(self, seconds: float = QUIET_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._silent_until = float("-inf")
        self._held = 0
        self.renew()

    def renew(self) -> None:
        """Takes a new lock: in a forked child nobody may be left to give the old one back."""
        self._lock = threading.RLock()

    def mute(self) -> None:
        """Lets nothing through any more: what was given up fails because of that."""
        self._silent_until = math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Tells whether a message is logged; of a warning that is, only the message is left, not its traceback."""
        if record.levelno < logging.WARNING:
            return True
        if (held := self._turn()) is None:
            return False
        more = f" ({held} more of these since the last one)" if held else ""
        record.msg, record.args = f"{record.getMessage()}{more}; what fails from now on is counted, not logged", None
        record.exc_info = record.exc_text = None
        return True

    def _turn(self) -> int | None:
        """Gives how many warnings were held back since the last one, or None where this one is held back too."""
        with self._lock:
            now = self._clock()
            if now < self._silent_until:
                self._held += 1
                return None
            self._silent_until = now + self._seconds
            held, self._held = self._held, 0
            return held


class _QueueFull(logging.Filter):
    """Passes what the batch processors say of one kind of item through a throttle: a full queue is an outage too."""

    def __init__(self, kind: str, throttle: Throttle) -> None:
        super().__init__()
        self._kind = kind
        self._throttle = throttle

    def filter(self, record: logging.LogRecord) -> bool:
        return record.args != (self._kind,) or self._throttle.filter(record)


class Exporter:
    """An exporter that counts, never raises, and can be given up. All else is the wrapped one's.

    Args:
        exporter: the SDK's or a third party's.
        signal: what it exports.
        throttle: decides what is logged when it fails.
        recovers: True where what comes later makes up for what was lost, as with cumulative metrics.
        session: the HTTP session it sends through, or None where it has one of its own.

    Attributes:
        failures: how many exports failed so far.
    """

    def __init__(
        self, exporter: Any, signal: Signal, throttle: Throttle, *, recovers: bool = False, session: Any = None
    ) -> None:
        self._exporter = exporter
        self._signal: Signal = signal
        self._throttle = throttle
        self._recovers = recovers
        self._session = session
        self._ended = False
        self.failures = 0
        self._ends = itertools.count()
        self._clear()
        self._quieten()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)

    @property
    def lost(self) -> int:
        """How many spans or log records, or exports of metrics, were taken and not delivered so far."""
        taken = next(self._taken) - self._looks
        self._looks += 1
        return max(0, taken - self._delivered)

    def take(self) -> None:
        """Counts one item that is to be delivered; from any thread, without a lock."""
        next(self._taken)

    def export(self, batch: Any, **options: Any) -> Any:
        """Exports one batch, and says whether that failed, whatever happens."""
        if self._signal == "metrics":
            self.take()
        result = self._try(batch, options)
        if getattr(result, "name", None) == "FAILURE":
            self.failures += 1
        else:
            self._deliver(1 if self._signal == "metrics" else len(batch))
        return result

    def shutdown(self, **_: object) -> None:
        """Ends the wrapped exporter, once; nothing is sent any more."""
        self._ended = True
        if next(self._ends) == 0:
            self._exporter.shutdown()

    def give_up(self) -> None:
        """Ends at once and silently: an export that waits for its next attempt returns."""
        self._throttle.mute()
        self.shutdown()

    def renew(self) -> None:
        """Starts anew in a forked child: nothing taken yet, and no connection that the parent uses as well."""
        self._clear()
        if self._session is not None:
            old = list(self._session.adapters.values())
            for prefix in list(self._session.adapters):
                self._session.mount(prefix, import_module("requests.adapters").HTTPAdapter())
            # In a thread of its own: it takes locks, which nobody may be left to give back here.
            _start(f"otel-agent-{self._signal}-fork", lambda: [adapter.close() for adapter in old])

    def _clear(self) -> None:
        self._taken = itertools.count()
        self._looks = 0
        self._delivered = 0

    def _deliver(self, items: int) -> None:
        self._delivered += self.lost if self._recovers else items

    def _try(self, batch: Any, options: dict[str, Any]) -> Any:
        if self._ended:
            return _FAILURE[self._signal]
        try:
            return self._exporter.export(batch, **options)
        except Exception as exc:
            # The type alone: what an exporter says may quote a header.
            _outage_log.warning("%s: %s raised %s", self._signal, type(self._exporter).__qualname__, type(exc).__name__)
            return _FAILURE[self._signal]

    def _quieten(self) -> None:
        """Puts the throttle on the loggers of the exporter's own modules, not on the SDK's."""
        _outage_log.addFilter(self._throttle)
        for module in {kind.__module__ for kind in type(self._exporter).__mro__}:
            if not module.startswith(("builtins", "abc", "typing", "opentelemetry.sdk")):
                logging.getLogger(module).addFilter(self._throttle)


class _Spans(BatchSpanProcessor):
    """The SDK's batch processor, counting the spans that it takes."""

    def __init__(self, exporter: Exporter) -> None:
        super().__init__(cast("SpanExporter", exporter))
        self._take = exporter.take

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled:
            self._take()
        super().on_end(span)


class _Logs(BatchLogRecordProcessor):
    """The SDK's batch processor, counting the log records that it takes."""

    def __init__(self, exporter: Exporter) -> None:
        super().__init__(cast("LogRecordExporter", exporter))
        self._take = exporter.take

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._take()
        super().on_emit(log_record)


class Job:
    """A piece of work that a thread does and others wait for, but never longer than they want to."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._succeeded = False
        # A bare lock: unlike an Event it may be waited for in a signal handler that interrupted another wait.
        self._running = threading.Lock()
        self._running.acquire()

    def run(self) -> None:
        """Does the work; an exception is a failure."""
        try:
            self._succeeded = self._work() is not False
        except Exception:
            _log.debug("telemetry was not flushed or ended", exc_info=True)
        finally:
            self._running.release()

    def wait(self, seconds: float) -> bool:
        """Waits for the work, and tells whether it was done in time and did not fail."""
        if not self._running.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX)):
            return False
        self._running.release()
        return self._succeeded


class Exports:
    """One provider of ours, its exporters, and the thread that flushes and ends it.

    The thread is there from the start, since Python 3.12 starts none at exit.
    """

    def __init__(
        self, signal: Signal, provider: Any, exporters: list[Exporter], readers: Sequence[MetricReader] = ()
    ) -> None:
        self.signal: Signal = signal
        self.provider = provider
        self.exporters = exporters
        self._readers: list[Any] = [*readers]
        self._closing = Job(provider.shutdown)
        self._closes = itertools.count()
        self._closed = False
        self._start()

    @property
    def exporting(self) -> bool:
        """Whether anything leaves this process, or can be fetched from it."""
        return bool(self.exporters or self._readers)

    @property
    def lost(self) -> int:
        """How much was taken and not delivered so far; the worst of the exporters counts."""
        return max((exporter.lost for exporter in self.exporters), default=0)

    @property
    def failures(self) -> int:
        """How many exports failed so far."""
        return sum(exporter.failures for exporter in self.exporters)

    @property
    def closed(self) -> bool:
        """Whether the provider has ended, or is about to."""
        return self._closed

    def flush(self, seconds: float) -> Job:
        """Begins to send what is waiting, within so many seconds."""
        job = Job(lambda: self.provider.force_flush(timeout_millis=int(seconds * 1_000)))
        self._jobs.put(job)
        return job

    def close(self) -> Job:
        """Begins to send what is waiting and to end the provider, once."""
        self._closed = True
        if next(self._closes) == 0:
            self._jobs.put(self._closing)
        return self._closing

    def give_up(self) -> None:
        """Ends the exporters at once."""
        for exporter in self.exporters:
            exporter.give_up()

    def renew(self) -> None:
        """Starts anew in a forked child, where no thread of the parent runs."""
        for exporter in self.exporters:
            exporter.renew()
        for reader in self._readers:
            # The SDK renews all but this one, which an export of the parent's holds for as long as it hangs.
            if hasattr(reader, "_export_lock"):
                reader._export_lock = threading.Lock()
        if not self._closed:
            self._closing = Job(self.provider.shutdown)
        self._start()

    def _start(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        _start(f"otel-agent-{self.signal}", functools.partial(_work, self._jobs))


def _start(name: str, work: Callable[[], object]) -> None:
    """Starts a thread that holds up no exit and belongs to no run."""
    contextvars.Context().run(threading.Thread(target=work, name=name, daemon=True).start)


def _work(jobs: SimpleQueue[Job]) -> None:
    while True:
        jobs.get().run()


class Builder:
    """Builds the providers of one process: the same resource for all, one voice in an outage.

    Args:
        variables: what the environment says.
        given: what goes before it.
    """

    def __init__(self, variables: Variables, given: Given) -> None:
        self.throttle = Throttle()
        self._said: set[str] = set()
        self._variables = variables
        self._given = given

    def build(self, signal: Signal) -> Exports | None:
        """Builds the provider of a signal, with each exporter that is wanted and that can be built.

        Returns:
            The provider and its exporters; None for metrics and logs that nothing exports. Traces get a provider even
            then, so that trace ids exist and a processor can be added.
        """
        wanted = self._variables.exporters(signal, self._given) or {}
        made = [self._exporter(signal, name, entry) for name, entry in wanted.items()]
        found = [exporter for exporter in made if exporter is not None]
        if not found and signal != "traces":
            return None
        exporters = [exporter for exporter in found if isinstance(exporter, Exporter)]
        match signal:
            case "traces":
                return Exports(signal, self._tracer_provider(exporters), exporters)
            case "logs":
                return Exports(signal, self._logger_provider(exporters), exporters)
            case "metrics":
                readers = [_reader(each) for each in found]
                return Exports(signal, self._meter_provider(readers), exporters, readers)

    @functools.cached_property
    def _resource(self) -> Resource:
        """The variables' resource with the given service name, and an instance id where the SDK gives none.

        Several processes need distinct ids for their cumulative metrics to be told apart.
        """
        name = self._given.service_name
        resource = Resource.create({SERVICE_NAME: name} if name else {})
        if resource.attributes.get(SERVICE_INSTANCE_ID) or self._variables.get(TEMPORALITY).lower() == "delta":
            return resource
        return resource.merge(Resource({SERVICE_INSTANCE_ID: str(uuid.uuid4())}))

    def _exporter(self, signal: Signal, name: str, entry: EntryPoint) -> Exporter | MetricReader | None:
        protocol = next((protocol for protocol, known in PROTOCOLS.items() if known == entry.name), None)
        try:
            if protocol is not None:
                return self._otlp_exporter(signal, entry.load(), protocol)
            made = entry.load()()
        except Exception as exc:
            self._leave_out(name, exc)
            return None
        return made if isinstance(made, MetricReader) else Exporter(made, signal, self.throttle)

    def _leave_out(self, name: str, exc: Exception) -> None:
        why = type(exc).__name__  # its message may quote a header
        if why not in self._said:
            self._said.add(why)
            _log.warning("the exporter %s cannot be built (%s); what needs it is not exported", name, why)

    def _otlp_exporter(self, signal: Signal, factory: Any, protocol: str) -> Exporter:
        otlp = self._variables.otlp(signal, self._given, protocol)
        session = self._session(signal, factory)
        keywords: dict[str, Any] = {"headers": dict(otlp.headers)} if otlp.headers else {}
        if session is not None:
            keywords["session"] = session
        with self._variables.environment(otlp.environment):
            made = factory(**keywords)
        recovers = signal == "metrics" and self._variables.get(TEMPORALITY).lower() in ("", "cumulative")
        return Exporter(made, signal, self.throttle, recovers=recovers, session=session)

    def _session(self, signal: Signal, factory: Any) -> Any:
        """Gives an HTTP session that a forked child can empty of connections, where an exporter takes one."""
        names = ("OTEL_PYTHON_EXPORTER_OTLP_HTTP", f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{signal.upper()}")
        theirs = any(self._variables.get(f"{name}_CREDENTIAL_PROVIDER") for name in names)
        if theirs or "session" not in inspect.signature(factory).parameters:
            return None
        session: Any = import_module("requests").Session
        return session()

    def _tracer_provider(self, exporters: list[Exporter]) -> TracerProvider:
        provider = TracerProvider(
            sampler=self._sampler(),
            resource=self._resource,
            id_generator=self._id_generator(),
            shutdown_on_exit=False,
            **self._configurator("tracer"),
        )
        for exporter in exporters:
            provider.add_span_processor(_Spans(exporter))
            self._quieten_queue("Span")
        return provider

    def _logger_provider(self, exporters: list[Exporter]) -> LoggerProvider:
        provider = LoggerProvider(resource=self._resource, shutdown_on_exit=False, **self._configurator("logger"))
        for exporter in exporters:
            provider.add_log_record_processor(_Logs(exporter))
            self._quieten_queue("Log")
        return provider

    def _meter_provider(self, readers: list[MetricReader]) -> MeterProvider:
        return MeterProvider(
            metric_readers=readers, resource=self._resource, shutdown_on_exit=False, **self._configurator("meter")
        )

    def _quieten_queue(self, kind: str) -> None:
        logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(_QueueFull(kind, self.throttle))

    def _sampler(self) -> Sampler:
        written = self._variables.get("OTEL_TRACES_SAMPLER").lower()
        made: Sampler | None = self._made(
            "OTEL_TRACES_SAMPLER",
            "opentelemetry_traces_sampler",
            Sampler,
            "parentbased_always_on is used",
            lambda factory: factory(self._sampler_argument(written)),
        )
        return DEFAULT_ON if made is None else made

    def _sampler_argument(self, sampler: str) -> float | str | None:
        name = "OTEL_TRACES_SAMPLER_ARG"
        written = self._variables.get(name)
        if sampler not in ("traceidratio", "parentbased_traceidratio"):
            return written or None
        try:
            rate = float(written or 1.0)
        except ValueError:
            rate = math.nan
        if 0.0 <= rate <= 1.0:
            return rate
        self._variables.wrong(name, "a number from 0 to 1", "1.0 is used")
        return 1.0

    def _id_generator(self) -> IdGenerator | None:
        made: IdGenerator | None = self._made(
            "OTEL_PYTHON_ID_GENERATOR",
            "opentelemetry_id_generator",
            IdGenerator,
            "random is used",
            lambda factory: factory(),
        )
        return made

    def _made(self, name: str, group: str, kind: Any, instead: str, make: Callable[[Any], object]) -> Any:
        """Makes the component that a variable names, or gives None: it is not set, or wrong."""
        factory = self._variables.component(name, group, instead)
        if factory is None:
            return None
        try:
            if isinstance(made := make(factory), kind):
                return made
            why = f"a {type(made).__qualname__} is none"
        except Exception as exc:
            why = f"this one raised {type(exc).__name__}: {exc}"
        self._variables.wrong(name, f"a {kind.__name__}; {why}", instead)
        return None

    def _configurator(self, kind: str) -> dict[str, Any]:
        """Gives the keyword of an experimental setting of the SDK, where it is set."""
        name = f"OTEL_PYTHON_{kind.upper()}_CONFIGURATOR"
        found = self._variables.component(name, f"_opentelemetry_{kind}_configurator", "the default is used")
        return {} if found is None else {f"_{kind}_configurator": found}


def _reader(exporter: Exporter | MetricReader) -> MetricReader:
    if isinstance(exporter, MetricReader):
        return exporter
    return PeriodicExportingMetricReader(cast("MetricExporter", exporter))
