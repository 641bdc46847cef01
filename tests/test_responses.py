"""Responses are read with the types of the real SDKs: their shapes, their streams, and what others make of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import anthropic
import openai
import pytest
from anthropic.lib.streaming import ParsedMessageStopEvent
from anthropic.types import Message, RawContentBlockDeltaEvent, RawMessageDeltaEvent, RawMessageStartEvent
from anthropic.types.beta import BetaMessage
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChunkEvent
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFailedEvent,
    ResponseIncompleteEvent,
)
from pydantic import BaseModel

from otel_agent import responses
from otel_agent.responses import StreamReading, estimate_tokens, read_response
from otel_agent.testing.server import Reply, ScriptedModelServer
from otel_agent.usage import Reading

DOCS = Path(__file__).parent.parent / "docs" / "usage.md"

CHAT_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 15, "audio_tokens": 0},
}
RESPONSE_USAGE = {
    "input_tokens": 100,
    "output_tokens": 20,
    "total_tokens": 120,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens_details": {"reasoning_tokens": 15},
}
ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 30,
    "output_tokens": 20,
    "output_tokens_details": {"thinking_tokens": 15},
}
# Every provider's usage above is the same call.
TOKENS: dict[str, Any] = {
    "input_tokens": 100,
    "output_tokens": 20,
    "cached_input_tokens": 60,
    "cache_write_tokens": 30,
    "reasoning_tokens": 15,
}


def chat(usage: Mapping[str, Any] | None, **fields: Any) -> ChatCompletion:
    answer = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    plain = {"id": "c1", "created": 1, "model": "gpt-5-mini-2025-08-07", "object": "chat.completion"}
    return ChatCompletion.model_validate({**plain, "choices": [answer], "usage": usage, **fields})


def chunk(**fields: Any) -> ChatCompletionChunk:
    plain = {"id": "c1", "created": 1, "model": "gpt-5-mini", "object": "chat.completion.chunk", "choices": []}
    return ChatCompletionChunk.model_validate({**plain, **fields})


def text_chunk(text: str, *, index: int = 0, finish_reason: str | None = None) -> ChatCompletionChunk:
    return chunk(choices=[{"index": index, "delta": {"content": text}, "finish_reason": finish_reason}])


def response(**fields: Any) -> Response:
    plain = {"id": "r1", "created_at": 1, "model": "gpt-5", "object": "response", "output": [], "tools": []}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "status": "completed", "usage": RESPONSE_USAGE}
    return Response.model_validate({**plain, **more, **fields})


def message(usage: Mapping[str, Any] = ANTHROPIC_USAGE, **fields: Any) -> Message:
    plain = {"id": "m1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    return Message.model_validate({**plain, "stop_reason": "end_turn", "usage": usage, **fields})


def message_start(**usage: Any) -> RawMessageStartEvent:
    started = message(usage, stop_reason=None).model_dump()
    return RawMessageStartEvent.model_validate({"type": "message_start", "message": started})


def message_delta(stop_reason: str | None = "end_turn", **usage: Any) -> RawMessageDeltaEvent:
    event = {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage}
    return RawMessageDeltaEvent.model_validate(event)


def fed(*events: object) -> Reading:
    stream = StreamReading()
    for event in events:
        stream.feed(event)
    return stream.reading


def tokens(reading: Reading) -> dict[str, Any]:
    return {name: value for name, value in asdict(reading).items() if name in TOKENS}


WHOLE = {
    "chat": (chat(CHAT_USAGE), "gpt-5-mini-2025-08-07", "c1", ("stop",)),
    "responses": (response(), "gpt-5", "r1", ("completed",)),
    "messages": (message(), "claude-sonnet-4-5", "m1", ("end_turn",)),
}
whole = pytest.mark.parametrize(("said", "model", "response_id", "reasons"), WHOLE.values(), ids=WHOLE)


@whole
def test_every_api_has_one_meaning(said: Any, model: str, response_id: str, reasons: tuple[str, ...]) -> None:
    expected = Reading(**TOKENS, model=model, response_id=response_id, finish_reasons=reasons)
    assert read_response(said) == expected
    assert read_response(said.model_dump()) == expected
    assert read_response(said.model_dump(exclude_none=True)) == expected


@pytest.mark.parametrize(
    ("kind", "status", "details", "reason"),
    [
        (ResponseCompletedEvent, "completed", None, "completed"),
        (ResponseIncompleteEvent, "incomplete", {"reason": "max_output_tokens"}, "max_output_tokens"),
        (ResponseFailedEvent, "failed", None, "failed"),
    ],
)
def test_last_event_of_a_responses_stream(kind: Any, status: str, details: Any, reason: str) -> None:
    ended = response(status=status, incomplete_details=details).model_dump()
    last = {"type": f"response.{status}", "sequence_number": 9, "response": ended}
    reading = read_response(kind.model_validate(last))
    assert tokens(reading) == TOKENS
    assert (reading.response_id, reading.finish_reasons) == ("r1", (reason,))
    assert read_response(last) == reading


def test_a_response_in_progress_has_not_ended() -> None:
    assert read_response(response(status="in_progress", usage=None)).finish_reasons == ()


def test_a_status_of_something_else_is_no_finish_reason() -> None:
    assert read_response({"object": "batch", "status": "completed"}).finish_reasons == ()


def test_chat_stream_ends_with_a_chunk_of_usage_alone() -> None:
    stream = [text_chunk("Hel"), text_chunk("lo", finish_reason="stop"), chunk(usage=CHAT_USAGE)]
    expected = Reading(**TOKENS, model="gpt-5-mini", response_id="c1", finish_reasons=("stop",))
    assert fed(*stream) == expected
    assert fed(*(each.model_dump() for each in stream)) == expected


def test_usage_may_come_with_the_finish_reason() -> None:
    last = text_chunk("lo", finish_reason="length").model_copy(update={"usage": chat(CHAT_USAGE).usage})
    reading = fed(text_chunk("Hel"), last)
    assert tokens(reading) == TOKENS
    assert reading.finish_reasons == ("length",)


def test_finish_reasons_stand_in_the_order_of_the_choices() -> None:
    late_first = [text_chunk("", index=1, finish_reason="length"), text_chunk("", index=0, finish_reason="stop")]
    assert fed(text_chunk("a"), *late_first).finish_reasons == ("stop", "length")
    choices = [{"finish_reason": "tool_calls"}, {"finish_reason": None}, {"finish_reason": "stop"}]
    assert read_response({"choices": choices}).finish_reasons == ("tool_calls", "stop")


def test_running_counts_are_replaced_not_added() -> None:
    running = [{"prompt_tokens": 5, "completion_tokens": n, "total_tokens": 5 + n} for n in (1, 2, 3)]
    reading = fed(*(chunk(usage=usage) for usage in running))
    assert (reading.input_tokens, reading.output_tokens) == (5, 3)


def test_the_sdk_stream_helper_of_chat() -> None:
    chunks = [text_chunk("Hel"), text_chunk("lo", finish_reason="stop"), chunk(usage=CHAT_USAGE)]
    snapshot = chat(None)
    events = [ChunkEvent.construct(type="chunk", chunk=each, snapshot=snapshot) for each in chunks]
    reading = fed(*events)
    assert tokens(reading) == TOKENS
    assert reading.finish_reasons == ("stop",)


def test_groq_puts_usage_of_a_stream_aside() -> None:
    last = {**text_chunk("", finish_reason="stop").model_dump(), "x_groq": {"id": "req_1", "usage": CHAT_USAGE}}
    reading = fed(text_chunk("Hel"), ChatCompletionChunk.model_validate(last))
    assert tokens(reading) == TOKENS
    assert reading.response_id == "c1"


def test_usage_that_a_chunk_hides_from_its_dict_is_found() -> None:
    class Hiding:
        def __init__(self) -> None:
            self.choices = [SimpleNamespace(finish_reason=None)]

        @property
        def usage(self) -> dict[str, Any]:
            return CHAT_USAGE

    assert tokens(fed(text_chunk("Hel"), Hiding())) == TOKENS


def test_usage_that_is_no_field_of_the_model_is_found() -> None:
    class Extra(BaseModel, extra="allow"):
        choices: list[Any] = []

    class Computed(BaseModel, extra="allow"):
        choices: list[Any] = []

        @property
        def usage(self) -> dict[str, Any]:
            return CHAT_USAGE

    for said in (Extra.model_validate({"usage": CHAT_USAGE}), Computed()):
        assert tokens(read_response(said)) == TOKENS
        assert tokens(fed(text_chunk("Hel"), said)) == TOKENS


def test_empty_model_of_a_first_chunk_is_unknown() -> None:
    first = chunk(model="", id="")
    assert fed(first).model is None
    reading = fed(first, text_chunk("x", finish_reason="stop"))
    assert (reading.model, reading.response_id) == ("gpt-5-mini", "c1")


def test_anthropic_stream_says_input_first_and_output_last() -> None:
    start = message_start(**{**ANTHROPIC_USAGE, "output_tokens": 1, "output_tokens_details": None})
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
    end = message_delta(output_tokens=20, output_tokens_details={"thinking_tokens": 15})
    stream = [start, RawContentBlockDeltaEvent.model_validate(text), end]
    expected = Reading(**TOKENS, model="claude-sonnet-4-5", response_id="m1", finish_reasons=("end_turn",))
    assert fed(*stream) == expected
    assert fed(*(each.model_dump() for each in stream)) == expected


def test_abandoned_anthropic_stream_has_unknown_output() -> None:
    reading = fed(message_start(**{**ANTHROPIC_USAGE, "output_tokens": 1}))
    assert (reading.input_tokens, reading.output_tokens) == (100, None)


def test_cumulative_input_of_the_delta_replaces_that_of_the_start() -> None:
    start = message_start(input_tokens=10, output_tokens=1, cache_read_input_tokens=5)
    reading = fed(start, message_delta(input_tokens=40, output_tokens=7))
    assert (reading.input_tokens, reading.cached_input_tokens, reading.output_tokens) == (45, 5, 7)


def test_zero_input_of_the_delta_does_not_wipe_out_the_start() -> None:
    start = message_start(input_tokens=10, output_tokens=1)
    reading = fed(start, message_delta(input_tokens=0, cache_read_input_tokens=0, output_tokens=7))
    assert (reading.input_tokens, reading.output_tokens) == (10, 7)


def test_zero_input_beside_a_full_cache_is_true() -> None:
    start = message_start(input_tokens=2_413, output_tokens=1)
    reading = fed(start, message_delta(input_tokens=0, cache_read_input_tokens=2_413, output_tokens=7))
    assert (reading.input_tokens, reading.cached_input_tokens) == (2_413, 2_413)


def test_the_accumulated_message_of_the_sdk_helper() -> None:
    stop = ParsedMessageStopEvent.construct(type="message_stop", message=message())
    assert fed(message_start(input_tokens=1, output_tokens=1), stop) == read_response(message())


def test_passes_outside_anthropics_sums_are_added() -> None:
    apart = {"cache_creation_input_tokens": 3, "cache_read_input_tokens": 2, "input_tokens": 1_000, "output_tokens": 50}
    inside = {"cache_creation_input_tokens": 30, "cache_read_input_tokens": 60, "input_tokens": 10, "output_tokens": 20}
    passes = [{**inside, "type": "message", "model": "x"}, {**apart, "type": "compaction"}]
    usage = {**ANTHROPIC_USAGE, "iterations": [*passes, {**apart, "type": "advisor_message", "model": "y"}]}
    said = BetaMessage.model_validate({**message().model_dump(), "usage": usage})
    assert tokens(read_response(said)) == {
        "input_tokens": 100 + 2 * 1_005,
        "output_tokens": 20 + 2 * 50,
        "cached_input_tokens": 60 + 2 * 2,
        "cache_write_tokens": 30 + 2 * 3,
        "reasoning_tokens": 15,
    }


def test_embeddings_have_no_output() -> None:
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    said = {"data": [], "model": "text-embedding-3-small", "object": "list", "usage": usage}
    reading = read_response(CreateEmbeddingResponse.model_validate(said))
    assert (reading.input_tokens, reading.output_tokens, reading.model) == (8, 0, "text-embedding-3-small")


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}, (32, 103)),  # reasoning in the total only
        ({"prompt_tokens": 32, "completion_tokens": 0, "total_tokens": 92}, (32, 60)),
        ({"prompt_tokens": 32, "total_tokens": 40}, (32, 8)),
        ({"completion_tokens": 8, "total_tokens": 40}, (32, 8)),
        ({"prompt_tokens": 0, "completion_tokens": 8, "total_tokens": 40}, (32, 8)),
        ({"prompt_tokens": 32, "completion_tokens": 8, "total_tokens": 4}, (32, 8)),  # a total too small says nothing
        ({"prompt_tokens": 32, "completion_tokens": 8}, (32, 8)),
        ({"prompt_tokens": 32, "completion_tokens": 0}, (32, 0)),
        ({"prompt_tokens": 32}, (32, None)),
        ({"total_tokens": 40}, (None, None)),
        ({"completion_tokens": 8, "total_tokens": 8}, (None, 8)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "cache_read_input_tokens": 4}, (5, 1)),  # already inside
        ({"prompt_tokens": 5, "input_tokens": 5, "completion_tokens": 1, "output_tokens": 1}, (5, 1)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10}}, (10, 1)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 9}}, (5, 9)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None, "cost": 0.1}, (5, 1)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (None, None)),
        ({"input_tokens": 0, "output_tokens": 0}, (None, None)),
        ({"prompt_tokens": 0, "completion_tokens": 7}, (None, 7)),
        ({"cache_read_input_tokens": 7}, (None, None)),
        ({}, (None, None)),
        (None, (None, None)),
    ],
)
def test_compatible_servers(usage: Any, read: tuple[int | None, int | None]) -> None:
    reading = read_response({"model": "m", "choices": [], "usage": usage})
    assert (reading.input_tokens, reading.output_tokens) == read
    assert fed({"choices": []}, {"choices": [], "usage": usage}) == Reading(**tokens(reading))


@pytest.mark.parametrize("count", [True, "7", -1, 7.0, float("nan"), 10**12 + 1, [7], MagicMock(), None])
def test_what_is_no_count_is_unknown(count: object) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": count}}
    reading = read_response({"usage": usage})
    assert (reading.input_tokens, reading.output_tokens, reading.cached_input_tokens) == (None, 3, None)


def test_largest_count_is_known() -> None:
    assert read_response({"usage": {"prompt_tokens": 10**12}}).input_tokens == 10**12


# The real SDKs against a server whose books say the same.

REPLY = Reply(text="Hello there", **TOKENS)
HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedModelServer]:
    with ScriptedModelServer(lambda _: REPLY) as running:
        yield running


@pytest.fixture(scope="module")
def openai_client(server: ScriptedModelServer) -> Iterator[openai.OpenAI]:
    web = openai.DefaultHttpxClient(verify=False, trust_env=False)
    with openai.OpenAI(api_key="k", base_url=server.base_url, max_retries=0, timeout=5, http_client=web) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(server: ScriptedModelServer) -> Iterator[anthropic.Anthropic]:
    web, url = anthropic.DefaultHttpxClient(verify=False, trust_env=False), server.anthropic_base_url
    with anthropic.Anthropic(api_key="k", base_url=url, max_retries=0, timeout=5, http_client=web) as client:
        yield client


def test_chat_of_the_sdk(openai_client: openai.OpenAI) -> None:
    create = openai_client.chat.completions.create
    asked: dict[str, Any] = {"model": "gpt-5-mini", "messages": HELLO}
    reading = read_response(create(**asked))
    assert tokens(reading) == TOKENS
    assert fed(*create(**asked, stream=True, stream_options={"include_usage": True})).finish_reasons == ("stop",)
    assert tokens(fed(*create(**asked, stream=True, stream_options={"include_usage": True}))) == TOKENS
    assert set(tokens(fed(*create(**asked, stream=True))).values()) == {None}


def test_responses_of_the_sdk(openai_client: openai.OpenAI) -> None:
    create = openai_client.responses.create
    asked: dict[str, Any] = {"model": "gpt-5-mini", "input": HELLO}
    assert tokens(read_response(create(**asked))) == TOKENS
    assert tokens(fed(*create(**asked, stream=True))) == TOKENS


def test_messages_of_the_sdk(anthropic_client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "claude", "max_tokens": 1_000, "messages": HELLO}
    expected = tokens(read_response(anthropic_client.messages.create(**asked)))
    assert {**TOKENS, **{name: count for name, count in expected.items() if count is not None}} == TOKENS
    assert tokens(fed(*anthropic_client.messages.create(**asked, stream=True))) == expected
    with anthropic_client.messages.stream(**asked) as stream:
        assert tokens(fed(*stream)) == expected
        assert tokens(read_response(stream.get_final_message())) == expected


def test_raw_response_is_read_without_parsing_it(openai_client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=HELLO)
    whole = raw.parse()
    monkeypatch.setattr(type(raw), "parse", lambda *_, **__: pytest.fail("parse() was called"))
    assert read_response(raw) == read_response(whole)
    assert tokens(read_response(raw)) == TOKENS


def test_raw_response_that_is_not_read_yet_stays_so(openai_client: openai.OpenAI) -> None:
    asked = openai_client.chat.completions.with_streaming_response.create(model="gpt-5-mini", messages=HELLO)
    with asked as unread:
        assert read_response(unread) == Reading()
        assert b"Hello there" in unread.read()
        assert tokens(read_response(unread)) == TOKENS


def test_reading_a_stream_consumes_nothing_of_it(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.create(model="gpt-5-mini", input=HELLO, stream=True) as stream:
        assert read_response(stream) == Reading()
        assert tokens(fed(*stream)) == TOKENS


@pytest.mark.parametrize("content", [b"data: {}", b"\xff", b"[" * 100_000, b"null", b"[1]", "{}", None])
def test_raw_response_that_is_no_json_object_says_nothing(content: object) -> None:
    assert read_response(SimpleNamespace(http_response=SimpleNamespace(content=content))) == Reading()


class Raising:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Broken(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise RuntimeError("no")


class Unequal(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = str.__hash__


def circle() -> dict[str, Any]:
    knot: dict[str, Any] = {"type": "chunk"}
    knot.update(response=knot, message=knot, chunk=knot, usage=knot, choices=[knot], delta=knot)
    return knot


class LazyUsage:
    """The model and the finish reason can be read, the usage cannot."""

    model = "m"
    stop_reason = "end_turn"

    @property
    def usage(self) -> object:
        raise RuntimeError("no")


# Made anew for each test; pytest itself could not hold some of them.
STRANGE: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "int": lambda: 5,
    "nan": lambda: float("nan"),
    "text": lambda: "text",
    "unequal": lambda: Unequal("text"),
    "bytes": lambda: b"",
    "list": lambda: [[]],
    "dict": dict,
    "object": object,
    "class": lambda: int,
    "mock": MagicMock,
    "raising": Raising,
    "broken": Broken,
    "circle": circle,
    "iterator": lambda: iter([1]),
}
strange = pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)


@strange
def test_strange_things_say_nothing(make: Callable[[], object]) -> None:
    assert read_response(make()) == Reading()
    assert fed(chunk(), make()) == fed(chunk())


@pytest.mark.parametrize(
    "field", ["type", "object", "usage", "choices", "model", "id", "status", "stop_reason", "delta"]
)
@strange
def test_strange_fields_spoil_nothing_else(field: str, make: Callable[[], object]) -> None:
    said = {"model": "m", "usage": CHAT_USAGE, field: make()}
    for reading in (read_response(said), read_response(SimpleNamespace(**said)), fed({"choices": []}, said)):
        assert field == "usage" or tokens(reading) == TOKENS
        assert field == "model" or reading.model == "m"


def test_a_field_that_raises_spoils_nothing_else() -> None:
    assert read_response(LazyUsage()) == Reading(model="m", finish_reasons=("end_turn",))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
counts = st.integers(0, 1_000) | st.sampled_from([None, -1, True, "1", 1.5, float("nan")])
PATHS = [
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
]
DETAILS = ["cached_tokens", "cache_write_tokens", "reasoning_tokens", "thinking_tokens"]
WITH_DETAILS = ["prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"]
usages = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*PATHS, "cache_read_input_tokens", "cache_creation_input_tokens"), counts),
        **{f"{name}_details": st.dictionaries(st.sampled_from(DETAILS), counts) | st.none() for name in WITH_DETAILS},
    },
)
events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message_start", "message_delta", "chunk", "response.completed", "x"]) | json_values,
        "choices": st.lists(st.fixed_dictionaries({}, optional={"finish_reason": json_values, "index": counts}))
        | json_values,
        "usage": usages | json_values,
        "message": json_values,
        "response": st.fixed_dictionaries({"usage": usages}),
        "model": json_values,
        "id": json_values,
        "status": json_values,
    },
).filter(lambda event: "choices" not in event or not {"response", "message"} & event.keys())  # no API has both


def is_consistent(reading: Reading) -> bool:
    parts = (reading.cached_input_tokens or 0) + (reading.cache_write_tokens or 0)
    inside = reading.input_tokens is None or parts <= reading.input_tokens
    return inside and (reading.output_tokens is None or (reading.reasoning_tokens or 0) <= reading.output_tokens)


@given(st.lists(events | json_values, max_size=4))
def test_anything_can_be_fed_and_parts_stay_inside(stream: list[Any]) -> None:
    for reading in (fed(*stream), *map(read_response, stream)):
        assert is_consistent(reading)
        assert all(count is None or (type(count) is int and count >= 0) for count in tokens(reading).values())
        assert reading.input_tokens != 0


@given(usages)
def test_objects_and_dicts_read_the_same(usage: dict[str, Any]) -> None:
    details = {name: SimpleNamespace(**value) if isinstance(value, dict) else value for name, value in usage.items()}
    said = SimpleNamespace(usage=SimpleNamespace(**details))
    assert read_response(said) == read_response({"usage": usage})


@given(st.lists(events, max_size=5), st.randoms(use_true_random=False))
def test_chunks_without_usage_change_no_count(stream: list[Any], random: Any) -> None:
    mixed = [*stream, *(text_chunk("x") for _ in range(3))]
    last_usage_first = fed(*stream)
    random.shuffle(mixed)
    ordered = [event for event in mixed if isinstance(event, dict)]
    assert tokens(fed(*mixed)) == tokens(fed(*ordered))
    assert tokens(fed(*stream, text_chunk("x"))) == tokens(last_usage_first)


# The table in the documentation.


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    api: str
    path: str
    ours: tuple[str, ...]


def rows(heading: str) -> list[Row]:
    """The rows of the first table under a heading."""
    section = DOCS.read_text("utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in section.splitlines() if line.startswith("|")]
    return [
        Row(api=api, path=path.strip("`"), ours=tuple(re.findall("`(.+?)`", ours))) for api, path, ours in cells[2:]
    ]


def put(said: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for name in parents:
        inner = said.setdefault(name.removesuffix("[]"), [{}] if name.endswith("[]") else {})
        said = inner[0] if isinstance(inner, list) else inner
    said[last] = value


def documented() -> Iterator[tuple[str, list[tuple[Row, int]]]]:
    """Each API with its rows and a count for each: all different in every sum, and parts smaller than their wholes."""
    table = rows("Where each number comes from")
    for api in dict.fromkeys(row.api for row in table):
        mine = [row for row in table if row.api == api]
        small = [row for row in mine if row.ours[-1] not in ("input_tokens", "output_tokens")]
        yield api, [(row, 2**at if row in small else 1_000 * 2**at) for at, row in enumerate(mine)]


@pytest.mark.parametrize(("api", "said"), list(documented()), ids=lambda value: value if isinstance(value, str) else "")
def test_documented_fields_count_as_the_table_says(api: str, said: list[tuple[Row, int]]) -> None:
    usage: dict[str, Any] = {}
    for row, count in said:
        put(usage, row.path, count)
    sums = {name: [count for row, count in said if name in row.ours] for name in TOKENS}
    assert tokens(read_response(usage)) == {name: sum(each) if each else None for name, each in sums.items()}


def test_table_and_code_know_the_same_fields() -> None:
    table = {tuple(row.path.split(".")[1:]) for row in rows("Where each number comes from")}
    assert table | {("total_tokens",)} == {path for _, path in responses._FIELDS}


@pytest.mark.parametrize("row", rows("The other fields"), ids=lambda row: f"{row.api} {row.path}")
def test_documented_other_fields_become_what_the_table_says(row: Row) -> None:
    said: dict[str, Any] = {"object": "response", "status": "incomplete"} if row.api == "OpenAI responses" else {}
    put(said, row.path, "failed")
    value = getattr(read_response(said), row.ours[0])
    assert value == (("failed",) if row.ours == ("finish_reasons",) else "failed")


# Estimates.


@pytest.mark.parametrize(
    ("messages", "estimate"),
    [
        ("", 8),
        ("abc", 9),
        ("abcd", 10),
        ("äö", 10),
        ("\ud800", 9),
        ([], 4),
        (["abc"], 9),
        ([{"role": "user", "content": "abc"}], 8 + 6),  # role user content abc: 18 bytes
        ({"role": "user", "content": "abc"}, 8 + 6),
        ([{"role": "user", "content": "abc", "name": None}], 8 + 6),
        ([{"n": 12}], 8 + 1),
        (5.5, 8 + 1),
    ],
)
def test_estimate_is_bytes_by_three_and_four_a_message(messages: object, estimate: int) -> None:
    assert estimate_tokens(messages) == estimate


def test_estimate_reads_objects_like_dicts() -> None:
    @dataclass(slots=True)
    class Slotted:
        role: str
        content: str

    @dataclass
    class Plain:
        role: str
        content: str

    sdk = ChatCompletionMessage(role="assistant", content="abc")
    expected = estimate_tokens([{"role": "assistant", "content": "abc"}])
    assert estimate_tokens([Slotted("assistant", "abc")]) == expected
    assert estimate_tokens([Plain("assistant", "abc")]) == expected
    assert estimate_tokens([sdk]) == expected
    unknown_to_the_sdk = ChatCompletionMessage.model_validate({**sdk.model_dump(), "thoughts": "x" * 300})
    assert (estimate_tokens([unknown_to_the_sdk]) or 0) > (expected or 0) + 100


def test_estimate_counts_tools_and_tool_calls() -> None:
    schema = {"type": "function", "function": {"name": "kb.search", "parameters": {"type": "object"}}}
    plain = estimate_tokens("abc") or 0
    assert (estimate_tokens("abc", [schema]) or 0) - plain == 18  # 53 bytes after those of abc
    call = {"id": "1", "type": "function", "function": {"name": "kb.search", "arguments": '{"query": "refund"}'}}
    assert (estimate_tokens([{"tool_calls": [call]}]) or 0) > 25


BASE64 = "data:image/png;base64," + "A" * 100_000


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": BASE64}},
        {"type": "input_image", "image_url": BASE64},
        {"type": "image", "source": {"type": "base64", "data": "A" * 100_000}},
        {"type": "input_audio", "input_audio": {"data": "A" * 100_000}},
        {"type": "file", "file": {"file_data": BASE64}},
        SimpleNamespace(type="image", source=SimpleNamespace(type="base64", data="A" * 100_000)),
        BASE64,
        b"A" * 100_000,
        object(),
        print,
        int,
    ],
    ids=repr,
)
def test_estimate_of_what_is_no_text_is_two_thousand(part: object) -> None:
    assert estimate_tokens([part]) == 2_000 + 8


def test_estimate_of_a_document_of_text_is_its_text() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x" * 30_000}}
    assert (estimate_tokens([document]) or 0) > 10_000


def test_estimate_consumes_no_iterator() -> None:
    once = iter(["abc"])
    assert estimate_tokens(once) is None
    assert estimate_tokens([{"content": once}]) is None
    assert estimate_tokens("abc", once) is None
    assert list(once) == ["abc"]

    async def stream() -> Any:
        yield "abc"

    assert estimate_tokens(stream()) is None


def test_estimate_of_nothing_is_unknown() -> None:
    assert estimate_tokens(None) is None
    assert estimate_tokens(None, ["abc"]) is None


def test_estimate_of_a_circle_ends() -> None:
    knot: list[Any] = ["abc"]
    knot.append(knot)
    assert estimate_tokens(knot) == 1 + 4 * 3


def test_estimate_counts_a_repeated_message_each_time_and_walks_it_once() -> None:
    text = {"content": "x" * 300}
    assert (estimate_tokens([text] * 10) or 0) > 1_000
    nested: list[Any] = ["x"]
    for _ in range(60):
        nested = [nested, nested]
    assert estimate_tokens(nested) == 10**12


def test_estimate_of_deep_nesting_is_unknown() -> None:
    deep: list[Any] = []
    for _ in range(101):
        deep = [deep]
    assert estimate_tokens(deep[0]) is not None
    assert estimate_tokens(deep) is None


@strange
def test_estimate_of_strange_things_never_raises(make: Callable[[], object]) -> None:
    for estimate in (estimate_tokens(make()), estimate_tokens([make()]), estimate_tokens("abc", make())):
        assert estimate is None or estimate > 0


@given(json_values, json_values)
def test_estimate_never_raises_and_is_repeatable(messages: Any, tools: Any) -> None:
    assert estimate_tokens(messages, tools) == estimate_tokens(messages, tools)


@given(st.lists(st.text(), min_size=1), st.text())
def test_estimate_never_falls_when_text_is_added(texts: list[str], more: str) -> None:
    assert (estimate_tokens([*texts, more]) or 0) >= (estimate_tokens(texts) or 0)
    assert (estimate_tokens(texts) or 0) * 3 >= sum(len(text.encode()) for text in texts if text.isascii())
