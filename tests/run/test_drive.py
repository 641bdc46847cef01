"""A verb goes around a callable and is not noticed but for its span: what holds for all kinds of callables."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_agent import Budget, LoopDetected, agent_run, current_call, current_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.support.calls import ask, use
from tests.support.verbs import Verb, clean, current_span_name, parent_of

pytestmark = pytest.mark.usefixtures("unharmed")


def add(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> int:
    return a + b + sum(more) + c + sum(rest.values())


async def add_later(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> int:
    await asyncio.sleep(0)
    return add(a, b, *more, c=c, **rest)


def add_each(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> Iterator[int]:
    yield add(a, b, *more, c=c, **rest)


async def add_each_later(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> AsyncIterator[int]:
    yield await add_later(a, b, *more, c=c, **rest)


def give_coroutine(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> Coroutine[Any, Any, int]:
    return add_later(a, b, *more, c=c, **rest)


def give_generator(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> Iterator[int]:
    return add_each(a, b, *more, c=c, **rest)


def give_async_generator(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> AsyncIterator[int]:
    return add_each_later(a, b, *more, c=c, **rest)


KINDS = (add, add_later, add_each, add_each_later, give_coroutine, give_generator, give_async_generator)
every_kind = pytest.mark.parametrize("function", KINDS, ids=lambda function: function.__name__)


async def result_of(made: Any) -> int:
    if hasattr(made, "__aiter__"):
        return [item async for item in made][0]  # noqa: RUF015
    if hasattr(made, "__await__"):
        return await made  # type: ignore[no-any-return]
    return next(iter(list(made))) if isinstance(made, Iterator) else made


CALLS: tuple[tuple[tuple[int, ...], dict[str, int]], ...] = (
    ((1,), {}),
    ((1, 1), {}),
    ((1, 1, 1, 1), {"c": 1}),
    ((), {"a": 5, "d": 7}),
)


@every_kind
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
async def test_it_gives_what_it_gave(
    kept: Capture, verb: Verb, function: Callable[..., Any], args: Any, kwargs: Any
) -> None:
    traced = verb.make()(function)
    with clean():
        assert await result_of(traced(*args, **kwargs)) == add(*args, **kwargs)
    span = kept.span(verb.span)
    assert span.kind is (SpanKind.CLIENT if verb.name == "llm_call" else SpanKind.INTERNAL)
    assert span.status.status_code is StatusCode.UNSET


@every_kind
async def test_it_runs_inside_its_span_and_the_caller_does_not(
    kept: Capture, verb: Verb, function: Callable[..., Any]
) -> None:
    seen: list[Any] = []

    class Number(int):
        def __add__(self, other: Any) -> Any:
            seen.append(current_span_name())
            return super().__add__(other)

    made = verb.make()(function)(Number(1))
    assert current_span_name() is None
    assert await result_of(made) == 6
    assert seen == [verb.span]


@every_kind
async def test_many_at_once_keep_apart(kept: Capture, verb: Verb, function: Callable[..., Any]) -> None:
    traced = verb.make()(function)
    with clean():
        got = await asyncio.gather(*(result_of(traced(number)) for number in range(50)))
    assert got == [number + 5 for number in range(50)]
    assert [span.parent for span in kept.spans] == [None] * 50


@every_kind
async def test_it_is_called_as_often_as_one_likes(kept: Capture, verb: Verb, function: Callable[..., Any]) -> None:
    traced = verb.make()(function)
    for _ in range(3):
        assert await result_of(traced(1)) == 6
    assert len(kept.spans) == 3


async def test_a_verb_is_a_decorator_and_a_block(kept: Capture, verb: Verb) -> None:
    both = verb.make()
    traced = both(add)
    with both:
        assert traced(1) == 6
    async with both:
        assert traced(1) == 6
    assert [span.name for span in kept.spans] == [verb.span] * 4
    inner, outer = kept.spans[:2]
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id


def test_a_block_gives_its_frame_and_hides_no_value(kept: Capture) -> None:
    with agent_run("it") as run, llm_call("it") as call, tool_call("it"):
        assert current_run() is run
    assert call.max_output_tokens is None
    assert run.result.stop_reason == "finish"


async def test_what_a_call_is_can_be_asked_inside_it() -> None:
    @llm_call("it")
    def plain() -> None:
        call = current_call()
        assert call is not None
        call.record(input_tokens=3, output_tokens=4)

    @llm_call("it")
    async def awaited() -> None:
        plain()
        call = current_call()
        assert call is not None
        call.record(input_tokens=3, output_tokens=4)

    @llm_call("it")
    def items() -> Iterator[Any]:
        call = current_call()
        yield call
        assert current_call() is call
        assert call is not None
        call.record(input_tokens=3, output_tokens=4)

    with agent_run() as run:
        plain()
        await awaited()
        for _ in items():
            assert current_call() is None
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (12, 16)


def test_verbs_nest_in_any_order(kept: Capture) -> None:
    @tool_call("tool")
    def tool() -> None:
        agent.run()

    @llm_call("model")
    def model() -> None:
        tool()

    @agent_run("agent")
    def agent() -> None:
        if not kept.records.started[1:]:
            model()

    agent()
    outer = [span for span in kept.spans if span.parent is None]
    assert [span.name for span in outer] == ["invoke_agent agent"]
    assert parent_of(kept, "chat model") == "invoke_agent agent"
    assert parent_of(kept, "execute_tool tool") == "chat model"


def test_a_coroutine_needs_no_event_loop(kept: Capture, verb: Verb) -> None:
    """Other loops than asyncio's drive coroutines, too: then a deadline holds at the gates."""

    @verb.make()
    async def answer() -> int:
        async with verb.make():
            return 42

    @agent_run("timed", budget=Budget(max_seconds=60))
    async def timed() -> int:
        async with agent_run("inner", budget=Budget(max_seconds=60)):
            return await answer()

    made = timed()
    with pytest.raises(StopIteration) as end:
        made.send(None)
    assert end.value.value == 42
    assert len(kept.spans) == 4


