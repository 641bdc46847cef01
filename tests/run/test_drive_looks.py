"""A decorated callable looks like the callable: signature, names, hints, kind; it is pickled and copied like it too."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import multiprocessing
import pickle
import sys
import threading
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from otel_agent import Budget, agent_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.support import decorated
from tests.support.decorated import FUNCTIONS, Bot
from tests.support.verbs import Verb

pytestmark = pytest.mark.usefixtures("unharmed")


class Question(str):
    """Stands for a type of the user's."""


def plain(question: Question, /, top: int = 3, *more: int, strict: bool = False, **rest: str) -> list[Question]:
    """Says what it does.

    At length.
    """
    return [question] * top


async def awaited(question: Question, top: int = 3) -> list[Question]:
    """Says what it does."""
    return [question] * top


def items(question: Question, top: int = 3) -> Iterator[Question]:
    """Says what it does."""
    yield from [question] * top


async def async_items(question: Question, top: int = 3) -> AsyncIterator[Question]:
    """Says what it does."""
    yield question


BARE: tuple[Callable[..., Any], ...] = (plain, awaited, items, async_items)
every_kind = pytest.mark.parametrize("bare", BARE, ids=lambda fn: fn.__name__)


@every_kind
def test_what_inspect_says_is_the_same(verb: Verb, bare: Callable[..., Any]) -> None:
    traced = verb.make()(bare)
    assert inspect.signature(traced) == inspect.signature(bare)
    for asked in (
        inspect.isfunction,
        inspect.isroutine,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.getdoc,
        inspect.getmodule,
        inspect.getsource,
        callable,
    ):
        assert asked(traced) == asked(bare), asked
    assert inspect.unwrap(traced) is bare


@every_kind
def test_names_docs_and_hints_are_the_same(verb: Verb, bare: Callable[..., Any]) -> None:
    traced = verb.make()(bare)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(traced, name) == getattr(bare, name), name
    assert typing.get_type_hints(traced) == typing.get_type_hints(bare)
    assert typing.get_type_hints(traced)["question"] is Question


@every_kind
def test_attributes_are_kept_and_can_be_set(verb: Verb, bare: Any) -> None:
    bare.label = "kept"
    try:
        traced = verb.make()(bare)
        assert traced.label == "kept"
        traced.label = "set"
        assert traced.label == "set"
    finally:
        del bare.label


@every_kind
def test_functools_wraps_takes_it_for_the_callable(verb: Verb, bare: Callable[..., Any]) -> None:
    @functools.wraps(verb.make()(bare))
    def around(*args: Any, **kwargs: Any) -> Any:
        return bare(*args, **kwargs)

    assert around.__name__ == bare.__name__
    assert inspect.signature(around) == inspect.signature(bare)
    assert inspect.unwrap(around) is bare


def test_its_repr_says_which_callable_it_is(verb: Verb) -> None:
    assert "plain" in repr(verb.make()(plain))
    assert "items" in repr(verb.make()(items))
    assert "Bot.answer" in repr(Bot().answer)


async def test_a_coroutine_has_its_functions_name(verb: Verb) -> None:
    made = verb.make()(awaited)(Question("q"))
    assert (made.__name__, made.__qualname__) == ("awaited", "awaited")
    assert asyncio.iscoroutine(made)
    assert await made == ["q"] * 3


def test_a_coroutine_that_is_never_awaited_is_warned_of_once_by_its_name(kept: Capture, verb: Verb) -> None:
    def gives(question: Question) -> Any:
        return awaited(question)

    for traced in (verb.make()(awaited), verb.make()(gives)):
        with pytest.warns(RuntimeWarning) as warned:
            traced(Question("q"))
        assert [str(warning.message) for warning in warned] == ["coroutine 'awaited' was never awaited"]


# keywords


KEYWORDS = ("name", "func", "fn", "args", "kwargs", "span", "wrapped", "instance", "self", "cls", "verb", "model")


