"""Agents that call agents: what a child spends, its parent spends too; a child's stop is not the parent's.

Runs offline, with a scripted model server.
"""

from __future__ import annotations

from typing import Any

import openai

from otel_agent import AgentStop, Budget, agent_run, configure, current_run, llm_call
from otel_agent.testing import Reply, ScriptedModelServer


def ask(client: openai.OpenAI, question: str) -> str:
    messages: Any = [{"role": "user", "content": question}]
    with llm_call("gpt-5-mini", provider="openai", messages=messages, max_output_tokens=100) as call:
        reply = client.chat.completions.create(model="gpt-5-mini", messages=messages, max_completion_tokens=100)
        call.record(reply)
    return str(reply.choices[0].message.content)


@agent_run("researcher", budget=Budget(max_steps=3))
def research(client: openai.OpenAI, topic: str) -> str:
    """Never has enough: only its budget ends it."""
    while True:
        ask(client, f"One more fact about {topic}?")


@agent_run("editor", budget=Budget(max_steps=7))
def edit(client: openai.OpenAI) -> str:
    """Has two topics researched, then writes with what its own budget still allows."""
    for topic in ("refunds", "invoices"):
        try:
            research(client, topic)
        except AgentStop as stop:
            run = current_run()
            left = run.remaining().steps if run else None
            print(f"researcher on {topic}: {stop}; the editor has {left} steps left")
    return ask(client, "Write it up.")


def main() -> None:
    configure(service_name="nested-agents")
    with ScriptedModelServer(lambda _: Reply(text="There is always one more.")) as server, client_of(server) as client:
        result = edit.run(client)
        print(f"editor: {result.stop_reason}, {result.usage.steps} steps, {result.own_usage.steps} of them its own")
        print(f"the model server answered {server.ledger.answered} times")


def client_of(server: ScriptedModelServer) -> openai.OpenAI:
    http_client = openai.DefaultHttpxClient(trust_env=False)  # no proxy between us and this machine
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, http_client=http_client)


if __name__ == "__main__":
    main()
