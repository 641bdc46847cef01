"""Stream managers that a function returns, of the real SDKs and of others: the call lasts until they are left."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import anthropic
import openai
import pytest
from openai.lib.streaming.chat import (
    AsyncChatCompletionStream,
    AsyncChatCompletionStreamManager,
    ChatCompletionStream,
    ChatCompletionStreamManager,
)
from openai.lib.streaming.responses import ResponseStream, ResponseStreamManager
from openai.lib.streaming.responses._responses import AsyncResponseStream, AsyncResponseStreamManager
from opentelemetry.trace import StatusCode

from otel_agent import AgentStop, Budget, BudgetExceeded, Price, agent_run, current_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.run.conftest import SetPrices
from tests.run.test_drive_streams import HELLO, TEXT, async_clients, clients, ended
from tests.support.verbs import Verb, clean, current_span_name, parent_of, plain_span, wait_for

pytestmark = pytest.mark.usefixtures("unharmed")

Ways = dict[str, tuple[str, Callable[[Any], Any]]]

USED: dict[str, Any] = {"input_tokens": 20, "cached_input_tokens": 3, "output_tokens": 8}
CREATE: dict[str, Callable[[Any, Any], Any]] = {
    "chat": lambda ours, _: ours.chat.completions.stream(
        model="it", messages=HELLO, stream_options={"include_usage": True}
    ),
    "responses": lambda ours, _: ours.responses.stream(model="it", input=HELLO),
    "messages": lambda _, theirs: theirs.messages.stream(model="it", messages=HELLO, max_tokens=100),
    "beta messages": lambda _, theirs: theirs.beta.messages.stream(model="it", messages=HELLO, max_tokens=100),
}
KINDS: dict[str, tuple[Any, Any]] = {
    "chat": (ChatCompletionStreamManager, ChatCompletionStream),
    "responses": (ResponseStreamManager, ResponseStream),
    "messages": (anthropic.MessageStreamManager, anthropic.MessageStream),
}
ASYNC_KINDS: dict[str, tuple[Any, Any]] = {
    "chat": (AsyncChatCompletionStreamManager, AsyncChatCompletionStream),
    "responses": (AsyncResponseStreamManager, AsyncResponseStream),
    "messages": (anthropic.AsyncMessageStreamManager, anthropic.AsyncMessageStream),
}
every_sdk = pytest.mark.parametrize("sdk", KINDS)


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content)


def event_and_rest(stream: Any) -> str:
    next(stream)
    for _ in stream:
        break
    return text_of(stream.get_final_message())


def text_and_rest(stream: Any) -> str:
    first = next(stream.text_stream)
    return first + "".join(stream.text_stream)


def chunk_texts(events: Any) -> str:
    return "".join(event.delta for event in events if event.type in ("content.delta", "response.output_text.delta"))


def message_texts(events: Any) -> str:
    return "".join(event.text for event in events if event.type == "text")


WAYS: Ways = {
    "chat, for": ("chat", chunk_texts),
    "chat, final": ("chat", lambda stream: stream.get_final_completion().choices[0].message.content),
    "chat, until done": (
        "chat",
        lambda stream: stream.until_done().current_completion_snapshot.choices[0].message.content,
    ),
    "responses, for": ("responses", chunk_texts),
    "responses, final": ("responses", lambda stream: stream.get_final_response().output_text),
    "responses, until done": ("responses", lambda stream: stream.until_done().get_final_response().output_text),
    "messages, for": ("messages", message_texts),
    "messages, texts": ("messages", lambda stream: "".join(stream.text_stream)),
    "messages, final": ("messages", lambda stream: text_of(stream.get_final_message())),
    "messages, final text": ("messages", lambda stream: stream.get_final_text()),
    "messages, until done": ("messages", lambda stream: stream.until_done() or text_of(stream.get_final_message())),
    "messages, some": ("messages", event_and_rest),
    "messages, some texts": ("messages", text_and_rest),
    "beta messages, texts": ("beta messages", lambda stream: "".join(stream.text_stream)),
}


async def all_of(events: Any) -> list[Any]:
    return [event async for event in events]


async def achunk_texts(stream: Any) -> str:
    return chunk_texts(await all_of(stream))


async def amessage_texts(stream: Any) -> str:
    return message_texts(await all_of(stream))


async def afinal_completion(stream: Any) -> Any:
    return (await stream.get_final_completion()).choices[0].message.content


async def afinal_response(stream: Any) -> Any:
    return (await (await stream.until_done()).get_final_response()).output_text


async def atexts(stream: Any) -> str:
    return "".join(await all_of(stream.text_stream))


async def afinal_message(stream: Any) -> str:
    return text_of(await stream.get_final_message())


async def aevent_and_rest(stream: Any) -> str:
    await anext(stream)
    async for _ in stream:
        break
    return str(await stream.get_final_text())


ASYNC_WAYS: Ways = {
    "chat, for": ("chat", achunk_texts),
    "chat, final": ("chat", afinal_completion),
    "responses, for": ("responses", achunk_texts),
    "responses, final": ("responses", afinal_response),
    "messages, for": ("messages", amessage_texts),
    "messages, texts": ("messages", atexts),
    "messages, final": ("messages", afinal_message),
    "messages, some": ("messages", aevent_and_rest),
    "beta messages, texts": ("beta messages", atexts),
}


def check_used(kept: Capture, usage: Any) -> None:
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (20, 3, 8)
    assert (usage.steps, usage.estimated) == (1, False)
    attributes = kept.span("chat it").attributes
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (20, 8)
    assert attributes["gen_ai.response.time_to_first_chunk"] > 0


@pytest.mark.parametrize("way", WAYS)
def test_a_call_settles_at_what_its_stream_says_however_it_is_read(kept: Capture, way: str) -> None:
    sdk, read = WAYS[way]
    with clients(**USED) as (server, ours, theirs), agent_run() as run:
        with llm_call("it")(CREATE[sdk])(ours, theirs) as stream:
            assert read(stream) == TEXT
            assert kept.spans == []
        assert [span.name for span in kept.spans] == ["chat it"]
    assert server.ledger.requests == 1
    check_used(kept, run.result.usage)


@pytest.mark.parametrize("way", ASYNC_WAYS)
@pytest.mark.parametrize("function", ["plain", "async"])
async def test_an_async_call_settles_at_what_its_stream_says_however_it_is_read(
    kept: Capture, way: str, function: str
) -> None:
    sdk, read = ASYNC_WAYS[way]

    async def create(*clients: Any) -> Any:
        return CREATE[sdk](*clients)

    with async_clients(**USED) as (server, ours, theirs):
        async with ours, theirs, agent_run() as run:
            made = llm_call("it")(CREATE[sdk] if function == "plain" else create)(ours, theirs)
            async with made if function == "plain" else await made as stream:
                assert await read(stream) == TEXT
                assert kept.spans == []
            assert [span.name for span in kept.spans] == ["chat it"]
    assert server.ledger.requests == 1
    check_used(kept, run.result.usage)


@every_sdk
def test_a_manager_and_its_stream_are_what_they_were(kept: Capture, verb: Verb, sdk: str) -> None:
    kind, stream_kind = KINDS[sdk]
    with clients() as (server, ours, theirs), plain_span(kept, "consumer"):
        manager = verb.make()(CREATE[sdk])(ours, theirs)
        assert isinstance(manager, kind)
        assert kind.__name__ in repr(manager)
        assert server.ledger.requests == 0
        with manager as stream:
            assert isinstance(stream, stream_kind)
            assert current_span_name() == "consumer"
            for _ in stream:
                assert current_span_name() == "consumer"
                assert not ended(kept, verb)
            assert not ended(kept, verb)
        assert ended(kept, verb)
    assert parent_of(kept, verb.span) == "consumer"
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


@every_sdk
async def test_an_async_manager_and_its_stream_are_what_they_were(kept: Capture, verb: Verb, sdk: str) -> None:
    kind, stream_kind = ASYNC_KINDS[sdk]
    with async_clients() as (server, ours, theirs):
        async with ours, theirs:
            with clean():
                manager = verb.make()(CREATE[sdk])(ours, theirs)
                assert isinstance(manager, kind)
                assert server.ledger.requests == 0
                async with manager as stream:
                    assert isinstance(stream, stream_kind)
                    assert not isinstance(stream, Iterator)
                    async for _ in stream:
                        assert current_span_name() is None
                        assert not ended(kept, verb)
                assert ended(kept, verb)
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


def http_span(kept: Capture) -> Callable[[Any], None]:
    def hook(request: Any) -> None:
        with plain_span(kept, "POST"):
            pass

    return hook


def is_inside(kept: Capture, name: str, around: str) -> bool:
    """Tells whether a span is below another; a client may have a span of its own between them."""
    inner, outer = kept.span(name), kept.span(around)
    return inner.parent is not None and inner.context.trace_id == outer.context.trace_id and outer.parent is None


def test_the_request_is_sent_inside_the_call(kept: Capture) -> None:
    with clients() as (_, ours, theirs):
        theirs._client.event_hooks = {"request": [http_span(kept)]}
        with llm_call("it")(CREATE["messages"])(ours, theirs) as stream:
            stream.until_done()
    assert is_inside(kept, "POST", "chat it")


async def test_the_request_of_an_async_manager_is_sent_inside_the_call(kept: Capture) -> None:
    async def hook(request: Any) -> None:
        http_span(kept)(request)

    with async_clients() as (_, ours, theirs):
        async with ours, theirs:
            theirs._client.event_hooks = {"request": [hook]}
            async with llm_call("it")(CREATE["messages"])(ours, theirs) as stream:
                await stream.until_done()
    assert is_inside(kept, "POST", "chat it")


# budgets


def ask_for(sdk: str) -> Any:
    return llm_call("it", estimated_input_tokens=20, max_output_tokens=50)(CREATE[sdk])


@every_sdk
@pytest.mark.parametrize("limit", [{"max_tokens": 28 + 28 + 70}, {"max_usd": "0.000720"}])
def test_a_budget_lets_through_what_fits_after_what_was_really_used(
    prices: SetPrices, sdk: str, limit: dict[str, Any]
) -> None:
    """Held are 20 + 50 tokens and 20 + 500 micro-USD, used are 20 + 8 and 20 + 80."""
    prices(it=Price(input=1, output=10, cached_input=1))
    ask = ask_for(sdk)
    with clients(**USED) as (server, ours, theirs), agent_run(budget=Budget(**limit)) as run:
        for _ in range(3):
            with ask(ours, theirs) as stream:
                stream.until_done()
        with pytest.raises(BudgetExceeded):
            ask(ours, theirs)
        assert run.usage.total_tokens == 3 * 28
    assert server.ledger.requests == 3
    assert run.result.usage.cost_usd == Decimal("0.0003")
    assert not run.result.usage.estimated


@every_sdk
async def test_a_budget_holds_for_async_managers(sdk: str) -> None:
    ask = ask_for(sdk)
    with async_clients(**USED) as (server, ours, theirs):
        async with ours, theirs, agent_run(budget=Budget(max_tokens=28 + 70)) as run:
            for _ in range(2):
                async with ask(ours, theirs) as stream:
                    await stream.until_done()
            with pytest.raises(BudgetExceeded):
                ask(ours, theirs)
    assert server.ledger.requests == 2
    assert run.result.usage.total_tokens == 2 * 28


@every_sdk
@pytest.mark.parametrize("read", [0, 2])
@pytest.mark.usefixtures("warnings_anew")
def test_a_stream_that_is_left_early_counts_at_its_estimate(
    kept: Capture, caplog: pytest.LogCaptureFixture, sdk: str, read: int
) -> None:
    with clients(**USED) as (_, ours, theirs), agent_run(budget=Budget(max_tokens=1000)) as run:
        with ask_for(sdk)(ours, theirs) as stream:
            for _ in range(read):
                next(stream)
        assert stream.response.is_closed if sdk == "messages" else stream._response.is_closed
    assert (run.result.usage.total_tokens, run.result.usage.estimated) == (70, True)
    assert caplog.records == []
    span = kept.span("chat it")
    assert span.attributes["otel_agent.usage.estimated"]
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())


@every_sdk
@pytest.mark.parametrize("read", [0, 2])
async def test_an_async_stream_that_is_left_early_counts_at_its_estimate(kept: Capture, sdk: str, read: int) -> None:
    with async_clients(**USED) as (_, ours, theirs):
        async with ours, theirs, agent_run(budget=Budget(max_tokens=1000)) as run, ask_for(sdk)(ours, theirs) as stream:
            for _ in range(read):
                await anext(stream)
    assert (run.result.usage.total_tokens, run.result.usage.estimated) == (70, True)
    assert kept.span("chat it").status.status_code is StatusCode.UNSET


def test_what_its_last_event_said_counts_when_a_stream_is_left_just_before_its_end(kept: Capture) -> None:
    with clients(**USED) as (_, ours, theirs), agent_run() as run, ask_for("messages")(ours, theirs) as stream:
        for event in stream:
            if event.type == "message_delta":
                break
    check_used(kept, run.result.usage)


def test_a_stream_without_usage_counts_at_its_estimate(caplog: pytest.LogCaptureFixture) -> None:
    ask = llm_call("it", estimated_input_tokens=20, max_output_tokens=50)
    with clients() as (_, ours, _theirs), agent_run("no usage", budget=Budget(max_tokens=1000)) as run:
        with ask(lambda: ours.chat.completions.stream(model="it", messages=HELLO))() as stream:
            stream.until_done()
        assert "ended without a record" in caplog.text
        caplog.clear()
    assert (run.result.usage.total_tokens, run.result.usage.estimated) == (70, True)


@every_sdk
def test_a_stream_that_is_closed_inside_ends_its_call_at_once(kept: Capture, sdk: str) -> None:
    with clients(**USED) as (_, ours, theirs), llm_call("it")(CREATE[sdk])(ours, theirs) as stream:
        stream.until_done()
        stream.close()
        assert [span.name for span in kept.spans] == ["chat it"]
    assert kept.span("chat it").attributes["gen_ai.usage.output_tokens"] == 8


# never entered


def test_a_manager_that_is_never_entered_sent_nothing(kept: Capture) -> None:
    with clients() as (server, ours, theirs), agent_run(budget=Budget(max_tokens=100)) as run:
        manager = ask_for("messages")(ours, theirs)
        assert run.remaining().tokens == 30
        assert kept.spans == []
        del manager
        gc.collect()
        wait_for(lambda: len(kept.spans) == 1)
        assert run.remaining().tokens == 100
        assert server.ledger.requests == 0
    assert (run.result.usage.steps, run.result.usage.total_tokens, run.result.usage.estimated) == (0, 0, False)
    span = kept.span("chat it")
    assert span.status.status_code is StatusCode.UNSET
    assert "gen_ai.usage.input_tokens" not in span.attributes


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_async_manager_that_is_never_entered_sent_nothing(kept: Capture) -> None:
    with async_clients() as (_, ours, theirs):
        async with ours, theirs, agent_run(budget=Budget(max_tokens=100)) as run:
            ask_for("messages")(ours, theirs)
            gc.collect()
            wait_for(lambda: len(kept.spans) == 1)
            assert run.remaining().tokens == 100
    assert run.result.usage.steps == 0


def test_a_manager_that_is_entered_twice_makes_two_calls(kept: Capture) -> None:
    with clients(**USED) as (server, ours, theirs), agent_run(budget=Budget(max_steps=2)) as run:
        manager = ask_for("messages")(ours, theirs)
        for _ in range(2):
            with manager as stream:
                assert stream.get_final_text() == TEXT
        with pytest.raises(BudgetExceeded), manager:
            pass
    assert server.ledger.requests == 2
    assert (run.result.usage.steps, run.result.usage.total_tokens) == (2, 56)
    assert [span.name for span in kept.spans].count("chat it") == 3  # one of them refused


# exceptions


def check_error(kept: Capture, raised: BaseException) -> None:
    span = kept.span("chat it")
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]
    assert span.attributes["error.type"].endswith(type(raised).__name__)


@every_sdk
@pytest.mark.parametrize("reply", [{"status": 500}, {"drop": "before"}])
def test_an_error_at_the_entering_is_the_calls(kept: Capture, sdk: str, reply: Any) -> None:
    with clients(**reply) as (_, ours, theirs), agent_run() as run:
        manager = ask_for(sdk)(ours, theirs)
        with pytest.raises((openai.APIError, anthropic.APIError)) as caught, manager:
            pytest.fail("it was entered")
    check_error(kept, caught.value)
    assert run.result.usage.estimated


@every_sdk
async def test_an_error_at_the_entering_of_an_async_manager_is_the_calls(kept: Capture, sdk: str) -> None:
    with async_clients(status=500) as (_, ours, theirs):
        async with ours, theirs:
            with pytest.raises((openai.APIError, anthropic.APIError)) as caught:
                async with ask_for(sdk)(ours, theirs):
                    pytest.fail("it was entered")
    check_error(kept, caught.value)


@every_sdk
def test_a_connection_that_breaks_off_is_the_calls_error_once(kept: Capture, sdk: str) -> None:
    with (
        clients(drop="midway") as (_, ours, theirs),
        agent_run() as run,
        pytest.raises(Exception, match=r".") as caught,
        ask_for(sdk)(ours, theirs) as stream,
    ):
        stream.until_done()
    check_error(kept, caught.value)
    assert run.result.usage.estimated


def test_a_connection_that_breaks_off_is_the_calls_error_also_when_it_is_caught_inside(kept: Capture) -> None:
    with (
        clients(drop="midway") as (_, ours, theirs),
        ask_for("messages")(ours, theirs) as stream,
        pytest.raises(Exception, match=r".") as caught,
    ):
        list(stream.text_stream)
    check_error(kept, caught.value)


def test_an_error_of_the_block_is_raised_as_it_is(kept: Capture) -> None:
    error = ValueError("mine")

    def read(*clients: Any) -> None:
        with ask_for("messages")(*clients) as stream:
            next(stream)
            raise error

    with clients() as (_, ours, theirs), pytest.raises(ValueError, match="mine") as caught:
        read(ours, theirs)
    assert caught.value is error
    check_error(kept, error)


async def test_an_error_of_an_async_block_is_raised_as_it_is(kept: Capture) -> None:
    error = ValueError("mine")

    async def read(*clients: Any) -> None:
        async with ask_for("messages")(*clients) as stream:
            await anext(stream)
            raise error

    with async_clients() as (_, ours, theirs):
        async with ours, theirs:
            with pytest.raises(ValueError, match="mine") as caught:
                await read(ours, theirs)
    assert caught.value is error
    check_error(kept, error)


async def test_a_deadline_interrupts_a_stream_that_a_run_lasts_for(kept: Capture) -> None:
    answer = agent_run("agent", budget=Budget(max_seconds=0.2))(ask_for("messages"))
    with async_clients(chunk_delay=0.5) as (_, ours, theirs):
        async with ours, theirs:
            with pytest.raises(AgentStop, match="max_seconds"):
                async with answer(ours, theirs) as stream:
                    await stream.get_final_message()
    (run,) = kept.records.runs
    assert (run.stop_reason, run.usage.estimated) == ("max_seconds", True)


def test_a_generator_around_a_manager_may_be_collected(kept: Capture) -> None:
    """Reading goes on in the garbage collector, where nothing may be told."""

    def texts(ask: Any, box: list[Any]) -> Iterator[str]:
        with ask as stream:
            yield from stream.text_stream
            box.clear()

    with clients(**USED) as (_, ours, theirs), agent_run(budget=Budget(max_tokens=1000)) as run:
        box: list[Any] = []
        box.append(texts(ask_for("messages")(ours, theirs), box))
        assert next(box[0])
        del box
        gc.collect()
        wait_for(lambda: any(span.name == "chat it" for span in kept.spans))
    assert (run.result.usage.total_tokens, run.result.usage.estimated) == (70, True)


# through other verbs and threads


def test_a_manager_through_a_tool_and_a_run_ends_all_of_them(kept: Capture) -> None:
    answer = agent_run("agent")(tool_call("tool")(llm_call("it")(CREATE["messages"])))
    with clients(**USED) as (_, ours, theirs), answer(ours, theirs) as stream:
        assert isinstance(stream, anthropic.MessageStream)
        assert "".join(stream.text_stream) == TEXT
        assert current_run() is None
        assert kept.spans == []
    assert [span.name for span in kept.spans] == ["chat it", "execute_tool tool", "invoke_agent agent"]
    (run,) = kept.records.runs
    assert (run.stop_reason, run.usage.total_tokens, run.usage.estimated) == ("finish", 28, False)


def test_another_thread_may_read_the_stream(kept: Capture) -> None:
    texts: list[str] = []

    def read(stream: Any) -> None:
        with clean():
            texts.extend(stream.text_stream)

    with clients(**USED) as (_, ours, theirs), agent_run() as run, ask_for("messages")(ours, theirs) as stream:
        thread = threading.Thread(target=read, args=(stream,))
        thread.start()
        thread.join()
    assert "".join(texts) == TEXT
    check_used(kept, run.result.usage)


async def test_many_managers_are_read_at_once() -> None:
    ask = ask_for("messages")

    async def one(*clients: Any) -> str:
        async with ask(*clients) as stream:
            return await atexts(stream)

    with async_clients(**USED) as (_, ours, theirs):
        async with ours, theirs, agent_run(budget=Budget(max_tokens=9 * 70)) as run:
            assert await asyncio.gather(*(one(ours, theirs) for _ in range(9))) == [TEXT] * 9
    assert (run.result.usage.total_tokens, run.result.usage.estimated) == (9 * 28, False)


# managers of others


class Items:
    """A stream that says in which span it is read."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen
        self.left: list[Any] = [{"usage": {"prompt_tokens": 7, "completion_tokens": 2}}, {"choices": []}]

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        self.seen.append(("step", current_span_name()))
        if not self.left:
            raise StopIteration
        return self.left.pop()

    def some(self, most: int) -> Iterator[Any]:
        for _ in range(most):
            yield next(self)


