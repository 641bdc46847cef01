"""What every wire format has to give, and the few things they share.

What goes in, and what comes out:

    body -> read -> Asked        Answer -> body    -> one JSON document
                                 Answer -> events  -> server-sent events
                                 status -> failure -> the error document
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from otel_agent.testing.server.answer import Answer

__all__ = [
    "CREATED",
    "Asked",
    "Dialect",
    "Refused",
    "arguments_of",
    "dump",
    "frame",
    "limit",
    "pieces",
    "slices",
    "text_of",
]

CREATED = 1_767_225_600
"""When every answer says it was made: 2026-01-01T00:00:00Z, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a dialect reads out of a body: the fields of `Request` of the same names."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    max_output_tokens: int | None
    include_usage: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One API of one provider.

    Attributes:
        request_id: the header that carries the id of a request.
        read: reads a body; raises `Refused`, or what Python raises when the body has another shape.
        body: the answer as one document.
        events: the answer as encoded server-sent events.
        failure: the error document, from HTTP status and message.
    """

    request_id: str
    read: Callable[[dict[str, Any]], Asked]
    body: Callable[[Answer], dict[str, Any]]
    events: Callable[[Answer], Iterator[bytes]]
    failure: Callable[[int, str], dict[str, Any]]


class Refused(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def dump(document: object) -> str:
    """Writes JSON without spaces, in ASCII, so that any `str` can be sent."""
    return json.dumps(document, separators=(",", ":"))


def frame(data: dict[str, Any], event: str | None = None) -> bytes:
    """Encodes one server-sent event."""
    return ((f"event: {event}\n" if event else "") + f"data: {dump(data)}\n\n").encode()


def pieces(text: str) -> list[str]:
    """Splits a text into words, each with the white space after it."""
    return re.findall(r"\S+\s*|\s+", text)


def slices(text: str) -> list[str]:
    """Splits a text every 12 characters, as the arguments of a tool arrive: never at a border that means something."""
    return [text[start : start + 12] for start in range(0, len(text), 12)]


def limit(*given: object) -> int | None:
    """Gives the smallest of the limits on the output that are set, in tokens; None is no limit."""
    found = [value for value in given if isinstance(value, int) and not isinstance(value, bool) and value >= 1]
    if len(found) < sum(value is not None for value in given):
        raise Refused(400, "the limit on the output must be an integer from 1 up")
    return min(found, default=None)


def text_of(content: str | Iterable[dict[str, Any]] | None) -> str:
    """Gives the text of a content, which is a text already or a list of parts; parts without text count as none."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part["text"] for part in content if "text" in part)


def arguments_of(written: str) -> Any:
    """Parses the arguments of a call that the client sends back; what is no JSON stays the text that it is."""
    try:
        return json.loads(written)
    except ValueError:
        return written
