"""Frames that last for something that runs step by step: generators, streams, coroutines that a function returned.

Such a frame is active only while a step runs. Between two steps the consumer's own context is current, wherever the
next step happens: in another task, in another thread, or in the garbage collector.
"""

from __future__ import annotations

import contextvars
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Token
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import wrapt
from opentelemetry.context import Context

from otel_agent.context import activate, attach, current_context, restore
from otel_agent.run.collector import thrown_away

if TYPE_CHECKING:
    import asyncio

    from otel_agent.run.drive import Instead, Verb

    _Proxy = wrapt.BaseObjectProxy[Any]
else:
    _Proxy = wrapt.BaseObjectProxy

__all__ = [
    "PLAIN",
    "AsyncStream",
    "Lasting",
    "Stream",
    "SyncStream",
    "asteps",
    "is_iterator",
    "is_manager",
    "is_named_stream",
    "last_for",
    "lasts",
    "named",
    "steps",
    "timed",
]


_MISSING = Token.MISSING  # no context was ever set there: what `attach` replaces is asked, as looking first costs twice
_NONE = contextvars.Context().run(current_context)


class Lasting:
    """An open frame, set aside until the next step of what it lasts for."""

    __slots__ = ("_ended", "frame", "inner", "inside", "verb")

    def __init__(self, verb: Verb[Any], frame: Any, inner: Any) -> None:
        self.verb = verb
        self.frame = frame
        self.inner = inner
        self.inside = current_context()
        self._ended = False
        restore(frame)

    def end(self, exc: BaseException | None, result: Any = None) -> Instead | None:
        """Ends the frame, once; gives what `Verb.end` gives."""
        if self._ended:
            return None
        self._ended = True
        return self.verb.end(self.frame, exc, result)

    def hand_on(self) -> None:
        """Leaves the frame to another, which lasts longer."""
        self._ended = True

    def __del__(self) -> None:
        """Ends the frame of what nobody can go on with: it was never begun, or its event loop threw it away."""
        if self._ended:
            return
        if inspect.iscoroutine(self.inner):
            self.inner.close()  # Python has warned already, of the coroutine around it
        self.end(GeneratorExit())


# one step at a time


def steps(start: Callable[[], Lasting]) -> Generator[Any, Any, Any]:
    """Runs a generator, or iterates over a stream, inside a frame.

    Args:
        start: gives the frame; asked at the first step.
    """
    lasting = start()
    del start  # and with it the arguments
    frame, inner, inside = lasting.frame, lasting.inner, lasting.inside
    read = lasting.verb.reader(frame)
    step = resume = inner.__next__
    early = False
    try:
        while True:
            before = attach(inside if inside is not _MISSING else _NONE).old_value
            try:
                item = resume()
            finally:
                inside = attach(before if before is not _MISSING else _NONE).old_value
                resume = step
            if read is not None:
                read(item)
            try:
                sent = yield (item, item := None)[0]  # kept here, an item would live until the next
                if sent is not None:
                    resume = partial(inner.send, sent)
            except BaseException as exc:
                early = isinstance(exc, GeneratorExit)
                resume = partial(getattr(inner, "throw", _throw), exc)
                if thrown_away(exc):
                    _elsewhere(inside, resume)
    except StopIteration as end:
        lasting.end(GeneratorExit() if early else None, end.value)
        return end.value
    except BaseException as exc:
        instead = lasting.end(exc)
        if instead is None:
            raise
        return instead(exc)


async def asteps(start: Callable[[], Lasting]) -> AsyncGenerator[Any, Any]:
    """Runs an async generator, or iterates over an async stream, inside a frame.

    Args:
        start: gives the frame; asked at the first step.
    """
    lasting = start()
    del start  # and with it the arguments
    frame, inner, inside = lasting.frame, lasting.inner, lasting.inside
    read = lasting.verb.reader(frame)
    timer_of = lasting.verb.timer
    step = inner.__anext__
    resume: Callable[[], Any] = partial(_begin_unseen, step)
    early = False
    try:
        while True:
            before = activate(inside)
            try:
                timer = timer_of(frame)
                item = await (resume() if timer is None else timed(timer, resume))
            finally:
                inside = activate(before)
                resume = step
            if read is not None:
                read(item)
            try:
                sent = yield (item, item := None)[0]  # kept here, an item would live until the next
                if sent is not None:
                    resume = partial(inner.asend, sent)
            except BaseException as exc:
                early = isinstance(exc, GeneratorExit)
                resume = partial(getattr(inner, "athrow", _athrow), exc)
                if thrown_away(exc):
                    _elsewhere(inside, partial(_begin, resume))
    except StopAsyncIteration:
        lasting.end(GeneratorExit() if early else None)
    except BaseException as exc:
        instead = lasting.end(exc)
        if instead is None:
            raise
        instead(exc)


def _elsewhere(inside: Context, last: Callable[[], object]) -> None:
    """Takes the last step of what a garbage collection closes, and leaves the context variables of its thread alone.

    The collection may have begun inside `ContextVar.set`, where Python before 3.12 does not survive another one.
    """

    def step() -> None:
        attach(inside)
        last()

    contextvars.copy_context().run(step)
    raise RuntimeError("generator ignored GeneratorExit")


def _begin(step: Callable[[], Any]) -> None:
    step().send(None)


def _throw(exc: BaseException) -> Any:
    """Stands for the `throw` of what has none."""
    raise exc


async def _athrow(exc: BaseException) -> Any:
    raise exc


