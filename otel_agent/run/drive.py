"""How a verb goes around a callable: plain, async, generator, async generator; as decorator, `with` and `async with`.

Decides when a frame opens and closes, and in which context each step runs. Knows nothing of what a verb does: it asks a
`Verb` to open a frame and tells it how the frame ended.

    open      before the user's code, in its task or thread; may refuse by raising
    close     after it, once, with what was raised or returned; gives back what is to be raised

A generator's frame is active only while its body runs: between two items the consumer's own context is current.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import types
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import wrapt
from opentelemetry import context as otel

from otel_agent import context as ctx
from otel_agent.context import Frame
from otel_agent.stop import InvalidSetting

__all__ = ["Verb", "Wrapped", "drive", "kind_of"]

F = TypeVar("F", bound=Frame)


class Verb(Generic[F]):
    """What can be put around code: `agent_run`, `llm_call`, `tool_call`."""

    def __init__(self) -> None:
        self._entered: list[tuple[F, asyncio.Timeout | None]] = []

    def open(self, wrapped: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> F:
        """Opens a frame in the current context, or refuses by raising.

        Args:
            wrapped: the user's callable, bound where it is a method; None for `with` blocks.
            args: what it is called with.
            kwargs: what it is called with.
        """
        raise NotImplementedError

    def close(self, frame: F, exc: BaseException | None, result: Any) -> BaseException | None:
        """Closes a frame and gives what is to be raised: None, `exc`, or another in its place."""
        raise NotImplementedError

    def timer(self, frame: F) -> asyncio.Timeout | None:
        """Gives the timer that interrupts an async frame, or None."""
        return None

    def is_stream(self, result: Any) -> bool:
        """Tells whether a returned object is a stream that the frame lasts for."""
        return False

    def saw_item(self, frame: F, item: Any) -> None:
        """Is told each item of a generator or stream."""

    def outcome(self, frame: F, result: Any) -> Any:
        """Gives what `with ... as` binds to."""
        return frame

    def __enter__(self) -> Any:
        frame = self.open(None, (), {})
        self._entered.append((frame, None))
        return self.outcome(frame, None)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: object) -> None:
        frame, _ = self._leave()
        other = self.close(frame, exc, None)
        if other is not None and other is not exc:
            raise other from exc

    async def __aenter__(self) -> Any:
        frame = self.open(None, (), {})
        timer = self.timer(frame)
        if timer is not None:
            await timer.__aenter__()
        self._entered.append((frame, timer))
        return self.outcome(frame, None)

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: Any) -> None:
        frame, timer = self._leave()
        if timer is not None:
            try:
                await timer.__aexit__(kind, exc, tb)
            except TimeoutError:
                if not timer.expired():
                    raise
        other = self.close(frame, exc, None)
        if other is not None and other is not exc:
            raise other from exc

    def _leave(self) -> tuple[F, asyncio.Timeout | None]:
        """Finds the entry that this exit belongs to: one verb may be entered many times at once."""
        inner = ctx.current_frame()
        while inner is not None:
            for i in range(len(self._entered) - 1, -1, -1):
                if self._entered[i][0] is inner:
                    return self._entered.pop(i)
            inner = inner.above
        return self._entered.pop()


if TYPE_CHECKING:
    _Function = wrapt.FunctionWrapper[Any, Any]
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Function, _Proxy = wrapt.FunctionWrapper, wrapt.ObjectProxy


class Wrapped(_Function):
    """A user's callable with a verb around it; it looks and pickles like the callable itself."""

    def __init__(self, wrapped: Any, verb: Any) -> None:
        if not callable(getattr(wrapped, "__func__", wrapped)):  # a classmethod itself cannot be called
            raise InvalidSetting(field="what is decorated", value=wrapped, allowed="a function, or what can be called")
        super().__init__(wrapped, _DRIVERS[kind_of(wrapped)](verb))
        self._self_verb = verb

    def __reduce__(self) -> Any:
        return self.__wrapped__.__qualname__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


