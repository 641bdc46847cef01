"""Which providers a process gets, each set-up in a process of its own: what is global is seen as users see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_agent.stop import InvalidSetting
from otel_agent.telemetry import providers
from otel_agent.telemetry.exporting import Builder
from otel_agent.telemetry.providers import Installed, flush, install, shutdown
from otel_agent.telemetry.variables import SIGNALS, Given, Variables
from tests.support.otlp import OtlpReceiver
from tests.support.process import as_new

ROOT = Path(__file__).parent.parent.parent
DEAD = "http://127.0.0.1:9"

PRELUDE = """
import atexit, json, os, sys, threading, time
exits = []
atexit.register(lambda: print("exit", time.monotonic() - exits[0], flush=True) if exits else None)
from opentelemetry import _logs, metrics, trace
from otel_agent.telemetry import providers
from otel_agent.telemetry.providers import flush, install, shutdown

def emit(name):
    with trace.get_tracer("test").start_as_current_span(name):
        metrics.get_meter("test").create_counter(name).add(1)
        _logs.get_logger("test").emit(event_name=name, body="b")

def done(installed):
    return [installed.traces, installed.metrics, installed.logs, installed.backend]

def exporters():
    return [name for name in sys.modules if name.startswith(("opentelemetry.exporter", "grpc", "requests"))]

def show(**values):
    print(json.dumps(values), flush=True)
"""
# Registered last, so called first.
EPILOGUE = "\natexit.register(lambda: exits.append(time.monotonic()))\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a process wrote, and how long its exit took in seconds."""

    shown: list[dict[str, Any]]
    log: list[str]
    exit_seconds: float


