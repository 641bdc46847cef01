"""The agent that golden tasks ask: found by its name, called with a task's input, whatever kind of function it is.

Decides what of it is an answer. How an agent fails is told by class and place; its message may quote a prompt.

    "support.bot:answer" -> support/bot.py -> answer(input), answer(**input) or answer()
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from otel_agent import checks
from otel_agent.config.current import current
from otel_agent.config.values import Config, GoldenTask
from otel_agent.prompts import Prompt, Registry
from otel_agent.run.choice import selector_in_use
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import shown
from otel_agent.stores.sources import sources_of
from otel_agent.telemetry.spans import error_type
from otel_agent.usage import RunResult

__all__ = ["Agent", "Answer", "Call", "check_call", "find_prompt", "load_agent", "name_of", "place_of"]

Agent: TypeAlias = Callable[..., Any]

FIELD = "agent"
SHAPE = "module:function, such as support.bot:answer"


class Answer(NamedTuple):
    """What a call of an agent came to: what it gave, or what it raised."""

    output: object = None
    error: BaseException | None = None


def load_agent(ref: str) -> Agent:
    """Imports an agent; modules of the working directory can be named too.

    Args:
        ref: `module:function`; behind the colon may stand a path of attributes.

    Raises:
        InvalidSetting: it is no such name, it cannot be imported, or it cannot be called; what was raised is its cause.
    """
    module_name, colon, path = ref.partition(":")
    if not (colon and path and all(part.isidentifier() for part in (*module_name.split("."), *path.split(".")))):
        raise InvalidSetting(field=FIELD, value=ref, allowed=SHAPE)
    found: Any = _module(ref, module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            near = checks.nearest(name, (each for each in dir(found) if not each.startswith("_")))
            raise InvalidSetting(field=FIELD, value=ref, allowed=f"a function that is there: no {name} in it{near}")
        found = getattr(found, name)
    if not callable(found):
        raise InvalidSetting(field=FIELD, value=ref, allowed=f"something to call; this is {_kind(found)}")
    agent: Agent = found
    return agent


def _kind(thing: object) -> str:
    return f"a module ({thing.__name__})" if inspect.ismodule(thing) else f"of the class {type(thing).__name__}"


def _module(ref: str, name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as wrong:
        said = " ".join(str(wrong).split())[:200]
        why = f"{error_type(wrong)}: {said}" if said else error_type(wrong)
        where = place_of(wrong)
        allowed = f"an agent that can be imported; its import raised {why}" + (f" ({where})" if where else "")
        raise InvalidSetting(field=FIELD, value=ref, allowed=allowed) from wrong


def name_of(agent: Agent) -> str:
    """Gives what an agent is called in its own module."""
    return str(getattr(agent, "__qualname__", type(agent).__name__))


def place_of(error: BaseException) -> str | None:
    """Gives the file and line that raised, the innermost one outside of Python's own import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames if Path(frame.filename) not in (Path(__file__), Path(importlib.__file__ or ""))]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else None


# calling it


def _arguments(task: GoldenTask) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    given = task.input
    if given is None:
        return (), {}
    return ((), given) if checks.is_mapping(given) else ((given,), {})


def check_call(agent: Agent, task: GoldenTask) -> None:
    """Checks that an agent can be called with a task's input.

    Raises:
        InvalidSetting: an argument is missing, or it takes no such one.
    """
    args, kwargs = _arguments(task)
    try:
        signature = inspect.signature(agent)
    except (TypeError, ValueError):  # one that says nothing of what it takes
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as wrong:
        given = f"a mapping of {', '.join(kwargs)}" if kwargs else "a text" if args else "nothing"
        place = "" if task.file is None else f"{shown(task.file)}:{task.line or 1}: "
        allowed = f"what {name_of(agent)} takes; {wrong}"
        raise InvalidSetting(field=f"{place}task {task.id!r}: input", value=given, allowed=allowed) from None


class Call:
    """One call of an agent with a task's input.

    Args:
        agent: the agent.
        task: the task.
    """

    def __init__(self, agent: Agent, task: GoldenTask) -> None:
        self._agent = agent
        self._task = task
        self._waited: Future[Answer] | None = None

    def answer(self) -> Answer:
        """Makes the call and waits for what it gives, be it a coroutine or a generator; raises nothing itself."""
        args, kwargs = _arguments(self._task)
        try:
            found = self._whole(self._agent(*args, **kwargs))
        except BaseException as error:  # also SystemExit: an agent that leaves must not take the others along
            return Answer(error=error)
        whole: Any = found  # its own name: the type of what is in a result is not known
        return Answer(output=whole.output if isinstance(found, RunResult) else whole)

    def abandon(self) -> None:
        """Cancels a coroutine that is still under way; a plain function nobody can stop."""
        if self._waited is not None:
            self._waited.cancel()

    def _whole(self, found: Any) -> Any:
        kind = cast("type[object]", type(found))
        if issubclass(kind, AsyncIterator):
            return _joined(self._wait(_listed(found)))
        if inspect.isawaitable(found):
            return self._wait(found)
        return _joined(list(found)) if issubclass(kind, Iterator) else found

    def _wait(self, found: Awaitable[Any]) -> Any:
        self._waited = asyncio.run_coroutine_threadsafe(_guarded(found), _loop())
        answer = self._waited.result()
        if answer.error is not None:
            raise answer.error
        return answer.output


async def _guarded(found: Awaitable[Any]) -> Answer:
    """Keeps what would end the loop, and with it every other trial."""
    try:
        return Answer(await found)
    except (KeyboardInterrupt, SystemExit) as error:
        return Answer(error=error)


async def _listed(found: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in found]


def _joined(pieces: list[Any]) -> Any:
    """Gives what a stream said: a text where all pieces are texts."""
    return "".join(pieces) if all(isinstance(each, str) for each in pieces) else pieces


class _Loop:
    lock = threading.Lock()
    running: asyncio.AbstractEventLoop | None = None


def _loop() -> asyncio.AbstractEventLoop:
    """Gives the one event loop of all trials of this process, so that a client made at import stays on one loop."""
    with _Loop.lock:
        if _Loop.running is None:
            _Loop.running = asyncio.new_event_loop()
            thread = threading.Thread(target=_Loop.running.run_forever, name="otel-agent-golden-loop", daemon=True)
            contextvars.Context().run(thread.start)
        return _Loop.running


# which prompt it gets


def find_prompt(ref: str, config: Config | Path | None = None, *, field: str = "prompt") -> Prompt:
    """Finds the prompt that `name:version` stands for: among those of `configure()`, else of the configuration.

    Args:
        ref: `name:version`, or a whole prompt id.
        config: the configuration; None is the one that is found.
        field: what is set to it, for the error.

    Raises:
        InvalidSetting: nothing stands under it.
    """
    registered = getattr(selector_in_use(), "registry", None)
    known = registered if isinstance(registered, Registry) and registered.names else None
    if known is None or ref not in known:
        configured = sources_of(current(config)).registry()
        known = configured if known is None or ref in configured else known
    return known.get(ref, field=field)
