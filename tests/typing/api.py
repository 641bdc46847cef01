"""The public types as mypy and pyright see them. No test runs this file; each line that must be an error says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, assert_type

from otel_agent import (
    AgentStop,
    Budget,
    BudgetExceeded,
    FinalCall,
    InvalidSetting,
    Killed,
    Logger,
    LoopDetected,
    PolicyStop,
    Price,
    Prompt,
    Remaining,
    Run,
    RunClosed,
    RunResult,
    StopCode,
    StopIgnored,
    ToolDenied,
    Usage,
    __version__,
    agent_run,
    build_system_prompt,
    configure,
    current_call,
    current_run,
    flush,
    llm_call,
    prompt_id,
    propagate,
    shutdown,
    tool_call,
    tool_calls,
)

PROMPT = Prompt("support", "v13", "Answer using KB.")
LIMITS = Budget(
    max_steps=25,
    max_tool_calls=12,
    max_seconds=timedelta(minutes=1),
    max_tokens=9_000,
    max_usd="0.50",
    max_calls_per_tool={"kb.search": 6},
    max_repeats=3,
    warn_at=0.8,
    final_call=FinalCall(tokens=800, usd="0.01"),
    default_output_tokens=4_096,
    interrupt="signal",
)


class Reply:
    """What some client returns."""


# agent_run as a decorator: the signature stays, and run() and using() know it too


@agent_run("support-bot", prompt=PROMPT, budget=LIMITS)
def answer(question: str, *, loud: bool = False) -> int:
    return len(question) if loud else 0


@agent_run
def bare(question: str) -> int:
    return len(question)


@agent_run()
def unnamed(question: str) -> int:
    return len(question)


def check_sync_functions() -> None:
    assert_type(answer("q", loud=True), int)
    assert_type(answer.run("q"), RunResult[int])
    assert_type(answer.run("q").output, int | None)
    assert_type(answer.using(conversation_id="c1", tenant="acme")("q"), int)
    assert_type(answer.using(user_id="u").using(budget=LIMITS).run("q", loud=True), RunResult[int])
    assert_type(bare("q"), int)
    assert_type(bare.run("q"), RunResult[int])
    assert_type(unnamed.run("q"), RunResult[int])


def check_wrong_calls_of_functions() -> None:
    answer(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    answer("q", quiet=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    answer.run()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    answer.run("q", loud="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    answer.using(tenent="acme")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@agent_run("async-bot")
async def answer_async(question: str) -> int:
    return len(question)


@agent_run
async def bare_async(question: str) -> int:
    return len(question)


async def check_coroutine_functions() -> None:
    as_callback: Callable[[str], Coroutine[Any, Any, int]] = answer_async
    assert_type(await as_callback("q"), int)
    assert_type(await answer_async("q"), int)
    assert_type(await answer_async.run("q"), RunResult[int])
    assert_type(await answer_async.using(tenant="acme")("q"), int)
    assert_type(await answer_async.using(tenant="acme").run("q"), RunResult[int])
    assert_type(await bare_async("q"), int)
    assert_type(await bare_async.run("q"), RunResult[int])
    await answer_async(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@agent_run("stream")
def stream(count: int) -> Iterator[str]:
    yield from map(str, range(count))


@agent_run("async-stream")
async def stream_async(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield str(number)


async def check_generators() -> None:
    assert_type(stream(3), Iterator[str])
    assert_type(stream.using(tenant="acme")(3), Iterator[str])
    assert_type(stream_async(3), AsyncIterator[str])
    async for item in stream_async.using(tenant="acme")(3):
        assert_type(item, str)


class Bot:
    @agent_run("method")
    def answer(self, question: str) -> int:
        return len(question)

    @agent_run
    async def answer_async(self, question: str) -> int:
        return len(question)

    @staticmethod
    @agent_run("static")
    def static(question: str) -> int:
        return len(question)

    @classmethod
    @tool_call("class")
    def of_class(cls, question: str) -> int:
        return len(question)

    @tool_call("kb.search")
    def search(self, query: str) -> list[str]:
        return [query]

    @llm_call("gpt-5-mini")
    async def ask(self, question: str) -> Reply:
        return Reply()


async def check_methods(bot: Bot) -> None:
    assert_type(bot.answer("q"), int)
    assert_type(bot.answer.run("q"), RunResult[int])
    assert_type(bot.answer.using(tenant="acme").run("q"), RunResult[int])
    assert_type(Bot.answer(bot, "q"), int)
    assert_type(await bot.answer_async("q"), int)
    assert_type(await bot.answer_async.using(tenant="acme").run("q"), RunResult[int])
    assert_type(Bot.static("q"), int)
    assert_type(Bot.static.run("q"), RunResult[int])
    assert_type(Bot.of_class("q"), int)
    assert_type(bot.search("q"), list[str])
    assert_type(await bot.ask("q"), Reply)
    bot.answer(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bot.search(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@agent_run("maker")
class Made:
    def __init__(self, number: int) -> None:
        self.number = number


@tool_call
class MadeByTool:
    def __init__(self, number: int) -> None:
        self.number = number


class Heir(Made):
    pass


def check_classes(made: Made | str) -> None:
    assert_type(Made(1), Made)
    assert_type(MadeByTool(1), MadeByTool)
    assert_type(Heir(1).number, int)
    if isinstance(made, Made):
        assert_type(made.number, int)
    MadeByTool("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_other_callables() -> None:
    assert_type(agent_run("partial")(partial(len, "abc"))(), int)
    assert_type(agent_run("lambda")(len)("abc"), int)


# agent_run, llm_call and tool_call as blocks


async def check_blocks() -> None:
    with agent_run("block", prompt="support", budget=LIMITS, mode="observe", attributes={"team": "a"}) as run:
        assert_type(run, Run)
        with llm_call("gpt-5-mini", provider="openai", estimated_input_tokens=10, max_output_tokens=800) as call:
            assert_type(call.max_output_tokens, int | None)
            call.record(Reply())
            call.record({"usage": {"prompt_tokens": 1}})
            call.record(input_tokens=1, output_tokens=2, cached_input_tokens=0, model="m", finish_reason="stop")
            call.record(cost_usd="0.01")
        with llm_call("gpt-5-mini", messages=[{"role": "user", "content": "hi"}], tools=[{"type": "function"}]) as call:
            call.cancel()
        with tool_call("kb.search", arguments={"query": "q"}, cost_usd="0.001", max_repeats=2, call_id="c1"):
            pass
    assert_type(run.result.stop_reason, StopCode)
    async with agent_run() as run, llm_call("m"), tool_call("t"):
        assert_type(run, Run)


def check_wrong_blocks() -> None:
    agent_run("a", limits=LIMITS)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    llm_call()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    llm_call("m", "openai")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# llm_call and tool_call as decorators


@llm_call("gpt-5-mini", provider="openai")
def ask(question: str) -> Reply:
    call = current_call()
    if call:
        call.record(input_tokens=1, output_tokens=1)
    return Reply()


@llm_call("gpt-5-mini")
async def ask_async(question: str) -> Reply:
    return Reply()


@tool_call
def bare_tool(query: str) -> list[str]:
    return [query]


@tool_call("kb.search", cost_usd="0.001", max_repeats=2)
async def search_async(query: str, limit: int = 4) -> list[str]:
    return [query] * limit


@tool_call("kb.stream")
async def search_stream(query: str) -> AsyncIterator[str]:
    yield query


async def check_calls() -> None:
    assert_type(ask("q"), Reply)
    assert_type(await ask_async("q"), Reply)
    assert_type(bare_tool("q"), list[str])
    assert_type(await search_async("q", limit=2), list[str])
    async for item in search_stream("q"):
        assert_type(item, str)
    bare_tool(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ask(query="q")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def check_batches() -> None:
    with tool_calls([("kb.search", {"query": "a"}), ("kb.search", {"query": "b"})]) as slots:
        for slot in slots:
            assert_type(slot.denied, ToolDenied | None)
            with slot:
                bare_tool("q")


# the run


def check_run() -> None:
    run = current_run()
    assert_type(run, Run | None)
    assert run
    assert_type(run.id, str)
    assert_type(run.prompt, Prompt | None)
    assert_type(run.prompt_id, str | None)
    assert_type(run.variant, str | None)
    assert_type(run.usage, Usage)
    assert_type(run.own_usage, Usage)
    assert_type(run.remaining(), Remaining)
    run.budget.update(max_steps=30, max_usd=Decimal("0.75"))
    run.stop("needs_human", "asked for a person")
    run.stop(StopCode.HANDOFF)
    with run.final_call("gpt-5-mini") as call:
        call.record(Reply())


def check_result(result: RunResult[int]) -> None:
    assert_type(result.output, int | None)
    assert_type(result.stop_reason, StopCode)
    assert_type(result.stop_detail, str | None)
    assert_type(result.error, AgentStop | ToolDenied | None)
    assert_type(result.run_id, str)
    assert_type(result.trace_id, str | None)
    assert_type(result.prompt_id, str | None)
    assert_type(result.usage.total_tokens, int)
    assert_type(result.own_usage.cost_usd, Decimal | None)
    assert_type(result.denials["tool_denied"], int)
    result.output = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def check_errors() -> None:
    try:
        answer("q")
    except (BudgetExceeded, LoopDetected, PolicyStop, Killed) as stop:
        assert_type(stop.reason, StopCode)
        assert_type(stop.detail, str | None)
        assert_type(stop.run_id, str | None)
        assert_type(stop.pending, bool)
    except ToolDenied as denied:
        assert_type(denied.tool, str)
        assert_type(denied.reason, StopCode)
    except RunClosed as closed:
        assert_type(closed.run_id, str)
    except InvalidSetting as wrong:
        assert_type(wrong.field, str)
    except StopIgnored as ignored:
        assert_type(ignored.stop, AgentStop)


# values and the rest


def check_values() -> None:
    assert_type(PROMPT.id, str)
    assert_type(PROMPT.hash, str)
    assert_type(PROMPT.text, str)
    assert_type(PROMPT.variables, frozenset[str])
    assert_type(PROMPT.render({"a": 1}, b="text"), str)
    assert_type(prompt_id("text"), str)
    assert_type(build_system_prompt(PROMPT), str)
    assert_type(build_system_prompt(PROMPT, mark="end"), str)
    assert_type(build_system_prompt(PROMPT, mark=None), str)
    assert_type(build_system_prompt(PROMPT, variables={"a": "text"}), str)
    version: str = __version__
    assert version
    Price(input="0.25", output=2, cached_input=Decimal("0.025"), per_call=0.01)
    Budget(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Budget(max_step=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    LIMITS.max_steps = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    build_system_prompt(PROMPT, mark="middle")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_set_up() -> None:
    configure()
    configure(
        "support",
        endpoint="http://127.0.0.1:4318",
        protocol="http/protobuf",
        headers={"a": "b"},
        console=False,
        threads=True,
        mode="observe",
        prices={"my-model": Price(input=1, output=2)},
        fallback_price=Price(input=10, output=30),
    )
    Logger().event("cache.miss", {"key": "k", "size": 3})
    flush()
    shutdown()


def check_propagate(work: Callable[[int], str]) -> None:
    assert_type(propagate(work)(3), str)
    propagate(work)("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
