"""What one answer says and what it costs in tokens, before any wire format.

Decides how words are counted and what a limit on the output leaves of a reply. Reads no clock and draws no random
number: the same request and reply give the same answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from otel_agent.testing.server.script import Reply, Request

__all__ = ["Answer", "count_input", "count_tokens", "settle"]

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply to one request, with nothing left open.

    Attributes:
        request: what was asked.
        model: the model that answers.
        text: the text, cut to what the request allows.
        tool_calls: (name, arguments) of those that fit.
        input_tokens: all input as billed, in tokens.
        output_tokens: all output as billed, in tokens.
        cached_input_tokens: the part of the input read from a cache.
        cache_write_tokens: the part of the input written to a cache.
        reasoning_tokens: the part of the output that is reasoning.
        finish_reason: as OpenAI's chat API spells it.
    """

    request: Request
    model: str
    text: str
    tool_calls: tuple[tuple[str, dict[str, Any]], ...]
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    finish_reason: str

    def name(self, prefix: str, part: int | None = None) -> str:
        """Gives the id of this answer, or of one part of it: the same in every run of a script."""
        return f"{prefix}{self.request.number + 1:06d}" + ("" if part is None else f"_{part}")


def count_tokens(text: str) -> int:
    """Counts a token for each word and for each sign that is neither a word nor white space.

    Args:
        text: any text.

    Returns:
        The tokens. No real model counts so; it is simple enough to work out by hand.
    """
    return len(_TOKEN.findall(text))


def count_input(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> int:
    """Counts the text of messages, the tool calls in them, and the tools on offer."""
    return sum(map(_count_message, messages)) + sum(map(_count_tool, tools))


def settle(request: Request, reply: Reply) -> Answer:
    """Counts what a reply leaves open and cuts it to the output that the request allows.

    Args:
        request: what was asked; its `max_output_tokens` is never exceeded.
        reply: what the script gave.
    """
    calls = tuple((name, dict(arguments)) for name, arguments in reply.tool_calls)
    text, reasoning, output = reply.text, reply.reasoning_tokens or 0, reply.output_tokens
    if output is None:
        output = reasoning + count_tokens(text) + sum(map(_count_call, calls))
    finish = reply.finish_reason or ("tool_calls" if calls else "stop")
    most = request.max_output_tokens
    if most is not None and output > most:
        output, finish, reasoning = most, "length", min(reasoning, most)
        text, calls = _cut(text, calls, most - reasoning)
    cached, written = reply.cached_input_tokens or 0, reply.cache_write_tokens or 0
    asked = reply.input_tokens
    return Answer(
        request=request,
        model=reply.model or request.model,
        text=text,
        tool_calls=calls,
        input_tokens=max(request.input_tokens, cached + written) if asked is None else asked,
        output_tokens=output,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        finish_reason=finish,
    )


_Calls = tuple[tuple[str, dict[str, Any]], ...]


def _cut(text: str, calls: _Calls, room: int) -> tuple[str, _Calls]:
    """Keeps the first words of a text that fit, then the calls that fit whole."""
    ends = [match.end() for match in _TOKEN.finditer(text)]
    if len(ends) > room:
        return text[: ends[room - 1] if room else 0], ()
    room -= len(ends)
    kept = 0
    for call in calls:
        room -= _count_call(call)
        if room < 0:
            break
        kept += 1
    return text, calls[:kept]


def _count_call(call: tuple[str, Any]) -> int:
    return count_tokens(call[0]) + count_tokens(json.dumps(call[1]))


def _count_message(message: dict[str, Any]) -> int:
    calls = message.get("tool_calls", ())
    return count_tokens(message["content"]) + sum(_count_call((call["name"], call["arguments"])) for call in calls)


def _count_tool(tool: dict[str, Any]) -> int:
    return _count_call((tool["name"], tool["parameters"])) + count_tokens(tool["description"])
