"""What a model is told of the tools, and what it gets back from them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from otel_agent import InvalidSetting
from otel_agent.demo.knowledge import PRIORITIES, KnowledgeBase
from otel_agent.demo.tools import Tool, Toolbox
from otel_agent.testing import capture

ALL = ("kb.search", "ticket.create", "billing.lookup")


@pytest.fixture
def knowledge() -> Iterator[KnowledgeBase]:
    with KnowledgeBase() as opened:
        yield opened


def find(tools: Toolbox, name: str) -> Tool:
    tool = tools.find(name)
    assert tool is not None
    return tool


def test_only_the_tools_on_offer_are_there(knowledge: KnowledgeBase) -> None:
    tools = Toolbox(knowledge, ("kb.search",))
    assert [schema["function"]["name"] for schema in tools.schemas] == ["kb_search"]
    assert tools.find("ticket_create") is None


@pytest.mark.parametrize("name", ["kb_search", "ticket_create", "billing_lookup"])
def test_schemas_speak_of_the_very_arguments(knowledge: KnowledgeBase, name: str) -> None:
    tool = find(Toolbox(knowledge, ALL), name)
    parameters = tool.schema["function"]["parameters"]
    taken = inspect.signature(tool.use).parameters
    assert list(parameters["properties"]) == list(taken)
    assert parameters["required"] == [key for key, each in taken.items() if each.default is each.empty]


def test_a_search_gives_the_best_article_in_full(knowledge: KnowledgeBase) -> None:
    tools = Toolbox(knowledge, ALL)
    with capture() as kept:
        found: Any = asyncio.run(tools.use(find(tools, "kb_search"), {"query": "refund of a duplicate charge"}))
    first, *others = found["articles"]
    article = knowledge.article(first["article"])
    assert article is not None
    assert first == {"article": article.slug, "title": article.title, "text": article.body}
    assert all(len(each["text"]) < len(article.body) for each in others)
    assert [call.name for call in kept.records.calls] == ["kb.search"]
    assert tools.used == 1


def test_a_ticket_is_written_down(knowledge: KnowledgeBase) -> None:
    tools = Toolbox(knowledge, ALL)
    create = find(tools, "ticket_create")
    assert create.schema["function"]["parameters"]["properties"]["priority"]["enum"] == list(PRIORITIES)
    given = {"subject": "Refund", "body": "Receipt 7", "priority": "high"}
    assert asyncio.run(tools.use(create, given)) == {"ticket": 1}
    assert [(ticket.subject, ticket.priority) for ticket in knowledge.tickets()] == [("Refund", "high")]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({}, TypeError), ({"query": "a", "limit": 50}, TypeError), ({"query": None}, InvalidSetting)],
)
def test_wrong_arguments_are_told_apart_from_faults(
    knowledge: KnowledgeBase, arguments: dict[str, Any], error: type[Exception]
) -> None:
    tools = Toolbox(knowledge, ALL)
    with pytest.raises(error):
        asyncio.run(tools.use(find(tools, "kb_search"), arguments))


async def test_the_billing_system_hangs(knowledge: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("otel_agent.demo.tools.asyncio.sleep", sleep)
    tools = Toolbox(knowledge, ALL)
    assert await tools.use(find(tools, "billing_lookup"), {"account": "7"}) == {"account": "7"}
    assert waits == [600.0]
