"""Stream objects that a function returns, of the real SDKs and of others: their spans last for them."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.trace import StatusCode

from otel_agent import Budget, agent_run, llm_call, tool_call
from otel_agent.testing import Capture, Reply, ScriptedModelServer
from tests.support.verbs import Verb, clean, current_span_name, parent_of, plain_span, wait_for

pytestmark = pytest.mark.usefixtures("unharmed")

HELLO: Any = [{"role": "user", "content": "Where is my refund?"}]
TEXT = "It is on its way to you."
CHAT: dict[str, Any] = {"model": "it", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
ASK: dict[str, Any] = {"model": "it", "input": HELLO, "stream": True}
MESSAGE: dict[str, Any] = {"model": "it", "messages": HELLO, "max_tokens": 100, "stream": True}


PLAIN_HTTP: dict[str, Any] = {"verify": False, "trust_env": False}
"""Certificates take long to load, and nobody here asks for one."""
COMMON: dict[str, Any] = {"api_key": "k", "max_retries": 0, "timeout": 10}


@contextmanager
def clients(**reply: Any) -> Iterator[tuple[ScriptedModelServer, openai.OpenAI, anthropic.Anthropic]]:
    with ScriptedModelServer([Reply(text=TEXT, **reply)] * 9) as server:
        http = openai.DefaultHttpxClient(**PLAIN_HTTP)
        ours = openai.OpenAI(base_url=server.base_url, http_client=http, **COMMON)
        theirs = anthropic.Anthropic(base_url=server.anthropic_base_url, http_client=http, **COMMON)
        with http:
            yield server, ours, theirs


@contextmanager
def async_clients(**reply: Any) -> Iterator[tuple[ScriptedModelServer, openai.AsyncOpenAI, anthropic.AsyncAnthropic]]:
    with ScriptedModelServer([Reply(text=TEXT, **reply)] * 9) as server:
        http = openai.DefaultAsyncHttpxClient(**PLAIN_HTTP)
        ours = openai.AsyncOpenAI(base_url=server.base_url, http_client=http, **COMMON)
        theirs = anthropic.AsyncAnthropic(base_url=server.anthropic_base_url, http_client=http, **COMMON)
        yield server, ours, theirs


SYNC: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "openai chat": (lambda ours, theirs: ours.chat.completions.create(**CHAT), openai.Stream),
    "openai responses": (lambda ours, theirs: ours.responses.create(**ASK), openai.Stream),
    "anthropic": (lambda ours, theirs: theirs.messages.create(**MESSAGE), anthropic.Stream),
}
ASYNC: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "openai chat": (lambda ours, theirs: ours.chat.completions.create(**CHAT), openai.AsyncStream),
    "openai responses": (lambda ours, theirs: ours.responses.create(**ASK), openai.AsyncStream),
    "anthropic": (lambda ours, theirs: theirs.messages.create(**MESSAGE), anthropic.AsyncStream),
}
every_sdk = pytest.mark.parametrize("sdk", SYNC)


def ended(kept: Capture, verb: Verb) -> bool:
    return any(span.name == verb.span for span in kept.spans)


@every_sdk
def test_a_stream_is_read_inside_its_span(kept: Capture, verb: Verb, sdk: str) -> None:
    create, kind = SYNC[sdk]
    with clients() as (_, ours, theirs), plain_span(kept, "consumer"):
        stream = verb.make()(create)(ours, theirs)
        assert isinstance(stream, kind)
        assert stream.response.status_code == 200
        assert current_span_name() == "consumer"
        events = []
        for event in stream:
            assert current_span_name() == "consumer"
            assert not ended(kept, verb)
            events.append(event)
        assert ended(kept, verb)
        assert list(stream) == []
    assert len(events) > 3
    assert parent_of(kept, verb.span) == "consumer"
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


@every_sdk
def test_a_model_call_settles_at_what_its_stream_says(sdk: str) -> None:
    create, _ = SYNC[sdk]
    with clients() as (server, ours, theirs), agent_run() as run:
        for _ in llm_call("it")(create)(ours, theirs):
            pass
        served = server.ledger
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == served_tokens(served)
    assert not run.result.usage.estimated


def served_tokens(ledger: Any) -> tuple[int, int]:
    return ledger.input_tokens, ledger.output_tokens


@every_sdk
async def test_an_async_stream_is_read_inside_its_span(kept: Capture, verb: Verb, sdk: str) -> None:
    create, kind = ASYNC[sdk]

    @verb.make()
    async def ask(*clients: Any) -> Any:
        return await create(*clients)

    with async_clients() as (_, ours, theirs):
        async with ours, theirs:
            with clean():
                stream = await ask(ours, theirs)
                assert isinstance(stream, kind)
                assert not isinstance(stream, Iterator)
                events = []
                async for event in stream:
                    assert current_span_name() is None
                    assert not ended(kept, verb)
                    events.append(event)
    assert len(events) > 3
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


@every_sdk
async def test_an_async_model_call_settles_at_what_its_stream_says(sdk: str) -> None:
    create, _ = ASYNC[sdk]
    ask = llm_call("it")(create)
    with async_clients() as (server, ours, theirs):
        async with ours, theirs, agent_run() as run:
            stream = await ask(ours, theirs)
            assert await anext(stream)
            async for _ in stream:
                pass
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == served_tokens(server.ledger)
    assert not run.result.usage.estimated


def close_it(stream: Any) -> None:
    stream.close()


def leave_the_block(stream: Any) -> None:
    with stream as entered:
        assert entered is stream


def close_its_iterator(stream: Any) -> None:
    iter(stream).close()
    stream.close()


def read_on_and_close(stream: Any) -> None:
    with closing(stream):
        assert next(stream)


@every_sdk
@pytest.mark.parametrize("end", [close_it, leave_the_block, close_its_iterator, read_on_and_close])
@pytest.mark.parametrize("read", [0, 1])
def test_a_stream_that_is_closed_ends_its_span_at_once(
    kept: Capture, verb: Verb, sdk: str, end: Any, read: int
) -> None:
    create, _ = SYNC[sdk]
    with clients() as (_, ours, theirs):
        stream = verb.make()(create)(ours, theirs)
        for _ in range(read):
            next(stream)
        assert not ended(kept, verb)
        end(stream)
        assert stream.response.is_closed
        span = kept.span(verb.span)
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()


async def aclose_it(stream: Any) -> None:
    await stream.close()


async def leave_the_async_block(stream: Any) -> None:
    async with stream as entered:
        assert entered is stream


@every_sdk
@pytest.mark.parametrize("end", [aclose_it, leave_the_async_block])
@pytest.mark.parametrize("read", [0, 1])
async def test_an_async_stream_that_is_closed_ends_its_span_at_once(
    kept: Capture, verb: Verb, sdk: str, end: Any, read: int
) -> None:
    create, _ = ASYNC[sdk]
    with async_clients() as (_, ours, theirs):
        async with ours, theirs:
            stream = await verb.make()(create)(ours, theirs)
            for _ in range(read):
                await anext(stream)
            assert not ended(kept, verb)
            await asyncio.create_task(end(stream))
            assert stream.response.is_closed
            assert kept.span(verb.span).status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("read", [0, 1])
def test_a_stream_that_is_dropped_ends_its_span_and_is_settled_at_its_estimate(kept: Capture, read: int) -> None:
    ask = llm_call("it", estimated_input_tokens=100, max_output_tokens=50)(SYNC["openai chat"][0])
    with clients() as (_, ours, theirs), agent_run(budget=Budget(max_tokens=1000)) as run:
        stream = ask(ours, theirs)
        for _ in range(read):
            next(stream)
        stream.response.close()
        del stream
        gc.collect()
        wait_for(lambda: any(span.name == "chat it" for span in kept.spans))
    assert (run.result.usage.total_tokens, run.result.usage.estimated) == (150, True)


def test_a_stream_may_be_closed_by_another_thread_while_it_is_read(kept: Capture, verb: Verb) -> None:
    create, _ = SYNC["openai chat"]
    with clients(chunk_delay=0.05) as (_, ours, theirs):
        stream = verb.make()(create)(ours, theirs)
        next(stream)
        closer = threading.Timer(0.02, stream.close)
        closer.start()
        with suppress(openai.APIConnectionError):
            for _ in stream:
                pass
        closer.join()
        assert ended(kept, verb)


@every_sdk
def test_a_connection_that_breaks_off_is_the_calls_error(kept: Capture, sdk: str) -> None:
    create, _ = SYNC[sdk]
    with clients(drop="midway") as (_, ours, theirs), agent_run("it") as run:
        stream = llm_call("it")(create)(ours, theirs)
        with pytest.raises(Exception, match=r"."):
            for _ in stream:
                pass
    span = kept.span("chat it")
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]
    assert run.result.usage.estimated


def test_a_stream_through_a_tool_and_a_run_ends_all_of_them(kept: Capture) -> None:
    create, kind = SYNC["openai chat"]
    ask = llm_call("it")(create)

    @tool_call("tool")
    def use(*clients: Any) -> Any:
        return ask(*clients)

    @agent_run("agent")
    def answer(*clients: Any) -> Any:
        return use(*clients)

    with clients() as (_, ours, theirs):
        stream = answer(ours, theirs)
        assert isinstance(stream, kind)
        assert kept.spans == []
        assert len(list(stream)) > 3
    assert [span.name for span in kept.spans] == ["chat it", "execute_tool tool", "invoke_agent agent"]
    (run,) = kept.records.runs
    assert (run.stop_reason, run.usage.steps, run.usage.estimated) == ("finish", 1, False)


def test_run_has_no_single_result_of_a_stream(kept: Capture) -> None:
    @agent_run("agent")
    def answer(*clients: Any) -> Any:
        return llm_call("it")(SYNC["openai chat"][0])(*clients)

    with clients() as (_, ours, theirs), pytest.raises(TypeError, match="iterate over it"):
        answer.run(ours, theirs)
    gc.collect()
    wait_for(lambda: len(kept.spans) == 2)


# streams of others


class Numbers:
    """A stream that can be read in both ways, as some libraries have."""

    def __init__(self) -> None:
        self.left = [3, 2, 1]
        self.closed = 0

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop()

    def __aiter__(self) -> Numbers:
        return self

    async def __anext__(self) -> int:
        await asyncio.sleep(0)
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()

    async def aclose(self) -> None:
        self.closed += 1


class NumberStream(Numbers):
    pass


async def test_a_stream_of_both_kinds_is_read_in_both_ways(kept: Capture, verb: Verb) -> None:
    give = verb.make()(lambda: numbers)
    numbers = NumberStream()
    assert list(give()) == [1, 2, 3]
    numbers = NumberStream()
    with clean():
        assert [number async for number in give()] == [1, 2, 3]
    numbers = NumberStream()
    async with aclosing(give()) as stream:
        assert next(stream) == 1
    assert numbers.closed == 1
    assert len(kept.spans) == 3


def test_what_a_stream_has_not_is_not_there(verb: Verb) -> None:
    stream = verb.make()(lambda: NumberStream())()
    assert hasattr(stream, "aclose")
    assert not hasattr(stream, "close")
    assert stream.left == [3, 2, 1]
    stream.left = [9]
    assert "NumberStream" in repr(stream)
    assert list(stream) == [9]


def test_any_iterator_is_the_stream_of_a_model_call(kept: Capture) -> None:
    @llm_call("it")
    def ask() -> Any:
        return iter([{"choices": []}, {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}])

    with agent_run() as run:
        assert len(list(ask())) == 2
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (7, 2)


async def test_any_async_iterator_is_the_stream_of_a_model_call() -> None:
    class Chunks:
        def __init__(self) -> None:
            self.left = [{"usage": {"prompt_tokens": 7, "completion_tokens": 2}}, {"choices": []}]

        def __aiter__(self) -> AsyncIterator[Any]:
            return self

        async def __anext__(self) -> Any:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    @llm_call("it")
    def ask() -> Any:
        return Chunks()

    with agent_run() as run:
        assert len([chunk async for chunk in ask()]) == 2
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (7, 2)
