"""What the support agent can do: search the articles, write a ticket, ask a billing system that never answers.

Decides what a model is told of each tool and gets back from it. Counts no limits and knows no model: a call is let
through or denied by `tool_call` before it arrives here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from otel_agent import tool_call
from otel_agent.demo.knowledge import PRIORITIES, KnowledgeBase

__all__ = ["HANGS_SECONDS", "Tool", "Toolbox"]

HANGS_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool on offer.

    Attributes:
        name: as budgets and spans have it, such as `kb.search`.
        schema: as the model is told of it; the name in it is without dots, which the API does not take.
        use: what it does; may give an awaitable.
    """

    name: str
    schema: dict[str, Any]
    use: Callable[..., Any]


class Toolbox:
    """The tools of one agent.

    Args:
        knowledge: the articles to search; tickets go there too.
        names: the tools on offer.

    Attributes:
        used: how many calls arrived.
    """

    def __init__(self, knowledge: KnowledgeBase, names: Sequence[str]) -> None:
        self._knowledge = knowledge
        tools = [self._search_tool(), self._ticket_tool(), self._billing_tool()]
        self._tools = {tool.schema["function"]["name"]: tool for tool in tools if tool.name in names}
        self.used = 0

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools as the model is told of them."""
        return [tool.schema for tool in self._tools.values()]

    def find(self, name: str) -> Tool | None:
        """Gives the tool that a model means by a name, or None."""
        return self._tools.get(name)

    async def use(self, tool: Tool, arguments: dict[str, Any]) -> Any:
        """Uses a tool.

        Raises:
            TypeError: these are not its arguments.
            InvalidSetting: one of them has a value that it cannot take.
        """
        inspect.signature(tool.use).bind(**arguments)
        result = tool.use(**arguments)
        return await result if inspect.isawaitable(result) else result

    @tool_call("kb.search")
    def search(self, query: str) -> dict[str, Any]:
        """Searches the help articles."""
        self.used += 1
        found = self._knowledge.search(query)
        return {
            "articles": [
                {"article": each.slug, "title": each.title, "text": each.body if each.rank == 1 else each.snippet}
                for each in found
            ]
        }

    @tool_call("ticket.create")
    def create_ticket(self, subject: str, body: str, priority: str = "normal") -> dict[str, Any]:
        """Writes a ticket for a person to look at."""
        self.used += 1
        return {"ticket": self._knowledge.create_ticket(subject, body, priority=priority)}

    @tool_call("billing.lookup")
    async def look_up(self, account: str) -> dict[str, Any]:
        """Asks the billing system, which hangs."""
        self.used += 1
        await asyncio.sleep(HANGS_SECONDS)
        return {"account": account}

    def _search_tool(self) -> Tool:
        about = "Searches the help articles; gives the best three, the first of them in full."
        return _tool("kb.search", about, self.search, {"query": _text("What to look for, in a few words.")})

    def _ticket_tool(self) -> Tool:
        about = "Opens a ticket for the support team. Only when the customer asks for one."
        fields = {
            "subject": _text("One line."),
            "body": _text("What the customer wants, with all numbers."),
            "priority": {**_text("How urgent it is."), "enum": list(PRIORITIES)},
        }
        return _tool("ticket.create", about, self.create_ticket, fields, optional=("priority",))

    def _billing_tool(self) -> Tool:
        about = "Looks up the open balance of an account in the billing system."
        return _tool("billing.lookup", about, self.look_up, {"account": _text("The number of the account.")})


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _tool(
    name: str, description: str, use: Callable[..., Any], fields: dict[str, Any], *, optional: Sequence[str] = ()
) -> Tool:
    parameters = {
        "type": "object",
        "properties": fields,
        "required": [field for field in fields if field not in optional],
        "additionalProperties": False,
    }
    function = {"name": name.replace(".", "_"), "description": description, "parameters": parameters}
    return Tool(name=name, schema={"type": "function", "function": function}, use=use)
