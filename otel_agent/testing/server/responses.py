"""OpenAI's Responses API on the wire.

https://platform.openai.com/docs/api-reference/responses
Nothing is stored: `previous_response_id` is echoed, and adds nothing to the messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_agent.testing.server.answer import Answer
from otel_agent.testing.server.chat import failure
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

__all__ = ["RESPONSES"]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}


def _read(body: dict[str, Any]) -> Asked:
    return Asked(
        messages=list(_messages(body)),
        tools=[_tool(tool) for tool in body.get("tools") or ()],
        max_output_tokens=limit(body.get("max_output_tokens")),
    )


def _messages(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Reads the input; calls that follow each other are one message of the assistant, as in the chat API."""
    if instructions := body.get("instructions"):
        yield {"role": "system", "content": text_of(instructions)}
    given = body["input"]
    calls: list[dict[str, Any]] = []
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        if item.get("type") == "function_call":
            arguments = arguments_of(item["arguments"])
            calls.append({"id": item["call_id"], "name": item["name"], "arguments": arguments})
            continue
        if calls:
            yield {"role": "assistant", "content": "", "tool_calls": calls}
            calls = []
        yield from _message(item)
    if calls:
        yield {"role": "assistant", "content": "", "tool_calls": calls}


def _message(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = item.get("type", "message")
    if kind == "message":
        yield {"role": item["role"], "content": text_of(item["content"])}
    elif kind == "function_call_output":
        yield {"role": "tool", "content": text_of(item["output"]), "tool_call_id": item["call_id"]}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": tool.get("name", tool["type"]),
        "description": tool.get("description") or "",
        "parameters": tool.get("parameters") or {},
    }


def _body(answer: Answer) -> dict[str, Any]:
    cut = _INCOMPLETE.get(answer.finish_reason)
    return {key: answer.request.body.get(key, default) for key, default in _ECHOED.items()} | {
        "id": answer.name("resp_"),
        "object": "response",
        "created_at": CREATED,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "model": answer.model,
        "output": list(_items(answer)),
        "usage": _usage(answer),
    }


def _items(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.text or not answer.tool_calls:
        part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        yield {
            "id": answer.name("msg_"),
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    for index, (name, arguments) in enumerate(answer.tool_calls):
        yield {
            "id": answer.name("fc_", index),
            "type": "function_call",
            "call_id": answer.name("call_", index),
            "name": name,
            "arguments": dump(arguments),
            "status": "completed",
        }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {
            "cached_tokens": answer.cached_input_tokens,
            "cache_write_tokens": answer.cache_write_tokens,
        },
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


def _events(answer: Answer) -> Iterator[bytes]:
    for number, (kind, fields) in enumerate(_steps(_body(answer))):
        yield frame({"type": f"response.{kind}", "sequence_number": number, **fields}, f"response.{kind}")


_Step = tuple[str, dict[str, Any]]


def _steps(whole: dict[str, Any]) -> Iterator[_Step]:
    """Streams the response from empty to whole; only the last event carries usage."""
    empty: dict[str, Any] = whole | {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    yield "created", {"response": empty}
    yield "in_progress", {"response": empty}
    for index, item in enumerate(whole["output"]):
        growing = _text_steps if item["type"] == "message" else _call_steps
        unset: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
        yield "output_item.added", {"output_index": index, "item": item | unset | {"status": "in_progress"}}
        yield from growing(item, {"item_id": item["id"], "output_index": index})
        yield "output_item.done", {"output_index": index, "item": item}
    yield whole["status"], {"response": whole}


def _text_steps(item: dict[str, Any], place: dict[str, Any]) -> Iterator[_Step]:
    part = item["content"][0]
    place = place | {"content_index": 0}
    yield "content_part.added", place | {"part": part | {"text": ""}}
    for piece in pieces(part["text"]):
        yield "output_text.delta", place | {"delta": piece, "logprobs": []}
    yield "output_text.done", place | {"text": part["text"], "logprobs": []}
    yield "content_part.done", place | {"part": part}


def _call_steps(item: dict[str, Any], place: dict[str, Any]) -> Iterator[_Step]:
    for part in slices(item["arguments"]):
        yield "function_call_arguments.delta", place | {"delta": part}
    yield "function_call_arguments.done", place | {"name": item["name"], "arguments": item["arguments"]}


RESPONSES = Dialect(request_id="x-request-id", read=_read, body=_body, events=_events, failure=failure)
