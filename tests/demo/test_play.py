"""All scenarios, played once in this process: how each run ended, and who else counted the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from otel_agent import build_system_prompt, semconv
from otel_agent.demo import backend
from otel_agent.demo.knowledge import KnowledgeBase, Ticket
from otel_agent.demo.play import Player
from otel_agent.demo.prompts import V12, V13, V14
from otel_agent.demo.report import Outcome, Report
from otel_agent.demo.scenarios import SCENARIOS
from otel_agent.demo.script import scripted_model
from otel_agent.demo.show import Show
from otel_agent.testing import Capture, Reply, Request, capture

ENDS = {
    "answer": ["finish", "finish", "finish"],
    "ticket": ["finish"],
    "batch": ["finish"],
    "stream": ["finish"],
    "thorough": ["max_tool_calls"],
    "money": ["max_usd"],
    "hang": ["max_seconds"],
}


@dataclass
class Showing:
    """One showing of everything: what it came to, what was told, what the model server was asked."""

    report: Report
    kept: Capture
    requests: list[Request]
    tickets: list[Ticket]

    def of(self, scenario: str) -> list[Outcome]:
        return [outcome for outcome in self.report.outcomes if outcome.scenario.name == scenario]

    def one(self, scenario: str) -> Outcome:
        (outcome,) = self.of(scenario)
        return outcome

    def asked(self, outcome: Outcome) -> list[Request]:
        return [each for each in self.requests if each.messages[1]["content"] == outcome.question]


@pytest.fixture(scope="module")
def showing() -> Iterator[Showing]:
    requests: list[Request] = []

    def model(request: Request) -> Reply:
        requests.append(request)
        return scripted_model(request)

    with pytest.MonkeyPatch.context() as patch, capture() as kept, KnowledgeBase() as knowledge:
        patch.delenv("OPENAI_BASE_URL", raising=False)
        patch.setattr(backend, "scripted_model", model)
        report = Player(knowledge, Show(quiet=True)).play(SCENARIOS)
        yield Showing(report, kept, requests, knowledge.tickets())


def test_every_run_ends_as_its_scenario_says(showing: Showing) -> None:
    ends = {
        scenario.name: [str(each.result.stop_reason) for each in showing.of(scenario.name)] for scenario in SCENARIOS
    }
    assert ends == ENDS
    assert not showing.report.complaints


class TestTotals:
    def test_are_those_of_the_model_server(self, showing: Showing) -> None:
        ours, theirs = showing.report.totals, showing.report.ledger
        assert theirs is not None
        assert ours.steps == theirs.requests == theirs.answered == len(showing.requests) > 25
        assert (ours.input_tokens, ours.output_tokens) == (theirs.input_tokens, theirs.output_tokens)
        assert ours.tool_calls_asked == theirs.tool_calls

    def test_of_tool_calls_are_those_asked_for_less_the_refused_ones(self, showing: Showing) -> None:
        denied = sum(sum(each.result.denials.values()) for each in showing.report.outcomes)
        stopped = sum(each.result.stop_reason == "max_tool_calls" for each in showing.report.outcomes)
        assert (denied, stopped) == (1, 1)
        totals = showing.report.totals
        assert totals.tool_calls == totals.tool_calls_asked - denied - stopped
        assert totals.tool_calls == sum(each.used for each in showing.report.outcomes)

    def test_are_those_of_the_spans(self, showing: Showing) -> None:
        spans = [dict(span.attributes or {}) for span in showing.kept.spans if span.name.startswith("chat ")]
        sent = [each for each in spans if each.get(semconv.DECISION) != "deny"]
        totals = showing.report.totals
        assert len(sent) == totals.steps
        assert sum(int(str(each[semconv.INPUT_TOKENS])) for each in sent) == totals.input_tokens
        cost = sum(Decimal(str(each[semconv.COST_USD])) for each in sent)
        assert cost == totals.cost_usd

    def test_of_prompts_add_up(self, showing: Showing) -> None:
        document = showing.report.document()
        assert set(document["prompts"]) == {V12.id, V13.id, V14.id}
        for name in ("runs", "steps", "input_tokens", "tool_calls"):
            assert sum(each[name] for each in document["prompts"].values()) == document["totals"][name]


def test_prompts_have_the_ids_of_the_vectors(showing: Showing) -> None:
    assert (V12.id, V13.id) == ("support:v12:5fa80991330d", "support:v13:50af3e26c3af")
    assert showing.one("ticket").result.prompt_id == V12.id
    assert {each.result.prompt_id for each in showing.of("answer")} == {V13.id}
    assert showing.one("thorough").result.prompt_id == V14.id


class TestRequests:
    def test_carry_the_built_system_prompt(self, showing: Showing) -> None:
        for request in showing.asked(showing.one("ticket")):
            assert request.messages[0] == {"role": "system", "content": build_system_prompt(V12)}

    def test_ask_for_no_more_than_fits(self, showing: Showing) -> None:
        assert all(request.max_output_tokens is not None for request in showing.requests)
        assert all("max_completion_tokens" in request.body for request in showing.requests)

    def test_wait_no_longer_than_the_run_has_time(self, showing: Showing) -> None:
        waits = [float(each.headers["x-stainless-read-timeout"]) for each in showing.asked(showing.one("hang"))]
        assert len(waits) == 1
        assert 0 < waits[0] <= 2

    def test_name_tools_as_the_api_takes_them(self, showing: Showing) -> None:
        names = {tool["name"] for request in showing.requests for tool in request.tools}
        assert names == {"kb_search", "ticket_create", "billing_lookup"}
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)


def test_answers_cite_what_the_search_found(showing: Showing) -> None:
    for outcome in showing.of("answer"):
        cited = re.findall(r"\[([a-z-]+)]", outcome.result.output or "")
        results = [
            json.loads(each["content"]) for each in showing.asked(outcome)[-1].messages if each["role"] == "tool"
        ]
        found = {article["article"] for result in results for article in result["articles"]}
        assert cited
        assert set(cited) <= found
    assert [outcome.result.usage.steps for outcome in showing.of("answer")] == [2, 2, 3]


def test_v12_writes_a_ticket(showing: Showing) -> None:
    (ticket,) = showing.tickets
    assert "1042" in ticket.body
    assert "I have opened ticket 1 for you." in (showing.one("ticket").result.output or "")


def test_a_batch_is_denied_in_part_and_the_model_reads_why(showing: Showing) -> None:
    outcome = showing.one("batch")
    assert (outcome.asked, outcome.used, outcome.result.denials) == (4, 3, {"max_calls_per_tool": 1})
    _, second = showing.asked(outcome)
    results = [json.loads(message["content"]) for message in second.messages if message["role"] == "tool"]
    assert ["articles" in result for result in results] == [True, True, True, False]
    assert results[3]["denied"] == "the call of kb.search was denied: max_calls_per_tool (used 3 of 3)"


def test_a_stream_comes_in_pieces(showing: Showing) -> None:
    outcome = showing.one("stream")
    assert outcome.pieces > 20
    assert all(request.stream and request.include_usage for request in showing.asked(outcome))
    assert not outcome.result.usage.estimated
    assert not any(each.pieces for each in showing.report.outcomes if each is not outcome)


def test_v14_is_stopped_and_answers_once_more(showing: Showing) -> None:
    outcome = showing.one("thorough")
    requests = showing.asked(outcome)
    assert (outcome.asked, outcome.used, outcome.result.usage.steps, len(requests)) == (11, 10, 12, 12)
    assert [request.body.get("tool_choice") for request in requests] == [None] * 11 + ["none"]
    assert json.loads(requests[-1].messages[-1]["content"]) == {"denied": "max_tool_calls (used 10 of 10)"}
    assert "[downgrade-plan]" in (outcome.result.output or "")


def test_money_is_never_spent_beyond_the_limit(showing: Showing) -> None:
    outcome = showing.one("money")
    limit, cost = outcome.scenario.budget.max_usd, outcome.result.usage.cost_usd
    assert limit is not None
    assert cost is not None
    assert 0 < cost <= Decimal(str(limit))
    assert outcome.result.output is None
    assert outcome.result.error is not None


def test_a_hanging_tool_is_interrupted(showing: Showing) -> None:
    outcome = showing.one("hang")
    assert outcome.result.usage.seconds < 30
    assert (outcome.used, outcome.result.output) == (1, None)
    (tool,) = [call for call in showing.kept.records.calls if call.name == "billing.lookup"]
    assert tool.error_type == "asyncio.exceptions.CancelledError"


def test_every_run_has_a_trace(showing: Showing) -> None:
    roots: dict[str, Any] = {
        f"{span.context.trace_id:032x}": dict(span.attributes or {})
        for span in showing.kept.spans
        if span.parent is None and span.context is not None
    }
    for outcome in showing.report.outcomes:
        root = roots[str(outcome.result.trace_id)]
        assert root[semconv.RUN_ID] == outcome.result.run_id
        assert root[semconv.STOP_REASON] == outcome.result.stop_reason
        assert root[semconv.PROMPT_ID] == outcome.result.prompt_id
