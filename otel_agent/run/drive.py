"""How a verb goes around a callable: plain, async, generator, async generator; as decorator, `with` and `async with`.

Decides when a frame opens and closes, and in which context each step runs. Knows nothing of what a verb does: it asks a
`Verb` to open a frame and tells it how the frame ended.

    open      before the user's code, in its task or thread; may refuse by raising
    close     after it, once, with what was raised or returned; gives back what is to be raised

What runs in steps, generators and streams, is in steps.py; what is entered first, in managers.py; what the garbage
collector closes, in collector.py.
"""

from __future__ import annotations

import copy
import functools
import inspect
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import wrapt

from otel_agent import context as ctx
from otel_agent.context import Frame
from otel_agent.run.collector import hand_over, thrown_away, watch_collector
from otel_agent.run.managers import manage
from otel_agent.run.playing import playing
from otel_agent.run.steps import (
    PLAIN,
    Lasting,
    asteps,
    is_manager,
    is_named_stream,
    last_for,
    lasts,
    named,
    steps,
    timed,
)
from otel_agent.stop import InvalidSetting

if TYPE_CHECKING:
    import asyncio

    _Function = wrapt.FunctionWrapper[Any, Any]
    _Bound = wrapt.BoundFunctionWrapper[Any, Any]
else:
    _Function, _Bound = wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper

__all__ = [
    "BoundWrapped",
    "Instead",
    "Unopened",
    "Verb",
    "Wrapped",
    "can_be_driven",
    "drive",
    "kind_of",
    "own_parameter",
    "through",
]

F = TypeVar("F", bound=Frame)

Instead = Callable[[BaseException], Any]
"""What a call does in the place of raising an exception. (A name for the exception itself, in a frame that it passes,
would keep it and all its frames alive until the next garbage collection.)"""


class Unopened(Exception):
    """What a verb raises whose call ended before its frame was open, and that has what the call returns all the same.

    Args:
        result: what the call returns.
    """

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


class Verb(Generic[F]):
    """What can be put around code: `agent_run`, `llm_call`, `tool_call`."""

    def __init__(self) -> None:
        self._entered: list[tuple[F, asyncio.Timeout | None]] = []
        watch_collector()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_entered": []}

    def open(self, wrapped: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> F:
        """Opens a frame in the current context, or refuses by raising.

        Args:
            wrapped: the user's callable; None for `with` blocks.
            args: what it is called with.
            kwargs: what it is called with.
        """
        raise NotImplementedError

    def close(self, frame: F, exc: BaseException | None, result: Any) -> BaseException | None:
        """Closes a frame and gives what is to be raised: `exc`, or another in its place."""
        raise NotImplementedError

    def end(self, frame: F, exc: BaseException | None, result: Any = None) -> Instead | None:
        """Closes a frame; inside a garbage collection only its context at once, and all else just after.

        Returns:
            None where `exc` itself goes on; else what is to be called with it, and returns or raises in its place.
        """
        if exc is not None and thrown_away(exc):
            ctx.restore_in_collection(frame)
            hand_over(self.close, frame, exc, result)
            return None
        other = self.close(frame, exc, result)
        return None if other is None or other is exc else _raising(other)

    def timer(self, frame: F) -> asyncio.Timeout | None:
        """Gives the timer that interrupts an async frame, or None."""
        return None

    def is_stream(self, result: Any) -> bool:
        """Tells whether a returned object is a stream that the frame lasts for."""
        return is_named_stream(result)

    def reader(self, frame: F) -> Callable[[Any], None] | None:
        """Gives what is to be told each item of a generator or stream, or None."""
        return None

    def last(self, frame: F, result: Any) -> Any:
        """Lets a frame last for what was returned, and gives what is returned in its place."""
        return (manage if is_manager(result) else last_for)(self, frame, result)

    def unsent(self, frame: F) -> None:
        """Hears that a stream manager was never entered, before its frame is closed."""

    def returned(self, frame: F, result: Any) -> Any:
        """Gives what a call returns, once its frame is closed."""
        return result

    def entered(self, frame: F) -> Any:
        """Gives what `with ... as` binds to."""
        return frame

    def __enter__(self) -> Any:
        frame = self.open(None, (), {})
        self._entered.append((frame, None))
        return self.entered(frame)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: object) -> None:
        frame, _ = self._leave()
        instead = self.end(frame, exc)
        if instead is not None and exc is not None:
            instead(exc)

    async def __aenter__(self) -> Any:
        frame = self.open(None, (), {})
        timer = self.timer(frame)
        if timer is not None:
            await timer.__aenter__()
        self._entered.append((frame, timer))
        return self.entered(frame)

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: Any) -> None:
        frame, timer = self._leave()
        if timer is not None:
            try:
                await timer.__aexit__(kind, exc, tb)
            except TimeoutError:
                if not timer.expired():
                    raise
        instead = self.end(frame, exc)
        if instead is not None and exc is not None:
            instead(exc)

    def _leave(self) -> tuple[F, asyncio.Timeout | None]:
        """Finds the entry that this exit belongs to: one verb may be entered many times at once."""
        entered = self._entered
        found = entered[-1]
        inner = ctx.current_frame() if len(entered) > 1 else None
        while inner is not None:
            mine = [entry for entry in entered if entry[0] is inner]
            if mine:
                found = mine[0]
                break
            inner = inner.above
        try:
            entered.remove(found)
        except ValueError:  # another exit that had lost its context was faster
            return self._leave()
        return found


