"""Blocks: calls without a run, mistakes inside a `with`, and what a run tells when it opens."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from otel_agent import (
    AgentStop,
    Budget,
    FinalCall,
    InvalidSetting,
    Prompt,
    ToolDenied,
    agent_run,
    current_call,
    current_run,
    llm_call,
    tool_call,
    tool_calls,
)
from otel_agent.run import open_runs
from otel_agent.testing import Capture
from tests.support.calls import ask, use


def test_llm_call_outside_a_run_works_without_a_budget(kept: Capture) -> None:
    with llm_call("gpt-5-mini", provider="openai") as call:
        assert (current_run(), current_call(), call.max_output_tokens) == (None, call, None)
        call.record(input_tokens=1_000_000, output_tokens=0)
    attributes = kept.span("chat gpt-5-mini").attributes
    assert attributes["gen_ai.usage.input_tokens"] == 1_000_000
    assert attributes["otel_agent.cost.usd"] == 0.25
    assert not [name for name in attributes if name.startswith(("otel_agent.run", "otel_agent.budget"))]
    assert kept.event_names() == []


def test_tools_outside_a_run_work_without_a_budget(kept: Capture) -> None:
    use("search")
    with tool_calls([("search", 1)]) as slots, slots[0]:
        use("search")
    assert slots[0].denied is None
    assert [span.name for span in kept.spans] == ["execute_tool search"] * 2


def test_an_llm_call_as_decorator_outside_a_run_records_what_is_returned(kept: Capture) -> None:
    @llm_call("some-model")
    def call(text: str) -> dict[str, Any]:
        assert current_call() is not None
        return {"object": "chat.completion", "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}

    assert call("hello")["object"] == "chat.completion"
    assert kept.span("chat some-model").attributes["gen_ai.usage.output_tokens"] == 3


BLOCKS = {
    "agent_run": (lambda: agent_run("agent"), "invoke_agent agent"),
    "llm_call": (lambda: llm_call("some-model"), "chat some-model"),
    "tool_call": (lambda: tool_call("search"), "execute_tool search"),
}


@pytest.mark.parametrize(("block", "name"), BLOCKS.values(), ids=BLOCKS)
def test_a_bug_of_the_users_inside_a_with_never_loses_the_span(block: Any, name: str, kept: Capture) -> None:
    with pytest.raises(AttributeError) as caught, block():
        None.nothing  # type: ignore[attr-defined]
    assert "nothing" in str(caught.value)
    span = kept.span(name)
    assert (span.attributes["error.type"], len(span.events)) == ("AttributeError", 1)
    assert current_run() is None


@pytest.mark.parametrize(("block", "name"), BLOCKS.values(), ids=BLOCKS)
async def test_a_bug_of_the_users_inside_an_async_with_never_loses_the_span(
    block: Any, name: str, kept: Capture
) -> None:
    async def agent() -> None:
        async with block():
            await asyncio.sleep(0)
            None.nothing  # type: ignore[attr-defined]

    with pytest.raises(AttributeError):
        await agent()
    assert kept.span(name).attributes["error.type"] == "AttributeError"
    assert current_run() is None


def test_a_wrong_record_inside_a_with_never_loses_the_span(kept: Capture) -> None:
    with agent_run("agent") as run, pytest.raises(InvalidSetting), llm_call("some-model") as call:
        call.record(input_tokens=-1)
    assert kept.span("chat some-model").attributes["error.type"].endswith("InvalidSetting")
    assert (run.result.usage.steps, run.result.usage.estimated) == (1, True)


def test_a_second_record_replaces_the_first() -> None:
    with agent_run() as run, llm_call("some-model") as call:
        call.record(input_tokens=5, output_tokens=5, reasoning_tokens=5)
        call.record(input_tokens=1, output_tokens=2)
    assert (run.result.usage.total_tokens, run.result.usage.reasoning_tokens) == (3, None)


def test_a_block_that_is_closed_out_of_order_ends_every_span(kept: Capture) -> None:
    outer, inner = agent_run("outer"), tool_call("inner")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    assert {span.name for span in kept.spans} == {"invoke_agent outer", "execute_tool inner"}
    assert current_run() is None


def test_a_run_has_no_result_while_it_is_open() -> None:
    with agent_run() as run:
        ask()
        with pytest.raises(RuntimeError, match="still open"):
            run.result
    assert run.result.usage.steps == 1


def test_a_started_run_tells_its_prompt_and_its_budget(kept: Capture) -> None:
    prompt = Prompt("support", "v13", "Answer using KB.")
    limits = Budget(max_steps=25, max_tool_calls=12, max_seconds=60, max_tokens=9_000, max_usd="0.50")
    with agent_run("agent", prompt=prompt, budget=limits, mode="enforce") as run:
        (started,) = [event.log_record for event in kept.events]
    fields = dict(started.attributes)
    assert started.event_name == "otel_agent.run.started"
    assert fields["otel_agent.prompt.id"] == prompt.id
    assert {name: value for name, value in fields.items() if name.startswith("otel_agent.budget.")} == {
        "otel_agent.budget.steps.limit": 25,
        "otel_agent.budget.tool_calls.limit": 12,
        "otel_agent.budget.seconds.limit": 60,
        "otel_agent.budget.tokens.limit": 9_000,
        "otel_agent.budget.usd.limit": 0.5,
        "otel_agent.budget.mode": "enforce",
    }
    assert (fields["otel_agent.run.id"], fields["gen_ai.agent.name"]) == (run.id, "agent")


def test_a_run_that_may_not_open_leaves_nothing_open(kept: Capture) -> None:
    with agent_run("outer", budget=Budget(max_steps=0)) as outer:
        with pytest.raises(Exception, match="max_steps"), agent_run("inner", budget=Budget(final_call=FinalCall())):
            pytest.fail("there is no room for the final call")
        assert current_run() is outer
        assert open_runs() == [outer]


def test_a_tool_block_that_shows_no_arguments_repeats_nothing() -> None:
    with agent_run(budget=Budget(max_repeats=1)) as run:
        for _ in range(3):
            with tool_call("search"):
                pass
    assert run.result.usage.tool_calls == 3


def test_what_a_tool_costs_is_in_the_cost_metric_and_a_refused_one_costs_nothing(kept: Capture) -> None:
    with agent_run("bot", budget=Budget(max_calls_per_tool={"paid": 1})) as run:
        with tool_call("paid", cost_usd="0.25"):
            pass
        with pytest.raises(ToolDenied), tool_call("paid", cost_usd="0.25"):
            pass
    (point,) = kept.metrics()["otel_agent.cost"]
    assert (point.value, run.result.own_usage.cost_usd) == (0.25, Decimal("0.25"))
    costs = [(span.attributes or {}).get("otel_agent.cost.usd") for span in kept.spans if span.name.startswith("exec")]
    assert costs == [0.25, None]


def test_a_child_that_does_not_fit_has_a_span_and_leaves_its_parent_running(kept: Capture) -> None:
    small = Budget(max_tokens=900, final_call=FinalCall(tokens=800))
    with agent_run("parent", budget=Budget(max_tokens=500)) as run:
        with pytest.raises(AgentStop), agent_run("child", budget=small):
            pytest.fail("it ran")
        with llm_call("gpt-5-mini", max_output_tokens=100) as call:
            call.record(input_tokens=1, output_tokens=1)
    assert run.result.stop_reason == "finish"
    refused = kept.span("invoke_agent child").attributes or {}
    assert (refused["otel_agent.decision"], refused["otel_agent.decision.reason"]) == ("deny", "max_tokens")


def test_a_call_that_was_certainly_not_sent_is_told_without_use(kept: Capture) -> None:
    with agent_run("bot", budget=Budget(max_tokens=500)), llm_call("gpt-5-mini", max_output_tokens=100) as call:
        call.cancel()
    (record,) = kept.records.calls
    assert (record.input_tokens, record.output_tokens, record.cost_usd) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "address", "port"), [("::1", "::1", None), ("[::1]:8080", "[::1]", 8080), ("host:80", "host", 80)]
)
def test_a_server_address_is_split_also_by_ipv6(kept: Capture, given: str, address: str, port: int | None) -> None:
    with llm_call("gpt-5-mini", server_address=given):
        pass
    found = kept.span("chat gpt-5-mini").attributes or {}
    assert (found["server.address"], found.get("server.port")) == (address, port)


def test_what_a_span_says_of_itself_cannot_be_said_otherwise(kept: Capture) -> None:
    wrong = {
        "gen_ai.agent.name": "other",
        "gen_ai.request.model": "other",
        "gen_ai.tool.name": "other",
        "gen_ai.operation.name": "other",
        "otel_agent.run.id": "other",
        "mine": 1,
    }
    with agent_run("agent", attributes=wrong) as run:
        with llm_call("some-model", attributes=wrong):
            pass
        with tool_call("search", attributes=wrong):
            pass
    said = {span.name: span.attributes for span in kept.spans}
    assert (
        said["invoke_agent agent"]["gen_ai.agent.name"] == said["execute_tool search"]["gen_ai.agent.name"] == "agent"
    )
    assert said["chat some-model"]["gen_ai.request.model"] == "some-model"
    assert said["execute_tool search"]["gen_ai.tool.name"] == "search"
    operations = [each["gen_ai.operation.name"] for each in said.values()]
    assert operations == ["chat", "execute_tool", "invoke_agent"]
    assert all((each["otel_agent.run.id"], each["mine"]) == (run.id, 1) for each in said.values())


def test_the_most_output_is_on_the_span_only_where_it_was_asked_for(kept: Capture) -> None:
    with agent_run("bot", budget=Budget(max_tokens=50_000)), llm_call("gpt-5-mini") as call:
        call.record(input_tokens=1, output_tokens=1)
    assert "gen_ai.request.max_tokens" not in (kept.span("chat gpt-5-mini").attributes or {})


def test_calls_in_flight_when_a_run_ends_are_in_its_result_at_their_estimates(kept: Capture) -> None:
    async def one() -> None:
        async with llm_call("gpt-5-mini", provider="openai", estimated_input_tokens=50, max_output_tokens=10) as call:
            await asyncio.sleep(0.01)
            call.record(input_tokens=100, output_tokens=10)

    async def main() -> None:
        async with agent_run("parent") as parent:
            async with agent_run("bot") as run:
                tasks = [asyncio.create_task(one()) for _ in range(3)]
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)
        assert (run.result.usage.steps, run.result.usage.total_tokens, run.result.usage.estimated) == (3, 180, True)
        assert (parent.result.usage.steps, parent.result.usage.total_tokens) == (3, 330)

    asyncio.run(main())
    ended = {span.name: span.attributes or {} for span in kept.spans}
    assert ended["invoke_agent bot"]["otel_agent.usage.complete"] is False


def test_a_slot_of_a_batch_that_has_ended_is_no_slot() -> None:
    with agent_run("bot"):
        with tool_calls([("search", {})]) as slots:
            pass
        with pytest.raises(RuntimeError, match="has ended"), slots[0]:
            pytest.fail("it opened")


def test_a_slot_without_a_tool_call_is_given_back_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with agent_run("bot", budget=Budget(max_tool_calls=1)) as run:
        with tool_calls([("undecorated", {})]) as slots, slots[0]:
            pass
        use()
    assert run.result.usage.tool_calls == 1
    assert "no tool_call was made in a slot of undecorated" in caplog.text


def test_last_words_before_a_stop_are_a_call_like_any_other() -> None:
    with agent_run("bot", budget=Budget(max_tokens=1000, final_call=FinalCall(tokens=200))) as run:
        with run.final_call("gpt-5-mini") as call:
            assert call.max_output_tokens == 800
            call.record(input_tokens=1, output_tokens=799)
        with pytest.raises(AgentStop), llm_call("gpt-5-mini", max_output_tokens=10):
            pytest.fail("it was sent")
        with run.final_call("gpt-5-mini") as call:
            assert call.max_output_tokens == 200


def test_a_recorded_part_lifts_its_whole() -> None:
    with agent_run("bot") as run, llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=10, output_tokens=1, cached_input_tokens=1000, reasoning_tokens=30)
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (1000, 30)


def test_all_events_of_a_stream_can_be_recorded_as_a_list() -> None:
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"text": "Hello."}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    ]
    with agent_run("bot") as run, llm_call("claude-sonnet-4-5", provider="anthropic") as call:
        call.record(events)
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (9, 4)


def test_a_budget_can_be_a_key() -> None:
    assert len({Budget(max_steps=1), Budget(max_steps=1), Budget(max_calls_per_tool={"a": 1})}) == 2
