"""Lines of OTLP JSON as a collector writes them, made by hand."""

from __future__ import annotations

import json
from typing import Any

from otel_agent.usage import PastRun

__all__ = ["line", "span", "span_line"]


def value(of: Any) -> dict[str, Any]:
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return {kinds[type(of)]: str(of) if type(of) is int else of}


def span(
    trace: str, own: str, parent: str = "", *, start: int = 1_000, end: int = 2_000, **attributes: Any
) -> dict[str, Any]:
    """Gives one span; double underscores in the names of attributes stand for dots."""
    return {
        "traceId": trace.rjust(32, "0"),
        "spanId": own.rjust(16, "0"),
        "parentSpanId": parent.rjust(16, "0") if parent else "",
        "name": own,
        "kind": 1,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": [{"key": key.replace("__", "."), "value": value(of)} for key, of in attributes.items()],
        "status": {},
    }


def line(*spans: dict[str, Any]) -> bytes:
    """Gives a line with these spans."""
    scoped = {"scope": {"name": "test"}, "spans": list(spans)}
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [scoped]}]}).encode() + b"\n"


def span_line(run: PastRun) -> bytes:
    """Gives the line of a run's own span."""
    attributes: dict[str, Any] = {
        "gen_ai__operation__name": "invoke_agent",
        "gen_ai__agent__name": run.agent,
        "otel_agent__run__id": run.run_id,
        "otel_agent__stop_reason": run.stop_reason,
        "otel_agent__budget__tool_calls__used": run.tool_calls,
        "otel_agent__budget__tokens__used": run.tokens,
    }
    if run.prompt_id is not None:
        attributes["otel_agent__prompt__id"] = run.prompt_id
    if run.parent_id is not None:
        attributes["otel_agent__run__parent_id"] = run.parent_id
    return line(span(run.trace_id or "1", run.run_id[-16:], end=run.ended_ns, start=0, **attributes))
