"""What must not leave the collector: contents unless they are wanted, keys and personal data never."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from tests.deploy.otlp import OURS, THEIRS, one_span, pair, post
from tests.deploy.servers import Collector, fetch, needs, until
from tests.support.otlp import OtlpReceiver

SAID = "the-secret-plan-of-the-customer"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"

CONTENT_KEYS = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "gen_ai.prompt",
    "gen_ai.prompt.0.content",
    "gen_ai.completion.0.content",
    "gen_ai.retrieval.documents",
    "input.value",
    "output.value",
    "llm.input_messages.0.message.content",
    "llm.prompts",
    "retrieval.documents.0.document.content",
    "tool.parameters",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "langfuse.observation.input",
    "mlflow.spanInputs",
    "ai.prompt.messages",
    "ai.toolCall.args",
    "all_messages_events",
    "pydantic_ai.all_messages",
    "tool_arguments",
    "final_result",
    "prompt",
    "arguments",
)
KEPT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.prompt.name": "support",
    "gen_ai.prompt.version": "v13",
    "gen_ai.tool.description": "Finds articles.",
    "otel_agent.prompt.id": "support:v13:0123456789ab",
    "otel_agent.stop_detail": "tool_management_of_tickets",
    "http.request.method": "POST",
}
SECRETS = {
    "an OpenAI key": "sk-proj-4f9GkQ2mZx81LbTn0pWvRs",
    "an Anthropic key": "sk-ant-api03-Zx81LbTn0pWvRs4f9GkQ2m",
    "an AWS key": "AKIAIOSFODNN7EXAMPLE",
    "a Google key": "AIzaSyA4f9GkQ2mZx81LbTn0pWvRsEfGhIjKlMn",
    "a GitHub token": "ghp_4f9GkQ2mZx81LbTn0pWvRsEfGhIjKlMn0123",
    "a bearer token": "Bearer 4f9GkQ2mZx81LbTn0pWvRs",
    "a JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "a password in a URL": "postgres://support:hunter2hunter2@db:5432/app",
    "a password in a text": "password=hunter2hunter2",
    "an e-mail address": "jane.roe@customer.example",
    "a card number": "4111 1111 1111 1111",
    "a card number without spaces": "5555555555554444",
    "an American Express number": "3782 822463 10005",
}
CORES = [secret.removeprefix("Bearer ").partition("@db")[0].rpartition(":")[2] for secret in SECRETS.values()]


@contextmanager
def pipeline(folder: Path, **variables: str) -> Iterator[tuple[Collector, OtlpReceiver]]:
    """The collector, without a sampler, in front of a backend that keeps traces and logs as they come."""
    needs("collector")
    with OtlpReceiver("grpc") as backend:
        address = backend.endpoint.rpartition("/")[2]
        places = {"OTEL_AGENT_TRACES_ENDPOINT": address, "OTEL_AGENT_LOGS_ENDPOINT": address}
        fixed = {"OTEL_AGENT_SAMPLER": "[]", "OTEL_AGENT_LOGS": "otlp_grpc/logs"}
        with Collector(folder, **places, **fixed, **variables) as collector:
            yield collector, backend


def arrived(backend: OtlpReceiver, signal: str) -> str:
    """Waits for an export of a signal and gives all of it as text."""
    found = until(lambda: [each for each in backend.received if each.signal == signal])
    return "\n".join(str(each.message) for each in found)


def left_behind(collector: Collector) -> str:
    """Gives all else that left the collector: its pages, its log, and what is on its disk."""
    pages = [fetch(f"http://{target}/metrics", Accept=OPEN_METRICS) for target in collector.targets]
    on_disk = [
        path.read_bytes().decode("latin-1") for path in (collector.folder / "queue").rglob("*") if path.is_file()
    ]
    return "\n".join([*pages, collector.said(), *on_disk])


def test_contents_on_spans_events_and_resources_do_not_come_out(tmp_path: Path) -> None:
    request, span = one_span()
    span.attributes.extend(pair(key, SAID) for key in CONTENT_KEYS)
    nested = KeyValueList(values=[pair("content", SAID)])
    span.attributes.append(KeyValue(key="gen_ai.input.messages", value=AnyValue(kvlist_value=nested)))
    span.attributes.extend(pair(*item) for item in KEPT.items())
    span.status.message = SAID
    span.events.add(name="gen_ai.user.message").attributes.append(pair("content", SAID))
    span.events.add(name="gen_ai.content.prompt").attributes.append(pair("gen_ai.prompt", SAID))
    span.events.add(name="gen_ai.choice").attributes.append(pair("message", SAID))
    exception = span.events.add(name="exception").attributes
    exception.extend([pair("exception.type", "ValueError"), pair("exception.message", SAID)])
    exception.append(pair("exception.stacktrace", f"ValueError: {SAID}"))
    request.resource_spans[0].resource.attributes.append(pair("process.command_line", f"agent.py {SAID}"))
    with pipeline(tmp_path) as (collector, backend):
        post(collector, "traces", request)
        text = arrived(backend, "traces")
        assert SAID not in text
        assert SAID not in left_behind(collector)
    for key, value in KEPT.items():
        assert f'"{key}"' in text, key
        assert value in text, key
    assert "ValueError" in text


def test_bodies_and_contents_of_log_records_do_not_come_out(tmp_path: Path) -> None:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    theirs, ours = resource.scope_logs.add(), resource.scope_logs.add()
    theirs.scope.name, ours.scope.name = "app.logger", OURS
    theirs.log_records.add(body=AnyValue(string_value=SAID))
    theirs.log_records.add(body=AnyValue(kvlist_value=KeyValueList(values=[pair("content", SAID)])))
    record = theirs.log_records.add(event_name="gen_ai.client.inference.operation.details")
    record.attributes.extend(pair(key, SAID) for key in CONTENT_KEYS)
    theirs.log_records.add().attributes.append(pair("exception.message", SAID))
    event = ours.log_records.add(event_name="otel_agent.run.finished")
    event.attributes.append(pair("otel_agent.stop_reason", "max_tokens"))
    with pipeline(tmp_path) as (collector, backend):
        post(collector, "logs", request)
        text = arrived(backend, "logs")
        assert SAID not in text
        assert SAID not in left_behind(collector)
    assert "otel_agent.run.finished" in text
    assert "max_tokens" in text


def test_contents_come_out_where_they_are_wanted_but_secrets_do_not(tmp_path: Path) -> None:
    request, span = one_span()
    span.attributes.append(pair("gen_ai.input.messages", f"{SAID}, and my key is {SECRETS['an OpenAI key']}"))
    with pipeline(tmp_path, OTEL_AGENT_CONTENT="keep") as (collector, backend):
        post(collector, "traces", request)
        text = arrived(backend, "traces")
    assert SAID in text
    assert SECRETS["an OpenAI key"] not in text


def test_a_word_that_is_not_keep_strips(tmp_path: Path) -> None:
    request, span = one_span()
    span.attributes.append(pair("gen_ai.input.messages", SAID))
    with pipeline(tmp_path, OTEL_AGENT_CONTENT="Keep it, please") as (collector, backend):
        post(collector, "traces", request)
        assert SAID not in arrived(backend, "traces")


def everywhere(attributes: list[KeyValue]) -> dict[str, Any]:
    """Requests of each signal that have these attributes in every place that a collector's rules can reach."""
    traces, span = one_span()
    logs, metrics = ExportLogsServiceRequest(), ExportMetricsServiceRequest()
    for_logs, for_metrics = logs.resource_logs.add(), metrics.resource_metrics.add()
    record = for_logs.scope_logs.add().log_records.add(event_name="arrived")
    for_spans, kinds = traces.resource_spans[0], for_metrics.scope_metrics.add().metrics
    places = [span, span.events.add(name="arrived"), record, *points(kinds)]
    for resource, scoped in (
        (for_spans, for_spans.scope_spans[0]),
        (for_logs, for_logs.scope_logs[0]),
        (for_metrics, for_metrics.scope_metrics[0]),
    ):
        places += [resource.resource, scoped.scope]
    for place in places:
        place.attributes.extend(attributes)
    for metric in kinds:
        now = getattr(metric, metric.WhichOneof("data")).data_points[0].exemplars.add(as_int=1)
        now.filtered_attributes.extend(attributes)
        now.time_unix_nano, now.trace_id, now.span_id = time.time_ns(), span.trace_id, span.span_id
    return {"traces": traces, "logs": logs, "metrics": metrics}


