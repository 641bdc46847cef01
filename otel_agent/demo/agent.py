"""The support agent: a loop of a model and its tools, as one would write it with the `openai` SDK, inside a run.

Decides what the model is sent and who answers its tool calls; how a model says what it wants is for `actions`. Holds
no limit of its own: budget and prompt come with the run, and a refused call raises, or tells the model why.

    answer -> _converse: ask the model -> it answers: done
                                       -> it wants tools: use them, as one batch, and ask again
           -> a limit is hit: _say_last, when the budget keeps a final call
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from otel_agent import (
    AgentStop,
    BudgetExceeded,
    InvalidSetting,
    Run,
    agent_run,
    build_system_prompt,
    current_call,
    current_run,
    llm_call,
    tool_calls,
)
from otel_agent.demo.actions import ACTIONS, ActionsName, Messages, Wanted, told
from otel_agent.demo.tools import Toolbox
from otel_agent.run import LLMCall, Slot

__all__ = ["SupportAgent"]

MAX_OUTPUT_TOKENS = 1_500
PATIENCE_SECONDS = 60.0

T = TypeVar("T")


class SupportAgent:
    """Answers questions of customers.

    Args:
        client: talks to the model server.
        tools: what it may use.
        model: the model to ask for.
        server_address: `host:port` of the model server, for spans.
        actions: how the model says what it wants to do.

    Attributes:
        asked: how many tool calls the model asked for so far.
        pieces: in how many pieces streamed answers came so far.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        tools: Toolbox,
        *,
        model: str,
        server_address: str,
        actions: ActionsName = "tools",
    ) -> None:
        self._create: Any = client.chat.completions.create
        self._tools = tools
        self._actions = ACTIONS[actions](tools)
        self._model = model
        self._server_address = server_address
        self.asked = 0
        self.pieces = 0

    @agent_run("support-bot")
    async def answer(self, question: str, *, stream: bool = False) -> str:
        """Answers one question.

        Args:
            question: the customer's question.
            stream: whether to let the model's answers come in pieces.

        Returns:
            The answer's text.
        """
        run = _run_here()
        messages = self._opening(run, question)
        try:
            return await self._converse(messages, stream)
        except BudgetExceeded:
            if run.budget.limits.final_call is None:
                raise
            return await self._say_last(run, messages)

    def _opening(self, run: Run, question: str) -> Messages:
        if run.prompt is None:
            raise RuntimeError("the support agent needs a prompt: answer.using(prompt=...)")
        return self._actions.opening(build_system_prompt(run.prompt), question)

    async def _converse(self, messages: Messages, stream: bool) -> str:
        ask = self._ask_streaming if stream else self._ask
        while True:
            said = (await ask(messages)).choices[0].message
            messages.append(said.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}))
            text, wanted = self._actions.read(said)
            if not wanted:
                return text
            await self._use_tools(messages, wanted)

    async def _ask(self, messages: Messages) -> ChatCompletion:
        async with llm_call(self._model, **self._about(messages)) as call:
            return await self._send(call, **self._request(messages, call.max_output_tokens))

    async def _ask_streaming(self, messages: Messages) -> ChatCompletion:
        whole: ChatCompletionStreamState[None] = ChatCompletionStreamState()
        before = self.pieces
        async for chunk in await self._stream(messages):
            whole.handle_chunk(chunk)
            self.pieces += 1
        return _checked(whole.current_completion_snapshot if self.pieces > before else None)

    def _stream(self, messages: Messages) -> Any:
        """Gives a stream that is one call of the model, from here to its last piece, which says what was used."""

        @llm_call(self._model, **self._about(messages))
        async def stream() -> Any:
            call = _call_here()
            request = self._request(messages, call.max_output_tokens)
            with _free_when_refused(call):
                return await self._create(**request, stream=True, stream_options={"include_usage": True})

        return stream()

    async def _say_last(self, run: Run, messages: Messages) -> str:
        """Makes the one call that the budget kept back: the model must answer with what it has."""
        async with run.final_call(self._model, **self._about(messages)) as call:
            request = self._request(messages, call.max_output_tokens)
            reply = await self._send(call, **{**request, **self._actions.last_offer})
        return self._actions.read(reply.choices[0].message)[0]

    async def _send(self, call: LLMCall, **request: Any) -> ChatCompletion:
        """Sends one request and records what it used."""
        with _free_when_refused(call):
            reply = await self._create(**request)
        call.record(reply)
        return _checked(reply)

    def _about(self, messages: Messages) -> dict[str, Any]:
        """Gives what the run is told of a call before it is sent."""
        return {
            "provider": "openai",
            "server_address": self._server_address,
            "messages": messages,
            "tools": self._actions.offer.get("tools"),
            "max_output_tokens": MAX_OUTPUT_TOKENS,
        }

    def _request(self, messages: Messages, max_output_tokens: int | None) -> dict[str, Any]:
        """Gives what is sent: at most the output that still fits, and no more patience than the run has time."""
        left = _run_here().remaining().seconds
        return {
            "model": self._model,
            "messages": messages,
            **self._actions.offer,
            "max_completion_tokens": max_output_tokens,
            "timeout": PATIENCE_SECONDS if left is None else min(PATIENCE_SECONDS, left),
        }

    async def _use_tools(self, messages: Messages, wanted: Sequence[Wanted]) -> None:
        """Answers the tool calls of one message; the model reads why one was refused.

        Raises:
            AgentStop: none of them fits; the model is told so all the same, for a final call.
        """
        self.asked += len(wanted)
        try:
            texts = await self._use_all(wanted)
        except AgentStop as stop:
            messages += self._actions.results(wanted, [told(denied=str(stop))] * len(wanted))
            raise
        messages += self._actions.results(wanted, texts)

    async def _use_all(self, wanted: Sequence[Wanted]) -> list[str]:
        """Uses the tools at the same time, as many as the budget allows."""
        usable = [call for call in wanted if call.tool is not None]
        if not usable:
            return [call.problem for call in wanted]
        batch = tool_calls([(call.tool.name, call.arguments) for call in usable if call.tool is not None])
        async with batch as slots, asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._use(slot, call)) for slot, call in zip(slots, usable, strict=True)]
        results = iter(tasks)
        return [call.problem or next(results).result() for call in wanted]

    async def _use(self, slot: Slot, call: Wanted) -> str:
        if slot.denied is not None or call.tool is None:
            return told(denied=str(slot.denied))
        async with slot:
            try:
                return json.dumps(await self._tools.use(call.tool, call.arguments))
            except (TypeError, InvalidSetting) as error:
                return told(error=str(error))


@contextmanager
def _free_when_refused(call: LLMCall) -> Generator[None]:
    """Records that nothing was used where the server refused a request: it is a step, but there is nothing to pay."""
    try:
        yield
    except openai.APIStatusError:
        call.record(input_tokens=0, output_tokens=0)
        raise


def _run_here() -> Run:
    return _there(current_run())


def _call_here() -> LLMCall:
    return _there(current_call())


def _there(found: T | None) -> T:
    if found is None:
        raise RuntimeError("the support agent was called outside its run")
    return found


def _checked(reply: Any) -> ChatCompletion:
    """Refuses what a server sends that does not speak this API; the client lets all of it through."""
    choices = getattr(reply, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise openai.OpenAIError("no chat completion")
    completion: ChatCompletion = reply
    return completion
