"""Arguments, results, items and exceptions that break whoever looks at them, or are very large: the call goes on."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from otel_agent import Budget, LoopDetected, agent_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.support.verbs import Verb, clean

pytestmark = pytest.mark.usefixtures("unharmed")

LARGE = "x" * 10_000_000


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise ZeroDivisionError("whoever looks at this fails")


class Hostile:
    """Refuses everything that anybody might do to look at it."""

    __repr__ = __str__ = __bytes__ = __format__ = __hash__ = __eq__ = __bool__ = __len__ = __iter__ = refuse  # type: ignore[assignment]
    __reduce__ = __reduce_ex__ = __deepcopy__ = __copy__ = __getstate__ = __sizeof__ = __dir__ = refuse  # type: ignore[assignment]
    __contains__ = __getitem__ = __float__ = __int__ = __index__ = refuse

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


class HostileClass(Hostile):
    """Refuses to say its class."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise ZeroDivisionError("class")


class HostileKind(type):
    """Makes classes that cannot be hashed, compared or looked into."""

    __eq__ = __hash__ = __repr__ = refuse  # type: ignore[assignment]

    def __getattr__(cls, name: str) -> Any:
        raise ZeroDivisionError(name)


class OfHostileKind(metaclass=HostileKind):
    pass