def taking(word: str) -> Callable[..., Any]:
    """Gives a function with a keyword of this name, which it returns."""
    scope: dict[str, Any] = {}
    exec(f"def given({word}, *, run=None, frame=None, exc=None): return {word}, run", scope)
    found: Callable[..., Any] = scope["given"]
    return found


@pytest.mark.parametrize("word", KEYWORDS)
def test_any_keyword_passes(verb: Verb, word: str) -> None:
    traced = verb.make()(taking(word))
    assert traced(**{word: "given"}, run=1, frame=2, exc=3) == ("given", 1)
    assert traced(**{word: "given"}) == traced("given") == ("given", None)


@pytest.mark.parametrize("word", KEYWORDS)
def test_any_keyword_passes_through_run_and_using(word: str) -> None:
    traced = agent_run("it")(taking(word))
    assert traced.run(**{word: "given"}, run=1).output == ("given", 1)
    assert traced.using(tenant="acme").run(**{word: "given"}).output == ("given", None)


@pytest.mark.parametrize("word", KEYWORDS)
def test_any_keyword_passes_where_arguments_are_compared(word: str) -> None:
    traced = tool_call("it")(taking(word))
    with agent_run(budget=Budget(max_repeats=1)):
        assert traced(**{word: "a"}) == ("a", None)
        assert traced(**{word: "b"}) == ("b", None)


# pickling and copying


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_functions_pickle_by_their_name(protocol: int) -> None:
    for function in FUNCTIONS:
        assert pickle.loads(pickle.dumps(function, protocol)) is function


def test_functions_are_copied_as_themselves() -> None:
    for function in FUNCTIONS:
        assert copy.copy(function) is function
        assert copy.deepcopy(function) is function
        assert copy.deepcopy({"kept": [function]})["kept"][0] is function


METHODS = ("answer", "search", "items")


@pytest.mark.parametrize("name", METHODS)
def test_methods_pickle_and_copy_with_their_object(name: str) -> None:
    bot = Bot(3)
    bound = getattr(bot, name)
    for again in (pickle.loads(pickle.dumps(bound)), copy.copy(bound), copy.deepcopy(bound)):
        assert again.__self__ == bot
        assert again.__name__ == name
    assert copy.copy(bound).__self__ is bot
    assert copy.deepcopy(bound).__self__ is not bot
    assert pickle.loads(pickle.dumps(Bot.answer)) is Bot.answer


@pytest.mark.parametrize("name", ["of_class", "of_nobody"])
def test_methods_of_the_class_pickle_and_copy(name: str) -> None:
    bound = getattr(Bot, name)
    for again in (pickle.loads(pickle.dumps(bound)), copy.copy(bound), copy.deepcopy(bound)):
        assert again(2) == again.run(2).output == 4


def test_partials_and_callable_objects_pickle_and_copy_by_value(kept: Capture) -> None:
    bound = tool_call("it")(Bot(3).search)
    for made, right in ((decorated.of_partial, 4), (bound, 6)):
        for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
            kept.clear()
            assert again.__wrapped__ is not made.__wrapped__
            assert again(2) == right
            assert {span.name for span in kept.spans} == {"execute_tool it"}


def test_a_verb_that_is_open_just_now_pickles_without_what_is_open() -> None:
    verb: Any = llm_call("it")
    traced = verb(functools.partial(abs))
    with verb:
        again = pickle.loads(pickle.dumps(traced))
    assert again(-2) == 2


def test_a_local_function_cannot_be_pickled_as_ever(verb: Verb) -> None:
    @verb.make()
    def local() -> None: ...

    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(local)


def _in_another_process(function: Callable[[int], int], number: int) -> tuple[int, int]:
    """Gives what a function gives, and how many spans it made."""
    from otel_agent.testing import capture

    with capture() as kept:
        return function(number), len(kept.spans)


def test_functions_and_methods_cross_into_a_spawned_process() -> None:
    jobs = [
        (decorated.agent, 3),
        (decorated.tool, 3),
        (Bot(2).answer, 3),
        (Bot(2).search, 3),
        (decorated.of_partial, 3),
    ]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(_in_another_process, jobs) == [(6, 1)] * len(jobs)


