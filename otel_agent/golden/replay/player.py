"""Who stands at the boundary: a player for all trials of a process, a tape for each of them.

Decides which requests come by here at all: those of a trial, which its OpenTelemetry context tells. Everything else
in the process goes its way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from opentelemetry import context as otel
from opentelemetry.context import Context

from otel_agent.context import current_context
from otel_agent.run.playing import playing

if TYPE_CHECKING:
    from otel_agent.config.values import GoldenTask
    from otel_agent.golden.replay.recording import Answer
    from otel_agent.run.llm import LLMCall

__all__ = ["Asked", "Boundary", "Player", "Tape", "in_context", "leave", "stand", "tape_here"]

_TAPE = otel.create_key("otel-agent-tape")


class Asked(Protocol):
    """One request to a model, on its way."""

    @property
    def answer(self) -> Answer | None:
        """What is to be answered in the model's place; None lets the request go to it."""

    def answered(self, answer: Answer) -> None:
        """Hears what came of it."""


class Tape(Protocol):
    """One trial at the boundary.

    Attributes:
        problem: why the trial cannot be judged, in one line, or None; asked before the agent is called, and after.
    """

    problem: str | None

    def opens(self, verb: Any, wrapped: Callable[..., Any] | None) -> None:
        """Hears of a tool that is about to be asked for."""

    def tool(self, verb: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Calls a tool, or answers in its place."""

    def model(self, name: str, key: str, size: int, call: LLMCall) -> Asked:
        """Hears of a request to a model."""
        ...

    def end(self, steps: int) -> None:
        """Hears that the trial is over, and how many LLM calls its run made."""


class Player(Protocol):
    """Records trials, or answers them from a recording, inside a `with` block.

    Attributes:
        replays: whether answers come from a recording.
    """

    replays: bool

    def tape(self, task: GoldenTask, repeat: int) -> Tape:
        """Gives the tape of a trial."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, exc: object, tb: object, /) -> None: ...


class Boundary:
    """What the tools of the package ask while a player stands here."""

    def opens(self, verb: Any, wrapped: Callable[..., Any] | None) -> None:
        tape = tape_here()
        if tape is not None:
            tape.opens(verb, wrapped)

    def call(self, verb: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        from otel_agent.run.tool import ToolVerb

        tape = tape_here() if isinstance(verb, ToolVerb) else None
        return fn(*args, **kwargs) if tape is None else tape.tool(verb, fn, args, kwargs)


def tape_here() -> Tape | None:
    """Gives the tape of the trial that this code runs in, or None."""
    found: Any = current_context().get(_TAPE)
    return cast("Tape | None", found)


def in_context(tape: Tape, context: Context) -> Context:
    """Gives a context whose code is a trial's."""
    return otel.set_value(_TAPE, tape, context)


class _Standing:
    lock = threading.Lock()
    users = 0
    undo = ExitStack()


def stand() -> None:
    """Stands at both boundaries until `leave` was called as often; each request finds its own tape, or none."""
    from otel_agent.golden.replay.transports import wrapped_transports

    with _Standing.lock:
        if not _Standing.users:
            _Standing.undo.enter_context(wrapped_transports())
            playing.stand_in = Boundary()
        _Standing.users += 1


def leave() -> None:
    """Leaves both boundaries as they were, where nobody else stands there."""
    with _Standing.lock:
        _Standing.users -= 1
        if not _Standing.users:
            playing.stand_in = None
            _Standing.undo.close()
