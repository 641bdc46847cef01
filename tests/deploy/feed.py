"""A process with agents that end in every way that a dashboard draws, over and over, until it is stopped.

python -m tests.deploy.feed    with the OTLP variables of where it goes
"""

from __future__ import annotations

import contextlib
import time

from opentelemetry import metrics

from otel_agent import (
    AgentStop,
    Budget,
    Price,
    Prompt,
    ToolDenied,
    agent_run,
    configure,
    current_run,
    llm_call,
    semconv,
    tool_call,
    tool_calls,
)
from otel_agent.config.values import Config, PromptsSection

PROMPTS = (
    Prompt("support", "v13", "Answer using KB."),
    Prompt("support", "v14", "Answer using KB. Be thorough."),
)
CONFIG = Config(
    prompts=PromptsSection(
        active=("support:v14",),
        rollback=("support:v13",),
        texts={"support": {prompt.version: prompt.text for prompt in PROMPTS}},
    )
)
LIMITS = Budget(max_steps=8, max_tool_calls=4, max_tokens=20_000, max_usd="1", max_repeats=1, warn_at=0.2)
CACHED = {
    "object": "chat.completion",
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {
        "prompt_tokens": 900,
        "completion_tokens": 90,
        "total_tokens": 990,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 40},
    },
}


class RateLimitError(Exception):
    """What a provider's SDK raises."""


@tool_call("kb.search")
def search(query: str) -> str:
    return query


@tool_call("ticket.create")
def create(title: str) -> str:
    raise ValueError(title)


def ask() -> None:
    with llm_call("gpt-5-mini", provider="openai", max_output_tokens=100) as call:
        call.record(CACHED)


@agent_run("support-bot", budget=LIMITS)
def answer(number: int, how: str) -> None:
    ask()
    search(f"a {number}")
    if how == "budget":
        for each in range(9):
            search(f"more {number} {each}")
    if how == "loop":
        search(f"a {number}")
    if how == "tool":
        create("a")
    if how == "model":
        with llm_call("gpt-5-mini", provider="openai"):
            raise RateLimitError
    if how == "killed":
        current_run().stop("killed_global")
        ask()
    if how == "cancelled":
        raise KeyboardInterrupt
    if how == "denied":
        with tool_calls([("kb.search", {"query": n}) for n in range(9)]) as slots:
            assert any(slot.denied for slot in slots)


def main() -> None:
    configure("support", config=CONFIG, prices={"gpt-5-mini": Price(input="0.25", output=2)})
    switch = metrics.get_meter("hand-written").create_gauge(semconv.KILL_SWITCH_ACTIVE.name)  # until the switch exists
    with agent_run("support-bot"):
        for number in range(10_000):
            for how in ("finish", "budget", "loop", "tool", "model", "killed", "cancelled", "denied"):
                for prompt in PROMPTS:
                    with contextlib.suppress(AgentStop, ToolDenied, ValueError, RateLimitError, KeyboardInterrupt):
                        answer.using(prompt=prompt)(number, how)
            switch.set(number % 2, {semconv.KILL_SWITCH_SCOPE: "global"})
            time.sleep(0.5)


if __name__ == "__main__":
    main()