class HostileExceptionKind(type):
    """Makes exceptions whose class does not say what it is called."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__module__"):
            raise ZeroDivisionError(name)
        return super().__getattribute__(name)


class OfHostileExceptionKind(Exception, metaclass=HostileExceptionKind):
    pass


class WithoutModule(Exception):
    """Says nothing of where it is from."""

    __module__ = property(refuse)  # type: ignore[assignment]


class WithoutAttributes(Exception):
    """Refuses to show its attributes."""

    __dict__ = property(refuse)  # type: ignore[assignment]


class HostileException(Exception):
    """Refuses everything that anybody might do to look at it or to mark it."""

    __repr__ = __str__ = __reduce__ = __reduce_ex__ = __deepcopy__ = __hash__ = __eq__ = refuse  # type: ignore[assignment]

    def __setattr__(self, name: str, value: Any) -> None:
        raise ZeroDivisionError(name)

    def __getattr__(self, name: str) -> Any:
        raise (AttributeError if name == "__notes__" else ZeroDivisionError)(name)  # pytest asks for its notes


def endless() -> Iterator[int]:
    while True:
        yield 1


THINGS: dict[str, Callable[[], Any]] = {
    "hostile": Hostile,
    "hostile class": HostileClass,
    "of a hostile kind": OfHostileKind,
    "the kind itself": lambda: OfHostileKind,
    "10 MB of text": lambda: LARGE,
    "10 MB of bytes": lambda: LARGE.encode(),
    "not a number": lambda: math.nan,
    "lone surrogate": lambda: "\ud800",
    "inside itself": lambda: inside_itself(),
    "mock": MagicMock,
    "async mock": AsyncMock,
    "nested deep": lambda: nested(100_000),
    "set": lambda: {1, "a"},
}
NEVER_SEEN_AGAIN = ("inside itself", "nested deep")  # what is in them too deep has no value and cannot be numbered
anything = pytest.mark.parametrize("thing", THINGS)


def inside_itself() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@anything
def test_an_argument_and_a_result_pass_unseen(kept: Capture, verb: Verb, thing: str) -> None:
    @verb.make()
    def gives(given: Any, *, also: Any = None) -> Any:
        return given

    given = THINGS[thing]()
    assert gives(given, also=given) is given
    assert [span.name for span in kept.spans] == [verb.span]


@anything
async def test_an_argument_and_a_result_pass_unseen_through_coroutines(verb: Verb, thing: str) -> None:
    @verb.make()
    async def gives(given: Any) -> Any:
        await asyncio.sleep(0)
        return given

    given = THINGS[thing]()
    with clean():
        assert await gives(given) is given


@anything
def test_items_and_what_is_sent_pass_unseen(verb: Verb, thing: str) -> None:
    @verb.make()
    def echoes() -> Any:
        got = None
        while True:
            got = yield got

    given, made = THINGS[thing](), echoes()
    next(made)
    assert made.send(given) is given
    made.close()


@anything
async def test_async_items_pass_unseen(verb: Verb, thing: str) -> None:
    @verb.make()
    async def items(given: Any) -> AsyncIterator[Any]:
        yield given

    given = THINGS[thing]()
    async for item in items(given):
        assert item is given


@anything
def test_the_object_of_a_method_is_not_looked_at(verb: Verb, thing: str) -> None:
    class Thing(Hostile):
        @verb.make()
        def method(self, given: Any) -> Any:
            return given

    given = THINGS[thing]()
    assert Thing().method(given) is given


@pytest.mark.parametrize("thing", [thing for thing in THINGS if thing not in NEVER_SEEN_AGAIN])
def test_arguments_that_are_compared_may_be_anything(kept: Capture, thing: str) -> None:
    @tool_call("it")
    def takes(given: Any) -> int:
        return 1

    given = THINGS[thing]()
    with agent_run("a", budget=Budget(max_repeats=2)):
        assert [takes(given), takes(given)] == [1, 1]
        with pytest.raises(LoopDetected):
            takes(given)


@pytest.mark.parametrize("thing", NEVER_SEEN_AGAIN)
def test_what_cannot_be_known_again_is_no_repeat(kept: Capture, thing: str) -> None:
    given = THINGS[thing]()
    with agent_run("a", budget=Budget(max_repeats=1)):
        assert [tool_call("it")(lambda given: 1)(given) for _ in range(3)] == [1, 1, 1]


def test_iterators_among_the_arguments_are_not_read(verb: Verb) -> None:
    @verb.make()
    def count(*given: Any) -> int:
        return sum(next(iterator) for iterator in given)

    def once() -> Iterator[int]:
        yield 1

    with agent_run("a", budget=Budget(max_repeats=5)):
        assert count(once(), iter([1]), map(int, "1"), zip([1]) and endless()) == 4


@pytest.mark.parametrize("capture", ["type", "frames", "full"])
def test_an_exception_that_cannot_be_looked_at_goes_on(
    kept: Capture, verb: Verb, capture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_AGENT_CAPTURE_EXCEPTIONS", capture)
    problem = HostileException()

    @verb.make()
    def fails() -> None:
        raise problem

    def calls() -> Any:
        with agent_run("outer"), tool_call("around"):
            fails()

    raised: BaseException | None = None
    try:
        calls()
    except HostileException as exc:
        raised = exc
    assert raised is problem
    span = kept.span(verb.span)
    assert (span.attributes or {})["error.type"] == "tests.run.test_drive_hostile.HostileException"
    (event,) = span.events
    message = "ZeroDivisionError instead of a message" if capture == "full" else None
    assert (event.attributes or {}).get("exception.message") == message


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (OfHostileExceptionKind, "tests.run.test_drive_hostile.OfHostileExceptionKind"),
        (WithoutModule, "WithoutModule"),
        (WithoutAttributes, "tests.run.test_drive_hostile.WithoutAttributes"),
    ],
)
def test_an_exception_whose_class_cannot_be_looked_at_goes_on(
    kept: Capture, verb: Verb, kind: type[Exception], name: str
) -> None:
    problem, raised = kind(), None

    @verb.make()
    def fails() -> None:
        raise problem

    try:
        with agent_run("outer"):
            fails()
    except BaseException as exc:
        raised = exc
    assert raised is problem
    assert [(span.attributes or {}).get("error.type") for span in kept.spans] == [name] * 2
    assert [len(span.events) for span in kept.spans] == [1, 0]  # recorded once


def test_an_exception_of_10_mb_goes_on_and_its_message_stays_here(kept: Capture, verb: Verb) -> None:
    problem = ValueError(LARGE)

    @verb.make()
    def fails() -> None:
        raise problem

    with pytest.raises(ValueError, match="xxx") as raised:
        fails()
    assert raised.value is problem
    (event,) = kept.span(verb.span).events
    assert len(str(event.attributes)) < 10_000


def test_a_mock_of_a_client_is_taken_for_a_response(kept: Capture) -> None:
    client = MagicMock()

    @llm_call("it")
    def ask() -> Any:
        return client.create(model="it")

    with agent_run() as run:
        assert ask() is client.create.return_value
        assert run.usage.estimated
    assert len(kept.spans) == 2


@pytest.mark.parametrize("decorate", [agent_run("it"), tool_call("it")], ids=["agent_run", "tool_call"])
def test_an_iterator_that_is_no_generator_and_no_stream_is_given_as_it_is(decorate: Any) -> None:
    for iterator in (io.StringIO("text"), iter([1]), map(int, "1")):
        given = decorate(lambda: iterator)  # noqa: B023
        assert given() is iterator


@pytest.mark.parametrize("given", [LARGE, {"text": LARGE}], ids=["text", "mapping"])
def test_a_large_argument_stays_here(kept: Capture, given: Any) -> None:
    @tool_call("it")
    def takes(given: Any) -> int:
        return 1

    with agent_run(budget=Budget(max_repeats=1)):
        takes(given)
    assert all(len(str(span.attributes)) < 10_000 for span in kept.spans)