class Process:
    """A fresh interpreter with warnings as errors and no `OTEL_*` variable but those given."""

    def __init__(self, source: str, *, path: Path | None = None, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        extra = {"PYTHONPATH": str(path)} if path else {}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(source) + EPILOGUE],
            cwd=ROOT,
            env={**clean, **extra, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self) -> Ended:
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, err
        lines = out.splitlines()
        exits = [float(line.split()[1]) for line in lines if line.startswith("exit ")]
        return Ended(
            shown=[json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")],
            log=err.splitlines(),
            exit_seconds=exits[-1] if exits else 0.0,
        )


def run(source: str, *, path: Path | None = None, **environment: str) -> Ended:
    return Process(source, path=path, **environment).ended()


@pytest.fixture
def backend() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def test_import_loads_neither_sdk_nor_exporter() -> None:
    ended = run("show(sdk=[name for name in sys.modules if name.startswith('opentelemetry.sdk')], more=exporters())")
    assert ended.shown == [{"sdk": [], "more": []}]


def test_without_a_backend_nothing_goes_anywhere() -> None:
    ended = run(
        """
        installed = install()
        span = trace.get_tracer("test").start_span("s")
        emit("a")
        show(done=done(installed), recording=span.is_recording(), flushed=flush(5), exporters=exporters(),
             others=[type(metrics.get_meter_provider()).__name__, type(_logs.get_logger_provider()).__name__])
        class Mine:
            def on_start(self, span, parent_context=None): show(started=span.name)
            def on_end(self, span): pass
            def _on_ending(self, span): pass
            def shutdown(self): show(mine="ended")
            def force_flush(self, timeout_millis=0): return True
        trace.get_tracer_provider().add_span_processor(Mine())
        emit("b")
        """
    )
    assert ended.shown == [
        {
            "done": ["quiet", "quiet", "quiet", False],
            "recording": True,
            "flushed": True,
            "exporters": [],
            "others": ["_ProxyMeterProvider", "ProxyLoggerProvider"],
        },
        {"started": "b"},
        {"mine": "ended"},
    ]
    assert not ended.log


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_exports_everything_at_exit(protocol: Any) -> None:
    with OtlpReceiver(protocol) as backend:
        ended = run(
            """
            installed = install(service_name="given", endpoint=os.environ["BACKEND"], headers={"X-Key": "k"})
            emit("a")
            flush(5)
            emit("b")
            show(done=done(installed), again=install(endpoint="http://other:1") is installed)
            """,
            BACKEND=backend.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc" if protocol == "grpc" else "",
            OTEL_SERVICE_NAME="env",
        )
        assert ended.shown == [{"done": ["exporting", "exporting", "exporting", True], "again": True}]
        assert {each.signal for each in backend.received} == set(SIGNALS)
        assert [span.name for span in backend.spans] == ["a", "b"]
        assert {each.resource["service.name"] for each in backend.received} == {"given"}
        assert {headers["x-key"] for headers in backend.headers} == {"k"}
        assert len({each.resource["service.instance.id"] for each in backend.received}) == 1
    assert not ended.log
    assert ended.exit_seconds < 2


def test_each_signal_is_decided_for_itself(backend: OtlpReceiver) -> None:
    ended = run(
        """
        installed = install()
        emit("a")
        show(done=done(installed), traces=type(trace.get_tracer_provider()).__module__)
        """,
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"{backend.endpoint}/v1/logs",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{backend.endpoint}/v1/traces",
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="console",
    )
    assert ended.shown[0] == {"done": ["disabled", "exporting", "exporting", True], "traces": "opentelemetry.sdk.trace"}
    (record,) = backend.logs
    assert record.trace_id != bytes(16), "spans that go nowhere still have ids"
    assert not backend.spans


def test_disabled_sets_nothing() -> None:
    ended = run(
        """
        installed = install(endpoint="http://127.0.0.1:9")
        emit("a")
        show(done=done(installed), sdk=[name for name in sys.modules if name.startswith("opentelemetry.sdk")],
             provider=type(trace.get_tracer_provider()).__name__)
        """,
        OTEL_SDK_DISABLED="True",
    )
    assert ended.shown == [
        {"done": ["disabled", "disabled", "disabled", False], "sdk": [], "provider": "ProxyTracerProvider"}
    ]
    assert not ended.log


def test_an_applications_provider_is_left_alone(backend: OtlpReceiver) -> None:
    ended = run(
        """
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        theirs, memory = TracerProvider(), InMemorySpanExporter()
        theirs.add_span_processor(SimpleSpanProcessor(memory))
        trace.set_tracer_provider(theirs)
        before = theirs._active_span_processor._span_processors
        installed = install()
        emit("a")
        flush(5)
        shutdown(5)
        emit("b")
        show(done=done(installed), same=trace.get_tracer_provider() is theirs,
             processors=theirs._active_span_processor._span_processors == before,
             spans=[span.name for span in memory.get_finished_spans()])
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
    )
    assert ended.shown == [
        {
            "done": ["application", "exporting", "exporting", True],
            "same": True,
            "processors": True,
            "spans": ["a", "b"],
        }
    ]
    assert not backend.spans
    assert [record.event_name for record in backend.logs] == ["a"]


def test_a_provider_named_by_variable_is_the_applications() -> None:
    ended = run(
        "show(done=done(install()))",
        OTEL_PYTHON_TRACER_PROVIDER="sdk_tracer_provider",
        OTEL_PYTHON_METER_PROVIDER="nope",
        OTEL_PYTHON_LOGGER_PROVIDER="",
        OTEL_TRACES_SAMPLER="always_off",
    )
    assert ended.shown == [{"done": ["application", "quiet", "quiet", True]}]
    (message,) = ended.log
    assert message.startswith("OTEL_PYTHON_METER_PROVIDER = 'nope': must be one of default_meter_provider")


WRONG = {
    "OTEL_TRACES_SAMPLER": "often",
    "OTEL_PYTHON_ID_GENERATOR": "xray",
    "OTEL_BSP_SCHEDULE_DELAY": "soon",
    "OTEL_BLRP_MAX_QUEUE_SIZE": "0",
    "OTEL_METRIC_EXPORT_INTERVAL": "nan",
    "OTEL_METRICS_EXEMPLAR_FILTER": "some",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "-1",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "fast",
    "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "zip",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "both",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "pigeon",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "nowhere",
    "OTEL_METRICS_EXPORTER": "prometheuss",
    "OTEL_RESOURCE_ATTRIBUTES": "oops",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "nope",
    "OTEL_PYTHON_METER_PROVIDER": "nope",
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "on",
    "OTEL_PYTHON_TRACER_CONFIGURATOR": "nope",
    "OTEL_SDK_DISABLED": "perhaps",
    "OTEL_CONFIG_FILE": "/nowhere.yaml",
}


def test_wrong_values_are_one_warning_each_and_all_goes_on(backend: OtlpReceiver) -> None:
    """Some of these raise while the SDK is imported, some when a provider is built, some when a tracer is asked for."""
    wrong = {**WRONG, "OTEL_EXPORTER_OTLP_HEADERS": "good=1,hunter2"}
    source = f"""
        install()
        emit("a")
        emit("b")
        show(unchanged=[name for name, value in {WRONG!r}.items() if os.environ.get(name) != value])
        """
    ended = run(source, OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint, **wrong)
    assert sorted(line.split(" = ")[0] for line in ended.log) == sorted(wrong)
    assert "hunter2" not in "".join(ended.log)
    assert sorted(span.name for span in backend.spans) == ["a", "b"]
    assert backend.metrics
    assert backend.logs
    assert {headers["good"] for headers in backend.headers} == {"1"}
    # The API and the SDK read these two each time, so they cannot stay.
    assert ended.shown == [{"unchanged": ["OTEL_PYTHON_METER_PROVIDER", "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"]}]


def test_a_signal_that_cannot_be_built_leaves_the_others(backend: OtlpReceiver) -> None:
    ended = run(
        """
        from otel_agent.telemetry import exporting
        def broken(**_): raise TypeError("another SDK")
        exporting.TracerProvider = broken
        show(done=done(install()))
        emit("a")
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
    )
    assert ended.shown == [{"done": ["quiet", "exporting", "exporting", True]}]
    assert ended.log == ["the provider of traces cannot be built (TypeError: another SDK)"]
    assert backend.logs


PLUGINS = """
import time
from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

seen, readers = [], []

class Exporter(SpanExporter):
    def export(self, spans):
        inside = trace.get_current_span().get_span_context().is_valid
        seen.append([[span.name for span in spans], context.get_value(_SUPPRESS_INSTRUMENTATION_KEY), inside])
        return SpanExportResult.SUCCESS

class Slow(SpanExporter):
    def export(self, spans):
        time.sleep(30)

class Counting(IdGenerator):
    def __init__(self): self.last = 0
    def generate_trace_id(self):
        self.last += 1
        return self.last
    generate_span_id = generate_trace_id

def sampler(argument):
    seen.append(argument)
    return ParentBased(ALWAYS_ON)

def broken(*_):
    raise OSError("no")

def nothing(*_):
    return None

def reader():
    readers.append(InMemoryMetricReader())
    return readers[0]

def session():
    import requests
    made = requests.Session()
    made.headers["x-key"] = "from the provider"
    return made

def configurator(scope):
    from opentelemetry.sdk.trace import _TracerConfig
    return _TracerConfig(is_enabled=scope.name != "silent")
"""
ENTRY_POINTS = """
[opentelemetry_traces_exporter]
mine = plugins:Exporter
slow = plugins:Slow
[opentelemetry_metrics_exporter]
pull = plugins:reader
[opentelemetry_traces_sampler]
mine = plugins:sampler
broken = plugins:broken
[opentelemetry_id_generator]
counting = plugins:Counting
missing = plugins:Missing
nothing = plugins:nothing
[_opentelemetry_tracer_configurator]
mine = plugins:configurator
[opentelemetry_otlp_credential_provider]
mine = plugins:session
[opentelemetry_tracer_provider]
broken = plugins:broken
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed package with entry points, as third parties have them."""
    path = tmp_path_factory.mktemp("plugins")
    (path / "plugins.py").write_text(PLUGINS)
    info = path / "plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return path


def test_third_parties_by_entry_point(plugins: Path) -> None:
    ended = run(
        """
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        from otel_agent.context import carry_into_threads
        carry_into_threads()
        with TracerProvider(ALWAYS_ON, shutdown_on_exit=False).get_tracer("caller").start_as_current_span("run"):
            installed = install()
        import plugins
        for name in ("silent", "loud"):
            with trace.get_tracer(name).start_as_current_span(name):
                pass
        metrics.get_meter("test").create_counter("c").add(1)
        flushed = flush(5)
        data = plugins.readers[0].get_metrics_data()
        with trace.get_tracer("loud").start_as_current_span("run"):
            if (child := os.fork()) == 0:
                plugins.seen.clear()
                emit("child")
                flush(5)
                show(seen=plugins.seen)
                os._exit(0)
        os.waitpid(child, 0)
        show(done=done(installed), seen=plugins.seen, flushed=flushed,
             metrics=[metric.name for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics],
             first=trace.get_tracer("loud").start_span("s").get_span_context().trace_id)
        """,
        path=plugins,
        OTEL_TRACES_EXPORTER="mine",
        OTEL_METRICS_EXPORTER="pull",
        OTEL_TRACES_SAMPLER="mine",
        OTEL_TRACES_SAMPLER_ARG="a=1",
        OTEL_PYTHON_ID_GENERATOR="counting",
        OTEL_PYTHON_TRACER_CONFIGURATOR="mine",
    )
    assert ended.shown == [
        {"seen": [[["child"], True, False]]},
        {
            "done": ["exporting", "exporting", "quiet", True],
            "seen": ["a=1", [["loud"], True, False]],
            "flushed": True,
            "metrics": ["c"],
            "first": 5,
        },
    ]
    assert not ended.log


def test_the_threads_of_the_sdk_belong_to_no_run(backend: OtlpReceiver) -> None:
    """Not where a run installs them, nor where it forks; the child itself stays in its run."""
    ended = run(
        """
        from opentelemetry.sdk.trace import TracerProvider
        from otel_agent.context import carry_into_threads
        carry_into_threads()
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        inside = []
        def observe(_):
            inside.append(trace.get_current_span().get_span_context().is_valid)
            return []
        def collected():
            inside.clear()
            while not inside: time.sleep(0.005)
            return inside[0]
        with trace.get_tracer("caller").start_as_current_span("run"):
            install()
            metrics.get_meter("test").create_observable_gauge("g", [observe])
            parent = collected()
            if (child := os.fork()) == 0:
                show(inside=collected(), child=trace.get_current_span().get_span_context().is_valid)
                os._exit(0)
            os.waitpid(child, 0)
        show(inside=parent)
        """,
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{backend.endpoint}/v1/metrics",
        OTEL_METRIC_EXPORT_INTERVAL="20",
    )
    assert ended.shown == [{"inside": False, "child": True}, {"inside": False}]


def test_a_credential_provider_is_the_exporters_own_affair(plugins: Path, backend: OtlpReceiver) -> None:
    run(
        "install()\nemit('a')",
        path=plugins,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
        OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER="mine",
    )
    assert {each.signal: each.headers.get("x-key") for each in backend.received} == {
        "traces": "from the provider",
        "metrics": None,
        "logs": None,
    }


def test_third_parties_that_fail(plugins: Path) -> None:
    process = Process(
        """
        began = time.monotonic()
        install()
        for _ in range(1_000):
            emit("a")
        show(seconds=time.monotonic() - began)
        """,
        path=plugins,
        OTEL_TRACES_EXPORTER="slow",
        OTEL_TRACES_SAMPLER="broken",
        OTEL_PYTHON_ID_GENERATOR="missing",
        OTEL_PYTHON_TRACER_PROVIDER="broken",
        OTEL_BSP_SCHEDULE_DELAY="1",
    )
    other = run("install()", path=plugins, OTEL_PYTHON_ID_GENERATOR="nothing")
    ended = process.ended()
    assert ended.shown[0]["seconds"] < 10, "an exporter that blocks for 30 s delays no call"
    assert ended.exit_seconds < 2
    said = [line for line in ended.log if line.startswith("OTEL_")]
    assert [line.split(";")[0].split(": must be ")[0] for line in said] == [
        "OTEL_PYTHON_TRACER_PROVIDER = 'broken'",
        "OTEL_TRACES_SAMPLER = 'broken'",
        "OTEL_PYTHON_ID_GENERATOR = 'missing'",
    ]
    assert "OSError: no" in said[1]
    assert ended.log[-1] == "not delivered when telemetry was shut down: 1,000 spans"
    assert other.log == [
        "OTEL_PYTHON_ID_GENERATOR = 'nothing': must be a IdGenerator; a NoneType is none; random is used"
    ]


@pytest.fixture(scope="module")
def ends() -> Iterator[dict[str, Ended]]:
    """All at once: each of them waits for most of its 2 s."""
    source = "install()\nfor _ in range(3): emit('a')"
    with (
        OtlpReceiver(mode="hang") as hanging,
        OtlpReceiver("grpc", mode="hang") as hanging_grpc,
        OtlpReceiver(mode="refuse") as refusing,
        OtlpReceiver("grpc", mode="refuse") as refusing_grpc,
    ):
        backends = {
            "http hangs": hanging.endpoint,
            "grpc hangs": hanging_grpc.endpoint,
            "http refuses": refusing.endpoint,
            "grpc refuses": refusing_grpc.endpoint,
            "http is dead": DEAD,
            "grpc is dead": DEAD,
        }
        started = {
            name: Process(
                source,
                OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
                OTEL_EXPORTER_OTLP_PROTOCOL="grpc" if "grpc" in name else "http/protobuf",
            )
            for name, endpoint in backends.items()
        }
        yield {name: process.ended() for name, process in started.items()}


class TestExit:
    """Our pipeline takes at most 2 s, whatever the backend does, and one line says what was lost."""

    @pytest.mark.parametrize("protocol", ["http", "grpc"])
    @pytest.mark.parametrize("state", ["hangs", "refuses", "is dead"])
    def test_is_bounded_and_says_what_was_lost(self, ends: dict[str, Ended], protocol: str, state: str) -> None:
        ended = ends[f"{protocol} {state}"]
        assert ended.exit_seconds < 2
        *before, last = ended.log
        assert last == "not delivered when telemetry was shut down: 3 spans, 1 export of metrics, 3 log records"
        assert len(before) == (0 if state == "hangs" else 1), before

    def test_a_backend_that_does_not_answer_is_given_the_time_there_is(self, ends: dict[str, Ended]) -> None:
        assert all(ended.exit_seconds > 1 for ended in ends.values())


FORKS = """
install()
emit("parent.before")
flush(5)
pid = os.fork()
if pid == 0:
    emit("child")
    emit("child")
    show(lost=[each.lost for each in providers._state.exports if each.signal == "metrics"])
    sys.exit(0)
emit("parent.after")
flush(5)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_forked_child_exports_for_itself(protocol: Any) -> None:
    with OtlpReceiver(protocol) as backend:
        ended = run(
            FORKS,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc" if protocol == "grpc" else "",
            GRPC_VERBOSITY="NONE",
        )
        spans = backend.of("traces")
        assert sorted(item.name for each in spans for item in each.items) == [
            "child",
            "child",
            "parent.after",
            "parent.before",
        ]
        assert not ended.log
        child = [each for each in backend.received if any(getattr(i, "name", "") == "child" for i in each.items)]
        others = [each for each in spans if each not in child]
        assert {each.peer for each in child}.isdisjoint(each.peer for each in others), "no connection is shared"
        instances = {each.resource["service.instance.id"] for each in child}
        assert len(instances) == 1
        assert instances.isdisjoint(each.resource["service.instance.id"] for each in others)


def test_a_fork_in_an_outage_neither_hangs_nor_counts_the_parents_loss() -> None:
    with OtlpReceiver(mode="hang") as backend:
        process = Process(
            """
            install()
            for _ in range(5): emit("parent")
            flush(0.2)
            pid = os.fork()
            if pid == 0:
                emit("child")
                shutdown(0.2)
                os._exit(0)
            os.waitpid(pid, 0)
            shutdown(0.2)
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
        )
        ended = process.ended()
    assert ended.log == [
        "not delivered when telemetry was shut down: 1 span, 1 export of metrics, 1 log record",
        "not delivered when telemetry was shut down: 5 spans, 1 export of metrics, 5 log records",
    ]


