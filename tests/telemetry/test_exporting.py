"""What is built for one signal: real providers against a real backend, counted, quiet in an outage, ended in time."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, AlwaysRecordSampler
from opentelemetry.trace import format_trace_id

from otel_agent.telemetry.exporting import Builder, Exporter, Exports, Job, Throttle
from otel_agent.telemetry.variables import SIGNALS, Given, Signal, Variables
from tests.support.otlp import OtlpReceiver, attributes
from tests.support.process import as_new

Build = Callable[..., Exports]


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with as_new(monkeypatch):
        yield


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Builds a signal's provider from variables, and ends it with the test."""
    built: list[Exports] = []

    def one(signal: Signal, given: Given | None = None, **environment: str) -> Exports:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        variables = Variables()
        with variables.environment():
            exports = Builder(variables, given or Given()).build(signal)
        assert exports is not None
        built.append(exports)
        return exports

    yield one
    for exports in built:
        exports.give_up()
        assert exports.close().wait(5) or exports.failures
        for exporter in exports.exporters:
            exporter.shutdown()


@pytest.fixture
def backend() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def emit(exports: Exports, name: str = "one", count: int = 1) -> None:
    """Makes spans, log records or measurements."""
    for _ in range(count):
        match exports.signal:
            case "traces":
                exports.provider.get_tracer("test").start_span(name, attributes={"long": "x" * 100}).end()
            case "logs":
                exports.provider.get_logger("test").emit(event_name=name, body="b")
            case "metrics":
                exports.provider.get_meter("test").create_counter(name).add(1)


def sent(exports: Exports) -> bool:
    return exports.flush(5).wait(5)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_signal_goes_over_every_protocol(build: Build, signal: Signal, protocol: Any) -> None:
    with OtlpReceiver(protocol) as backend:
        written = "grpc" if protocol == "grpc" else "http/protobuf"
        given = Given(endpoint=backend.endpoint, protocol=written, headers={"X-Key": "given"})
        exports = build(signal, given, OTEL_EXPORTER_OTLP_HEADERS="x-key=env,x-env=also")
        emit(exports, "something")
        assert sent(exports)
        assert exports.lost == exports.failures == 0
        (received,) = backend.received
        assert received.signal == signal
        assert received.path == ("" if protocol == "grpc" else f"/v1/{signal}")
        assert (received.headers["x-key"], received.headers["x-env"]) == ("given", "also")
        (item,) = received.items
        assert getattr(item, "event_name" if signal == "logs" else "name") == "something"