def _raising(other: BaseException) -> Instead:
    def instead(exc: BaseException) -> Any:
        raise other from exc

    return instead


# around a callable


def drive(verb: Verb[Any], fn: Any, proxy: type[Wrapped] | None = None) -> Any:
    """Puts a verb around a callable.

    Args:
        verb: what goes around it.
        fn: a function, method, class or any other callable, also a `staticmethod`, `classmethod` or `partialmethod`.
        proxy: gives what is returned methods of its own. Without it, a plain function becomes a plain function again,
            which is called and bound faster than any proxy.

    Raises:
        InvalidSetting: it cannot be called.
    """
    if inspect.isclass(fn):
        return _around_class(verb, fn)
    if proxy is None and type(fn) is types.FunctionType and kind_of(fn) == "plain":
        return functools.update_wrapper(_function(verb, fn), fn)
    return (proxy or Wrapped)(fn, verb)


def can_be_driven(fn: Any) -> bool:
    """Tells whether something can be called, or gives a class something that can be called."""
    return callable(fn) or isinstance(fn, _DESCRIPTORS)


_DESCRIPTORS: Any = (classmethod, functools.partialmethod, functools.singledispatchmethod)
_AROUND: Any = (functools.partial, staticmethod, *_DESCRIPTORS)


def function_of(fn: Any) -> Any:
    """Gives the function behind a callable: what partials, descriptors and objects with `__call__` call in the end."""
    function = fn
    while isinstance(function, _AROUND):
        function = function.__func__ if hasattr(function, "__func__") else function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return _call_of(function) or function


def _call_of(thing: object) -> Any:
    """Gives the `__call__` of a thing's class, or None."""
    return getattr(type(thing), "__call__", None)  # noqa: B004


def own_parameter(fn: Any) -> str | None:
    """Gives the name under which a method gets its object, or None for what is no method, or is bound already."""
    inside, _, _ = getattr(fn, "__qualname__", "").rpartition(".")
    if type(fn) is not types.FunctionType or not inside or inside.endswith("<locals>"):
        return None
    first = fn.__code__.co_varnames[:1]
    return first[0] if first in (("self",), ("cls",)) else None


