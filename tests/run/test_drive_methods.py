"""Methods, descriptors, partials, callable objects, classes, and decorators on top of decorators."""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
import pickle
import sys
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from otel_agent import (
    Budget,
    BudgetExceeded,
    InvalidSetting,
    LoopDetected,
    agent_run,
    current_run,
    llm_call,
    tool_call,
)
from otel_agent.testing import Capture
from tests.support.verbs import Verb, clean

pytestmark = pytest.mark.usefixtures("unharmed")


async def results_of(made: Any) -> Any:
    """Gives what a call gave, whatever kind of call it was: a value, or all items."""
    if inspect.isawaitable(made):
        return await made
    if hasattr(made, "__aiter__"):
        return [item async for item in made]
    return list(made) if isinstance(made, Iterator) else made


def in_every_way(verb: Verb) -> type[Any]:  # noqa: C901 - many methods, no branch
    """Builds a class whose methods are decorated in every way there is."""

    class Thing:
        scale = 2

        @verb.make()
        def plain(self, number: int) -> int:
            return self.scale * number

        @verb.make()
        async def awaited(self, number: int) -> int:
            return self.scale * number

        @verb.make()
        def items(self, number: int) -> Iterator[int]:
            yield self.scale * number

        @verb.make()
        async def async_items(self, number: int) -> AsyncIterator[int]:
            yield self.scale * number

        @staticmethod
        @verb.make()
        def static_outside(number: int) -> int:
            return 2 * number

        @verb.make()
        @staticmethod
        def static_inside(number: int) -> int:
            return 2 * number

        @classmethod
        @verb.make()
        def class_outside(cls, number: int) -> int:
            return cls.scale * number

        @verb.make()
        @classmethod
        def class_inside(cls, number: int) -> int:
            return cls.scale * number

        @classmethod
        @verb.make()
        async def class_awaited(cls, number: int) -> int:
            return cls.scale * number

        @property
        @verb.make()
        def value(self) -> int:
            return 3 * self.scale

        @functools.cached_property
        @verb.make()
        def cached(self) -> int:
            return 3 * self.scale

        _two = lambda self, factor, number: factor * number  # noqa: E731
        partial_outside = functools.partialmethod(verb.make()(_two), 2)
        partial_inside = verb.make()(functools.partialmethod(_two, 2))

        @verb.make()
        @functools.lru_cache  # noqa: B019
        def remembered(self, number: int) -> int:
            return self.scale * number

    return Thing


METHODS = (
    "plain",
    "awaited",
    "items",
    "async_items",
    "static_outside",
    "static_inside",
    "class_outside",
    "class_inside",
    "class_awaited",
    "partial_outside",
    "partial_inside",
    "remembered",
)
OF_THE_CLASS = ("static_outside", "static_inside", "class_outside", "class_inside", "class_awaited")


@pytest.mark.parametrize("name", METHODS)
async def test_a_method_is_called_on_its_object(kept: Capture, verb: Verb, name: str) -> None:
    kind = in_every_way(verb)
    thing = kind()
    with clean():
        assert await results_of(getattr(thing, name)(3)) in (6, [6])
        bound = getattr(thing, name)
        assert await results_of(bound(number=4)) in (8, [8])
    assert [span.name for span in kept.spans] == [verb.span] * 2


@pytest.mark.parametrize("name", METHODS)
async def test_a_method_is_called_through_its_class(kept: Capture, verb: Verb, name: str) -> None:
    kind = in_every_way(verb)
    receiver = () if name in OF_THE_CLASS else (kind(),)
    assert await results_of(getattr(kind, name)(*receiver, 3)) in (6, [6])
    assert [span.name for span in kept.spans] == [verb.span]


@pytest.mark.parametrize("name", METHODS)
async def test_a_method_is_inherited_overridden_and_called_from_there(kept: Capture, verb: Verb, name: str) -> None:
    kind = in_every_way(verb)

    class Heir(kind):  # type: ignore[misc]
        scale = 2

    def again(self: Any, number: int) -> Any:
        return getattr(super(Heir, self), name)(number)

    assert await results_of(getattr(Heir(), name)(3)) in (6, [6])
    setattr(Heir, name, again)
    assert await results_of(getattr(Heir(), name)(3)) in (6, [6])
    assert [span.name for span in kept.spans] == [verb.span] * 2