def _begin_unseen(step: Callable[[], Any]) -> Any:
    """Begins an async generator unknown to the event loop, which would close it beside the one around it."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, _leave)
    try:
        return step()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _leave(generator: object) -> None:
    """Stands for an event loop that closes nothing."""


async def timed(timer: asyncio.Timeout, step: Callable[[], Any]) -> Any:
    """Awaits one step until a timer ends it."""
    async with timer:
        return await step()


def named(steps: Any, like: Any) -> Any:
    """Gives a generator or coroutine the name of a callable, or of another generator or coroutine."""
    name = getattr(like, "__name__", None)
    if isinstance(name, str):
        steps.__name__, steps.__qualname__ = name, getattr(like, "__qualname__", name)
    return steps


# what a function may return that has yet to run


def lasts(verb: Verb[Any], result: Any) -> bool:
    """Tells whether a frame lasts for what a function returned."""
    return _kind(result) in _KINDS or verb.is_stream(result) or is_manager(result)


def is_iterator(result: object) -> bool:
    """Tells whether something is read item by item; a mock, which has every method, is not."""
    kind = type(result)
    try:
        return hasattr(kind, "__next__" if hasattr(kind, "__iter__") else "__anext__") and kind.__module__ != _MOCKS
    except Exception:
        return False


def is_named_stream(result: object) -> bool:
    """Tells whether something is read item by item and calls itself a stream, as those of all SDKs do."""
    try:
        return type(result).__name__.endswith("Stream") and is_iterator(result)
    except Exception:
        return False


def is_manager(result: object) -> bool:
    """Tells whether something sends its request when it is entered and gives a stream then, and is called so."""
    kind = type(result)
    try:
        if not kind.__name__.endswith("StreamManager") or kind.__module__ == _MOCKS or is_iterator(result):
            return False
        return any(all(hasattr(kind, name) for name in both) for both in _BLOCKS)
    except Exception:
        return False


def last_for(verb: Verb[Any], frame: Any, result: Any) -> Any:
    """Lets a frame last for what a function returned, and gives what is returned in its place."""
    return _KINDS.get(_kind(result), _stream)(Lasting(verb, frame, result))


def _kind(result: object) -> int:
    """Gives the identity of a class; not all classes can be hashed."""
    return id(type(result))


PLAIN = frozenset(map(id, (type(None), bool, bytes, dict, float, int, list, str, tuple)))
"""The identities of the classes of which most results are; a frame lasts for none of them."""
_MOCKS = "unittest.mock"
_BLOCKS = (("__enter__", "__exit__"), ("__aenter__", "__aexit__"))


def _coroutine(lasting: Lasting) -> Any:
    return named(_rest(lasting), lasting.inner)


def _generator(lasting: Lasting) -> Any:
    if inspect.isawaitable(lasting.inner):  # a coroutine in the old style
        return _coroutine(lasting)
    return named(steps(lambda: lasting), lasting.inner)


def _async_generator(lasting: Lasting) -> Any:
    return named(asteps(lambda: lasting), lasting.inner)


def _stream(lasting: Lasting) -> Any:
    kind = cast(Any, type(lasting.inner))
    if not hasattr(kind, "__anext__"):
        return SyncStream(lasting)
    return _EitherStream(lasting) if hasattr(kind, "__next__") else AsyncStream(lasting)


async def _rest(lasting: Lasting) -> Any:
    """Awaits a coroutine inside a frame."""
    frame, inner = lasting.frame, lasting.inner
    frame.before = activate(lasting.inside)
    try:
        timer = lasting.verb.timer(frame)
        result = await (inner if timer is None else timed(timer, lambda: inner))
    except BaseException as exc:
        instead = lasting.end(exc)
        if instead is None:
            raise
        return instead(exc)
    if lasts(lasting.verb, result):
        lasting.hand_on()
        return lasting.verb.last(frame, result)
    lasting.end(None, result)
    return lasting.verb.returned(frame, result)


class Stream(_Proxy):
    """A stream object that is read inside a frame; all else of it is its own."""

    def __init__(self, lasting: Lasting) -> None:
        super().__init__(lasting.inner)
        self._self_lasting = lasting
        self._self_steps: Any = None

    def _self_read(self, steps: Callable[[Callable[[], Lasting]], Any]) -> Any:
        if self._self_steps is None:
            lasting = self._self_lasting
            self._self_steps = steps(lambda: lasting)
        return self._self_steps

    def _self_close(self, close: Callable[..., Any], *args: Any) -> Any:
        self._self_lasting.end(GeneratorExit())
        return close(*args)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__wrapped__, name)
        return partial(self._self_close, found) if name in ("close", "aclose") else found

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *exc: Any) -> Any:
        return self._self_close(self.__wrapped__.__exit__, *exc)

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    def __aexit__(self, *exc: Any) -> Any:
        return self._self_close(self.__wrapped__.__aexit__, *exc)


class SyncStream(Stream):
    """A stream that is read with `for`."""

    def __iter__(self) -> Any:
        return self._self_read(steps)

    def __next__(self) -> Any:
        return next(self._self_read(steps))


class AsyncStream(Stream):
    """A stream that is read with `async for`."""

    def __aiter__(self) -> Any:
        return self._self_read(asteps)

    async def __anext__(self) -> Any:
        return await anext(self._self_read(asteps))


class _EitherStream(SyncStream, AsyncStream):
    """A stream that is read with either."""


_KINDS: dict[int, Callable[[Lasting], Any]] = {
    id(types.CoroutineType): _coroutine,
    id(types.GeneratorType): _generator,
    id(types.AsyncGeneratorType): _async_generator,
    id(SyncStream): SyncStream,
    id(AsyncStream): AsyncStream,
    id(_EitherStream): _EitherStream,
}
