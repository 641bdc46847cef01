"""What each item of a stream costs beside the bare loop."""

from __future__ import annotations

from collections.abc import Generator

from otel_agent import agent_run, llm_call
from tests.bench.harness import Pair, bench

ITEMS = 1000


def _bare() -> Generator[int]:
    yield from range(ITEMS)


@agent_run("streaming")
def _agent() -> Generator[int]:
    yield from range(ITEMS)


CHUNK = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "word "}}]}


def _chunks() -> Generator[object]:
    for _ in range(ITEMS):
        yield CHUNK


@llm_call("gpt-5-mini", provider="openai")
def _model() -> Generator[object]:
    for _ in range(ITEMS):
        yield CHUNK


def _read(stream: Generator[object]) -> None:
    for _ in stream:
        pass


@bench("an item that an agent streams", yardstick="the bare loop", at_most=1e-6, of="difference")
def agent_items() -> Pair:
    return Pair(ours=lambda: _read(_agent()), yardstick=lambda: _read(_bare()), operations=ITEMS)


@bench("a chunk that a model streams, read", yardstick="the bare loop", at_most=1e-6, of="difference")
def model_chunks() -> Pair:
    return Pair(ours=lambda: _read(_model()), yardstick=lambda: _read(_chunks()), operations=ITEMS)
