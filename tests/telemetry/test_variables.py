"""`OTEL_*` variables: what is used, and the one warning for each that is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from otel_agent.telemetry.variables import Given, Signal, Variables, is_header, is_target, is_url, shown_url
from tests.support.process import as_new

HTTP = "http/protobuf"
NOTHING = Given()


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with as_new(monkeypatch):
        yield


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the package logs while the test runs."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("otel_agent").addHandler(handler)
    yield messages
    logging.getLogger("otel_agent").removeHandler(handler)


def seen_by_the_sdk(variables: Variables, name: str) -> str | None:
    with variables.environment():
        return os.environ.get(name)


WRONG = [
    ("OTEL_SDK_DISABLED", "yes", "false is used"),
    ("OTEL_BSP_SCHEDULE_DELAY", "soon", "5000 is used"),
    ("OTEL_BSP_SCHEDULE_DELAY", "0", "5000 is used"),
    ("OTEL_BSP_SCHEDULE_DELAY", "1" + "0" * 30, "5000 is used"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "x", "30000 is used"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "2048 is used"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1.5", "512 is used"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", "2048 is used"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "soon", "1000 is used"),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "-3", "30000 is used"),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "many", "2048 is used"),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "0", "512 is used"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "nan", "60000 is used"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "1e30", "60000 is used"),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "0", "30000 is used"),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "sometimes", "trace_based is used"),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "cumulative is used"),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "none", "explicit_bucket_histogram is used"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", "128 is used"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "x", "128 is used"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "long", "none is used"),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "1e3", "128 is used"),
    ("OTEL_RESOURCE_ATTRIBUTES", "team=a,oops", "only those that are such are used"),
    ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "process,nope", "only those that are such are used"),
    ("OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES", "ABORTED,OFTEN", "only those that are such are used"),
    ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "vault", "only those that are such are used"),
    ("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "on", "false is used"),
]


@pytest.mark.parametrize(("name", "value", "instead"), WRONG)
def test_wrong_value_is_said_once_and_hidden(
    monkeypatch: pytest.MonkeyPatch, said: list[str], name: str, value: str, instead: str
) -> None:
    monkeypatch.setenv(name, value)
    variables = Variables()
    assert seen_by_the_sdk(variables, name) != value
    assert len(said) == 1
    assert said[0].startswith(f"{name} = '{value}': must be ")
    assert said[0].endswith(instead)


RIGHT = [
    ("OTEL_SDK_DISABLED", "TRUE"),
    ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048"),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "0"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "0.5"),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off"),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", ""),
    ("OTEL_RESOURCE_ATTRIBUTES", "team=a=b,tier=gold%20one"),
    ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "*"),
    ("OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES", "aborted, UNAVAILABLE"),
]


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_right_value_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, said: list[str], name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert seen_by_the_sdk(Variables(), name) == value
    assert not said


def test_the_good_part_of_a_list_is_kept(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=a,oops,=x,tier=b")
    assert seen_by_the_sdk(Variables(), "OTEL_RESOURCE_ATTRIBUTES") == "team=a,tier=b"
    assert len(said) == 1


def test_a_small_queue_makes_the_batch_as_small(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    assert seen_by_the_sdk(Variables(), "OTEL_BSP_MAX_EXPORT_BATCH_SIZE") == "100"
    assert not said


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", " ")
    assert seen_by_the_sdk(Variables(), "OTEL_BSP_SCHEDULE_DELAY") is None
    assert not said


def test_the_environment_is_put_back_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "soon")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    variables = Variables()
    seen: dict[str, str] = {}

    def fail() -> None:
        with variables.environment({"OTEL_TRACES_SAMPLER": None, "OTEL_SERVICE_NAME": "x"}):
            seen.update(os.environ)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "OTEL_TRACES_SAMPLER" not in seen
    assert seen["OTEL_SERVICE_NAME"] == "x"
    assert os.environ["OTEL_BSP_SCHEDULE_DELAY"] == "soon"
    assert os.environ["OTEL_TRACES_SAMPLER"] == "always_on"
    assert "OTEL_SERVICE_NAME" not in os.environ


@pytest.mark.parametrize("value", ["", "nope"])
def test_what_the_api_reads_again_is_taken_out_for_good(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", value)
    variables = Variables()
    assert variables.component("OTEL_PYTHON_METER_PROVIDER", "opentelemetry_meter_provider", "it is not used") is None
    with variables.environment():
        pass
    assert "OTEL_PYTHON_METER_PROVIDER" not in os.environ


def test_a_long_value_is_cut_in_the_warning(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "x" * 10_000)
    Variables()
    assert len(said[0]) < 300


class TestExporters:
    def test_none_without_a_backend(self) -> None:
        assert Variables().exporters("traces", NOTHING) == {}

    @pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"])
    def test_an_endpoint_is_a_backend_of_its_signals(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "http://127.0.0.1:4318")
        assert exporters("logs") == {"otlp": "otlp_proto_http"}
        assert bool(exporters("traces")) is ("LOGS" not in name)

    def test_an_empty_endpoint_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
        assert exporters("traces") == {}

    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ("otlp", {"otlp": "otlp_proto_http"}),
            ("console, otlp,", {"console": "console", "otlp": "otlp_proto_http"}),
            ("otlp_proto_grpc", {"otlp_proto_grpc": "otlp_proto_grpc"}),
            ("none,console", {"console": "console"}),
            ("none", None),
            (" None ", None),
            (",", {}),
        ],
    )
    def test_names(self, monkeypatch: pytest.MonkeyPatch, said: list[str], value: str, found: object) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", value)
        assert exporters("traces") == found
        assert not said

    def test_none_goes_before_an_endpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        assert exporters("metrics", Given(endpoint="http://127.0.0.1:4318")) is None

    def test_unknown_name_leaves_the_others(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkinn,console")
        assert exporters("traces") == {"console": "console"}
        assert said[0].startswith("OTEL_TRACES_EXPORTER = 'zipkinn,console': must be one of console, otlp")
        assert said[0].endswith("console is used")

    def test_unknown_name_alone_is_as_if_unset(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkinn")
        assert exporters("traces") == {}
        assert exporters("traces", Given(endpoint="http://127.0.0.1:1")) == {"otlp": "otlp_proto_http"}
        assert [message.rpartition("; ")[2] for message in said] == ["nothing is exported", "otlp is used"]

    @pytest.mark.parametrize(
        ("general", "own", "given", "expected"),
        [
            ("", "", None, HTTP),
            ("grpc", "", None, "grpc"),
            ("grpc", HTTP, None, HTTP),
            ("grpc", "", HTTP, HTTP),
            ("GRPC", "", None, "grpc"),
        ],
    )
    def test_protocol(
        self, monkeypatch: pytest.MonkeyPatch, general: str, own: str, given: str | None, expected: str
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", general)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", own)
        assert Variables().protocol("traces", Given(protocol=given)) == expected

    def test_wrong_protocol_falls_back_to_the_general_one(
        self, monkeypatch: pytest.MonkeyPatch, said: list[str]
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier pigeon")
        variables = Variables()
        assert {variables.protocol("traces", NOTHING) for _ in range(3)} == {"grpc"}
        assert len(said) == 1
        assert said[0].endswith("; grpc is used")

    def test_json_needs_its_package(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        variables = Variables()
        assert variables.protocol("traces", NOTHING) == variables.protocol("logs", NOTHING) == HTTP
        assert len(said) == 1
        assert "opentelemetry-exporter-otlp-json-http" in said[0]


def exporters(signal: Signal, given: Given = NOTHING) -> dict[str, str] | None:
    found = Variables().exporters(signal, given)
    return None if found is None else {name: entry.name for name, entry in found.items()}


class TestOtlp:
    def test_a_base_gets_a_path_and_an_own_endpoint_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/x/")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:2/mine")
        assert otlp("traces", "ENDPOINT") == "http://127.0.0.1:1/x/v1/traces"
        assert otlp("logs", "ENDPOINT") == "http://127.0.0.1:2/mine"
        assert otlp("logs", "ENDPOINT", Given(endpoint="https://h")) == "https://h/v1/logs"

    def test_grpc_takes_an_endpoint_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
        assert otlp("traces", "ENDPOINT", protocol="grpc") == "collector:4317"
        assert otlp("traces", "INSECURE", protocol="grpc") is None

    def test_http_means_insecure_whatever_the_variable_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "false")
        assert otlp("traces", "INSECURE", Given(endpoint="http://h:4317"), protocol="grpc") == "true"
        assert otlp("traces", "INSECURE", Given(endpoint="https://h:4317"), protocol="grpc") == "false"

    @pytest.mark.parametrize(
        "wrong", ["localhost:4318", "ftp://h", "http://", "http://h:99999", "http://a b", "http://["]
    )
    def test_wrong_endpoint_is_none(self, monkeypatch: pytest.MonkeyPatch, said: list[str], wrong: str) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)
        variables = Variables()
        assert not variables.exporters("traces", NOTHING)
        assert not variables.exporters("logs", NOTHING)
        assert len(said) == 1
        assert said[0].startswith(f"OTEL_EXPORTER_OTLP_ENDPOINT = '{wrong}': must be a URL")

    def test_wrong_endpoint_shows_no_secret(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:hunter2@h/?key=hunter3")
        Variables().exporters("traces", NOTHING)
        assert "***@h/" in said[0]
        assert "hunter" not in said[0]

    @pytest.mark.parametrize(
        ("suffix", "wrong", "default"),
        [
            ("TIMEOUT", "fast", "10"),
            ("TIMEOUT", "0", "10"),
            ("INSECURE", "maybe", "false"),
            ("COMPRESSION", "zip", "none"),
            ("CERTIFICATE", "/does/not/exist", "none"),
            ("CLIENT_KEY", "/does/not/exist", "none"),
            ("CLIENT_CERTIFICATE", "/does/not/exist", "none"),
        ],
    )
    def test_wrong_value(
        self, monkeypatch: pytest.MonkeyPatch, said: list[str], suffix: str, wrong: str, default: str
    ) -> None:
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{suffix}", wrong)
        variables = Variables()
        for signal in ("traces", "metrics", "logs"):
            environment = variables.otlp(signal, NOTHING, HTTP).environment
            assert environment[f"OTEL_EXPORTER_OTLP_{suffix}"] is None
            assert environment[f"OTEL_EXPORTER_OTLP_{signal.upper()}_{suffix}"] is None
        assert len(said) == 1
        assert said[0].startswith(f"OTEL_EXPORTER_OTLP_{suffix} = '{wrong}'")
        assert said[0].endswith(f"; {default} is used")

    def test_own_value_goes_first_and_a_wrong_one_gives_way(
        self, monkeypatch: pytest.MonkeyPatch, said: list[str]
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "7")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "3")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "x")
        assert (otlp("logs", "TIMEOUT"), otlp("metrics", "TIMEOUT"), otlp("traces", "TIMEOUT")) == ("3", "7", "7")
        assert said[0].endswith("; 7 is used")

    def test_compression_depends_on_the_protocol(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "deflate")
        assert otlp("traces", "COMPRESSION") == "deflate"
        assert not said
        assert otlp("traces", "COMPRESSION", protocol="grpc") is None
        assert "one of none, gzip" in said[0]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        assert otlp("traces", "COMPRESSION", protocol="grpc") is None
        assert len(said) == 1

    def test_headers_merge_and_the_given_ones_win(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "A=general,b=x%20y")
        assert headers("logs", Given(headers={"C": "1", "a": "given"})) == {"a": "given", "b": "x y", "c": "1"}
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "d=own")
        assert headers("logs") == {"d": "own"}
        assert headers("traces") == {"a": "general", "b": "x y"}

    def test_wrong_headers_are_left_out_and_never_shown(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        wrong = (
            "good=1,hunter2,=hunter2,a b=hunter2,new%0Aline=hunter2,x=hunter2%0d%0ay: 1,u=hunter2%C3%A9,api-key=k=ok=="
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", wrong)
        variables = Variables()
        assert variables.otlp("traces", NOTHING, HTTP).headers == {"good": "1", "api-key": "k=ok=="}
        variables.otlp("logs", NOTHING, HTTP)
        assert len(said) == 1
        assert said[0].startswith("OTEL_EXPORTER_OTLP_HEADERS = '***'")
        assert "hunter2" not in repr((said, variables.otlp("traces", Given(headers={"k": "hunter2"}), HTTP)))


def otlp(signal: Signal, suffix: str, given: Given = NOTHING, *, protocol: str = HTTP) -> str | None:
    environment = Variables().otlp(signal, given, protocol).environment
    assert environment[f"OTEL_EXPORTER_OTLP_{suffix}"] is None, "the exporter is to read its own variable only"
    return environment[f"OTEL_EXPORTER_OTLP_{signal.upper()}_{suffix}"]


def headers(signal: Signal, given: Given = NOTHING) -> dict[str, str]:
    return dict(Variables().otlp(signal, given, HTTP).headers)


class TestComponents:
    def test_loads_what_is_named(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        monkeypatch.setenv("OTEL_PYTHON_ID_GENERATOR", "Random")
        found = Variables().component("OTEL_PYTHON_ID_GENERATOR", "opentelemetry_id_generator", "random is used")
        assert found.__name__ == "RandomIdGenerator"
        assert not said

    def test_unknown_name_says_which_there_are(self, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
        monkeypatch.setenv("OTEL_PYTHON_ID_GENERATOR", "xray")
        assert Variables().component("OTEL_PYTHON_ID_GENERATOR", "opentelemetry_id_generator", "random is used") is None
        assert said == ["OTEL_PYTHON_ID_GENERATOR = 'xray': must be one of random; random is used"]


def test_warnings_come_from_the_package(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "yes")
    Variables()
    assert [(record.name, record.levelno) for record in caplog.records] == [("otel_agent", logging.WARNING)]


@pytest.mark.parametrize(
    ("text", "url", "target"),
    [
        ("http://127.0.0.1:4318", True, True),
        ("https://collector.example/otlp?x=1", True, True),
        ("http://[::1]:4318", True, True),
        ("http://h:0", False, False),
        ("http://user@", False, False),
        ("localhost:4317", False, True),
        ("otel_collector", False, True),
        ("[::1]:4317", False, True),
        ("unix:///tmp/socket", False, True),
        ("dns:///h:1", False, True),
        ("ftp://h", False, False),
        ("h:99999", False, False),
        ("h:1/path", False, False),
        ("a b:1", False, False),
        ("=", False, False),
        ("", False, False),
    ],
)
def test_addresses(text: str, url: bool, target: bool) -> None:
    assert (is_url(text), is_target(text)) == (url, target)


@pytest.mark.parametrize(
    ("name", "value", "holds"),
    [
        ("authorization", "Bearer abc", True),
        ("X-Key", "", True),
        ("", "x", False),
        ("a b", "x", False),
        ("a", "x\n", False),
        ("a", " x", False),
        ("a", "é", False),
    ],
)
def test_headers_that_can_be_sent(name: str, value: str, holds: bool) -> None:
    assert is_header(name, value) is holds


def test_shown_url_keeps_the_host() -> None:
    assert shown_url("http://h:1/p") == "http://h:1/p"
    assert shown_url("http://u:p@w@h:1/p?k=v") == "***@h:1/p"
