"""The support agent with whatever a model or a model server may come up with."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from otel_agent import Budget, BudgetExceeded, FinalCall, RunResult
from otel_agent.demo.agent import SupportAgent
from otel_agent.demo.backend import model_server
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.prompts import V13
from otel_agent.demo.tools import Toolbox
from otel_agent.testing import Reply, Request, ScriptedModelServer, capture

ANSWER = Reply(text="Done.")
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@dataclass
class Came:
    """What came of one question: the result or the error, and what the server was asked."""

    result: RunResult[str] | None
    error: Exception | None
    requests: list[Request]
    steps: int
    tokens: int

    def tool_results(self) -> list[Any]:
        return [json.loads(each["content"]) for each in self.requests[-1].messages if each["role"] == "tool"]


def ask(
    replies: Iterable[Reply],
    *,
    budget: Budget | None = None,
    stream: bool = False,
    tools: tuple[str, ...] = ("kb.search", "ticket.create"),
) -> Came:
    """Asks one question of a model that says these things."""
    left, requests = list(replies), list[Request]()

    def model(request: Request) -> Reply:
        requests.append(request)
        return left.pop(0)

    with capture() as kept, ScriptedModelServer(model) as server, KnowledgeBase() as knowledge:
        run = _ask(server, Toolbox(knowledge, tools), budget, stream)
        try:
            result, error = asyncio.run(run), None
        except Exception as exc:
            result, error = None, exc
        (record,) = kept.records.runs
    return Came(result, error, requests, record.usage.steps, record.usage.total_tokens)


async def _ask(server: ScriptedModelServer, tools: Toolbox, budget: Budget | None, stream: bool) -> RunResult[str]:
    with model_server({**os.environ, "OPENAI_BASE_URL": server.base_url}) as backend:
        async with backend.client() as client:
            agent = SupportAgent(client, tools, model="gpt-5-mini", server_address=backend.address)
            return await agent.answer.using(prompt=V13, budget=budget).run("Why?", stream=stream)


@both_ways
def test_a_model_may_want_what_does_not_exist(stream: bool) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("rm_rf", {"path": "/"}),
        ("kb_search", {"words": "refund"}),
        ("kb_search", {"query": 7}),
        ("ticket_create", {"subject": "", "body": "x"}),
        ("kb_search", {"query": "refund"}),
    ]
    came = ask([Reply(tool_calls=calls), ANSWER], stream=stream)
    assert came.result is not None
    assert (came.result.output, came.result.stop_reason) == ("Done.", "finish")
    unknown, misnamed, mistyped, empty, right = came.tool_results()
    assert unknown == {"error": "there is no tool rm_rf"}
    assert "query" in misnamed["error"]
    assert "search.query" in mistyped["error"]
    assert "create_ticket.subject" in empty["error"]
    assert right["articles"]
    assert came.result.usage.tool_calls == 3  # the first two never reached a tool


def test_a_model_may_want_nothing_that_exists() -> None:
    came = ask([Reply(tool_calls=[("rm_rf", {}), ("format", {})]), ANSWER], budget=Budget(max_tool_calls=0))
    assert came.result is not None
    assert (came.result.stop_reason, came.result.usage.tool_calls) == ("finish", 0)
    assert [list(each) for each in came.tool_results()] == [["error"], ["error"]]


@both_ways
def test_what_the_server_refuses_is_a_step_that_costs_nothing(stream: bool) -> None:
    came = ask([Reply(status=400, text="no")], budget=Budget(max_tokens=10_000), stream=stream)
    assert isinstance(came.error, openai.BadRequestError)
    assert (came.steps, came.tokens) == (1, 0)


def test_a_failure_is_tried_once_only() -> None:
    came = ask([Reply(status=500), ANSWER])
    assert isinstance(came.error, openai.InternalServerError)
    assert len(came.requests) == came.steps == 1


@both_ways
def test_an_answer_holds_what_still_fits(stream: bool) -> None:
    came = ask([ANSWER], budget=Budget(max_tokens=2_500), stream=stream)
    assert came.requests[0].max_output_tokens == 1_500
    assert came.requests[0].body["tools"]


class TestFinalCall:
    SEARCH = Reply(tool_calls=[("kb_search", {"query": "refund"})])

    def test_is_made_where_the_budget_keeps_one(self) -> None:
        budget = Budget(max_tool_calls=1, final_call=FinalCall(tokens=5_000))
        came = ask([self.SEARCH, self.SEARCH, ANSWER], budget=budget)
        assert came.result is not None
        assert (came.result.output, came.result.stop_reason) == ("Done.", "max_tool_calls")
        assert came.requests[-1].body["tool_choice"] == "none"

    def test_is_not_made_where_the_budget_keeps_none(self) -> None:
        came = ask([self.SEARCH, self.SEARCH], budget=Budget(max_tool_calls=1))
        assert came.result is not None
        assert isinstance(came.result.error, BudgetExceeded)
        assert came.result.output is None
        assert len(came.requests) == 2

    def test_leaves_no_tool_call_unanswered(self) -> None:
        twice = Reply(tool_calls=[("kb_search", {"query": "a"}), ("kb_search", {"query": "b"})])
        came = ask([twice, ANSWER], budget=Budget(max_tool_calls=0, final_call=FinalCall(tokens=5_000)))
        asked = [call["id"] for each in came.requests[-1].messages for call in each.get("tool_calls", ())]
        answered = [each["tool_call_id"] for each in came.requests[-1].messages if each["role"] == "tool"]
        assert asked == answered
        assert len(asked) == 2


def test_a_run_needs_a_prompt() -> None:
    async def attempt() -> None:
        async with openai.AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:9") as client:
            with KnowledgeBase() as knowledge:
                agent = SupportAgent(client, Toolbox(knowledge, ()), model="m", server_address="h")
                await agent.answer.run("Why?")

    with capture(), pytest.raises(RuntimeError, match="needs a prompt"):
        asyncio.run(attempt())
