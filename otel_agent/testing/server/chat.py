"""OpenAI's chat completions on the wire.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_agent.testing.server.answer import Answer
from otel_agent.testing.server.dialect import (
    CREATED,
    Asked,
    Dialect,
    arguments_of,
    dump,
    frame,
    limit,
    pieces,
    slices,
    text_of,
)

__all__ = ["CHAT", "failure"]

_NO_OPTIONS: dict[str, Any] = {}
_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ERROR_CODES = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}


def _read(body: dict[str, Any]) -> Asked:
    return Asked(
        messages=[_message(message) for message in body["messages"]],
        tools=[_tool(tool) for tool in body.get("tools") or ()],
        max_output_tokens=limit(body.get("max_tokens"), body.get("max_completion_tokens")),
        include_usage=bool((body.get("stream_options") or _NO_OPTIONS).get("include_usage")),
    )


def _message(message: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {"role": message["role"], "content": text_of(message.get("content"))}
    if calls := message.get("tool_calls"):
        read["tool_calls"] = [
            {"id": call["id"], "name": named["name"], "arguments": arguments_of(named["arguments"])}
            for call in calls
            for named in (call["function"],)
        ]
    if message["role"] == "tool":
        read["tool_call_id"] = message["tool_call_id"]
    return read


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    named = tool.get(tool["type"], {})
    return {
        "name": named.get("name", tool["type"]),
        "description": named.get("description") or "",
        "parameters": named.get("parameters") or {},
    }


def _body(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message |= {"content": answer.text or None, "tool_calls": _calls(answer)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    return _envelope(answer, "chat.completion", [choice]) | {"usage": _usage(answer)}


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": answer.name("call_", index),
            "type": "function",
            "function": {"name": name, "arguments": dump(arguments)},
        }
        for index, (name, arguments) in enumerate(answer.tool_calls)
    ]


def _envelope(answer: Answer, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": answer.name("chatcmpl-"),
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "choices": choices,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": answer.cached_input_tokens,
            "cache_write_tokens": answer.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }


def _events(answer: Answer) -> Iterator[bytes]:
    """Streams the deltas, then, only if the request asks for it, a chunk of usage without choices."""
    silent: dict[str, Any] = {"usage": None} if answer.request.include_usage else {}
    for delta, finish in _deltas(answer):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        yield frame(_envelope(answer, "chat.completion.chunk", [choice]) | silent)
    if answer.request.include_usage:
        yield frame(_envelope(answer, "chat.completion.chunk", []) | {"usage": _usage(answer)})
    yield b"data: [DONE]\n\n"


def _deltas(answer: Answer) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "content": "", "refusal": None}, None
    for piece in pieces(answer.text):
        yield {"content": piece}, None
    for index, call in enumerate(_calls(answer)):
        arguments = call["function"]["arguments"]
        opened = call | {"index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield {"tool_calls": [opened]}, None
        for part in slices(arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}, None
    yield {}, answer.finish_reason


def failure(status: int, message: str) -> dict[str, Any]:
    """Gives the error document of OpenAI's APIs."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": _ERROR_CODES.get(status)}}


CHAT = Dialect(request_id="x-request-id", read=_read, body=_body, events=_events, failure=failure)