# recursion


def deep(function: Callable[[int], int]) -> int:
    """Calls a function 300 deep at the default recursion limit, in a thread that starts with an empty stack.

    Nothing traces that thread: a tracer, such as one that measures coverage, takes a part of the stack for itself.
    """
    got: list[Any] = []

    def call() -> None:
        sys.settrace(None)
        try:
            got.append(function(300))
        except RecursionError as exc:
            got.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return got[0]


def test_recursion_300_deep(verb: Verb) -> None:
    assert sys.getrecursionlimit() == 1000

    @verb.make()
    def down(number: int) -> int:
        return 0 if number == 0 else 1 + down(number - 1)

    class Thing:
        @verb.make()
        def down(self, number: int) -> int:
            return 0 if number == 0 else 1 + self.down(number - 1)

    assert deep(down) == deep(Thing().down) == 300


def test_recursion_300_deep_of_coroutines_and_generators(verb: Verb) -> None:
    @verb.make()
    async def down(number: int) -> int:
        return 0 if number == 0 else 1 + await down(number - 1)

    @verb.make()
    def items(number: int) -> Iterator[int]:
        yield number
        if number:
            yield from items(number - 1)

    assert deep(lambda number: asyncio.run(down(number))) == 300
    assert deep(lambda number: len(list(items(number)))) == 301


def test_recursion_300_deep_of_methods_and_classes(verb: Verb) -> None:
    class Thing:
        depth: int

        @verb.make()
        async def later(self, number: int) -> int:
            return 0 if number == 0 else 1 + await self.later(number - 1)

        @verb.make()
        @classmethod
        def of_class(cls, number: int) -> int:
            return 0 if number == 0 else 1 + cls.of_class(number - 1)

        @verb.make()
        @staticmethod
        def of_none(number: int) -> int:
            return 0 if number == 0 else 1 + Thing.of_none(number - 1)

    @verb.make()
    class Made:
        def __init__(self, number: int) -> None:
            self.depth = 0 if number == 0 else 1 + Made(number - 1).depth

    ways = [lambda number: asyncio.run(Thing().later(number)), Thing.of_class, Thing.of_none]
    assert [deep(way) for way in (*ways, lambda number: Made(number).depth)] == [300] * 4


def test_recursion_300_deep_of_other_callables(verb: Verb) -> None:
    class Thing:
        def __call__(self, number: int) -> int:
            return 0 if number == 0 else 1 + thing(number - 1)

    class Later:
        async def __call__(self, number: int) -> int:
            return 0 if number == 0 else 1 + await later(number - 1)

    def down(step: int, number: int) -> int:
        return 0 if number == 0 else step + part(number - step)

    async def rest(number: int) -> int:
        return 0 if number == 0 else 1 + await gives(number - 1)

    @verb.make()
    async def items(number: int) -> AsyncIterator[int]:
        yield number
        if number:
            async for item in items(number - 1):
                yield item

    async def count(number: int) -> int:
        return len([item async for item in items(number)]) - 1

    thing, later, part = verb.make()(Thing()), verb.make()(Later()), verb.make()(functools.partial(down, 1))
    gives = verb.make()(lambda number: rest(number))
    assert [deep(way) for way in (thing, part)] == [300] * 2
    assert [deep(lambda number, way=way: asyncio.run(way(number))) for way in (later, gives, count)] == [300] * 3


def test_recursion_300_deep_through_run() -> None:
    @agent_run("it")
    def down(number: int) -> int:
        return 0 if number == 0 else 1 + (down.run(number - 1).output or 0)

    assert deep(lambda number: down.run(number).output or 0) == 300


def test_one_decorator_serves_many_functions() -> None:
    for make in (agent_run("it"), llm_call("it"), tool_call("it")):
        decorate: Any = make
        first, second = decorate(lambda: 1), decorate(lambda: 2)
        assert (first(), second()) == (1, 2)