def points(kinds: Any) -> Iterator[Any]:
    """Adds a gauge, sums and histograms of both temporalities, and gives the point of each."""
    now = time.time_ns()
    yield kinds.add(name="arrived.gauge").gauge.data_points.add(as_int=1, time_unix_nano=now)
    for temporality in (
        AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
        AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
    ):
        total = kinds.add(name=f"arrived.sum.{temporality}").sum
        total.is_monotonic, total.aggregation_temporality = True, temporality
        yield total.data_points.add(as_int=1, time_unix_nano=now, start_time_unix_nano=now - 10**9)
        spread = kinds.add(name=f"arrived.histogram.{temporality}").histogram
        spread.aggregation_temporality = temporality
        point = spread.data_points.add(count=1, sum=1, time_unix_nano=now, start_time_unix_nano=now - 10**9)
        point.explicit_bounds.append(5)
        point.bucket_counts.extend([1, 0])
        yield point


def came_out(folder: Path, attributes: list[KeyValue], **variables: str) -> str:
    """Gives all that left the collector which got these attributes in every place of every signal."""
    with pipeline(folder, **variables) as (collector, backend):
        for signal, request in everywhere(attributes).items():
            post(collector, signal, request)
        live, sums, _ = collector.targets
        for target in (live, sums):
            until(lambda target=target: "arrived_histogram" in fetch(f"http://{target}/metrics"))
        return arrived(backend, "traces") + arrived(backend, "logs") + left_behind(collector)