def test_a_property_stays_one(kept: Capture, verb: Verb) -> None:
    thing = in_every_way(verb)()
    assert (thing.value, thing.cached, thing.cached) == (6, 6, 6)
    assert [span.name for span in kept.spans] == [verb.span] * 2


def test_a_bound_method_looks_like_one(verb: Verb) -> None:
    thing = in_every_way(verb)()
    assert thing.plain == thing.plain
    assert hash(thing.plain) == hash(thing.plain)
    assert thing.plain != in_every_way(verb)().plain
    assert thing.plain.__self__ is thing
    assert thing.plain.__name__ == "plain"
    assert inspect.ismethod(thing.plain)
    assert inspect.ismethod(thing.class_inside)
    assert inspect.isfunction(type(thing).plain)
    assert inspect.iscoroutinefunction(thing.awaited)
    assert inspect.isgeneratorfunction(thing.items)
    assert inspect.isasyncgenfunction(thing.async_items)
    assert str(inspect.signature(thing.plain)) == "(number: 'int') -> 'int'"
    assert str(inspect.signature(type(thing).plain)) == "(self, number: 'int') -> 'int'"


def test_abstract_methods_stay_abstract(verb: Verb) -> None:
    class Base(abc.ABC):
        @verb.make()
        @abc.abstractmethod
        def outside(self) -> int: ...

        @abc.abstractmethod
        @verb.make()
        def inside(self) -> int: ...

    assert Base.__abstractmethods__ == {"outside", "inside"}
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]


# .run and .using


class Bot:
    greeting = "hello"

    @agent_run("it")
    def answer(self, name: str) -> str:
        return f"{self.greeting} {name}"

    @agent_run("it")
    async def answer_later(self, name: str) -> str:
        return f"{self.greeting} {name}"

    @agent_run("it")
    def answer_both(self, name: str) -> Coroutine[Any, Any, str]:
        return self._later(name)

    async def _later(self, name: str) -> str:
        assert current_run() is not None
        return f"{self.greeting} {name}"

    @agent_run("it")
    @classmethod
    def of_class(cls, name: str) -> str:
        return f"{cls.greeting} {name}"

    @agent_run("it")
    @staticmethod
    def of_nobody(name: str) -> str:
        return f"hello {name}"

    @staticmethod
    @agent_run("it")
    def of_nobody_outside(name: str) -> str:
        return f"hello {name}"


class LoudBot(Bot):
    greeting = "HELLO"

    def answer_above(self, name: str) -> Any:
        return super().answer.run(name)


AGENTS: dict[str, Callable[[Bot], Any]] = {
    "bound": lambda bot: bot.answer,
    "bound, async": lambda bot: bot.answer_later,
    "bound, gives a coroutine": lambda bot: bot.answer_both,
    "class method": lambda bot: bot.of_class,
    "class method of the class": lambda bot: Bot.of_class,
    "static method": lambda bot: bot.of_nobody,
    "static method outside": lambda bot: bot.of_nobody_outside,
}


@pytest.mark.parametrize("way", AGENTS)
async def test_run_and_using_know_the_object_that_they_are_called_on(kept: Capture, way: str) -> None:
    agent = AGENTS[way](Bot())
    with clean():
        result = await results_of(agent.run("you"))
        varied = await results_of(agent.using(conversation_id="c1").run(name="you"))
        again = await results_of(agent.using(tenant="acme").using(conversation_id="c2")("you"))
    assert (result.output, varied.output, again) == ("hello you",) * 3
    conversations = [(span.attributes or {}).get("gen_ai.conversation.id") for span in kept.spans]
    assert conversations == [None, "c1", "c2"]


def test_run_through_the_class_takes_the_object() -> None:
    bot = LoudBot()
    assert Bot.answer.run(bot, "you").output == "HELLO you"
    assert Bot.answer.using(tenant="acme").run(bot, "you").output == "HELLO you"
    assert LoudBot.answer.run(bot, "you").output == "HELLO you"
    assert LoudBot.of_class.run("you").output == "HELLO you"
    assert bot.answer_above("you").output == "HELLO you"


