"""One run's counters against the model server's own ledger, with the real SDK and its retries off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import openai
import pytest

from otel_agent import Budget, RunResult, agent_run, llm_call, tool_call, tool_calls
from otel_agent.testing import Reply, Request, ScriptedModelServer

MESSAGES: Any = [{"role": "user", "content": "What is the refund policy, and how long does it take?"}]
TOOLS: Any = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}]


def script(request: Request) -> Reply:
    """Asks for two tools first, then answers; hangs where the question says so."""
    question = str(request.messages[-1]["content"])
    if "hang" in question:
        return Reply(text="too late", delay=600)
    if request.tools and len(request.messages) == 1:
        return Reply(tool_calls=[("search", {"q": "a"}), ("search", {"q": "b"})], cached_input_tokens=3)
    return Reply(text="Fourteen days, as the policy says.", reasoning_tokens=2)


@pytest.fixture
def server() -> Generator[ScriptedModelServer]:
    with ScriptedModelServer(script) as server:
        yield server


@pytest.fixture
def client(server: ScriptedModelServer) -> Generator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, http_client=http) as client:
        yield client


@pytest.fixture
def use_async(server: ScriptedModelServer) -> Callable[[Callable[[openai.AsyncOpenAI], Awaitable[Any]]], Any]:
    def use(work: Callable[[openai.AsyncOpenAI], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            http = openai.DefaultAsyncHttpxClient(trust_env=False)
            async with openai.AsyncOpenAI(
                base_url=server.base_url, api_key="none", max_retries=0, http_client=http
            ) as client:
                return await work(client)

        return asyncio.run(main())

    return use


@tool_call("search")
def search(query: str) -> str:
    return query


def agree(result: RunResult[Any], server: ScriptedModelServer) -> None:
    """Fails unless a run counted what the server served, and nothing is estimated."""
    ledger, usage = server.ledger, result.usage
    assert (usage.steps, usage.input_tokens, usage.output_tokens) == (
        ledger.requests,
        ledger.input_tokens,
        ledger.output_tokens,
    )
    assert (usage.tool_calls, usage.estimated) == (ledger.tool_calls, False)


def ask(client: openai.OpenAI, **keywords: Any) -> Any:
    with llm_call("gpt-5-mini", provider="openai", messages=MESSAGES) as call:
        reply = client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, **keywords)
        call.record(reply)
    return reply


def test_sync_calls_and_a_batch_of_tools(client: openai.OpenAI, server: ScriptedModelServer) -> None:
    with agent_run("bot") as run:
        reply = ask(client, tools=TOOLS)
        wanted = [(each.function.name, each.function.arguments) for each in reply.choices[0].message.tool_calls]
        with tool_calls(wanted) as slots:
            for slot, (_, arguments) in zip(slots, wanted, strict=True):
                with slot:
                    search(arguments)
        ask(client)
    agree(run.result, server)
    assert run.result.usage.tool_calls == 2


def test_streams_read_to_their_end(client: openai.OpenAI, server: ScriptedModelServer) -> None:
    @llm_call("gpt-5-mini", provider="openai")
    def stream() -> Any:
        return client.chat.completions.create(
            model="gpt-5-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )

    with agent_run("bot") as run:
        assert len(list(stream())) > 3
        list(stream())
    agree(run.result, server)


def test_a_stream_that_is_left_early_is_estimated(client: openai.OpenAI, server: ScriptedModelServer) -> None:
    @llm_call("gpt-5-mini", provider="openai", max_output_tokens=50)
    def stream() -> Any:
        return client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, stream=True)

    with agent_run("bot") as run:
        for _ in stream():
            break
    assert (run.result.usage.steps, run.result.usage.output_tokens, run.result.usage.estimated) == (1, 50, True)


def test_async_calls_at_once(use_async: Any, server: ScriptedModelServer) -> None:
    async def work(client: openai.AsyncOpenAI) -> RunResult[Any]:
        async def one() -> None:
            async with llm_call("gpt-5-mini", provider="openai", messages=MESSAGES) as call:
                call.record(await client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES))

        async with agent_run("bot") as run, asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(one())
        return run.result

    agree(use_async(work), server)


def test_nested_runs_add_up(client: openai.OpenAI, server: ScriptedModelServer) -> None:
    with agent_run("outer") as outer:
        ask(client)
        with agent_run("inner") as inner:
            ask(client)
            ask(client)
    agree(outer.result, server)
    parts = (outer.result.own_usage, inner.result.own_usage)
    assert sum(part.total_tokens for part in parts) == server.ledger.input_tokens + server.ledger.output_tokens


def test_a_call_that_times_out_is_a_step_at_its_estimate(client: openai.OpenAI, server: ScriptedModelServer) -> None:
    hang: Any = [{"role": "user", "content": "hang"}]
    with agent_run("bot") as run:
        ask(client)
        with (
            pytest.raises(openai.APITimeoutError),
            llm_call("gpt-5-mini", provider="openai", estimated_input_tokens=5, max_output_tokens=20),
        ):
            client.with_options(timeout=0.2).chat.completions.create(model="gpt-5-mini", messages=hang)
    answered, usage = server.ledger, run.result.usage
    assert (usage.steps, usage.estimated) == (2, True)
    assert usage.input_tokens == answered.input_tokens + 5
    assert usage.output_tokens == answered.output_tokens + 20


def test_a_call_that_is_cancelled_by_the_deadline_is_a_step_at_its_estimate(use_async: Any) -> None:
    hang: Any = [{"role": "user", "content": "hang"}]

    async def work(client: openai.AsyncOpenAI) -> RunResult[Any]:
        @agent_run("bot", budget=Budget(max_seconds=0.3))
        async def bot() -> None:
            async with llm_call("gpt-5-mini", provider="openai", estimated_input_tokens=5, max_output_tokens=20):
                await client.chat.completions.create(model="gpt-5-mini", messages=hang)

        return await bot.run()

    result = use_async(work)
    assert (result.stop_reason, result.usage.steps, result.usage.total_tokens) == ("max_seconds", 1, 25)
    assert result.usage.estimated
