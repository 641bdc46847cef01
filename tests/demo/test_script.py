"""The scripted model behaves like one: it acts on the messages alone, and the same way each time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_agent import Prompt, build_system_prompt
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.prompts import V12, V13, V14
from otel_agent.demo.script import scripted_model
from otel_agent.demo.tools import Toolbox
from otel_agent.testing import Request

ALL = ("kb.search", "ticket.create", "billing.lookup")


def request(question: str, *results: Any, prompt: Any = V13, tools: tuple[str, ...] = ALL, choice: str = "") -> Request:
    """Builds what the agent sends after so many rounds of one tool call each."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": build_system_prompt(prompt)},
        {"role": "user", "content": question},
    ]
    for number, result in enumerate(results):
        calls = [{"id": f"call_{number}", "name": "kb_search", "arguments": {}}]
        messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        messages.append({"role": "tool", "content": json.dumps(result), "tool_call_id": f"call_{number}"})
    with KnowledgeBase() as knowledge:
        offered = [schema["function"] for schema in Toolbox(knowledge, tools).schemas]
    return Request(
        number=0,
        path="/v1/chat/completions",
        model="m",
        messages=messages,
        tools=offered,
        stream=False,
        include_usage=False,
        input_tokens=1,
        max_output_tokens=None,
        body={"tool_choice": choice} if choice else {},
        headers={},
    )


FOUND = {"articles": [{"article": "refunds", "title": "Refunds", "text": "Money comes back. Wait a week. Then ask."}]}


def test_searches_first_and_then_answers_with_what_was_found() -> None:
    question = "Does the money come back?"
    assert scripted_model(request(question)).tool_calls == (("kb_search", {"query": question}),)
    reply = scripted_model(request(question, FOUND))
    assert (reply.tool_calls, reply.text) == ((), "Money comes back. Wait a week. [refunds]")


def test_cites_only_where_the_prompt_says_so() -> None:
    assert "[refunds]" not in scripted_model(request("Money back?", FOUND, prompt=V12)).text


def test_asks_back_where_nothing_was_found() -> None:
    assert scripted_model(request("Why?", {"articles": []})).text.endswith("what you want to do?")


def test_thorough_searches_on_and_on() -> None:
    asked = [scripted_model(request("Money back?", *[FOUND] * rounds, prompt=V14)).tool_calls for rounds in range(12)]
    queries = [calls[0][1]["query"] for calls in asked[:11]]
    assert len(set(queries)) == 11
    assert asked[11] == ()


@pytest.mark.parametrize("options", [{"choice": "none"}, {"tools": ()}], ids=["tool_choice", "no tools"])
def test_answers_when_it_may_use_no_tools(options: dict[str, Any]) -> None:
    denied = {"denied": "max_tool_calls (used 1 of 1)"}
    reply = scripted_model(request("Money back?", FOUND, denied, prompt=V14, **options))
    assert reply.tool_calls == ()
    assert "[refunds]" in reply.text
    assert reply.text.endswith("(There is more that I could not look up: max_tool_calls (used 1 of 1).)")


def test_several_questions_are_asked_at_once() -> None:
    reply = scripted_model(request("What is a? What is b? What is c?"))
    assert [arguments["query"] for _, arguments in reply.tool_calls] == ["What is a?", "What is b?", "What is c?"]


def test_wishes_are_searched_one_after_the_other() -> None:
    question = "We want to leave. When is our data gone?"
    assert scripted_model(request(question)).tool_calls == (("kb_search", {"query": "We want to leave."}),)
    assert scripted_model(request(question, FOUND)).tool_calls == (("kb_search", {"query": "When is our data gone?"}),)


def test_opens_a_ticket_only_when_told_to() -> None:
    question = "Please open a ticket about receipt 7."
    (name, arguments), *_ = scripted_model(request(question, FOUND)).tool_calls
    assert (name, arguments) == ("ticket_create", {"subject": question, "body": question})
    assert "I have opened ticket 3 for you." in scripted_model(request(question, FOUND, {"ticket": 3})).text


def test_looks_up_an_account_where_it_can() -> None:
    question = "What is the balance of account 7731?"
    assert scripted_model(request(question)).tool_calls == (("billing_lookup", {"account": "7731"}),)
    assert scripted_model(request(question, tools=("kb.search",))).tool_calls[0][0] == "kb_search"


EMPTY = {"articles": []}
CAREFUL = Prompt(
    "support", "v15", "Answer using KB. Only where a search finds nothing be thorough: search every angle."
)


@pytest.mark.parametrize(
    "careful", [CAREFUL.text, "Be thorough if there are no results. Answer.", "When empty, be thorough!"]
)
def test_under_a_condition_it_is_thorough_where_that_holds(careful: str) -> None:
    prompt = Prompt("support", "v1", careful)
    assert scripted_model(request("Money back?", FOUND, prompt=prompt)).tool_calls == ()
    rounds = [EMPTY] * 12
    asked = [scripted_model(request("Money back?", *rounds[:done], prompt=prompt)).tool_calls for done in range(13)]
    assert [len(calls) for calls in asked] == [1] * 12 + [0]
    assert len({calls[0][1]["query"] for calls in asked[:12]}) == 12


def test_what_the_further_search_finds_does_not_end_it() -> None:
    assert scripted_model(request("Money back?", EMPTY, FOUND, prompt=CAREFUL)).tool_calls != ()


def test_a_search_that_was_refused_has_not_found_nothing() -> None:
    assert scripted_model(request("Money back?", {"denied": "max_tool_calls"}, prompt=CAREFUL)).tool_calls == ()


@pytest.mark.parametrize("prompt", [V13, V14, CAREFUL], ids=["v13", "v14", "v15"])
def test_a_ticket_that_is_asked_for_is_opened_however_thorough(prompt: Prompt) -> None:
    question = "Please open a ticket."
    rounds = 11 if prompt is V14 else 1
    assert [name for name, _ in scripted_model(request(question, *[FOUND] * rounds, prompt=prompt)).tool_calls] == [
        "ticket_create"
    ]