async def test_a_coroutine_of_run_is_in_the_run_and_the_caller_is_not() -> None:
    waiting = Bot().answer_both.run("you")
    assert current_run() is None
    assert (await waiting).output == "hello you"


def test_run_of_a_class_method_never_loses_the_class() -> None:
    class Outside:
        @classmethod
        @agent_run("it")
        def answer(cls, name: str = "you") -> str:
            return f"{cls.__name__} {name}"

    assert Outside.answer() == "Outside you"
    if sys.version_info < (3, 13):
        assert Outside.answer.run().output == "Outside you"
    else:
        with pytest.raises(TypeError, match="need @classmethod inside"):
            Outside.answer.run()


def test_run_of_what_gives_many_is_refused(kept: Capture) -> None:
    @agent_run
    def items() -> Iterator[int]:
        yield 1

    @agent_run
    async def async_items() -> AsyncIterator[int]:
        yield 1

    @agent_run
    def hidden() -> Any:
        return items()

    with pytest.raises(TypeError, match="gives a generator: iterate over it"):
        items.run()
    with pytest.raises(TypeError, match="gives a async generator: iterate over it"):
        async_items.run()
    assert kept.records.runs == []
    with pytest.raises(TypeError, match="gives a generator: iterate over it"):
        hidden.run()
    assert [run.error_type for run in kept.records.runs] == ["TypeError"]


class Gated:
    """Agents with a tool call around them."""

    @tool_call("sub")
    @agent_run("sub")
    def method(self, number: int) -> int:
        return number

    @tool_call("sub")
    @staticmethod
    @agent_run("sub")
    def static(number: int) -> int:
        return number

    @tool_call("sub")
    @agent_run("sub")
    @classmethod
    def of_class(cls, number: int) -> int:
        return number


GATED: dict[str, Callable[[], Any]] = {
    "function": lambda: tool_call("sub")(agent_run("sub")(lambda number: number)),
    "coroutine": lambda: tool_call("sub")(agent_run("sub")(_coroutine)),
    "two around": lambda: tool_call("sub")(llm_call("model")(agent_run("sub")(lambda number: number))),
    "method": lambda: Gated().method,
    "static method": lambda: Gated.static,
    "class method": lambda: Gated().of_class,
}
AGENTS_WAYS: tuple[Callable[[Any, int], Any], ...] = (
    lambda agent, number: agent(number),
    lambda agent, number: agent.run(number),
    lambda agent, number: agent.using(tenant="acme")(number),
    lambda agent, number: agent.using(tenant="acme").run(number),
    lambda agent, number: agent.using(tenant="acme").using(user_id="me").run(number),
)


@pytest.mark.parametrize("way", AGENTS_WAYS)
@pytest.mark.parametrize("which", GATED)
async def test_every_way_to_call_an_agent_goes_through_what_is_around_it(which: str, way: Callable[..., Any]) -> None:
    agent = GATED[which]()
    async with agent_run("outer", budget=Budget(max_tool_calls=1)) as run:
        result = await results_of(way(agent, 0))
        assert getattr(result, "output", result) == 0
        assert run.usage.tool_calls == 1
        with pytest.raises(BudgetExceeded):
            await results_of(way(agent, 0))


def test_run_of_an_agent_in_a_tool_call_takes_the_same_arguments_for_a_repeat() -> None:
    agent: Any = tool_call("sub", max_repeats=1)(agent_run("sub")(lambda number: number))
    with agent_run("outer"):
        agent.run(number=1)
        with pytest.raises(LoopDetected):
            agent(1)


def test_a_run_of_the_users_own_is_left_alone(kept: Capture) -> None:
    class Thing(Callables.Plain):
        def run(self) -> str:
            return "its own"

    assert tool_call("it")(tool_call("it")(Thing())).run() == "its own"
    assert kept.spans == []


# other callables