class TestVariablesOfTheSdk:
    @pytest.mark.parametrize(
        ("sampler", "argument", "recorded"),
        [
            ("always_off", "", 0),
            ("always_on", "", 20),
            ("traceidratio", "0", 0),
            ("traceidratio", "", 20),
            ("parentbased_traceidratio", "0.0", 0),
            ("PARENTBASED_ALWAYS_OFF", "", 0),
            ("", "", 20),
        ],
    )
    def test_sampler(self, build: Build, sampler: str, argument: str, recorded: int) -> None:
        exports = build("traces", OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
        spans = [exports.provider.get_tracer("test").start_span("s") for _ in range(20)]
        assert sum(span.get_span_context().trace_flags.sampled for span in spans) == recorded

    @pytest.mark.parametrize(
        ("sampler", "argument"), [("traceidratio", "2"), ("traceidratio", "much"), ("parentbased_traceidratio", "nan")]
    )
    def test_wrong_sampler_argument(
        self, build: Build, caplog: pytest.LogCaptureFixture, sampler: str, argument: str
    ) -> None:
        exports = build("traces", OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
        assert exports.provider.get_tracer("test").start_span("s").is_recording()
        assert caplog.messages == [f"OTEL_TRACES_SAMPLER_ARG = '{argument}': must be a number from 0 to 1; 1.0 is used"]

    def test_wrong_sampler_name(self, build: Build, caplog: pytest.LogCaptureFixture) -> None:
        exports = build("traces", OTEL_TRACES_SAMPLER="often")
        assert exports.provider.get_tracer("test").start_span("s").is_recording()
        (message,) = caplog.messages
        assert message.startswith("OTEL_TRACES_SAMPLER = 'often': must be one of always_off, always_on")
        assert message.endswith("; parentbased_always_on is used")

    def test_limits_and_batches(self, build: Build, backend: OtlpReceiver) -> None:
        exports = build(
            "traces",
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
            OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="7",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2",
            OTEL_BSP_SCHEDULE_DELAY="60000",
        )
        emit(exports, count=5)
        assert sent(exports)
        assert sorted(len(each.items) for each in backend.received) == [1, 2, 2]
        assert attributes(backend.spans[0].attributes) == {"long": "x" * 7}

    def test_schedule_delay(self, build: Build, backend: OtlpReceiver) -> None:
        exports = build("logs", OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, OTEL_BLRP_SCHEDULE_DELAY="5")
        emit(exports)
        backend.wait(lambda: backend.logs, 5)

    def test_metric_interval(self, build: Build, backend: OtlpReceiver) -> None:
        exports = build("metrics", OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, OTEL_METRIC_EXPORT_INTERVAL="5")
        emit(exports)
        backend.wait(lambda: len(backend.received) > 1, 5)

    @pytest.mark.parametrize(("preference", "temporality", "values"), [("delta", 1, [1, 1]), ("", 2, [1, 2])])
    def test_temporality(
        self, build: Build, backend: OtlpReceiver, preference: str, temporality: int, values: list[int]
    ) -> None:
        variables = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference}
        exports = build("metrics", OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, **variables)
        counter = exports.provider.get_meter("test").create_counter("n")
        for _ in values:
            counter.add(1)
            assert sent(exports)
        assert {metric.sum.aggregation_temporality for metric in backend.metrics} == {temporality}
        assert [metric.sum.data_points[0].as_int for metric in backend.metrics] == values

    @pytest.mark.parametrize(("chosen", "exemplars"), [("always_on", 1), ("always_off", 0), ("trace_based", 0)])
    def test_exemplars(self, build: Build, backend: OtlpReceiver, chosen: str, exemplars: int) -> None:
        exports = build("metrics", OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, OTEL_METRICS_EXEMPLAR_FILTER=chosen)
        exports.provider.get_meter("test").create_histogram("h").record(1)
        assert sent(exports)
        assert len(backend.metrics[0].histogram.data_points[0].exemplars) == exemplars

    def test_exponential_histograms(self, build: Build, backend: OtlpReceiver) -> None:
        name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
        variables = {name: "base2_exponential_bucket_histogram"}
        exports = build("metrics", OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, **variables)
        exports.provider.get_meter("test").create_histogram("h").record(1)
        assert sent(exports)
        assert backend.metrics[0].WhichOneof("data") == "exponential_histogram"

    def test_compression_and_own_endpoint(self, build: Build, backend: OtlpReceiver) -> None:
        exports = build(
            "traces",
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{backend.endpoint}/custom/traces",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        )
        emit(exports)
        assert sent(exports)
        (received,) = backend.received
        assert (received.path, received.headers["content-encoding"]) == ("/custom/traces", "gzip")

    @pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
    def test_a_ca_that_is_there_is_used(
        self, build: Build, tmp_path: Any, caplog: pytest.LogCaptureFixture, protocol: str
    ) -> None:
        (tmp_path / "ca.pem").write_text("no certificate at all")
        exports = build(
            "traces",
            Given(endpoint="https://127.0.0.1:1", protocol=protocol),
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(tmp_path / "ca.pem"),
            OTEL_EXPORTER_OTLP_TIMEOUT="0.2",
        )
        emit(exports)
        sent(exports)
        assert exports.lost == 1
        assert len(caplog.messages) == 1

    def test_timeout(self, build: Build) -> None:
        with OtlpReceiver(mode="hang") as backend:
            exports = build("traces", Given(endpoint=backend.endpoint), OTEL_EXPORTER_OTLP_TIMEOUT="0.2")
            emit(exports)
            began = time.monotonic()
            assert exports.flush(5).wait(5)
            assert time.monotonic() - began < 3
            assert exports.failures == 1

    def test_internal_metrics_name_no_provider_of_ours_twice(self, build: Build, backend: OtlpReceiver) -> None:
        exports = build("traces", Given(endpoint=backend.endpoint), OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="true")
        emit(exports)
        assert sent(exports)
        assert len(backend.spans) == 1


class TestResource:
    def test_given_name_goes_before_the_variable(self, build: Build) -> None:
        exports = build(
            "traces", Given(service_name="given"), OTEL_SERVICE_NAME="env", OTEL_RESOURCE_ATTRIBUTES="team=a,bad"
        )
        resource = exports.provider.resource.attributes
        assert (resource["service.name"], resource["team"]) == ("given", "a")

    def test_variable(self, build: Build) -> None:
        assert build("traces", OTEL_SERVICE_NAME="env").provider.resource.attributes["service.name"] == "env"

    def test_default_is_the_sdks(self, build: Build) -> None:
        assert build("traces").provider.resource.attributes["service.name"].startswith("unknown_service")

    def test_every_process_has_an_instance_id(self, build: Build) -> None:
        """The empty one stands for an SDK that sets none."""
        found = build("traces", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=")
        assert re.fullmatch(r"[0-9a-f-]{36}", found.provider.resource.attributes["service.instance.id"])

    def test_given_instance_id_is_kept(self, build: Build) -> None:
        found = build("traces", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=mine")
        assert found.provider.resource.attributes["service.instance.id"] == "mine"

    def test_delta_needs_none(self, build: Build) -> None:
        variables = {
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=",
        }
        assert build("traces", **variables).provider.resource.attributes["service.instance.id"] == ""


class TestWithoutABackend:
    def test_spans_have_ids_and_go_nowhere(self, build: Build) -> None:
        exports = build("traces")
        assert not exports.exporting
        context = exports.provider.get_tracer("test").start_span("s").get_span_context()
        assert format_trace_id(context.trace_id) != "0" * 32

    @pytest.mark.parametrize("signal", ["metrics", "logs"])
    def test_nothing_is_built(self, signal: Signal) -> None:
        assert Builder(Variables(), Given()).build(signal) is None

    def test_an_exporter_that_cannot_be_built_is_said_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Here the exporter is to take its session from somebody who gives none."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        def broken(*_: object, **__: object) -> None:
            raise OSError("no sockets today")

        monkeypatch.setattr(OTLPSpanExporter, "__init__", broken)
        builder = Builder(Variables(), Given(endpoint="http://127.0.0.1:1"))
        for _ in range(2):
            exports = builder.build("traces")
            assert exports is not None
            assert not exports.exporting
        assert caplog.messages == ["the exporter otlp cannot be built (OSError); what needs it is not exported"]


class TestOutage:
    @pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
    def test_one_warning_and_an_exact_count(
        self, build: Build, caplog: pytest.LogCaptureFixture, protocol: str
    ) -> None:
        with OtlpReceiver("grpc" if protocol == "grpc" else "http", mode="refuse") as backend:
            exports = build(
                "traces",
                Given(endpoint=backend.endpoint, protocol=protocol),
                OTEL_EXPORTER_OTLP_TIMEOUT="0.05",
                OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1",
            )
            emit(exports, count=5)
            assert exports.flush(5).wait(5)
            assert (exports.lost, exports.failures) == (5, 5)
            (message,) = caplog.messages
            assert message.endswith("; what fails from now on is counted, not logged")
            backend.mode = "ok"
            emit(exports, count=3)
            assert sent(exports)
            assert exports.lost == 5
            assert len(backend.spans) == 3

    def test_a_span_that_is_only_recorded_is_not_lost(self, build: Build) -> None:
        exports = build("traces", Given(endpoint="http://127.0.0.1:1"))
        exports.provider.sampler = AlwaysRecordSampler(ALWAYS_OFF)
        span = exports.provider.get_tracer("test").start_span("s")
        assert span.is_recording()
        span.end()
        assert exports.lost == 0

    def test_a_full_queue_is_counted_and_no_second_warning(
        self, build: Build, caplog: pytest.LogCaptureFixture
    ) -> None:
        with OtlpReceiver(mode="hang") as backend:
            exports = build("traces", Given(endpoint=backend.endpoint), OTEL_BSP_MAX_QUEUE_SIZE="4")
            began = time.monotonic()
            emit(exports, count=500)
            assert time.monotonic() - began < 3, "a hanging backend delays no call"
            assert exports.lost == 500
        (message,) = caplog.messages
        assert message.startswith("Queue full, dropping Span.")

    def test_a_full_queue_of_others_is_not_ours_to_silence(
        self, build: Build, caplog: pytest.LogCaptureFixture
    ) -> None:
        build("traces", Given(endpoint="http://127.0.0.1:1"))
        log = logging.getLogger("opentelemetry.sdk._shared_internal")
        log.warning("Queue full, dropping %s.", "Log")
        log.warning("Queue full, dropping %s!", "Log")
        assert len(caplog.messages) == 2

    def test_cumulative_metrics_recover_and_deltas_do_not(self, build: Build) -> None:
        for preference, lost in (("cumulative", 0), ("delta", 1)):
            with OtlpReceiver(mode="refuse") as backend:
                exports = build(
                    "metrics",
                    Given(endpoint=backend.endpoint),
                    OTEL_EXPORTER_OTLP_TIMEOUT="0.05",
                    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=preference,
                )
                emit(exports)
                sent(exports)
                assert exports.lost == 1
                backend.mode = "ok"
                emit(exports)
                assert sent(exports)
                assert exports.lost == lost

    @pytest.mark.parametrize("protocol", ["http", "grpc"])
    def test_what_is_given_up_ends_at_once_and_silently(
        self, build: Build, caplog: pytest.LogCaptureFixture, protocol: Any
    ) -> None:
        with OtlpReceiver(protocol, mode="refuse") as backend:
            written = "grpc" if protocol == "grpc" else "http/protobuf"
            exports = build("traces", Given(endpoint=backend.endpoint, protocol=written))
            emit(exports)
            job = exports.close()
            assert not job.wait(0.1)
            backend.wait(lambda: backend.attempts)
            exports.give_up()
            job.wait(5)
            assert exports.lost == 1
        assert len(caplog.messages) <= 1

    def test_a_call_that_is_cut_off_is_no_news(self, build: Build, caplog: pytest.LogCaptureFixture) -> None:
        with OtlpReceiver("grpc", mode="hang") as backend:
            exports = build("traces", Given(endpoint=backend.endpoint, protocol="grpc"))
            emit(exports)
            job = exports.close()
            backend.wait(lambda: backend.attempts)
            exports.give_up()
            job.wait(5)
        assert not caplog.messages

    def test_an_exporter_that_raises_is_one_warning_without_what_it_says(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken:
            def export(self, batch: object) -> None:
                raise RuntimeError("Authorization: hunter2")

        exporter = Exporter(Broken(), "logs", Throttle())
        assert {exporter.export([1, 2]).name for _ in range(3)} == {"FAILURE"}
        (message,) = caplog.messages
        assert message.startswith("logs: ")
        assert "Broken raised RuntimeError;" in message

    def test_what_was_given_up_is_not_called_again(self) -> None:
        calls: list[str] = []

        class Recording:
            def export(self, batch: object) -> None:
                calls.append("export")

            def shutdown(self) -> None:
                calls.append("shutdown")

        exporter = Exporter(Recording(), "traces", Throttle())
        exporter.export([1])
        exporter.give_up()
        assert exporter.export([1]).name == "FAILURE"
        exporter.shutdown()
        assert calls == ["export", "shutdown"]


class TestThrottle:
    def test_first_then_one_in_ten_minutes_that_says_how_many(self) -> None:
        now = [0.0]
        throttle = Throttle(clock=lambda: now[0])
        passed = []
        for second in (0, 1, 599, 600, 601, 1_300):
            now[0] = second
            record = logging.makeLogRecord({"msg": "%s failed", "args": ("it",), "levelno": logging.ERROR})
            if throttle.filter(record):
                passed.append((second, record.getMessage()))
        said = "; what fails from now on is counted, not logged"
        assert passed == [
            (0, f"it failed{said}"),
            (600, f"it failed (2 more of these since the last one){said}"),
            (1_300, f"it failed (1 more of these since the last one){said}"),
        ]

    def test_drops_tracebacks_and_passes_what_is_no_warning(self) -> None:
        throttle = Throttle()
        record = logging.makeLogRecord({"msg": "x", "levelno": logging.ERROR, "exc_info": (None, None, None)})
        assert throttle.filter(record)
        assert record.exc_info is None
        assert throttle.filter(logging.makeLogRecord({"msg": "x", "levelno": logging.INFO}))

    def test_a_new_lock_for_a_child(self) -> None:
        throttle = Throttle()
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with throttle._lock:
                held.set()
                release.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        throttle.renew()
        assert throttle.filter(logging.makeLogRecord({"msg": "x", "levelno": logging.ERROR}))
        release.set()
        thread.join()


class TestJob:
    def test_is_waited_for_by_several_and_no_longer_than_wanted(self) -> None:
        job = Job(lambda: True)
        assert not job.wait(0)
        assert not job.wait(-1)
        job.run()
        assert job.wait(0)
        assert job.wait(1e300)

    @pytest.mark.parametrize("work", [lambda: False, lambda: 1 / 0])
    def test_failure(self, work: Callable[[], object]) -> None:
        job = Job(work)
        job.run()
        assert not job.wait(0)


def test_close_is_done_once(build: Build, backend: OtlpReceiver, caplog: pytest.LogCaptureFixture) -> None:
    exports = build("metrics", Given(endpoint=backend.endpoint))
    emit(exports)
    jobs = [exports.close() for _ in range(3)]
    assert all(job.wait(5) for job in jobs)
    assert exports.closed
    assert len(backend.metrics) == 1
    assert not caplog.messages


def test_an_export_is_not_instrumented(build: Build, monkeypatch: pytest.MonkeyPatch, backend: OtlpReceiver) -> None:
    """What instrumentations of HTTP clients ask before they make a span."""
    seen: list[object] = []
    send = requests.Session.send

    def spy(self: Any, *args: Any, **keywords: Any) -> Any:
        seen.append(get_value(_SUPPRESS_INSTRUMENTATION_KEY))
        return send(self, *args, **keywords)

    monkeypatch.setattr(requests.Session, "send", spy)
    for signal in SIGNALS:
        exports = build(signal, Given(endpoint=backend.endpoint))
        emit(exports)
        assert sent(exports)
    assert seen == [True, True, True]
