"""Spans as OTLP JSON lines, the form in which the collector's file exporter writes them.

Decides how a value is spelt: ids as hex, 64-bit integers as strings, enumerations as numbers. Takes ended spans of any
SDK as they are, so that nothing here needs one, and reads lines of others: what is wrong in one is said with its field.

    {"resourceSpans": [{"resource": {...}, "scopeSpans": [{"scope": {...}, "spans": [{"traceId": ...}, ...]}]}]}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from otel_agent.checks import is_list, is_mapping

__all__ = ["NotOtlp", "PastSpan", "line_of", "packed", "spans_of", "written"]

ERROR = 2
MOST_DEPTH = 16
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TRACE_ID, _SPAN_ID = re.compile("[0-9a-fA-F]{32}"), re.compile("[0-9a-fA-F]{16}")


class NotOtlp(ValueError):
    """A line is no OTLP JSON; the message names the field."""


class PastSpan(NamedTuple):
    """An ended span as it was read; `written` is its own JSON, with its resource and its scope."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    failed: bool
    written: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / 1e9


# writing


def written(span: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]] | None:
    """Gives resource, scope and span as OTLP JSON has them, or None for a span that never recorded anything."""
    if not hasattr(span, "attributes") or not hasattr(span, "end_time"):
        return None
    context, scope = span.get_span_context(), getattr(span, "instrumentation_scope", None)
    resource = getattr(span, "resource", None)
    found: dict[str, Any] = {
        "traceId": format(context.trace_id, "032x"),
        "spanId": format(context.span_id, "016x"),
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time or span.start_time),
        "attributes": _pairs(span.attributes),
        "status": _status(span.status),
    }
    if span.parent is not None:
        found["parentSpanId"] = format(span.parent.span_id, "016x")
    if span.events:
        found["events"] = [_event(event) for event in span.events]
    if span.links:
        found["links"] = [_link(link) for link in span.links]
    about = {"attributes": _pairs(resource.attributes)} if resource is not None else {}
    return about, {"name": scope.name, "version": scope.version or ""} if scope is not None else {}, found


def _status(status: Any) -> dict[str, Any]:
    found = {"code": status.status_code.value} if status.status_code.value else {}
    return {**found, "message": status.description} if status.description else found


def _event(event: Any) -> dict[str, Any]:
    return {"timeUnixNano": str(event.timestamp), "name": event.name, "attributes": _pairs(event.attributes)}


def _link(link: Any) -> dict[str, Any]:
    trace_id, span_id = format(link.context.trace_id, "032x"), format(link.context.span_id, "016x")
    return {"traceId": trace_id, "spanId": span_id, "attributes": _pairs(link.attributes)}