class Callables:
    """Callable objects, each giving twice its number."""

    class Plain:
        """What it is."""

        label = "its own"

        def __call__(self, number: int) -> int:
            return 2 * number

    class Awaited:
        async def __call__(self, number: int) -> int:
            return 2 * number

    class Items:
        def __call__(self, number: int) -> Iterator[int]:
            yield 2 * number

    class AsyncItems:
        async def __call__(self, number: int) -> AsyncIterator[int]:
            yield 2 * number


def twice(factor: int, number: int) -> int:
    return factor * number


async def twice_later(factor: int, number: int) -> int:
    return factor * number


async def _coroutine(number: int) -> int:
    return 2 * number


def _generator(number: int) -> Iterator[int]:
    yield 2 * number


async def _async_generator(number: int) -> AsyncIterator[int]:
    yield 2 * number


@types.coroutine
def old_style(number: int) -> Iterator[Any]:
    return 2 * number
    yield


def wrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def around(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return around


OTHERS: dict[str, Any] = {
    "callable object": Callables.Plain(),
    "callable object, async": Callables.Awaited(),
    "callable object, generator": Callables.Items(),
    "callable object, async generator": Callables.AsyncItems(),
    "partial": functools.partial(twice, 2),
    "partial of partial": functools.partial(functools.partial(twice), 2),
    "partial, async": functools.partial(twice_later, 2),
    "partial of a callable object": functools.partial(Callables.Awaited()),
    "lambda": lambda number: 2 * number,
    "bound method": Callables.Plain().__call__,
    "bound built-in": (2).__mul__,
    "lru_cache": functools.lru_cache(functools.partial(twice, 2)),
    "wraps, async": wrapped(_coroutine),
    "wraps, generator": wrapped(_generator),
    "wraps, async generator": wrapped(_async_generator),
    "gives a coroutine": lambda number: _coroutine(number),
    "gives a generator": lambda number: _generator(number),
    "gives an async generator": lambda number: _async_generator(number),
    "coroutine in the old style": old_style,
}


@pytest.mark.parametrize("which", OTHERS)
async def test_anything_that_can_be_called_is_called_and_has_a_span(kept: Capture, verb: Verb, which: str) -> None:
    traced = verb.make()(OTHERS[which])
    with clean():
        assert await results_of(traced(3)) in (6, [6])
    assert [span.name for span in kept.spans] == [verb.span]


@pytest.mark.parametrize("which", OTHERS)
async def test_a_verb_around_a_verb_has_two_spans(kept: Capture, verb: Verb, which: str) -> None:
    traced = tool_call("outer")(verb.make()(OTHERS[which]))
    with clean():
        assert await results_of(traced(3)) in (6, [6])
    inner, outer = kept.spans
    assert (inner.name, outer.name) == (verb.span, "execute_tool outer")
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id


def test_a_built_in_function_works(kept: Capture, verb: Verb) -> None:
    assert verb.make()(len)("abc") == 3
    assert verb.make()(max)(1, 2, key=lambda number: -number) == 1
    assert len(kept.spans) == 2


def test_a_callable_object_keeps_all_that_it_is(verb: Verb) -> None:
    plain = Callables.Plain()
    traced = verb.make()(plain)
    assert isinstance(traced, Callables.Plain)
    assert (traced.label, traced.__doc__) == ("its own", "What it is.")
    traced.label = "new"
    assert plain.label == "new"


def test_a_cache_around_or_inside_keeps_its_methods(kept: Capture, verb: Verb) -> None:
    inside = verb.make()(functools.lru_cache(functools.partial(twice, 2)))
    outside = functools.lru_cache(verb.make()(functools.partial(twice, 2)))
    assert [inside(1), inside(1), outside(1), outside(1)] == [2] * 4
    assert (inside.cache_info().hits, outside.cache_info().hits) == (1, 1)
    assert len(kept.spans) == 3
    inside.cache_clear()
    assert inside.cache_info().hits == 0


def test_bare_decorators_take_what_cannot_be_called_by_itself(kept: Capture) -> None:
    class Thing:
        @tool_call
        @classmethod
        def make(cls) -> Any:
            return cls

        @agent_run
        @classmethod
        def serve(cls) -> Any:
            return cls

    assert Thing.make() is Thing().make() is Thing.serve() is Thing
    assert {span.name for span in kept.spans} == {"execute_tool make", "invoke_agent serve"}


async def test_a_method_with_an_implementation_for_each_class_keeps_them(kept: Capture, verb: Verb) -> None:
    class Thing:
        @verb.make()
        @functools.singledispatchmethod
        def takes(self, given: Any) -> Any:
            return "anything"

        @takes.register
        def _(self, given: int) -> Any:
            return self, given

        @takes.register
        async def _(self, given: str) -> Any:
            return given

    thing = Thing()
    assert thing.takes(1) == (thing, 1)
    assert (thing.takes(None), await thing.takes("text")) == ("anything", "text")
    assert [span.name for span in kept.spans] == [verb.span] * 3


@pytest.mark.parametrize("nothing", [3, None, "text", property(lambda self: 1), object()])
def test_what_cannot_be_called_cannot_be_decorated(verb: Verb, nothing: Any) -> None:
    with pytest.raises(InvalidSetting, match="what is decorated"):
        verb.make()(nothing)


# classes


def decorated_class(verb: Verb) -> Any:
    @verb.make()
    class Made:
        """What it is."""

        def __init__(self, number: int = 1) -> None:
            self.number = number

        def me(self) -> Made:
            return Made(self.number)

    return Made


def test_a_class_stays_a_class_and_making_is_the_call(kept: Capture, verb: Verb) -> None:
    made = decorated_class(verb)
    assert inspect.isclass(made)
    thing = made(3)
    assert (type(thing), thing.number, thing.me().number) == (made, 3, 3)
    assert isinstance(thing, made)
    assert issubclass(made, made)
    assert (made.__name__, made.__doc__, str(inspect.signature(made))) == (
        "Made",
        "What it is.",
        "(number: 'int' = 1) -> 'None'",
    )
    assert [span.name for span in kept.spans] == [verb.span] * 2


def test_a_class_can_be_inherited_from_and_an_heir_is_made_in_one_call(kept: Capture, verb: Verb) -> None:
    made = decorated_class(verb)

    class Heir(made):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(5)

    assert Heir().number == 5
    assert issubclass(Heir, made)
    assert [span.name for span in kept.spans] == [verb.span]


def test_a_class_without_init_of_its_own_works_as_before(kept: Capture, verb: Verb) -> None:
    @verb.make()
    class Empty:
        pass

    @verb.make()
    class Inherits(dict[str, int]):
        pass

    class Both(Empty, Inherits):
        pass

    @verb.make()
    @dataclasses.dataclass(frozen=True)
    class Value:
        number: int

    @verb.make()
    class Word(str):
        def __new__(cls, text: str) -> Word:
            return super().__new__(cls, text.upper())

    @verb.make()
    class Shout(Word):
        pass

    assert isinstance(Empty(), Empty)
    assert str(inspect.signature(Empty)) == "()"
    assert Inherits(a=1) == Both(a=1) == {"a": 1}
    assert Value(3) == Value(number=3)
    assert (Word("a"), Shout("b")) == ("A", "B")
    assert len(kept.spans) == 1 + 1 + 2 + 2 + 1 + 2
    with pytest.raises(TypeError):
        Empty(1)  # type: ignore[call-arg]


def test_an_exception_class_can_still_be_raised_and_caught(verb: Verb) -> None:
    @verb.make()
    class Problem(Exception):
        pass

    with pytest.raises(Problem, match="x"):
        raise Problem("x")


def test_a_class_that_fails_to_make_an_object_says_so(kept: Capture, verb: Verb) -> None:
    @verb.make()
    class Broken:
        def __init__(self) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Broken()
    assert not kept.span(verb.span).status.is_ok


def test_a_built_in_class_gets_a_span_and_is_itself_left_alone(kept: Capture, verb: Verb) -> None:
    traced = verb.make()(dict)
    assert traced(a=1) == {"a": 1}
    assert isinstance({}, traced)
    assert inspect.isclass(traced)
    assert dict is not traced
    assert len(kept.spans) == 1


@dataclasses.dataclass
class _Base:
    number: int


Picklable = tool_call("it")(_Base)


def test_objects_of_a_decorated_class_pickle() -> None:
    assert pickle.loads(pickle.dumps(Picklable(3))) == _Base(3)
