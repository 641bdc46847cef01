"""Which kind of block an exception left first, kept on the exception itself, so that nothing else has to remember it.

The mark also says that the exception is on a span already: it is recorded once, on the innermost one.
"""

from __future__ import annotations

import asyncio

from otel_agent.stop import AgentStop, StopCode, StopIgnored, ToolDenied, is_timeout

__all__ = ["blame", "blamed", "code_for", "is_cancellation", "is_decision"]

_MARK = "_otel_agent_left"


def is_cancellation(exc: BaseException) -> bool:
    """Tells whether an exception is somebody's wish to end, not a failure."""
    return isinstance(exc, (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit))


def is_decision(exc: BaseException) -> bool:
    """Tells whether an exception is a stop or a denial of ours."""
    return isinstance(exc, (AgentStop, ToolDenied, StopIgnored))


def code_for(kind: str, exc: BaseException) -> StopCode:
    """Gives the stop code of an exception that left an "llm" or a "tool" block."""
    if kind == "llm":
        return StopCode.LLM_TIMEOUT if is_timeout(exc) else StopCode.LLM_ERROR
    return StopCode.TOOL_TIMEOUT if is_timeout(exc) else StopCode.TOOL_ERROR


def blame(exc: BaseException, root_id: str, code: StopCode) -> bool:
    """Marks an exception with the block it left, unless a block inside did so before.

    A run that it left has no say: the block around that run may be the first of the one above.

    Returns:
        True for the first mark in this tree of runs.
    """
    before = blamed(exc, root_id)
    if before not in (None, StopCode.ERROR):
        return False
    try:
        object.__setattr__(exc, _MARK, (root_id, str(code)))  # a frozen dataclass refuses its own setattr
    except Exception:  # an exception may refuse attributes: it is then recorded on every span it leaves
        return True
    return before is None


def blamed(exc: BaseException, root_id: str) -> StopCode | None:
    """Gives the code that an exception was marked with in this tree of runs, or None."""
    try:
        mark = object.__getattribute__(
            exc, _MARK
        )  # an exception may refuse to be asked, or to show its attributes, too
    except AttributeError:
        return None
    return StopCode(mark[1]) if isinstance(mark, tuple) and mark[0] == root_id else None
