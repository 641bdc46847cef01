"""Blocks: calls without a run, mistakes inside a `with`, and what a run tells when it opens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otel_agent import (
    Budget,
    FinalCall,
    InvalidSetting,
    Prompt,
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