def test_a_child_of_a_process_that_has_ended_its_telemetry_does_not_wait(backend: OtlpReceiver) -> None:
    ended = run(
        """
        install()
        emit("a")
        shutdown(5)
        if (child := os.fork()) == 0:
            began = time.monotonic()
            shutdown(3)
            show(seconds=time.monotonic() - began, flushed=flush(3))
            os._exit(0)
        os.waitpid(child, 0)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
    )
    assert ended.shown[0]["seconds"] < 2
    assert ended.shown[0]["flushed"]
    assert not ended.log


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_deliver_at_their_end(backend: OtlpReceiver, tmp_path: Path, method: str) -> None:
    (tmp_path / "work.py").write_text(
        "from opentelemetry import trace\n"
        "from otel_agent.telemetry.providers import install\n"
        "def work(name):\n"
        "    install()\n"
        "    trace.get_tracer('test').start_span(name).end()\n"
    )
    run(
        f"""
        import multiprocessing, work
        install()
        workers = [multiprocessing.get_context({method!r}).Process(target=work.work, args=(name,)) for name in "ab"]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        """,
        path=tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
    )
    assert sorted(span.name for span in backend.spans) == ["a", "b"]


def test_asyncio_twice_in_one_process(backend: OtlpReceiver) -> None:
    ended = run(
        """
        import asyncio
        async def one(name):
            install()
            with trace.get_tracer("test").start_as_current_span(name):
                await asyncio.sleep(0)
            return flush(5)
        show(flushed=[asyncio.run(one("a")), asyncio.run(one("b"))])
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
    )
    assert ended.shown == [{"flushed": [True, True]}]
    assert [span.name for span in backend.spans] == ["a", "b"]


