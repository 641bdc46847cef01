"""How a model says what it wants to do next: by native tool calls, or by one JSON object a step.

Decides what is offered to the model, how its wishes are read, and in which messages it reads what came of them. Uses
no tool, sends nothing and counts nothing. JSON actions are for models that make no reliable tool calls: the server
holds their answer to a schema, in which every action on offer is one object.

    native   {"tool_calls": [{"function": {"name": "kb_search", "arguments": ...}}]}
    JSON     {"action": "kb_search", "query": ...}, and at the end {"action": "answer", "text": ...}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, cast

from otel_agent.demo.tools import Tool, Toolbox

__all__ = ["ACTIONS", "Actions", "ActionsName", "JsonActions", "Messages", "NativeActions", "Wanted", "told"]

ANSWER = "answer"
HOW = "Reply with one JSON object, which says what to do next:"
BEGIN = "Begin with"
GO_ON = f'Answer with a sentence of this text, as {{"action": "{ANSWER}", "text": ...}}:'
LONGEST_ARGUMENT = 200
LONGEST_ANSWER = 400

Messages: TypeAlias = list[dict[str, Any]]
ActionsName: TypeAlias = Literal["tools", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One tool call that a model wants: the tool and its arguments, or else the answer that tells what is wrong."""

    id: str = ""
    tool: Tool | None = None
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    problem: str = ""


class Actions(Protocol):
    """A way in which a model says what it wants.

    Attributes:
        offer: what every request carries.
        last_offer: what the last request carries, after which nothing can be done any more.
    """

    offer: dict[str, Any]
    last_offer: dict[str, Any]

    def opening(self, prompt: str, question: str) -> Messages:
        """Gives the messages that a conversation begins with: what the model has to know, and the question."""
        ...

    def read(self, said: Any) -> tuple[str, list[Wanted]]:
        """Gives what a message says, and the tool calls that it wants: the text is the answer where it wants none."""
        ...

    def results(self, wanted: Sequence[Wanted], texts: Sequence[str]) -> Messages:
        """Gives the messages in which the model reads what came of its wishes."""
        ...


class NativeActions:
    """The tool calls of the API.

    Args:
        tools: the tools on offer.
    """

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self.offer: dict[str, Any] = {"tools": tools.schemas}
        self.last_offer: dict[str, Any] = {**self.offer, "tool_choice": "none"}

    def opening(self, prompt: str, question: str) -> Messages:
        """Gives the prompt as it is, for the API tells the model of the tools, and the question."""
        return _opening(prompt, question)

    def read(self, said: Any) -> tuple[str, list[Wanted]]:
        """Reads the text and the tool calls."""
        return said.content or "", [self._wanted(call) for call in said.tool_calls or ()]

    def results(self, wanted: Sequence[Wanted], texts: Sequence[str]) -> Messages:
        """Gives one message of the role `tool` for each call."""
        return [
            {"role": "tool", "tool_call_id": call.id, "content": text} for call, text in zip(wanted, texts, strict=True)
        ]

    def _wanted(self, call: Any) -> Wanted:
        if call.type != "function":
            return _wanted(self._tools, str(call.type), {}, call.id)
        return _wanted(self._tools, str(call.function.name), _parsed(call.function.arguments or "{}"), call.id)


class JsonActions:
    """One JSON object a step, in the shape that `response_format` asks the server to hold the model to.

    A small model does what it read last, so each message to it ends with what may come next, or begins with it where a
    text to answer from follows.

    Args:
        tools: the tools on offer.
    """

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        actions = [_of_tool(**schema["function"]) for schema in tools.schemas]
        answer = _action(ANSWER, "Gives the customer the answer.", {"text": _text(LONGEST_ANSWER)}, ["text"])
        self._first = [*actions, answer][0]
        self.offer: dict[str, Any] = _response_format([*actions, answer])
        self.last_offer: dict[str, Any] = _response_format([answer])
        self._how = "\n".join([HOW, *(f"{_example(each)} {each['description']}" for each in [*actions, answer])])

    def opening(self, prompt: str, question: str) -> Messages:
        """Puts what can be done behind the prompt, and behind the question an example of how to begin."""
        begin = f"{BEGIN} {_example(self._first, question[:LONGEST_ARGUMENT])}"
        return [*_opening(f"{prompt}\n\n{self._how}", question), {"role": "system", "content": begin}]

    def read(self, said: Any) -> tuple[str, list[Wanted]]:
        """Reads the one action; what is no JSON object, as when it was cut, the model is told."""
        fields = _parsed(said.content or "")
        if fields is None:
            return "", [Wanted(problem=told(error="that is no JSON object"))]
        name = str(fields.pop("action", None))
        if name == ANSWER:
            return str(fields.get("text", "")), []
        return "", [_wanted(self._tools, name, fields)]

    def results(self, wanted: Sequence[Wanted], texts: Sequence[str]) -> Messages:
        """Gives one message of the role `user` for each action; its last line is what came of it."""
        return [{"role": "user", "content": f"{GO_ON}\n{text}"} for _, text in zip(wanted, texts, strict=True)]


ACTIONS: dict[ActionsName, Callable[[Toolbox], Actions]] = {"tools": NativeActions, "json": JsonActions}


def told(**fields: str) -> str:
    """Writes what a model is told in place of a tool's result."""
    return json.dumps(fields)


def _opening(prompt: str, question: str) -> Messages:
    return [{"role": "system", "content": prompt}, {"role": "user", "content": question}]


def _wanted(tools: Toolbox, name: str, arguments: dict[str, Any] | None, call_id: str = "") -> Wanted:
    tool = tools.find(name)
    if tool is None:
        return Wanted(id=call_id, problem=told(error=f"there is no tool {name}"))
    if arguments is None:
        return Wanted(id=call_id, problem=told(error="the arguments are no JSON object"))
    return Wanted(id=call_id, tool=tool, arguments=arguments)


def _parsed(text: str) -> dict[str, Any] | None:
    """Gives a JSON object, or None where the text is none."""
    try:
        found: object = json.loads(text)
    except ValueError:
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) else None


def _of_tool(name: str, description: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Gives the action of a tool: the same fields, but no text in them goes on for ever."""
    known: dict[str, dict[str, Any]] = parameters["properties"]
    fields = {key: each if "enum" in each else _text(LONGEST_ARGUMENT) for key, each in known.items()}
    return _action(name, description, fields, parameters["required"])


def _action(name: str, about: str, fields: dict[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": about,
        "properties": {"action": {"type": "string", "enum": [name]}, **fields},
        "required": ["action", *required],
        "additionalProperties": False,
    }


def _text(longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest}


def _example(action: dict[str, Any], text: str = "...") -> str:
    """Writes an action with its required fields, the same text in all that take any."""
    fields = {key: action["properties"][key].get("enum", [text])[0] for key in action["required"]}
    return json.dumps(fields, ensure_ascii=False)


def _response_format(actions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    schema = {"name": "action", "schema": {"anyOf": list(actions)}}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
