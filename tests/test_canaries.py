"""Nothing that users send, get or keep secret leaves the process: canaries on every path, looked for in all exports."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_agent import (
    AgentStop,
    Budget,
    InvalidSetting,
    Prompt,
    ToolDenied,
    agent_run,
    build_system_prompt,
    llm_call,
    tool_call,
    tool_calls,
)
from otel_agent.testing import Capture, capture
from otel_agent.views import TerminalView

CANARY = "c4nary"
PROMPT = Prompt("support", "v1", f"You know {CANARY}-prompt.")
SCHEMA = [{"type": "function", "function": {"name": "t", "description": f"{CANARY}-schema", "parameters": {}}}]
MESSAGES = [
    {"role": "system", "content": build_system_prompt(PROMPT)},
    {"role": "user", "content": f"{CANARY}-message"},
]
RESPONSE = {
    "id": "r1",
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": f"{CANARY}-answer"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}


@tool_call("t", max_repeats=3)
def tool(argument: str, *, keyword: str = "") -> str:
    return f"{CANARY}-result {argument} {keyword}"


@tool_call("broken")
def broken(argument: str) -> None:
    raise RuntimeError(f"{CANARY}-exception {argument}")


@tool_call("async.broken")
async def async_broken(argument: str) -> None:
    raise ValueError(f"{CANARY}-exception {argument}") from KeyError(f"{CANARY}-cause")


@llm_call("gpt-5-mini", provider="openai", messages=MESSAGES, tools=SCHEMA, parameters={"user": f"{CANARY}-parameter"})
def model(question: str) -> dict[str, Any]:
    return RESPONSE


@llm_call("gpt-5-mini", provider="openai", messages=MESSAGES)
def stream() -> Generator[dict[str, Any]]:
    yield {"choices": [{"index": 0, "delta": {"content": f"{CANARY}-piece"}}]}
    yield {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


@agent_run("bot", prompt=PROMPT, budget=Budget(max_tool_calls=20, max_repeats=9, max_calls_per_tool={"denied": 0}))
def bot(question: str) -> str:
    model(question)
    list(stream())
    tool(f"{CANARY}-argument", keyword=f"{CANARY}-keyword")
    with tool_call("block", arguments={"query": f"{CANARY}-block"}):
        pass
    with pytest.raises(RuntimeError):
        broken(f"{CANARY}-argument")
    with pytest.raises(ToolDenied), tool_call("denied", arguments=f"{CANARY}-denied"):
        pass
    with tool_calls([("t", {"argument": f"{CANARY}-batch"}), ("denied", f"{CANARY}-batch")]) as slots, slots[0]:
        tool(f"{CANARY}-slot")
    return f"{CANARY}-output"


@agent_run("looping", prompt=PROMPT)
def looping(question: str) -> None:
    for _ in range(5):
        tool(f"{CANARY}-loop")


@agent_run("failing", prompt=PROMPT, user_id=f"{CANARY}-user", tenant=f"{CANARY}-tenant")
async def failing(question: str) -> None:
    await async_broken(f"{CANARY}-argument")


@agent_run("streaming", prompt=PROMPT)
async def streaming(question: str) -> AsyncGenerator[str]:
    yield f"{CANARY}-item"
    raise OSError(f"{CANARY}-exception")


async def read_all(question: str) -> None:
    async for _ in streaming(question):
        pass


def use_everything() -> None:
    question = f"{CANARY}-question"
    assert bot.run(question).stop_reason == "finish"
    with pytest.raises(AgentStop):
        looping(question)
    with pytest.raises(ValueError, match=CANARY):
        asyncio.run(failing(question))
    with pytest.raises(OSError, match=CANARY):
        asyncio.run(read_all(question))
    with pytest.raises(ZeroDivisionError), agent_run("block", prompt=PROMPT):
        raise ZeroDivisionError(f"{CANARY}-exception")


def exported(kept: Capture) -> str:
    """Gives everything that leaves the process, as it is encoded, in one text."""
    spans = str(encode_spans(kept.spans))
    logs = str(encode_logs(kept.events))
    return spans + logs + str(kept.metrics()) + str([vars(kept.records)])


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_HASH_KEY", f"{CANARY}-key")
    monkeypatch.setenv("OPENAI_API_KEY", f"sk-{CANARY}")


def test_no_canary_is_in_what_is_exported_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), capture() as kept:
        use_everything()
        text = exported(kept)
    assert len(kept.spans) > 15  # there was something to find it in
    assert "gpt-5-mini" in text
    assert CANARY not in text
    assert CANARY not in caplog.text


def test_no_canary_is_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from otel_agent.telemetry.listeners import add_listener, remove_listener

    view = TerminalView()
    add_listener(view)
    try:
        use_everything()
    finally:
        remove_listener(view)
        view.close()
    shown = capsys.readouterr().err
    assert "gpt-5-mini" in shown
    assert CANARY not in shown


def test_the_message_of_an_exception_is_there_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_CAPTURE_EXCEPTIONS", "full")
    with capture() as kept:
        use_everything()
        assert f"{CANARY}-exception" in exported(kept)


def test_the_hash_key_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_MODE", "nonsense")
    with pytest.raises(InvalidSetting) as caught, agent_run("bot"):
        pass
    assert CANARY not in str(caught.value) + repr(caught.value)


def test_arguments_are_hashed_with_the_key() -> None:
    def hashes() -> list[str]:
        with capture() as kept:
            use_everything()
        found = [(span.attributes or {}).get("otel_agent.tool.args_hash") for span in kept.spans]
        return [str(value) for value in found if value is not None]

    first = hashes()
    assert first
    os.environ["OTEL_AGENT_HASH_KEY"] = "another"
    assert not set(first) & set(hashes())