def kind_of(fn: Any) -> str:
    """Tells how a callable runs: "async generator", "generator", "async" or "plain"."""
    while isinstance(fn, (functools.partial, staticmethod, classmethod)):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__func__
    if not (inspect.isroutine(fn) or inspect.isclass(fn)):
        fn = getattr(type(fn), "__call__", fn)  # noqa: B004
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    return "async" if inspect.iscoroutinefunction(fn) else "plain"


def drive(verb: Verb[Any], fn: Any) -> Any:
    """Puts a verb around a callable."""
    return Wrapped(fn, verb)


def _plain(verb: Verb[Any]) -> Callable[..., Any]:
    open_frame, close = verb.open, verb.close

    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        frame = open_frame(wrapped, args, kwargs)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as exc:
            other = close(frame, exc, None)
            if other is exc or other is None:
                raise
            raise other from exc
        if type(result) in _LATER or verb.is_stream(result):
            return _later(verb, frame, result)
        close(frame, None, result)
        return result

    return call


def _async(verb: Verb[Any]) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _await(verb, wrapped, args, kwargs)

    return call


async def _await(verb: Verb[Any], wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    frame = verb.open(wrapped, args, kwargs)
    timer = verb.timer(frame)
    try:
        result = await wrapped(*args, **kwargs) if timer is None else await _timed(timer, wrapped, args, kwargs)
    except BaseException as exc:
        other = verb.close(frame, exc, None)
        if other is exc or other is None:
            raise
        raise other from exc
    if type(result) in _LATER or verb.is_stream(result):
        return _later(verb, frame, result)
    verb.close(frame, None, result)
    return result


async def _timed(
    timer: asyncio.Timeout, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    async with timer:
        return await wrapped(*args, **kwargs)


class _Start(NamedTuple):
    """A frame that was opened for a generator or stream, what it iterates, and the context inside."""

    frame: Any
    inner: Any
    inside: otel.Context


def _started(
    verb: Verb[Any], wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], _Start]:
    def start() -> _Start:
        frame = verb.open(wrapped, args, kwargs)
        try:
            inner = wrapped(*args, **kwargs)
        except BaseException as exc:
            other = verb.close(frame, exc, None)
            if other is exc or other is None:
                raise
            raise other from exc
        return _Start(frame, inner, _set_aside(frame))

    return start


def _set_aside(frame: Frame) -> otel.Context:
    """Leaves a frame's context without closing the frame, and gives it back for later."""
    inside = otel.get_current()
    ctx.restore(frame)
    return inside


def _generator(verb: Verb[Any]) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _steps(verb, _started(verb, wrapped, args, kwargs))

    return call


def _steps(verb: Verb[Any], start: Callable[[], _Start]) -> Generator[Any, Any, Any]:
    """Runs a generator or stream inside its frame, item by item."""
    frame, inner, inside = start()
    advance: Callable[[], Any] = inner.__next__
    get_current, attach, saw_item = otel.get_current, otel.attach, verb.saw_item
    try:
        while True:
            frame.before = get_current()
            attach(inside)
            try:
                item = advance()
            finally:
                inside = get_current()
                attach(frame.before)
            saw_item(frame, item)
            advance = inner.__next__
            try:
                sent = yield item
                if sent is not None:
                    advance = functools.partial(inner.send, sent)
            except GeneratorExit:
                _close_inner(inside, inner)
                raise
            except BaseException as exc:
                if not hasattr(inner, "throw"):
                    raise
                advance = functools.partial(inner.throw, exc)
    except StopIteration as end:
        verb.close(frame, None, end.value)
        return end.value
    except BaseException as exc:
        other = verb.close(frame, exc, None)
        if other is exc or other is None:
            raise
        raise other from exc


def _close_inner(inside: otel.Context, inner: Any) -> None:
    close = getattr(inner, "close", None)
    if close is None:
        return
    before = ctx.activate(inside)
    try:
        close()
    finally:
        otel.attach(before)


def _async_generator(verb: Verb[Any]) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _asteps(verb, _started(verb, wrapped, args, kwargs))

    return call


async def _asteps(verb: Verb[Any], start: Callable[[], _Start]) -> AsyncGenerator[Any, Any]:
    """Runs an async generator or stream inside its frame, item by item."""
    frame, inner, inside = start()
    advance: Callable[[], Any] = inner.__anext__
    try:
        while True:
            frame.before = otel.get_current()
            otel.attach(inside)
            try:
                timer = verb.timer(frame)
                item = await advance() if timer is None else await _timed(timer, advance, (), {})
            finally:
                inside = otel.get_current()
                otel.attach(frame.before)
            verb.saw_item(frame, item)
            advance = inner.__anext__
            try:
                sent = yield item
                if sent is not None:
                    advance = functools.partial(inner.asend, sent)
            except GeneratorExit:
                await _aclose_inner(inside, inner)
                raise
            except BaseException as exc:
                if not hasattr(inner, "athrow"):
                    raise
                advance = functools.partial(inner.athrow, exc)
    except StopAsyncIteration:
        verb.close(frame, None, None)
    except BaseException as exc:
        other = verb.close(frame, exc, None)
        if other is exc or other is None:
            raise
        raise other from exc


async def _aclose_inner(inside: otel.Context, inner: Any) -> None:
    close = getattr(inner, "aclose", None) or getattr(inner, "close", None)
    if close is None:
        return
    before = ctx.activate(inside)
    try:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
    finally:
        otel.attach(before)


_DRIVERS: dict[str, Callable[[Verb[Any]], Callable[..., Any]]] = {
    "plain": _plain,
    "async": _async,
    "generator": _generator,
    "async generator": _async_generator,
}

# what a plain function may return that has yet to run

_LATER = frozenset({types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType})


def _later(verb: Verb[Any], frame: Any, result: Any) -> Any:
    """Lets the frame last for what was returned: a coroutine, a generator or a stream."""
    start = _Start(frame, result, _set_aside(frame))
    match result:
        case types.CoroutineType():
            rest: Any = _await_rest(verb, start)
        case types.GeneratorType():
            rest = _steps(verb, lambda: start)
        case types.AsyncGeneratorType():
            rest = _asteps(verb, lambda: start)
        case _:
            rest = _Stream(verb, start)
    weakref.finalize(rest, verb.close, frame, None, None).atexit = False
    return rest


async def _await_rest(verb: Verb[Any], start: _Start) -> Any:
    frame, rest, inside = start
    frame.before = ctx.activate(inside)
    timer = verb.timer(frame)
    try:
        result = await rest if timer is None else await _timed(timer, lambda: rest, (), {})
    except BaseException as exc:
        other = verb.close(frame, exc, None)
        if other is exc or other is None:
            raise
        raise other from exc
    verb.close(frame, None, result)
    return result


class _Stream(_Proxy):
    """A stream object whose iteration runs inside the frame; all else of it is the stream's own."""

    def __init__(self, verb: Verb[Any], start: _Start) -> None:
        super().__init__(start.inner)
        self._self_verb = verb
        self._self_start = start
        self._self_steps: Any = None

    def _self_iterate(self, steps: Callable[..., Any]) -> Any:
        if self._self_steps is None:
            self._self_steps = steps(self._self_verb, lambda: self._self_start)
        return self._self_steps

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self._self_iterate(_steps))

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._self_iterate(_asteps))

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *exc: Any) -> Any:
        self._self_end()
        return self.__wrapped__.__exit__(*exc)

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> Any:
        await self._self_aend()
        return await self.__wrapped__.__aexit__(*exc)

    def close(self) -> Any:
        """Closes the stream and ends its frame."""
        if hasattr(self.__wrapped__, "__anext__"):
            return self._self_aclose()
        self._self_end()
        return self.__wrapped__.close()

    def _self_end(self) -> None:
        self._self_iterate(_steps).close()
        self._self_verb.close(self._self_start.frame, None, None)

    async def _self_aend(self) -> None:
        await self._self_iterate(_asteps).aclose()
        self._self_verb.close(self._self_start.frame, None, None)

    async def _self_aclose(self) -> None:
        await self._self_aend()
        await self.__wrapped__.close()
