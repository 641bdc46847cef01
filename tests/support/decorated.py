"""Decorated callables of a module, as a worker of another process imports them."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

from otel_agent import agent_run, llm_call, tool_call

__all__ = ["FUNCTIONS", "Bot", "of_partial"]


@agent_run("it")
def agent(number: int) -> int:
    """Doubles."""
    return 2 * number


@agent_run("it")
async def async_agent(number: int) -> int:
    return 2 * number


@llm_call("it")
def ask(number: int) -> int:
    return 2 * number


@tool_call("it")
def tool(number: int) -> int:
    return 2 * number


@tool_call("it")
async def async_tool(number: int) -> int:
    return 2 * number


@tool_call("it")
def items(number: int) -> Iterator[int]:
    yield 2 * number


@tool_call("it")
async def async_items(number: int) -> AsyncIterator[int]:
    yield 2 * number


@agent_run
@tool_call
def twice_decorated(number: int) -> int:
    return 2 * number


@tool_call("it")
@functools.lru_cache
def remembered(number: int) -> int:
    return 2 * number


FUNCTIONS = (agent, async_agent, ask, tool, async_tool, items, async_items, twice_decorated, remembered)


def _multiply(factor: int, number: int) -> int:
    return factor * number


of_partial = tool_call("it")(functools.partial(_multiply, 2))


class Bot:
    """Its methods are pickled through it."""

    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Bot) and other.factor == self.factor

    def __hash__(self) -> int:
        return self.factor

    @agent_run("it")
    def answer(self, number: int) -> int:
        return self.factor * number

    @tool_call("it")
    def search(self, number: int) -> int:
        return self.factor * number

    @tool_call("it")
    def items(self, number: int) -> Iterator[int]:
        yield self.factor * number

    @agent_run("it")
    @classmethod
    def of_class(cls, number: int) -> int:
        return 2 * number

    @agent_run("it")
    @staticmethod
    def of_nobody(number: int) -> int:
        return 2 * number