class ItemStreamManager:
    def __init__(self, stream: Any = None, handles: bool = False) -> None:
        self.seen: list[Any] = []
        self.stream = Items(self.seen) if stream is None else stream
        self.handles = handles

    def __enter__(self) -> Any:
        self.seen.append(("enter", current_span_name()))
        return self.stream

    def __exit__(self, kind: Any, exc: BaseException | None, tb: Any) -> bool:
        self.seen.append(("exit", current_span_name(), exc))
        return self.handles


def test_entering_steps_and_leaving_are_inside_the_call() -> None:
    manager = ItemStreamManager()
    with agent_run() as run, llm_call("it")(lambda: manager)() as stream:
        assert len(list(stream)) == 2
        assert current_span_name() == "invoke_agent agent"
    assert manager.seen == [("enter", "chat it"), *[("step", "chat it")] * 3, ("exit", "chat it", None)]
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (7, 2)


def test_what_a_manager_handles_is_no_error(kept: Capture) -> None:
    manager = ItemStreamManager(handles=True)
    error = ValueError("handled")
    with llm_call("it")(lambda: manager)():
        raise error
    assert manager.seen[-1] == ("exit", "chat it", error)
    assert kept.span("chat it").status.status_code is StatusCode.UNSET


def test_what_a_manager_gives_that_is_no_stream_is_left_as_it_is(kept: Capture) -> None:
    given = object()
    with llm_call("it")(lambda: ItemStreamManager(given))() as entered:
        assert entered is given
        assert kept.spans == []
    assert len(kept.spans) == 1


def test_a_generator_that_needs_more_than_the_stream_is_left_as_it_is() -> None:
    stream = Items([])
    stream.first = stream.some(1)  # type: ignore[attr-defined]
    with llm_call("it")(lambda: ItemStreamManager(stream))() as entered:
        assert entered.first is stream.first  # type: ignore[attr-defined]


class Tricky(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Nameless(metaclass=Tricky):
    pass


class NotAStreamManager:
    """Has the name alone."""


@pytest.mark.parametrize(
    "give", [NotAStreamManager, lambda: Nameless(), threading.Lock, lambda: MagicMock(ItemStreamManager())]
)
def test_what_is_no_stream_manager_ends_its_call_when_it_is_returned(
    kept: Capture, verb: Verb, give: Callable[[], Any]
) -> None:
    given = give()
    returned = verb.make()(lambda: given)()
    assert returned is given
    assert ended(kept, verb)


def test_connections_and_files_stay_what_they_are(kept: Capture, verb: Verb, tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert verb.make()(lambda: connection)() is connection
    path = tmp_path / "file"
    path.write_text("text")
    if verb.name != "llm_call":  # for which any iterator is a stream
        with path.open() as file:
            assert verb.make()(lambda: file)() is file
    assert len(kept.spans) >= 1