# what of the arguments counts, where calls are compared


class Shop:
    """Each object of it looks different each time."""

    looks = 0

    def __repr__(self) -> str:
        Shop.looks += 1
        return f"Shop {self.looks}"

    @tool_call("search")
    def search(self, query: str, *, top: int = 3) -> str:
        return query

    @tool_call("search")
    def search_each(self, query: str, *, top: int = 3) -> Iterator[str]:
        yield query

    @classmethod
    @tool_call("search")
    def search_all(cls, query: str, *, top: int = 3) -> str:
        return query

    @staticmethod
    @tool_call("search")
    def search_there(query: str, *, top: int = 3) -> str:
        return query


SEARCHES: dict[str, Callable[[Shop], Callable[..., Any]]] = {
    "method": lambda shop: shop.search,
    "of the class": lambda shop: functools.partial(Shop.search, shop),
    "generator method": lambda shop: lambda *args, **kwargs: list(shop.search_each(*args, **kwargs)),
    "class method": lambda shop: shop.search_all,
    "static method": lambda shop: shop.search_there,
}


@pytest.mark.parametrize("which", SEARCHES)
def test_the_object_of_a_method_is_none_of_its_arguments(which: str) -> None:
    with agent_run(budget=Budget(max_repeats=2)):
        SEARCHES[which](Shop())("refund")
        SEARCHES[which](Shop())(query="refund", top=3)
        SEARCHES[which](Shop())("invoice")
        with pytest.raises(LoopDetected):
            SEARCHES[which](Shop())("refund", top=3)


def test_a_parameter_that_is_only_called_like_one_counts() -> None:
    @tool_call("it")
    def plain(self: str, cls: str) -> None: ...

    with agent_run(budget=Budget(max_repeats=1)):
        plain("a", "b")
        plain("b", "b")
        plain("b", "a")


def test_making_objects_of_a_class_is_compared_by_what_they_are_made_of() -> None:
    @tool_call("it")
    class Made:
        def __init__(self, number: int) -> None:
            self.number = number

    with agent_run(budget=Budget(max_repeats=1)):
        Made(1)
        Made(2)
        with pytest.raises(LoopDetected):
            Made(1)


# using


def test_using_varies_a_call_and_leaves_the_function_as_it_was(kept: Capture) -> None:
    @agent_run("it", budget=Budget(max_steps=1))
    def agent(steps: int) -> int:
        for _ in range(steps):
            ask()
            use()
        return steps

    assert agent.using(budget=Budget(max_steps=2)).run(2).output == 2
    assert agent.using(name="other").run(1).output == 1
    assert agent.run(2).stop_reason == "max_steps"
    assert agent(1) == 1
    assert [run.agent for run in kept.records.runs] == ["it", "other", "it", "it"]
