"""Bodies of requests and answers: JSON, streams of events, or plain text."""

from __future__ import annotations

import json
from typing import Any

from otel_agent import redaction
from otel_agent.golden.replay.recording import Answer

__all__ = ["content", "is_events", "pieces", "redacted"]

_EVENTS = "text/event-stream"
_DATA = "data:"


def content(body: str | bytes) -> Any:
    """Gives the value of a body that is JSON, else its text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace") if isinstance(body, bytes) else body


def is_events(answer: Answer) -> bool:
    """Tells whether a body is a stream of events."""
    return answer.headers.get("content-type", "").startswith(_EVENTS)


def pieces(answer: Answer) -> list[bytes]:
    """Gives a body in the pieces that a client reads: event by event where it is a stream of them."""
    body: str = answer.value
    if not is_events(answer):
        return [body.encode()]
    *whole, rest = body.split("\n\n")
    return [f"{event}\n\n".encode() for event in whole] + ([rest.encode()] if rest else [])


def redacted(answer: Answer) -> str:
    """Gives a body without what looks like a secret, also where one stands across events; else as it was."""
    body: str = answer.value
    if not is_events(answer):
        return _same_or(body, content(body))
    lines = body.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.startswith(_DATA)]
    values = [content(lines[number].removeprefix(_DATA)) for number in places]
    for number, value, clean in zip(places, values, redaction.redacted_together(values), strict=True):
        if clean != value:
            lines[number] = f"{_DATA} {_text(clean).rstrip()}\n"
    return "".join(lines)


def _same_or(body: str, value: Any) -> str:
    clean = redaction.redacted(value)
    return body if clean == value else _text(clean)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