def test_the_sdks_configuration_file_decides_all(tmp_path: Path) -> None:
    """Stands in for the optional package, which takes over where the variable names a file."""
    package = tmp_path / "opentelemetry" / "configuration"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "def load_config_file(path): return path\n"
        "def configure_sdk(path): trace.set_tracer_provider(TracerProvider()); print('configured', path)\n"
    )
    ended = run("show(done=done(install(endpoint='http://127.0.0.1:9')))", path=tmp_path, OTEL_CONFIG_FILE="/some.yaml")
    assert ended.shown == [{"done": ["application", "disabled", "disabled", True]}]
    assert not ended.log


class TestArguments:
    @pytest.mark.parametrize(
        ("field", "keywords"),
        [
            ("configure.protocol", {"protocol": "foo"}),
            ("configure.protocol", {"protocol": ""}),
            ("configure.protocol", {"protocol": 1}),
            ("configure.service_name", {"service_name": ""}),
            ("configure.service_name", {"service_name": 7}),
            ("configure.service_name", {"service_name": "a\nb"}),
            ("configure.endpoint", {"endpoint": ""}),
            ("configure.endpoint", {"endpoint": 4318}),
            ("configure.endpoint", {"endpoint": "ftp://h"}),
            ("configure.endpoint", {"endpoint": "localhost:4317"}),
            ("configure.endpoint", {"endpoint": "localhost:4317", "protocol": "http/protobuf"}),
            ("configure.endpoint", {"endpoint": "h:99999", "protocol": "grpc"}),
            ("configure.headers", {"headers": "a=b"}),
            ("configure.headers", {"headers": [("a", "b")]}),
            ("configure.headers", {"headers": {"a": 1}}),
            ("configure.headers", {"headers": {1: "a"}}),
            ("configure.headers", {"headers": {"a b": "c"}}),
            ("configure.headers", {"headers": {"a": "hunter2\n"}}),
        ],
    )
    def test_wrong_ones_are_refused_before_anything_is_set(self, field: str, keywords: dict[str, Any]) -> None:
        with pytest.raises(InvalidSetting) as caught:
            install(**keywords)
        assert caught.value.field == field
        assert "hunter2" not in str(caught.value)
        assert providers._state.installed is None
        assert not providers._state.exports

    def test_an_endpoint_is_shown_without_its_secrets(self) -> None:
        with pytest.raises(InvalidSetting) as caught:
            install(endpoint="ftp://user:hunter2@h?key=hunter3")
        assert "hunter" not in str(caught.value)
        assert "***@h" in str(caught.value)


