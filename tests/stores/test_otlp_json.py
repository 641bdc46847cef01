"""Spans as OTLP JSON: what is written is what a collector reads, what is read is what was written."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN, Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otel_agent.stores.otlp_json import NotOtlp, PastSpan, line_of, spans_of, written

ATTRIBUTES: dict[str, Any] = {
    "text": "äb",
    "large": 2**60,
    "negative": -3,
    "share": 0.1,
    "yes": True,
    "none of it": math.inf,
    "many": [1, 2],
    "words": ["a", "b"],
}


def ended(attributes: dict[str, Any] | None = None) -> Any:
    tracer = TracerProvider(resource=Resource({"service.name": "support"})).get_tracer("otel_agent", "1.0")
    link = Link(SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1)), {"why": "retry"})
    with tracer.start_as_current_span("outer"):
        span = tracer.start_span("chat m", kind=SpanKind.CLIENT, attributes=attributes or ATTRIBUTES, links=[link])
        span.add_event("exception", {"exception.type": "ValueError"})
        span.set_status(Status(StatusCode.ERROR, "why"))
        span.end()
    return span


def test_a_protobuf_parser_reads_it_as_otlp() -> None:
    document = json.loads(line_of([written(ended())]))  # type: ignore[list-item]
    span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    # protobuf's own JSON has ids in base64; OTLP's has them in hex, which is the one difference
    for holder, names in ((span, ("traceId", "spanId", "parentSpanId")), (span["links"][0], ("traceId", "spanId"))):
        for name in names:
            assert len(holder[name]) in (16, 32)
            holder[name] = ""
    read = json_format.ParseDict(document, TracesData())
    found = read.resource_spans[0].scope_spans[0].spans[0]
    assert read.resource_spans[0].resource.attributes[0].value.string_value == "support"
    assert found.kind == 3
    assert found.status.code == 2
    assert found.end_time_unix_nano >= found.start_time_unix_nano > 0
    values = {pair.key: pair.value for pair in found.attributes}
    assert values["large"].int_value == 2**60
    assert values["share"].double_value == 0.1
    assert values["none of it"].double_value == math.inf
    assert [item.int_value for item in values["many"].array_value.values] == [1, 2]
    assert found.events[0].name == "exception"
    assert found.links[0].attributes[0].value.string_value == "retry"


def test_64_bit_integers_are_strings_and_ids_are_hex() -> None:
    span = ended()
    line = line_of([written(span)])  # type: ignore[list-item]
    found = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert found["traceId"] == format(span.context.trace_id, "032x")
    assert found["startTimeUnixNano"] == str(span.start_time)
    assert {"key": "large", "value": {"intValue": str(2**60)}} in found["attributes"]
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=9),
        st.text(max_size=9) | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
        max_size=4,
    )
)
def test_what_is_read_is_what_was_written(attributes: dict[str, Any]) -> None:
    span = ended({"always": 1, **attributes})
    (read,) = spans_of(line_of([written(span)]))  # type: ignore[list-item]
    assert read.attributes == {"always": 1, **attributes}
    assert (read.trace_id, read.span_id) == (
        format(span.context.trace_id, "032x"),
        format(span.context.span_id, "016x"),
    )
    assert read.failed
    assert read.seconds == pytest.approx((span.end_time - span.start_time) / 1e9)


def test_a_span_that_recorded_nothing_is_not_written() -> None:
    assert written(INVALID_SPAN) is None


def test_spans_of_one_resource_and_scope_stand_together() -> None:
    document = json.loads(line_of([written(ended()), written(ended())]))  # type: ignore[list-item]
    assert len(document["resourceSpans"]) == 1
    assert len(document["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 2


def span_with(**fields: Any) -> str:
    span = {
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "1",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": 2,
        **fields,
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def test_times_may_be_numbers_and_words_may_stand_for_codes() -> None:
    (span,) = spans_of(span_with(status={"code": "STATUS_CODE_ERROR"}))
    assert span.end_ns == 2
    assert span.failed


def test_lines_of_other_signals_have_no_spans() -> None:
    assert spans_of('{"resourceMetrics": []}') == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no resourceSpans"),
        ('{"spans": []}', "no resourceSpans"),
        ('{"resourceSpans": 3}', "resourceSpans: must be a list"),
        ('{"resourceSpans": [3]}', r"resourceSpans\[0\]: must be an object"),
        (span_with(traceId="xyz"), r"spans\[0\]\.traceId: a str is no id of 32 hex digits"),
        (span_with(spanId=None), r"spanId: nothing is no id of 16"),
        (span_with(startTimeUnixNano="soon"), "startTimeUnixNano: a str is no time"),
        (span_with(attributes=[{"value": {}}]), r"attributes\[0\]\.key"),
        (span_with(attributes=[{"key": "a", "value": {"intValue": "x"}}]), r"value\.intValue: a str is no such value"),
        (span_with(attributes=[{"key": "a", "value": [1]}]), "a list is no value"),
    ],
)
def test_a_wrong_line_is_told_with_its_field_and_never_with_its_value(line: str, says: str) -> None:
    with pytest.raises(NotOtlp, match=says):
        spans_of(line)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_nothing_but_not_otlp_comes_out_of_any_json(value: Any) -> None:
    for line in (json.dumps(value), json.dumps({"resourceSpans": value}), span_with(attributes=value, status=value)):
        with contextlib.suppress(NotOtlp):
            assert all(isinstance(span, PastSpan) for span in spans_of(line))
