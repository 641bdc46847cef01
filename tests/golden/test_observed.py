"""What a trial did, off its spans: ours, and those of frameworks that keep to the GenAI conventions."""

from __future__ import annotations

import pytest

from otel_agent import Budget, Prompt, ToolDenied, agent_run, llm_call, tool_call
from otel_agent.golden.observed import NoRun, ToolUse, observe
from otel_agent.run.repeats import arguments_hashed
from tests.golden.trials import foreign, spans_told


@tool_call("kb.search")
def search(query: str) -> str:
    return query


@tool_call("refund")
def refund() -> None:
    raise ConnectionError


def ask(tokens: int = 100) -> None:
    with llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=tokens, output_tokens=10)


def nested() -> None:
    limits = Budget(max_tool_calls=9, max_tokens=9_000, max_calls_per_tool={"kb.search": 2})
    with arguments_hashed(), agent_run("support-bot", prompt=Prompt("support", "v1", "Answer."), budget=limits):
        ask()
        search("a")
        with agent_run("researcher"):
            ask(50)
            search(query="a")
        for _ in range(2):
            with pytest.raises(ToolDenied):
                search("b")
        with pytest.raises(ConnectionError):
            refund()


def test_runs_under_a_run_count_in_it() -> None:
    found = observe(spans_told(nested))
    assert (found.run.agent, found.run.parent_id) == ("support-bot", None)
    assert (found.run.steps, found.run.tool_calls, found.run.tokens) == (2, 3, 170)
    assert found.stop_reason == "finish"
    assert found.limits == ("tool_calls", "tokens")
    assert not found.unknown


def test_tools_are_told_in_order_with_what_became_of_them() -> None:
    tools = observe(spans_told(nested)).tools
    assert [(tool.name, tool.denied, tool.failed) for tool in tools] == [
        ("kb.search", False, False),
        ("kb.search", False, False),
        ("kb.search", True, False),
        ("kb.search", True, False),
        ("refund", False, True),
    ]
    assert tools[0].arguments == tools[1].arguments is not None


def test_the_order_is_that_of_starts_not_of_ends() -> None:
    def trial() -> None:
        with agent_run("support-bot"), tool_call("outer"), tool_call("inner"):
            pass

    assert [tool.name for tool in observe(spans_told(trial)).tools] == ["outer", "inner"]
    assert observe(spans_told(trial)[::-1]) is not None


def test_without_a_hash_the_arguments_are_not_known() -> None:
    def trial() -> None:
        with agent_run("support-bot"):
            search("a")

    assert [tool.arguments for tool in observe(spans_told(trial)).tools] == [None]


def test_a_run_that_was_stopped() -> None:
    def trial() -> None:
        agent_run("support-bot", budget=Budget(max_steps=1))(lambda: [ask(), ask()]).run()

    found = observe(spans_told(trial))
    assert (found.stop_reason, found.run.steps) == ("max_steps", 1)


RUN = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "concierge"}
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "kb.search"}
USED = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}


def test_another_framework_by_the_conventions() -> None:
    web = foreign("GET /", {})
    run = foreign("invoke_agent concierge", RUN, under=web, at=1)
    spans = [
        web,
        foreign("execute_tool kb.search", {**TOOL, "gen_ai.tool.call.arguments": '{"q": "a"}'}, under=run, at=3),
        foreign("chat m", {**CHAT, **USED}, under=run, at=2),
        foreign("execute_tool kb.search", TOOL, under=run, at=4, failed=True),
        foreign("chat m", {**CHAT, **USED}, under=run, at=5),
        run,
    ]
    found = observe(spans)
    assert (found.run.agent, found.run.steps, found.run.tool_calls, found.run.tokens) == ("concierge", 2, 2, 220)
    assert (found.stop_reason, found.limits, found.unknown) == ("finish", (), frozenset())
    first, second = found.tools
    assert first.arguments is not None
    assert second == ToolUse("kb.search", None, False, True)
    assert observe([run._replace(failed=True)]).stop_reason == "error"


def test_arguments_that_are_captured_are_hashed_by_what_they_say() -> None:
    run = foreign("invoke_agent concierge", RUN)
    given = ['{"q": "a", "n": 1}', '{"n": 1.0,"q":"a"}', {"q": "a", "n": 1}, '{"q": "b", "n": 1}', "no JSON", "no JSON"]
    calls = [
        foreign("execute_tool kb.search", {**TOOL, "gen_ai.tool.call.arguments": each}, under=run, at=at)
        for at, each in enumerate(given)
    ]
    hashes = [tool.arguments for tool in observe([run, *calls]).tools]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    assert hashes[4] == hashes[5] not in hashes[:4]
    assert all(each is not None and len(each) == 64 for each in hashes)


def test_what_another_framework_does_not_say_is_unknown_not_nothing() -> None:
    run = foreign("invoke_agent concierge", RUN)
    assert observe([run, foreign("chat m", CHAT, under=run)]).unknown == {"tokens"}
    assert not observe([run, foreign("chat m", CHAT, under=run, failed=True)]).unknown
    said = foreign("invoke_agent concierge", {**RUN, **USED})
    assert observe([said]).unknown == {"steps"}
    assert not observe([said, foreign("chat m", CHAT, under=said)]).unknown
    assert not observe([run]).unknown


def test_a_run_of_ours_without_a_stop_reason_has_none() -> None:
    def trial() -> None:
        with agent_run("support-bot"):
            pass

    (run,) = spans_told(trial)
    rest = {name: value for name, value in run.attributes.items() if name != "otel_agent.stop_reason"}
    assert observe([run._replace(attributes=rest)]).stop_reason is None


def test_several_runs_beside_each_other_are_none() -> None:
    def trial() -> None:
        for name in ("triage", "support-bot"):
            with agent_run(name):
                pass

    with pytest.raises(NoRun, match=r"^2 runs stand beside each other \(triage, support-bot\): put one run around"):
        observe(spans_told(trial))


def test_no_run_at_all() -> None:
    with pytest.raises(NoRun, match=r"^there are no spans"):
        observe([])
    with pytest.raises(NoRun, match=r"^none of its spans \(1\) is a run: .*gen_ai.operation.name invoke_agent"):
        observe(spans_told(lambda: search("a")))
    refused = {**RUN, "otel_agent.decision": "deny", "otel_agent.decision.reason": "gate_failed"}
    with pytest.raises(NoRun, match=r"^the run was refused before it began: gate_failed$"):
        observe([foreign("invoke_agent concierge", refused)])