def test_contents_do_not_come_out_of_any_place_of_any_signal(tmp_path: Path) -> None:
    text = came_out(tmp_path, [*(pair(key, SAID) for key in CONTENT_KEYS), pair("app.kept", "stays")])
    assert SAID not in text
    assert text.count("stays") >= 8


def test_neither_secrets_nor_attributes_called_by_one_come_out_of_any_place_of_any_signal(tmp_path: Path) -> None:
    of_values = [pair(f"app.note.{number}", f"see {secret} here") for number, secret in enumerate(SECRETS.values())]
    of_names = [pair(f"app {secret}", "x") for secret in SECRETS.values()]
    text = came_out(tmp_path, [*of_values, *of_names, pair("app.kept", "stays")], OTEL_AGENT_CONTENT="keep")
    as_labels = {core: re.sub(r"[^A-Za-z0-9]", "_", core) for core in CORES}
    found = [core for core, label in as_labels.items() if core in text or label in text]
    assert not found, found
    assert text.count("stays") >= 8


@pytest.mark.parametrize("scope", [OURS, THEIRS])
def test_secrets_do_not_come_out_of_anything(tmp_path: Path, scope: str) -> None:
    request, span = one_span(scope)
    for number, secret in enumerate(SECRETS.values()):
        told = f"see {secret} here"
        span.attributes.append(pair(f"app.note.{number}", told))
        several = ArrayValue(values=[AnyValue(string_value="x"), AnyValue(string_value=told)])
        span.attributes.append(KeyValue(key=f"app.notes.{number}", value=AnyValue(array_value=several)))
        span.events.add(name=f"note {told}").attributes.append(pair("app.note", told))
        more = request.resource_spans[0].scope_spans[0].spans.add()
        more.CopyFrom(span)
        more.span_id, more.name = number.to_bytes(8, "big"), f"execute_tool {told}"
        more.status.message = told
    request.resource_spans[0].resource.attributes.append(pair("app.owner", SECRETS["an e-mail address"]))
    span.attributes.append(pair("http.request.header.x-api-key", "whatever-it-is"))
    logs = ExportLogsServiceRequest()
    scoped = logs.resource_logs.add().scope_logs.add()
    scoped.scope.name = scope
    for secret in SECRETS.values():
        record = scoped.log_records.add(body=AnyValue(string_value=f"see {secret} here"), event_name=f"e {secret}")
        record.attributes.append(pair("app.note", f"see {secret} here"))
    with pipeline(tmp_path) as (collector, backend):
        post(collector, "traces", request)
        post(collector, "logs", logs)
        text = arrived(backend, "traces") + arrived(backend, "logs") + left_behind(collector)
    found = [core for core in [*CORES, "whatever-it-is"] if core in text]
    assert not found, found
    assert "see **** here" in text
    assert "execute_tool see **** here" in text


def test_numbers_and_names_that_look_a_little_like_secrets_stay(tmp_path: Path) -> None:
    request, span = one_span()
    span.attributes.append(KeyValue(key="otel_agent.cost.usd", value=AnyValue(double_value=0.4111111111111111)))
    span.attributes.append(KeyValue(key="app.nanoseconds", value=AnyValue(int_value=1_790_000_000_000_000_000)))
    span.attributes.append(
        pair("otel_agent.prompt.hash", "4111111111111111aaaaaaaaaaaaaaaa4111111111111111bbbbbbbbbbbbbbbb")
    )
    span.attributes.append(pair("app.tool", "ask_customer_for_more_details, task-management-of-tickets"))
    span.attributes.append(pair("app.max_tokens", "max_tokens=9000"))
    with pipeline(tmp_path) as (collector, backend):
        post(collector, "traces", request)
        text = arrived(backend, "traces")
    assert "****" not in text
    assert "0.411111111111111" in text
