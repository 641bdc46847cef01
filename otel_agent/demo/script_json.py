"""Lets a scripted model that makes native tool calls be asked for JSON actions.

Decides how the one is written as the other, from the server's side: what stands in a request's `response_format` are
its tools, what the assistant said in JSON are its calls, and the last line of what the user said next is the result.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from otel_agent.testing import Reply, Request

__all__ = ["as_json", "as_native", "wants_json"]

ANSWER = "answer"


def wants_json(request: Request) -> bool:
    """Says whether a request asks for JSON actions."""
    return "response_format" in request.body


def as_native(request: Request) -> Request:
    """Gives a request as if its actions were native tool calls."""
    actions = request.body["response_format"]["json_schema"]["schema"]["anyOf"]
    names = [action["properties"]["action"]["enum"][0] for action in actions]
    tools = [{"name": name} for name in names if name != ANSWER]
    return replace(request, messages=_messages(request.messages), tools=tools)


def as_json(reply: Reply) -> Reply:
    """Gives a reply as one JSON action: the first tool call, or the answer."""
    name, fields = next(iter(reply.tool_calls), (ANSWER, {"text": reply.text}))
    return replace(reply, text=json.dumps({"action": name, **fields}), tool_calls=())


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leaves out the hint how to begin, which stands behind the question."""
    system, question, _, *rest = messages
    return [system, question, *map(_message, rest)]


def _message(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] == "user":
        return {"role": "tool", "content": message["content"].rpartition("\n")[2]}
    fields = json.loads(message["content"])
    return {"role": "assistant", "content": "", "tool_calls": [{"name": fields.pop("action"), "arguments": fields}]}
