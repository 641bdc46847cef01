"""JSON actions: what the model is offered, what it may get wrong, and the whole demo played with them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from otel_agent import Budget, RunResult
from otel_agent.demo import backend
from otel_agent.demo.actions import JsonActions
from otel_agent.demo.agent import SupportAgent
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.play import Player
from otel_agent.demo.prompts import V13
from otel_agent.demo.report import Outcome, Report
from otel_agent.demo.scenarios import SCENARIOS
from otel_agent.demo.script import scripted_model
from otel_agent.demo.show import Show
from otel_agent.demo.tools import Toolbox
from otel_agent.testing import Reply, Request, ScriptedModelServer, capture

ENDS = {
    "answer": ["finish", "finish", "finish"],
    "ticket": ["finish"],
    "batch": ["finish"],
    "stream": ["finish"],
    "thorough": ["max_tool_calls"],
    "money": ["max_usd"],
    "hang": ["max_seconds"],
}
ANSWER = Reply(text='{"action": "answer", "text": "Done."}')


@dataclass
class Showing:
    """One showing of everything with JSON actions."""

    report: Report
    requests: list[Request]
    tickets: int

    def one(self, scenario: str) -> Outcome:
        (outcome,) = [each for each in self.report.outcomes if each.scenario.name == scenario]
        return outcome

    def asked(self, outcome: Outcome) -> list[Request]:
        return [each for each in self.requests if each.messages[1]["content"] == outcome.question]


@pytest.fixture(scope="module")
def showing() -> Iterator[Showing]:
    requests: list[Request] = []

    def model(request: Request) -> Reply:
        requests.append(request)
        return scripted_model(request)

    with pytest.MonkeyPatch.context() as patch, capture(), KnowledgeBase() as knowledge:
        patch.delenv("OPENAI_BASE_URL", raising=False)
        patch.setattr(backend, "scripted_model", model)
        report = Player(knowledge, Show(quiet=True), actions="json").play(SCENARIOS)
        yield Showing(report, requests, len(knowledge.tickets()))


def offered(request: Request) -> list[str]:
    actions = request.body["response_format"]["json_schema"]["schema"]["anyOf"]
    return [action["properties"]["action"]["enum"][0] for action in actions]


class TestTheDemo:
    def test_ends_as_with_native_tool_calls(self, showing: Showing) -> None:
        ends = {
            name: [str(o.result.stop_reason) for o in showing.report.outcomes if o.scenario.name == name]
            for name in ENDS
        }
        assert ends == ENDS
        assert showing.report.document()["actions"] == "json"

    def test_counts_as_the_model_server_does(self, showing: Showing) -> None:
        assert showing.report.complaints == []
        ours, theirs = showing.report.totals, showing.report.ledger
        assert theirs is not None
        assert (ours.steps, ours.input_tokens, ours.output_tokens) == (
            theirs.answered,
            theirs.input_tokens,
            theirs.output_tokens,
        )
        assert theirs.tool_calls == 0
        assert 20 < ours.tool_calls < ours.tool_calls_asked

    def test_sends_a_schema_and_no_tools(self, showing: Showing) -> None:
        assert all("tools" not in request.body for request in showing.requests)
        assert {request.body["response_format"]["type"] for request in showing.requests} == {"json_schema"}
        assert offered(showing.requests[0]) == ["kb_search", "ticket_create", "answer"]

    def test_uses_the_tools(self, showing: Showing) -> None:
        assert showing.tickets == 1
        assert "I have opened ticket 1 for you." in (showing.one("ticket").result.output or "")

    def test_goes_on_where_a_tool_call_is_denied(self, showing: Showing) -> None:
        outcome = showing.one("batch")
        assert (outcome.asked, outcome.used, outcome.result.denials) == (4, 3, {"max_calls_per_tool": 1})
        last = json.loads(showing.asked(outcome)[-1].messages[-1]["content"].splitlines()[-1])
        assert last == {"denied": "the call of kb.search was denied: max_calls_per_tool (used 3 of 3)"}

    def test_streams(self, showing: Showing) -> None:
        outcome = showing.one("stream")
        assert outcome.pieces > 20
        assert not outcome.result.usage.estimated
        assert "[sso-troubleshooting]" in (outcome.result.output or "")

    def test_offers_nothing_but_the_answer_at_the_end(self, showing: Showing) -> None:
        outcome = showing.one("thorough")
        assert [offered(request) for request in showing.asked(outcome)][-2:] == [
            ["kb_search", "ticket_create", "answer"],
            ["answer"],
        ]
        assert "[downgrade-plan]" in (outcome.result.output or "")


def ask(*texts: str, budget: Budget | None = None) -> tuple[RunResult[str], list[str]]:
    """Asks a model that says these things; gives the result, and what it was told after each."""
    requests: list[Request] = []
    replies = iter([*(Reply(text=text) for text in texts), ANSWER])

    def model(request: Request) -> Reply:
        requests.append(request)
        return next(replies)

    with capture(), ScriptedModelServer(model) as server, KnowledgeBase() as knowledge:
        result = asyncio.run(_ask(server, Toolbox(knowledge, ("kb.search",)), budget))
    heard = [message["content"] for message in requests[-1].messages[3:] if message["role"] == "user"]
    return result, [content.splitlines()[-1] for content in heard]


async def _ask(server: ScriptedModelServer, tools: Toolbox, budget: Budget | None) -> RunResult[str]:
    with backend.model_server({**os.environ, "OPENAI_BASE_URL": server.base_url}) as where:
        async with where.client() as client:
            agent = SupportAgent(client, tools, model="gpt-5-mini", server_address=where.address, actions="json")
            return await agent.answer.using(prompt=V13, budget=budget).run("Why?")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{"action": "kb_search", "query": "cut', '{"error": "that is no JSON object"}'),
        ('["kb_search"]', '{"error": "that is no JSON object"}'),
        ("", '{"error": "that is no JSON object"}'),
        ('{"query": "refund"}', '{"error": "there is no tool None"}'),
        ('{"action": ["kb_search"]}', """{"error": "there is no tool ['kb_search']"}"""),
        ('{"action": "rm_rf", "path": "/"}', '{"error": "there is no tool rm_rf"}'),
        ('{"action": "kb_search"}', """{"error": "missing a required argument: 'query'"}"""),
    ],
)
def test_a_model_reads_what_was_wrong(said: str, told: str) -> None:
    result, heard = ask(said)
    assert (result.output, result.stop_reason, result.usage.tool_calls) == ("Done.", "finish", 0)
    assert heard == [told]


def test_a_model_reads_what_the_search_found() -> None:
    result, (found,) = ask('{"action": "kb_search", "query": "api rate limit"}')
    assert (result.output, result.usage.steps, result.usage.tool_calls) == ("Done.", 2, 1)
    assert "api-rate-limits" in found


def test_a_budget_stops_it() -> None:
    result, _ = ask(*['{"action": "kb_search", "query": "refund"}'] * 2, budget=Budget(max_steps=2))
    assert (result.stop_reason, result.usage.steps, result.output) == ("max_steps", 2, None)


@pytest.mark.parametrize("said", ['{"action": "answer"}', '{"action": "answer", "text": ""}'])
def test_an_empty_answer_is_one(said: str) -> None:
    result, _ = ask(said)
    assert (result.output, result.usage.steps) == ("", 1)


def test_no_text_in_the_schema_goes_on_for_ever() -> None:
    with KnowledgeBase() as knowledge:
        offer: Any = JsonActions(Toolbox(knowledge, ("kb.search", "ticket.create"))).offer
    fields = [
        field
        for action in offer["response_format"]["json_schema"]["schema"]["anyOf"]
        for field in action["properties"].values()
    ]
    assert len(fields) == 8
    assert all("enum" in field or field["maxLength"] <= 600 for field in fields)
