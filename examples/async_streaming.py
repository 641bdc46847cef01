"""Async and streaming: a stream is one call, counted by its last piece; a deadline ends one that is too slow.

Runs offline, with a scripted model server.
"""

from __future__ import annotations

import asyncio
from typing import Any

import openai

from otel_agent import Budget, agent_run, configure, llm_call
from otel_agent.testing import Reply, ScriptedModelServer

TEXT = "Open Settings, then Billing, then press Request refund on the receipt."


@llm_call("gpt-5-mini", provider="openai", max_output_tokens=200)
async def ask(client: openai.AsyncOpenAI, question: str) -> Any:
    """Gives a stream: the call lasts until its last piece has been read, and that piece says what was used."""
    return await client.chat.completions.create(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": question}],
        max_completion_tokens=200,
        stream=True,
        stream_options={"include_usage": True},
    )


@agent_run("stream-bot", budget=Budget(max_steps=3, max_seconds=3))
async def answer(client: openai.AsyncOpenAI, question: str) -> str:
    """Collects the pieces."""
    text = ""
    async for chunk in await ask(client, question):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text


async def main() -> None:
    configure(service_name="async-streaming")
    fast, slow = Reply(text=TEXT), Reply(text=TEXT, chunk_delay=1)
    with ScriptedModelServer([fast, slow]) as server:
        async with client_of(server) as client:
            for name in ("fast", "slow"):
                result = await answer.run(client, "How do I ask for a refund?")
                known = "an estimate" if result.usage.estimated else "as billed"
                print(f"{name}: {result.stop_reason}, {result.usage.total_tokens} tokens ({known})")
                print(f"  {result.output}")


def client_of(server: ScriptedModelServer) -> openai.AsyncOpenAI:
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False)  # no proxy between us and this machine
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0, http_client=http_client)


if __name__ == "__main__":
    asyncio.run(main())