def kind_of(fn: Any) -> str:
    """Tells how a callable runs: "async generator", "generator", "async" or "plain"."""
    fn = function_of(fn)
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):  # a coroutine in the old style is a generator too, but one to be awaited
        return "plain" if fn.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE else "generator"
    return "async" if inspect.iscoroutinefunction(fn) else "plain"


def _attribute(around: Any, name: str) -> Any:
    """Gives what a proxy has from what it is around; the other ways to call an agent go through the verb too."""
    found = getattr(around.__wrapped__, name)
    if name not in ("run", "using") or not _is_agent(around.__wrapped__):
        return found
    return _gated_run(around, found) if name == "run" else _gated_using(around, found)


def _is_agent(fn: Any) -> bool:
    """Tells whether a decorated callable is, or has in it, what has a `run` of its own class."""
    while issubclass(cast(Any, type(fn)), (Wrapped, BoundWrapped)):
        if hasattr(cast(Any, type(fn)), "run"):
            return True
        fn = fn.__wrapped__
    return False


def _gated_run(around: Any, found: Any) -> Any:
    run = functools.update_wrapper(functools.partial(found), around.__wrapped__)  # which names the arguments

    @functools.wraps(found)
    def gated(*args: Any, **kwargs: Any) -> Any:
        return around._self_wrapper(run, None, args, kwargs)

    return gated


def _gated_using(around: Any, found: Any) -> Any:
    verb = (around if around._self_parent is None else around._self_parent)._self_verb

    @functools.wraps(found)
    def gated(**keywords: Any) -> Wrapped:
        return Wrapped(found(**keywords), verb)

    return gated


class BoundWrapped(_Bound):
    """A decorated method of one object, or of a class."""

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        owner = getattr(self.__wrapped__, "__self__", None)
        return getattr, (self._self_owner if owner is None else owner, self.__wrapped__.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        bound = inspect.ismethod(self.__wrapped__)
        return getattr(copy.deepcopy(self.__self__, memo), self.__wrapped__.__name__) if bound else self


class Wrapped(_Function):
    """A user's callable with a verb around it; it looks, is copied and is pickled like the callable itself."""

    __bound_function_wrapper__ = BoundWrapped

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)

    def __init__(self, wrapped: Any, verb: Any) -> None:
        if not can_be_driven(wrapped):
            raise InvalidSetting(field="what is decorated", value=wrapped, allowed="a function, or what can be called")
        super().__init__(wrapped, through(verb, wrapped))
        self._self_verb = verb

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Binds a method to its object; through the class a function is found as it is, as any function."""
        if instance is None and inspect.isfunction(self.__wrapped__):
            return self
        return super().__get__(instance, owner)

    def __reduce_ex__(self, protocol: Any) -> Any:
        wrapped = self.__wrapped__
        global_name = hasattr(wrapped, "__qualname__") and not inspect.ismethod(wrapped)
        return wrapped.__qualname__ if global_name else (type(self), (wrapped, self._self_verb))

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __copy__(self) -> Any:
        return self._self_around(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._self_around(copy.deepcopy(self.__wrapped__, memo))

    def _self_around(self, wrapped: Any) -> Any:
        return self if wrapped is self.__wrapped__ else type(self)(wrapped, self._self_verb)


def _function(verb: Verb[Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a plain function around a plain function: the way that most calls take, in as few steps as it goes."""
    open_frame, close = verb.open, verb.close

    def call(*args: Any, **kwargs: Any) -> Any:
        frame = open_frame(fn, args, kwargs)
        try:
            stand_in = playing.stand_in
            result: object = fn(*args, **kwargs) if stand_in is None else stand_in.call(verb, fn, args, kwargs)
        except BaseException as exc:
            instead = verb.end(frame, exc)
            if instead is None:
                raise
            return instead(exc)
        if id(type(result)) not in PLAIN and lasts(verb, result):
            return verb.last(frame, result)
        close(frame, None, result)
        return result

    return call


