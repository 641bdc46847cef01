"""One agent under one budget: a question that is answered, and one that would go on for ever.

Runs offline: a scripted model server stands in for a real one. With your own, `openai.OpenAI()` is all of the client.
"""

from __future__ import annotations

import json
from typing import Any

import openai

from otel_agent import Budget, Prompt, agent_run, build_system_prompt, configure, llm_call, tool_call
from otel_agent.testing import Reply, Request, ScriptedModelServer

MODEL = "gpt-5-mini"
PROMPT = Prompt("support", "v13", "Answer using KB. Cite tool results. If unsure, ask a clarifying question.")
LIMITS = Budget(max_steps=10, max_tool_calls=3, max_seconds=30, max_usd="0.02")
ARTICLES = {"refunds": "A monthly charge is refunded in full within 7 days."}
SEARCH: Any = {
    "type": "function",
    "function": {
        "name": "kb_search",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}


@tool_call("kb.search")
def search(query: str) -> str:
    """Finds articles."""
    return json.dumps([text for text in ARTICLES.values() if query.lower() in text.lower()])


@agent_run("support-bot", prompt=PROMPT, budget=LIMITS)
def answer(client: openai.OpenAI, question: str) -> str:
    """Asks the model, and uses the tool for it, until it answers."""
    messages: list[Any] = [
        {"role": "system", "content": build_system_prompt(PROMPT)},
        {"role": "user", "content": question},
    ]
    while True:
        with llm_call(MODEL, provider="openai", messages=messages, tools=[SEARCH], max_output_tokens=300) as call:
            reply: Any = client.chat.completions.create(
                model=MODEL, messages=messages, tools=[SEARCH], max_completion_tokens=call.max_output_tokens
            )
            call.record(reply)
        message = reply.choices[0].message
        if not message.tool_calls:
            return str(message.content)
        messages.append(message)
        for wanted in message.tool_calls:
            found = search(**json.loads(wanted.function.arguments))
            messages.append({"role": "tool", "tool_call_id": wanted.id, "content": found})


def model(request: Request) -> Reply:
    """Stands in for a model: it searches once, or for ever when it was asked for everything."""
    searched = request.messages[-1]["role"] == "tool"
    if searched and "everything" not in request.messages[1]["content"]:
        return Reply(text="Yes, within 7 days [refunds].")
    return Reply(tool_calls=[("kb_search", {"query": "refunded"})])


def main() -> None:
    configure(service_name="quickstart")
    with ScriptedModelServer(model) as server, client_of(server) as client:
        for question in ("Do I get my money back?", "Tell me everything about refunds."):
            result = answer.run(client, question)
            print(f"{question} -> {result.output}")
            print(f"  {result.stop_reason}: {result.usage.steps} steps, {result.usage.tool_calls} tool calls,", end=" ")
            print(f"{result.usage.total_tokens} tokens, {result.usage.cost_usd} USD")


def client_of(server: ScriptedModelServer) -> openai.OpenAI:
    http_client = openai.DefaultHttpxClient(trust_env=False)  # no proxy between us and this machine
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, http_client=http_client)


if __name__ == "__main__":
    main()
