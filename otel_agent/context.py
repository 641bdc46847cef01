"""Where a run is found again: in the OpenTelemetry context, which tasks inherit and which is carried into threads here.

The context holds one `Frame`: the run, the call, or the slot of a batch that is open at this point. Frames know the one
above, so a block can tell its own context from somebody else's when it closes. No token is ever detached: a block that
is closed in another task, or by the garbage collector, leaves that context alone.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import Token
from typing import Any, ParamSpec, TypeVar, cast

import wrapt
from opentelemetry import context as otel
from opentelemetry.context import Context

from otel_agent.stop import InvalidSetting

__all__ = [
    "FRAME",
    "INHERITED",
    "WORK",
    "Frame",
    "Source",
    "activate",
    "attach",
    "carry_into_threads",
    "current_context",
    "current_frame",
    "monotonic",
    "new_id",
    "propagate",
    "restore",
    "restore_in_collection",
    "source",
]

P = ParamSpec("P")
R = TypeVar("R")

FRAME = otel.create_key("otel-agent-frame")
INHERITED = otel.create_key("otel-agent-inherited")
WORK = otel.create_key("otel-agent-work")


class Source:
    """The clock and the ids, so that the test kit can put its own in their place."""

    __slots__ = ("monotonic_ns", "new_id")

    def __init__(self) -> None:
        self.monotonic_ns: Callable[[], int] = time.monotonic_ns
        self.new_id: Callable[[], str] = _random_id


def _random_id() -> str:
    return os.urandom(16).hex()


source = Source()


def monotonic() -> int:
    """Gives nanoseconds of a clock that never goes back."""
    return source.monotonic_ns()


def new_id() -> str:
    """Gives a run id: 32 hex digits."""
    return source.new_id()


class Frame:
    """Something open at this point of the program: `above` is what was open around it, `before` the context then."""

    __slots__ = ("above", "before")
    above: Frame | None
    before: Context


_runtime: Any = getattr(otel, "_RUNTIME_CONTEXT", otel)  # what the functions of that module ask: one step less
attach: Callable[[Context], Token[Context]] = _runtime.attach
current_context: Callable[[], Context] = _runtime.get_current


def current_frame() -> Frame | None:
    """Gives the innermost open frame of this thread or task, or None."""
    return cast("Frame | None", current_context().get(FRAME))


def activate(context: Context) -> Context:
    """Makes a context the current one and gives the one before."""
    before = current_context()
    attach(context)
    return before


def restore(frame: Frame) -> None:
    """Makes the context before a frame the current one, if the current one is its own or was left open in it."""
    if _is_open_here(frame):
        attach(frame.before)


def restore_in_collection(frame: Frame) -> None:
    """Does the same inside a garbage collection."""
    if SETS_INSIDE_COLLECTIONS:
        restore(frame)
    elif _is_open_here(frame):
        _overwrite(current_context(), frame.before)


SETS_INSIDE_COLLECTIONS = sys.version_info >= (3, 12)
"""Before, a collection could begin inside `ContextVar.set`, and to set another variable there crashed Python."""


def _overwrite(context: Context, other: Context) -> None:
    entries: Any = dict  # what a context itself does not allow
    entries.update(context, other)
    for key in context.keys() - other.keys():
        entries.pop(context, key)


def _is_open_here(frame: Frame) -> bool:
    inner: Any = current_frame()
    while inner is not None:
        if inner is frame:
            return True
        inner = inner.above
    return False


def propagate(fn: Callable[P, R]) -> Callable[P, R]:
    """Carries the current run, and the whole OpenTelemetry context, to wherever a function is called.

    Args:
        fn: a function or coroutine function that another thread, pool or queue will call.

    Returns:
        A function that runs `fn` in the context of this moment.

    Raises:
        InvalidSetting: it is nothing that can be called.
    """
    if not callable(fn):
        raise InvalidSetting(field="propagate.fn", value=fn, allowed="a function")
    context = current_context()
    if inspect.iscoroutinefunction(fn):
        return cast("Callable[P, R]", _propagate_async(fn, context))

    @functools.wraps(fn)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with _Within(context):
            return fn(*args, **kwargs)

    return called


def _propagate_async(fn: Callable[..., Coroutine[Any, Any, Any]], context: Context) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        with _Within(context):
            return await fn(*args, **kwargs)

    return awaited


class _Within:
    """A block inside another context; the one before comes back at its end, whatever happened inside."""

    __slots__ = ("before", "context")

    def __init__(self, context: Context) -> None:
        self.context = context

    def __enter__(self) -> None:
        self.before = activate(self.context)

    def __exit__(self, *exc: object) -> None:
        attach(self.before)


# threads

_hooked = threading.Event()


def carry_into_threads() -> None:
    """Wraps `Thread.start`, `ThreadPoolExecutor.submit` and the like of `ThreadPool`, once: the context goes along.

    Does nothing where OpenTelemetry's own threading instrumentation is active.
    """
    if _hooked.is_set():
        return
    _hooked.set()
    if _carried_already():
        return
    wrapt.wrap_function_wrapper(threading.Thread, "start", _start)
    wrapt.wrap_function_wrapper(ThreadPoolExecutor, "submit", _submit)
    wrapt.register_post_import_hook(_carry_into_pools, "multiprocessing.pool")  # which most programs never load


def _carried_already() -> bool:
    wrapper = getattr(threading.Thread.start, "_self_wrapper", None)
    return str(getattr(wrapper, "__module__", "")).startswith("opentelemetry.instrumentation.")


def _start(start: Callable[[], None], thread: threading.Thread, args: Any, kwargs: Any) -> None:
    context = current_context()
    if not context or hasattr(type(type(thread).run), "__set__"):  # a property would go before what is put in its place
        return start(*args, **kwargs)
    own = vars(thread)
    given = own.get("run")
    _carry(thread, otel.set_value(INHERITED, context.get(FRAME), context))
    try:
        return start(*args, **kwargs)
    except BaseException:  # no thread was to be had: it may be started once more, and from elsewhere
        own["run"] = given
        if given is None:
            del own["run"]
        raise


def _carry(thread: Any, context: Context) -> None:
    run = thread.run

    def run_inside() -> None:
        thread.__dict__.pop("run", None)  # a thread that holds itself would wait for the garbage collector
        with _Within(context):
            run()

    vars(thread)["run"] = run_inside


def _submit(submit: Callable[..., Any], pool: ThreadPoolExecutor, args: Any, kwargs: Any) -> Any:
    if not args:
        return submit(*args, **kwargs)
    item = _Item(args[0], current_context())
    with _Within(Context()):  # a worker thread that starts now serves many runs: it is born in none
        return submit(item, *args[1:], **kwargs)


_POOLED = ("apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered")


def _carry_into_pools(pools: Any) -> None:
    wrapt.wrap_function_wrapper(pools.ThreadPool, "__init__", _open_pool)
    for name in _POOLED:
        wrapt.wrap_function_wrapper(pools.ThreadPool, name, _hand_in)


def _open_pool(init: Callable[..., None], pool: Any, args: Any, kwargs: Any) -> None:
    with _Within(Context()):  # all its threads serve many runs
        init(*args, **kwargs)


def _hand_in(hand_in: Callable[..., Any], pool: Any, args: Any, kwargs: Any) -> Any:
    if args:
        args = (_Item(args[0], current_context()), *args[1:])
    elif "func" in kwargs:
        kwargs = {**kwargs, "func": _Item(kwargs["func"], current_context())}
    return hand_in(*args, **kwargs)


class _Work:
    """Stands for one piece of work, so that what happens in it is not taken for its thread's doing."""

    __slots__ = ("__weakref__",)


class _Item:
    """One piece of work for a pool, with the context of whoever handed it in, be it empty."""

    __slots__ = ("context", "fn")

    def __init__(self, fn: Callable[..., Any], context: Context) -> None:
        self.fn = fn
        self.context = context

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _Within(otel.set_value(WORK, _Work(), self.context)):
            return self.fn(*args, **kwargs)