def through(verb: Verb[Any], fn: Any) -> Callable[..., Any]:
    """Gives what a proxy calls: with what it wraps, bound where it is a method, and with the arguments."""
    return _DRIVERS[kind_of(fn)](verb, function_of(fn))


def _plain(verb: Verb[Any], like: Any) -> Callable[..., Any]:
    def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            frame = verb.open(wrapped, args, kwargs)
        except Unopened as unopened:
            return unopened.result
        if playing.stand_in is not None:
            wrapped = functools.partial(playing.stand_in.call, verb, wrapped)
            args, kwargs = (args, kwargs), {}
        elif type(wrapped) is types.MethodType:  # one level less of C, of which some versions of Python allow few
            wrapped, args = wrapped.__func__, (wrapped.__self__, *args)
        elif wrapped is not like and type(like) is types.FunctionType and _call_of(wrapped) is like:
            wrapped, args = like, (wrapped, *args)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as exc:
            instead = verb.end(frame, exc)
            if instead is None:
                raise
            return instead(exc)
        if lasts(verb, result):
            return verb.last(frame, result)
        verb.close(frame, None, result)
        return verb.returned(frame, result)

    return call


def _async(verb: Verb[Any], like: Any) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return named(_await(verb, wrapped, args, kwargs), like)

    return call


async def _await(verb: Verb[Any], wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        frame = verb.open(wrapped, args, kwargs)
    except Unopened as unopened:
        return unopened.result
    if playing.stand_in is not None:
        wrapped = functools.partial(playing.stand_in.call, verb, wrapped)
        args, kwargs = (args, kwargs), {}
    try:
        timer = verb.timer(frame)
        if timer is None:
            result = await wrapped(*args, **kwargs)
        else:
            result = await timed(timer, functools.partial(wrapped, *args, **kwargs))
    except BaseException as exc:
        instead = verb.end(frame, exc)
        if instead is None:
            raise
        return instead(exc)
    if lasts(verb, result):
        return verb.last(frame, result)
    verb.close(frame, None, result)
    return verb.returned(frame, result)


def _generator(verb: Verb[Any], like: Any) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inner = wrapped(*args, **kwargs)
        return named(steps(lambda: Lasting(verb, verb.open(wrapped, args, kwargs), inner)), like)

    return call


def _async_generator(verb: Verb[Any], like: Any) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inner = wrapped(*args, **kwargs)
        return named(asteps(lambda: Lasting(verb, verb.open(wrapped, args, kwargs), inner)), like)

    return call


_DRIVERS: dict[str, Callable[[Verb[Any], Any], Callable[..., Any]]] = {
    "plain": _plain,
    "async": _async,
    "generator": _generator,
    "async generator": _async_generator,
}


# around a class


def _around_class(verb: Verb[Any], cls: Any) -> Any:
    """Puts a verb around the making of a class's objects; the class stays the same object, so that all else holds.

    What cannot be changed, as the built-in classes, gets a proxy.
    """
    try:
        if cls.__init__ is object.__init__ and cls.__new__ is not object.__new__:
            cls.__new__ = drive(verb, cls.__dict__.get("__new__") or _inherited_new(cls))
        else:
            cls.__init__ = drive(verb, cls.__dict__.get("__init__") or _inherited_init(cls))
    except TypeError:
        return Wrapped(cls, verb)
    return cls


def _inherited_init(cls: Any) -> Any:
    @functools.wraps(cls.__init__)
    def init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        cast(Any, super(cls, self)).__init__(*args, **kwargs)

    if cls.__init__ is object.__init__:  # which says of itself that it takes anything
        like: Any = init
        like.__signature__ = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)])
    return init


def _inherited_new(cls: Any) -> Any:
    @functools.wraps(cls.__new__)
    def new(kind: Any, /, *args: Any, **kwargs: Any) -> Any:
        return cast(Any, super(cls, kind)).__new__(kind, *args, **kwargs)

    return staticmethod(new)
