"""Anthropic's messages on the wire.

https://platform.claude.com/docs/en/api/messages
Its `input_tokens` are those that no cache had a part in, unlike everywhere else in this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_agent.testing.server.answer import Answer
from otel_agent.testing.server.dialect import Asked, Dialect, Refused, dump, frame, limit, pieces, slices, text_of

__all__ = ["MESSAGES"]

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def _read(body: dict[str, Any]) -> Asked:
    if body.get("max_tokens") is None:
        raise Refused(400, "max_tokens: Field required")
    return Asked(
        messages=list(_messages(body)),
        tools=[_tool(tool) for tool in body.get("tools") or ()],
        max_output_tokens=limit(body["max_tokens"]),
    )


def _messages(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if system := body.get("system"):
        yield {"role": "system", "content": text_of(system)}
    for message in body["messages"]:
        yield from _message(message["role"], message["content"])


def _message(role: str, content: str | list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Reads one turn; each tool result in it becomes a message of its own, before the text beside it."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    results = [block for block in blocks if block["type"] == "tool_result"]
    for block in results:
        yield {"role": "tool", "content": text_of(block.get("content")), "tool_call_id": block["tool_use_id"]}
    calls = [
        {"id": block["id"], "name": block["name"], "arguments": block["input"]}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    if len(results) < len(blocks) or not blocks:
        yield {"role": role, "content": text_of(blocks)} | ({"tool_calls": calls} if calls else {})


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": tool["name"],
        "description": tool.get("description") or "",
        "parameters": tool.get("input_schema") or {},
    }


def _body(answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.name("msg_"),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": list(_blocks(answer)),
        "stop_reason": _STOP_REASONS.get(answer.finish_reason, answer.finish_reason),
        "stop_sequence": None,
        "usage": _usage(answer),
    }


def _blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.text or not answer.tool_calls:
        yield {"type": "text", "text": answer.text, "citations": None}
    for index, (name, arguments) in enumerate(answer.tool_calls):
        yield {"type": "tool_use", "id": answer.name("toolu_", index), "name": name, "input": arguments}


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens - answer.cached_input_tokens - answer.cache_write_tokens,
        "cache_read_input_tokens": answer.cached_input_tokens,
        "cache_creation_input_tokens": answer.cache_write_tokens,
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens},
    }


def _events(answer: Answer) -> Iterator[bytes]:
    for kind, fields in _steps(_body(answer)):
        yield frame({"type": kind, **fields}, kind)


def _steps(whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Streams the message; its first event knows the input, only the one before the last knows the output."""
    opening = whole["usage"] | {"output_tokens": min(1, whole["usage"]["output_tokens"]), "output_tokens_details": None}
    yield "message_start", {"message": whole | {"content": [], "stop_reason": None, "usage": opening}}
    yield "ping", {}
    for index, block in enumerate(whole["content"]):
        empty: dict[str, Any] = {"text": ""} if block["type"] == "text" else {"input": {}}
        yield "content_block_start", {"index": index, "content_block": block | empty}
        for delta in _deltas(block):
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": ending, "usage": whole["usage"]}
    yield "message_stop", {}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for piece in pieces(block["text"]):
            yield {"type": "text_delta", "text": piece}
    else:
        for part in slices(dump(block["input"])):
            yield {"type": "input_json_delta", "partial_json": part}


def _failure(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


MESSAGES = Dialect(request_id="request-id", read=_read, body=_body, events=_events, failure=_failure)
