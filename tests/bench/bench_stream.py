"""What one item of a stream costs more for being streamed through a decorated generator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_agent import agent_run, llm_call, tool_call
from tests.bench.harness import Pair, bench

ITEMS = 5_000
AT_MOST = 0.000_001
CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "model": "some-model",
    "choices": [{"index": 0, "delta": {"content": "word"}, "finish_reason": None}],
}


def _items() -> Iterator[dict[str, Any]]:
    for _ in range(ITEMS):
        yield CHUNK


async def _async_items() -> AsyncIterator[dict[str, Any]]:
    for _ in range(ITEMS):
        yield CHUNK


class _Stream:
    """A stream object like those of the SDKs."""

    def __init__(self) -> None:
        self._iterator = _items()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self._iterator

    def __next__(self) -> dict[str, Any]:
        return next(self._iterator)


def _read(stream: Iterable[Any]) -> None:
    for _ in stream:
        pass


def _pair(decorated: Callable[[], Iterable[Any]], bare: Callable[[], Iterable[Any]]) -> Pair:
    trace.set_tracer_provider(TracerProvider())
    return Pair(ours=lambda: _read(decorated()), yardstick=lambda: _read(bare()), operations=ITEMS)


@bench("an item of a tool's generator", yardstick="of the bare generator", at_most=AT_MOST, of="difference")
def tool_item() -> Pair:
    return _pair(tool_call("it")(_items), _items)


@bench("an item of an agent's generator", yardstick="of the bare generator", at_most=AT_MOST, of="difference")
def agent_item() -> Pair:
    return _pair(agent_run("it")(_items), _items)


@bench("a chunk of a model call's stream", yardstick="of the bare stream", at_most=AT_MOST, of="difference")
def model_chunk() -> Pair:
    return _pair(llm_call("it")(lambda: _Stream()), _Stream)


@bench("an item of an async generator", yardstick="of the bare generator", at_most=AT_MOST, of="difference")
def async_item() -> Iterator[Pair]:
    decorated = tool_call("it")(_async_items)
    trace.set_tracer_provider(TracerProvider())
    loop = asyncio.new_event_loop()

    async def read(make: Callable[[], AsyncIterator[Any]]) -> None:
        async for _ in make():
            pass

    yield Pair(
        ours=lambda: loop.run_until_complete(read(decorated)),
        yardstick=lambda: loop.run_until_complete(read(_async_items)),
        operations=ITEMS,
    )
    loop.close()
