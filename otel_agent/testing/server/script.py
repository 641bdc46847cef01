"""What a scripted model is asked and what it says: plain values, the same for every wire format.

Decides which replies can be written down at all. Knows nothing of HTTP, of providers, or of counting.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from otel_agent import checks
from otel_agent.checks import LARGEST_SECONDS
from otel_agent.stop import InvalidSetting

__all__ = ["Reply", "Request", "Script", "ScriptExhausted", "in_order", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to the model, as a script sees it, in one shape for every API.

    Attributes:
        number: the place in the order of arrival, from 0.
        path: the endpoint, for example `/v1/chat/completions`.
        model: the model that was asked for.
        messages: one dict a message with `role` and `content` (its text); where there are any, `tool_calls`, each with
            `id`, `name` and `arguments`; for the role `tool`, `tool_call_id`. A system prompt comes first.
        tools: one dict a tool with `name`, `description` and `parameters` (its JSON schema).
        stream: True when the answer is to be streamed.
        include_usage: True when the end of a stream is to say what was used; always, but for chat completions.
        input_tokens: the text of messages and tools, counted by `count_tokens`.
        max_output_tokens: the most that the answer may have, in tokens; None is no limit.
        body: the request as it was sent, parsed.
        headers: the HTTP headers by lower-case name, without any that can carry a key.
    """

    number: int
    path: str
    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    stream: bool
    include_usage: bool
    input_tokens: int
    max_output_tokens: int | None
    body: dict[str, Any]
    headers: dict[str, str]


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model says to one request, or how the server fails.

    Attributes:
        text: the answer's text; with an error `status`, the error's message.
        tool_calls: the tools that the model asks for, each as (name, arguments).
        input_tokens: all input as billed, cached and cache-write tokens inside; None is the request's own count.
        output_tokens: all output as billed, reasoning tokens inside; None counts the answer's words.
        cached_input_tokens: the part of the input read from a cache, in tokens.
        cache_write_tokens: the part of the input written to a cache, in tokens.
        reasoning_tokens: the part of the output that is reasoning, in tokens. For these three None is 0.
        finish_reason: as OpenAI's chat API spells it, translated for the others; None is what the answer implies.
        model: the model that answers; None is the one that was asked for.
        delay: seconds before the answer.
        chunk_delay: seconds before each event of a stream.
        status: the HTTP status, 200 or an error.
        retry_after: seconds after which a client should try again, for the header of that name; None is no header.
        drop: closes the connection `before` any answer or `midway` through it; None lets it finish.

    Raises:
        InvalidSetting: a value that no server can send.
    """

    text: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    model: str | None = None
    delay: float | timedelta = 0.0
    chunk_delay: float | timedelta = 0.0
    status: int = 200
    retry_after: float | timedelta | None = None
    drop: Literal["before", "midway"] | None = None

    def __post_init__(self) -> None:
        checks.instance_of("Reply.text", self.text, str, "a text")
        for name in ("finish_reason", "model"):
            if getattr(self, name) is not None:
                checks.text(f"Reply.{name}", getattr(self, name))
        for name in _TOKENS:
            if getattr(self, name) is not None:
                checks.count(f"Reply.{name}", getattr(self, name))
        for name in ("delay", "chunk_delay", "retry_after"):
            if getattr(self, name) is not None or name != "retry_after":
                _check_seconds(name, getattr(self, name))
        object.__setattr__(self, "tool_calls", _checked_calls(self.tool_calls))
        if self.status != 200:
            checks.count("Reply.status", self.status, least=400, most=599)
        if self.drop is not None:
            checks.choice("Reply.drop", self.drop, ("before", "midway"))
        self._check_parts()

    def _check_parts(self) -> None:
        cached, reasoning = (self.cached_input_tokens or 0) + (self.cache_write_tokens or 0), self.reasoning_tokens or 0
        if self.input_tokens is not None:
            checks.count("Reply.input_tokens", self.input_tokens, least=cached)
        if self.output_tokens is not None:
            checks.count("Reply.output_tokens", self.output_tokens, least=reasoning)


Script: TypeAlias = Callable[[Request], Reply]

_TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")


class ScriptExhausted(Exception):
    """A list of replies has no more."""


def in_order(replies: Iterable[Reply]) -> Script:
    """Makes a script that gives each reply once, in the order in which the requests arrive.

    Args:
        replies: the replies.

    Returns:
        The script; it raises `ScriptExhausted` for each request after the last reply.

    Raises:
        InvalidSetting: something in the list is not a `Reply`.
    """
    known = list(replies)
    for index, reply in enumerate(known):
        checks.instance_of(f"script[{index}]", reply, Reply, "a Reply")
    left = deque(known)

    def script(_: Request) -> Reply:
        try:
            return left.popleft()
        except IndexError:
            raise ScriptExhausted(f"the script has no more replies: it had {len(known)}") from None

    return script


def seconds(value: float | timedelta) -> float:
    """Gives a time in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _check_seconds(name: str, value: object) -> None:
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number <= LARGEST_SECONDS:
        raise InvalidSetting(field=f"Reply.{name}", value=value, allowed="seconds from 0 to a year, or a timedelta")


def _checked_calls(calls: Iterable[Iterable[Any]]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Copies tool calls by way of JSON, so that nothing can change them afterwards."""
    try:
        return tuple(_checked_call(*call) for call in calls)
    except (TypeError, ValueError) as error:
        allowed = "(name, arguments) pairs, a text and a dict that JSON can hold"
        raise InvalidSetting(field="Reply.tool_calls", value=calls, allowed=allowed) from error


def _checked_call(name: object, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    checks.text("Reply.tool_calls", name)
    return str(name), dict(json.loads(json.dumps(dict(arguments), allow_nan=False)))