def test_an_endpoint_for_grpc_needs_no_scheme() -> None:
    ended = run("show(done=done(install(endpoint='localhost:4317', protocol='grpc')))")
    assert ended.shown == [{"done": ["exporting", "exporting", "exporting", True]}]
    assert not ended.log


def test_installed_from_many_threads_at_once() -> None:
    ended = run(
        """
        barrier, found = threading.Barrier(8), []
        def one():
            barrier.wait()
            found.append(install(endpoint="http://127.0.0.1:9"))
        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        show(results=len(set(map(id, found))), providers=len(providers._state.exports))
        """
    )
    assert ended.shown == [{"results": 1, "providers": 3}]
    assert not ended.log


def test_backend() -> None:
    quiet = Installed(traces="quiet", metrics="disabled", logs="quiet")
    assert not quiet.backend
    assert Installed(traces="quiet", metrics="disabled", logs="exporting").backend
    assert Installed(traces="application", metrics="disabled", logs="quiet").backend


class TestFlushAndShutdown:
    """Of providers that are ours but not the process's, so that each test has its own."""

    @pytest.fixture(autouse=True)
    def state(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(providers, "_state", providers._State())
        with as_new(monkeypatch):
            yield
            shutdown(0)

    def build(self, backend: OtlpReceiver) -> None:
        builder = Builder(Variables(), Given(endpoint=backend.endpoint))
        built = [builder.build(signal) for signal in SIGNALS]
        providers._state.exports = [exports for exports in built if exports is not None]

    def span(self) -> None:
        providers._state.exports[0].provider.get_tracer("test").start_span("s").end()

    def test_nothing_to_do(self) -> None:
        assert flush(0)
        shutdown(0)

    def test_flush_delivers(self, backend: OtlpReceiver) -> None:
        self.build(backend)
        self.span()
        assert flush(5)
        assert len(backend.spans) == 1

    def test_flush_tells_that_an_export_failed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.05")
        with OtlpReceiver(mode="refuse") as backend:
            self.build(backend)
            self.span()
            assert not flush(5)
            backend.mode = "ok"
            self.span()
            assert flush(5)

    def test_both_are_bounded_when_the_backend_hangs(self, caplog: pytest.LogCaptureFixture) -> None:
        with OtlpReceiver(mode="hang") as backend:
            self.build(backend)
            self.span()
            began = time.monotonic()
            assert not flush(0.2)
            assert time.monotonic() - began < 1
            threads = [threading.Thread(target=shutdown, args=(0.2,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            shutdown(0.2)
            assert time.monotonic() - began < 2
        assert caplog.messages == ["not delivered when telemetry was shut down: 1 span"]

    def test_nothing_is_sent_and_nothing_said_after_a_shutdown(
        self, backend: OtlpReceiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.build(backend)
        self.span()
        shutdown(5)
        assert len(backend.spans) == 1
        self.span()
        assert flush(5)
        shutdown(5)
        assert len(backend.spans) == 1
        assert not caplog.messages
