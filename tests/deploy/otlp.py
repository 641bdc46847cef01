"""OTLP requests that tests send themselves, without an SDK in between."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk.trace import ReadableSpan

from otel_agent import Budget, Prompt, agent_run, llm_call, semconv, tool_call
from otel_agent.testing import capture
from tests.deploy.servers import Collector, fetch

__all__ = ["OURS", "SPANS_OF_A_RUN", "THEIRS", "one_span", "pair", "post", "runs"]

SPANS_OF_A_RUN = 10
OURS, THEIRS = semconv.SCOPE, "opentelemetry.instrumentation.openai_v2"


def post(collector: Collector, signal: str, message: Any) -> None:
    """Sends one request over HTTP; fails where the collector does not take it."""
    fetch(f"{collector.http}/v1/{signal}", message.SerializeToString(), **{"Content-Type": "application/x-protobuf"})


def pair(key: str, value: str | int) -> KeyValue:
    """An attribute."""
    made = AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
    return KeyValue(key=key, value=made)


def one_span(scope: str = THEIRS) -> tuple[ExportTraceServiceRequest, Any]:
    """A request with one span of half a second, and that span."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(pair("service.name", "one"))
    scoped = resource.scope_spans.add()
    scoped.scope.name = scope
    span = scoped.spans.add(trace_id=bytes(range(16)), span_id=bytes(range(8)), name="chat gpt-5-mini")
    span.start_time_unix_nano, span.end_time_unix_nano = 1_790_000_000_000_000_000, 1_790_000_000_500_000_000
    return request, span


def a_run() -> list[ReadableSpan]:
    """Gives the spans of one run of ten, as the package makes them."""
    with capture() as kept:
        prompt = Prompt("support", "v13", "Answer using KB.")
        with agent_run("support-bot", prompt=prompt, budget=Budget(max_steps=8, max_tool_calls=8, max_usd="1")):
            for _ in range(3):
                with llm_call("gpt-5-mini", provider="openai", max_output_tokens=200) as call:
                    call.record(input_tokens=900, output_tokens=80)
                for tool in ("kb.search", "ticket.create"):
                    with tool_call(tool, arguments={"query": "refunds"}):
                        pass
        return list(kept.spans)


def runs(count: int, service: str) -> Iterator[ExportTraceServiceRequest]:
    """Gives requests with the spans of ten runs each, all with ids of their own, until there are `count` runs."""
    template = encode_spans(a_run())
    numbers = itertools.count(time.time_ns())
    for _ in range(count // 10):
        request = ExportTraceServiceRequest()
        for _ in range(10):
            request.resource_spans.extend(_another(template, numbers, service).resource_spans)
        yield request


def _another(template: ExportTraceServiceRequest, numbers: Iterator[int], service: str) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    made.CopyFrom(template)
    trace = next(numbers).to_bytes(16, "big")
    renamed: dict[bytes, bytes] = {b"": b""}
    for resource in made.resource_spans:
        for attribute in resource.resource.attributes:
            if attribute.key == "service.name":
                attribute.value.string_value = service
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.trace_id = trace
                span.span_id = renamed.setdefault(span.span_id, next(numbers).to_bytes(8, "big"))
                span.parent_span_id = renamed.setdefault(span.parent_span_id, next(numbers).to_bytes(8, "big"))
    return made
