"""Frames that last for an SDK's stream manager: what sends its request when it is entered, and gives a stream then.

The frame opens with the call that gave the manager, which a budget may refuse, and lasts until the manager is left. It
is active while the manager is entered and left and while a step of the stream runs.
"""

from __future__ import annotations

import types
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from otel_agent.context import activate
from otel_agent.run.collector import thrown_away
from otel_agent.run.steps import AsyncStream, Lasting, Stream, SyncStream, is_iterator, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_agent.run.drive import Instead, Verb

__all__ = ["manage"]


def manage(verb: Verb[Any], frame: Any, manager: Any) -> Any:
    """Lets a frame last for a stream manager that a function returned, and gives what is returned in its place."""
    return _StreamManager(_Request(verb, frame, manager))


class _Request(Lasting):
    """An open frame, set aside until a manager is entered, and between the steps of its stream."""

    __slots__ = ("read", "sent")

    def __init__(self, verb: Verb[Any], frame: Any, inner: Any) -> None:
        super().__init__(verb, frame, inner)
        self.sent = self.read = False

    def leave(self, exc: BaseException | None) -> None:
        """Ends the frame where the manager is left; a stream that was not read to its end was closed early."""
        instead = self.end(GeneratorExit() if exc is None and not self.read else exc)
        if instead is not None and exc is not None:
            instead(exc)

    def __del__(self) -> None:
        if not self.sent:
            self.verb.unsent(self.frame)
        super().__del__()


class _Reading(Lasting):
    """The steps of an entered stream, whose end is not yet the end of the frame; what breaks them is."""

    __slots__ = ("request",)

    def __init__(self, request: _Request, stream: Any) -> None:
        self.verb, self.frame, self.inner, self.inside = request.verb, request.frame, stream, request.inside
        self.request = request
        self.hand_on()

    def end(self, exc: BaseException | None, result: Any = None) -> Instead | None:
        if exc is not None and not isinstance(exc, GeneratorExit):
            return self.request.end(exc)
        self.request.read = self.request.read or exc is None
        return None


class _Entered(Stream):
    """An entered stream. Its own methods run on the proxy, so that what they read is seen."""

    def __getattr__(self, name: str) -> Any:
        found: object = super().__getattr__(name)
        if isinstance(found, types.MethodType) and found.__self__ is self.__wrapped__:
            return types.MethodType(found.__func__, self)
        generates = not name.startswith("_") and type(found) in (types.GeneratorType, types.AsyncGeneratorType)
        return self._self_generate(found) if generates else found

    def _self_generate(self, generator: Any) -> Any:
        """Gives the generator that a method of the stream gave the stream, as the same method gives it the proxy."""
        method: object = getattr(self.__wrapped__.__class__, generator.__name__, None)
        if isinstance(method, types.FunctionType) and method.__code__.co_argcount == 1:
            return method(self)
        return generator

    def _self_close(self, close: Callable[..., Any], *args: Any) -> Any:
        cast(_Reading, self._self_lasting).request.leave(None)
        return close(*args)


class _EnteredSyncStream(_Entered, SyncStream):
    """An entered stream that is read with `for`."""


class _EnteredAsyncStream(_Entered, AsyncStream):
    """An entered stream that is read with `async for`."""


def _entered(request: _Request, stream: Any) -> Any:
    if not is_iterator(stream):
        request.read = True
        return stream
    kind = cast(Any, type(stream))
    entered = _EnteredSyncStream if hasattr(kind, "__next__") else _EnteredAsyncStream
    return entered(_Reading(request, stream))


class _StreamManager(Stream):
    """A stream manager, entered and left inside a frame; all else of it is its own."""

    @property
    def _self_request(self) -> _Request:
        return cast(_Request, self._self_lasting)

    def _self_begin(self) -> _Request:
        """Gives the frame of one entering; another one sends another request."""
        if self._self_request.sent:
            verb = self._self_request.verb
            self._self_lasting = verb.last(verb.open(None, (), {}), self.__wrapped__)._self_lasting
        self._self_request.sent = True
        return self._self_request

    def __enter__(self) -> Any:
        enter = self.__wrapped__.__enter__
        request = self._self_begin()
        try:
            return _entered(request, _inside(request, enter))
        except BaseException as exc:
            instead = request.end(exc)
            if instead is None:
                raise
            return instead(exc)

    def __exit__(self, *raised: Any) -> Any:
        request, exc = self._self_request, raised[1]
        leave = partial(self.__wrapped__.__exit__, *raised)
        try:
            handled = leave() if exc is not None and thrown_away(exc) else _inside(request, leave)
        except BaseException as other:
            request.leave(other)
            raise
        request.leave(None if handled else exc)
        return handled

    async def __aenter__(self) -> Any:
        enter = self.__wrapped__.__aenter__
        request = self._self_begin()
        try:
            return _entered(request, await _ainside(request, enter))
        except BaseException as exc:
            instead = request.end(exc)
            if instead is None:
                raise
            return instead(exc)

    async def __aexit__(self, *raised: Any) -> Any:
        request, exc = self._self_request, raised[1]
        leave = partial(self.__wrapped__.__aexit__, *raised)
        try:
            handled = await (leave() if exc is not None and thrown_away(exc) else _ainside(request, leave))
        except BaseException as other:
            request.leave(other)
            raise
        request.leave(None if handled else exc)
        return handled


def _inside(request: _Request, step: Callable[[], Any]) -> Any:
    """Runs one step in the context of a frame."""
    before = activate(request.inside)
    try:
        return step()
    finally:
        request.inside = activate(before)


async def _ainside(request: _Request, step: Callable[[], Any]) -> Any:
    """Awaits one step in the context of a frame, until its timer ends it."""
    before = activate(request.inside)
    try:
        timer = request.verb.timer(request.frame)
        return await (step() if timer is None else timed(timer, step))
    finally:
        request.inside = activate(before)