def _pairs(attributes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [{"key": str(key), "value": _value(value)} for key, value in (attributes or {}).items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _special(value)}
    if is_list(value):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if is_mapping(value):
        return {"kvlistValue": {"values": _pairs(value)}}
    return {"stringValue": value if isinstance(value, str) else str(value)}


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def packed(spans: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """Puts spans together under their resources and scopes, as one export has them."""
    found: dict[str, tuple[Any, dict[str, tuple[Any, list[Any]]]]] = {}
    for resource, scope, span in spans:
        _, scopes = found.setdefault(_key(resource), (resource, {}))
        scopes.setdefault(_key(scope), (scope, []))[1].append(span)
    return {
        "resourceSpans": [
            {"resource": resource, "scopeSpans": [{"scope": scope, "spans": each} for scope, each in scopes.values()]}
            for resource, scopes in found.values()
        ]
    }


def _key(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


def line_of(spans: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]) -> bytes:
    """Writes spans as one line, its end included."""
    return json.dumps(packed(spans), separators=(",", ":")).encode() + b"\n"


# reading


def spans_of(line: str | bytes) -> list[PastSpan]:
    """Reads the spans of a line; of one with metrics or logs there are none.

    Raises:
        NotOtlp: it is no such line, or a span in it lacks what a span has.
    """
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError) as wrong:
        raise NotOtlp(f"no JSON ({str(wrong) or type(wrong).__name__})") from None
    if not is_mapping(document) or not {"resourceSpans", "resourceMetrics", "resourceLogs"} & document.keys():
        raise NotOtlp("no resourceSpans: not written by a collector's file exporter")
    return list(_spans(document))


def _spans(document: Mapping[str, Any]) -> Iterator[PastSpan]:
    for at, part in _items(document, "resourceSpans", ""):
        for scope_at, scope in _items(part, "scopeSpans", at):
            for span_at, span in _items(scope, "spans", scope_at):
                yield _span(span, span_at, part.get("resource") or {}, scope.get("scope") or {})


def _items(holder: Mapping[str, Any], name: str, at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    found: Any = holder.get(name) or []
    if not is_list(found):
        raise NotOtlp(f"{at}{name}: must be a list")
    for number, item in enumerate(found):
        if not is_mapping(item):
            raise NotOtlp(f"{at}{name}[{number}]: must be an object")
        yield f"{at}{name}[{number}].", item


def _span(span: Mapping[str, Any], at: str, resource: Any, scope: Any) -> PastSpan:
    status: Any = span.get("status") or {}
    code = status.get("code") if is_mapping(status) else None
    parent = span.get("parentSpanId") or None
    return PastSpan(
        trace_id=_id(span, "traceId", _TRACE_ID, at),
        span_id=_id(span, "spanId", _SPAN_ID, at),
        parent_span_id=None if parent is None else _id(span, "parentSpanId", _SPAN_ID, at),
        name=str(span.get("name") or ""),
        start_ns=_time(span, "startTimeUnixNano", at),
        end_ns=_time(span, "endTimeUnixNano", at),
        attributes=_attributes(span.get("attributes"), at, 0),
        failed=code in (ERROR, "STATUS_CODE_ERROR"),
        written=(resource, scope, span),
    )


def _id(span: Mapping[str, Any], name: str, form: re.Pattern[str], at: str) -> str:
    value = span.get(name)
    if isinstance(value, str) and form.fullmatch(value):
        return value.lower()
    raise NotOtlp(f"{at}{name}: {_shown(value)} is no id of {form.pattern[-3:-1]} hex digits")


def _time(span: Mapping[str, Any], name: str, at: str) -> int:
    value = span.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise NotOtlp(f"{at}{name}: {_shown(value)} is no time in nanoseconds")


def _attributes(pairs: Any, at: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if pairs and not is_list(pairs):
        raise NotOtlp(f"{at}attributes: must be a list")
    for number, pair in enumerate(pairs or []):
        if not is_mapping(pair) or not isinstance(pair.get("key"), str):
            raise NotOtlp(f"{at}attributes[{number}].key: must be a text")
        found[pair["key"]] = _plain(pair.get("value"), f"{at}attributes[{number}].value", depth)
    return found


def _plain(value: Any, at: str, depth: int) -> Any:
    """Turns a value as OTLP wraps it into a plain one."""
    if not is_mapping(value) or len(value) != 1 or depth > MOST_DEPTH:
        if not value:
            return None
        raise NotOtlp(f"{at}: {_shown(value)} is no value")
    wrapped: tuple[Any, Any] = next(iter(value.items()))
    kind, inner = wrapped
    try:
        match kind:
            case "intValue":
                return int(inner)
            case "doubleValue":
                return _SPECIAL[inner] if inner in _SPECIAL else float(inner)
            case "arrayValue":
                return [_plain(item, at, depth + 1) for item in _listed(inner)]
            case "kvlistValue":
                return _attributes(_listed(inner), at, depth + 1)
            case "boolValue":
                return bool(inner)
            case _:
                return inner if isinstance(inner, str) else str(inner)
    except (TypeError, ValueError, AttributeError, OverflowError) as wrong:
        if isinstance(wrong, NotOtlp):
            raise
        raise NotOtlp(f"{at}.{kind}: {_shown(inner)} is no such value") from None


def _listed(value: Any) -> list[Any]:
    """Gives what an array or a list of pairs holds."""
    holder: Any = value or dict[str, Any]()
    found: list[Any] = holder.get("values") or []
    return found


def _shown(value: object) -> str:
    """Shows a wrong value by its kind: it may be content."""
    return "nothing" if value is None else f"a {type(value).__name__}"
