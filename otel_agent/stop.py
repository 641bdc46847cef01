"""Why a run ended: the closed set of stop codes, and every exception of the package.

Decides which code an exception stands for. Knows nothing of runs, spans or budgets.

    Exception
    +-- AgentStop            the run must end             (the limits' doing)
    |   +-- BudgetExceeded   a limit or a window is used up
    |   +-- LoopDetected     the same thing again and again
    |   +-- PolicyStop       a rule, a person or a gate said no
    |   +-- Killed           somebody pulled a switch
    +-- ToolDenied           one tool call must not happen; the run goes on
    +-- RunClosed            a gate was asked after its run ended   (the caller's doing)
    +-- InvalidSetting       a value that can never work, also a ValueError
    BaseException
    +-- StopIgnored          a stop was swallowed three times
"""

from __future__ import annotations

import asyncio
import signal
import threading
from enum import StrEnum
from typing import Any

__all__ = [
    "GROUPS",
    "AgentStop",
    "BudgetExceeded",
    "InvalidSetting",
    "Killed",
    "LoopDetected",
    "PolicyStop",
    "RunClosed",
    "StopCode",
    "StopIgnored",
    "ToolDenied",
    "is_timeout",
    "reason_for",
    "stop_for",
]


class StopCode(StrEnum):
    """Why a run ended: one code a run, from a closed set, so that it can be a metric label."""

    FINISH = "finish"
    HANDOFF = "handoff"
    NEEDS_HUMAN = "needs_human"

    MAX_STEPS = "max_steps"
    MAX_TOOL_CALLS = "max_tool_calls"
    MAX_CALLS_PER_TOOL = "max_calls_per_tool"
    MAX_SECONDS = "max_seconds"
    MAX_TOKENS = "max_tokens"
    MAX_USD = "max_usd"
    UNPRICED_MODEL = "unpriced_model"

    MAX_ACTIONS_PER_HOUR = "max_actions_per_hour"
    MAX_SPEND_USD_PER_DAY = "max_spend_usd_per_day"

    LOOP_DETECTED = "loop_detected"
    NO_PROGRESS = "no_progress"

    TOOL_DENIED = "tool_denied"
    APPROVAL_REQUIRED = "approval_required"
    HUMAN_REJECTED = "human_rejected"

    KILLED_GLOBAL = "killed_global"
    KILLED_TENANT = "killed_tenant"
    AGENT_DISABLED = "agent_disabled"
    TOOL_DISABLED = "tool_disabled"
    WRITES_DISABLED = "writes_disabled"

    LLM_ERROR = "llm_error"
    LLM_TIMEOUT = "llm_timeout"
    REFUSAL = "refusal"
    TOOL_ERROR = "tool_error"
    TOOL_TIMEOUT = "tool_timeout"
    INVALID_ACTION = "invalid_action"

    CONTRACT_MISMATCH = "contract_mismatch"
    GATE_FAILED = "gate_failed"
    ROLLBACK_REQUIRED = "rollback_required"

    CANCELLED = "cancelled"
    STORE_UNAVAILABLE = "store_unavailable"
    ERROR = "error"


def _group(name: str, *codes: StopCode) -> dict[StopCode, str]:
    return dict.fromkeys(codes, name)


GROUPS: dict[StopCode, str] = {
    **_group("done", StopCode.FINISH, StopCode.HANDOFF, StopCode.NEEDS_HUMAN),
    **_group(
        "budget",
        StopCode.MAX_STEPS,
        StopCode.MAX_TOOL_CALLS,
        StopCode.MAX_CALLS_PER_TOOL,
        StopCode.MAX_SECONDS,
        StopCode.MAX_TOKENS,
        StopCode.MAX_USD,
        StopCode.UNPRICED_MODEL,
    ),
    **_group("windows", StopCode.MAX_ACTIONS_PER_HOUR, StopCode.MAX_SPEND_USD_PER_DAY),
    **_group("loop", StopCode.LOOP_DETECTED, StopCode.NO_PROGRESS),
    **_group("policy", StopCode.TOOL_DENIED, StopCode.APPROVAL_REQUIRED, StopCode.HUMAN_REJECTED),
    **_group(
        "kill",
        StopCode.KILLED_GLOBAL,
        StopCode.KILLED_TENANT,
        StopCode.AGENT_DISABLED,
        StopCode.TOOL_DISABLED,
        StopCode.WRITES_DISABLED,
    ),
    **_group(
        "model, tool",
        StopCode.LLM_ERROR,
        StopCode.LLM_TIMEOUT,
        StopCode.REFUSAL,
        StopCode.TOOL_ERROR,
        StopCode.TOOL_TIMEOUT,
        StopCode.INVALID_ACTION,
    ),
    **_group("release", StopCode.CONTRACT_MISMATCH, StopCode.GATE_FAILED, StopCode.ROLLBACK_REQUIRED),
    **_group("outside", StopCode.CANCELLED, StopCode.STORE_UNAVAILABLE, StopCode.ERROR),
}


def _code(field: str, reason: object) -> StopCode:
    if isinstance(reason, str) and reason in tuple(StopCode):
        return StopCode(reason)
    raise InvalidSetting(field=field, value=reason, allowed="one of the stop codes")


class _Fields:
    """Keyword fields that survive pickling and copying; `str()` says what happened in one line."""

    _names: tuple[str, ...] = ()

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self._set(fields)

    def _set(self, fields: dict[str, Any]) -> None:
        for name in self._names:
            setattr(self, name, fields[name])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._names)})"

    def __reduce__(self) -> tuple[Any, ...]:
        extra = {name: value for name, value in self.__dict__.items() if name not in self._names}
        return (_rebuild, (type(self), {name: getattr(self, name) for name in self._names}), extra or None)


def _rebuild(kind: type[_Fields], fields: dict[str, Any]) -> _Fields:
    return kind(**fields)


class AgentStop(_Fields, Exception):
    """The run that `run_id` names must end.

    Attributes:
        reason: the stop code, a `str`.
        detail: free text beside it, or None.
        limit: the limit that was hit, in its own unit (calls, tokens, seconds, USD as `Decimal`), or None.
        used: how much of it was used, in the same unit, or None.
        run_id: the run this stop belongs to, or None outside a run.
        pending: True when only calls in flight stood in the way, so that trying again later may work.
    """

    _names = ("reason", "detail", "limit", "used", "run_id", "pending")
    reason: StopCode
    detail: str | None
    limit: Any
    used: Any
    run_id: str | None
    pending: bool

    def __init__(
        self,
        *,
        reason: StopCode | str,
        detail: str | None = None,
        limit: Any = None,
        used: Any = None,
        run_id: str | None = None,
        pending: bool = False,
    ) -> None:
        code = _code("AgentStop.reason", reason)
        super().__init__(reason=code, detail=detail, limit=limit, used=used, run_id=run_id, pending=pending)

    def __str__(self) -> str:
        text = f"{self.reason}:{self.detail}" if self.detail else str(self.reason)
        if self.limit is not None:
            text += f" (used {self.used} of {self.limit})"
        return text + " by calls in flight" if self.pending else text


class BudgetExceeded(AgentStop):
    """A limit of the run's budget, or of a window, is used up."""


class LoopDetected(AgentStop):
    """The same tool was called with the same arguments too often."""


class PolicyStop(AgentStop):
    """A rule, a person or a gate of releases forbade the run to go on."""


class Killed(AgentStop):
    """A kill switch is on."""


class ToolDenied(_Fields, Exception):
    """One tool call must not happen; the run itself goes on.

    Attributes:
        tool: the tool's name.
        reason: the stop code that becomes the run's stop reason when nobody catches this.
        limit: the limit that was hit, in calls, or None.
        used: how much of it was used, in calls, or None.
        run_id: the run that asked, or None outside a run.
    """

    _names = ("tool", "reason", "limit", "used", "run_id")
    tool: str
    reason: StopCode
    limit: Any
    used: Any
    run_id: str | None

    def __init__(
        self, *, tool: str, reason: StopCode | str, limit: Any = None, used: Any = None, run_id: str | None = None
    ) -> None:
        code = _code("ToolDenied.reason", reason)
        super().__init__(tool=tool, reason=code, limit=limit, used=used, run_id=run_id)

    def __str__(self) -> str:
        text = f"the call of {self.tool} was denied: {self.reason}"
        return f"{text} (used {self.used} of {self.limit})" if self.limit is not None else text


class RunClosed(_Fields, RuntimeError):
    """A call was asked of a run that has already ended.

    Attributes:
        run_id: the run that has ended.
    """

    _names = ("run_id",)
    run_id: str

    def __init__(self, *, run_id: str) -> None:
        super().__init__(run_id=run_id)

    def __str__(self) -> str:
        return f"run {self.run_id} has ended: it takes no more calls"


class StopIgnored(_Fields, BaseException):
    """The stop of a run was swallowed three times; `except Exception` cannot swallow this one.

    Attributes:
        stop: the stop that was ignored. At the border of its run it is raised instead.
    """

    _names = ("stop",)
    stop: AgentStop

    def __init__(self, *, stop: AgentStop) -> None:
        super().__init__(stop=stop)

    def __str__(self) -> str:
        return f"a stop was ignored three times: {self.stop}"


class InvalidSetting(_Fields, ValueError):
    """A value that can never work, refused where it is written.

    Attributes:
        field: what was set, for example `Budget.max_steps` or `OTEL_AGENT_MODE`.
        value: what it was set to, as a short text.
        allowed: what would be accepted.
    """

    _names: tuple[str, ...] = ("field", "value", "allowed")
    field: str
    value: str
    allowed: str

    def __init__(self, *, field: str, value: object, allowed: str) -> None:
        super().__init__(field=field, value=_short(value), allowed=allowed)

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: must be {self.allowed}"


def _short(value: object) -> str:
    """Gives a text of at most 80 characters, whatever the value; a text that is one already is kept."""
    if isinstance(value, _Shown):
        return value
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}>"
    return _Shown(text if len(text) <= 80 else text[:77] + "...")


class _Shown(str):
    """A value that was turned into text already, so that pickling does not quote it twice."""

    __slots__ = ()


_CLASS_OF_GROUP: dict[str, type[AgentStop]] = {
    "budget": BudgetExceeded,
    "windows": BudgetExceeded,
    "loop": LoopDetected,
    "policy": PolicyStop,
    "kill": Killed,
    "release": PolicyStop,
}


def stop_for(code: StopCode, **fields: Any) -> AgentStop:
    """Builds the exception of the class that belongs to a code's group.

    Args:
        code: the stop code.
        **fields: the other fields of `AgentStop`.
    """
    return _CLASS_OF_GROUP.get(GROUPS[code], AgentStop)(reason=code, **fields)


def is_timeout(exc: BaseException) -> bool:
    """Tells whether an exception is a timeout: `TimeoutError`, or a class named so, as the HTTP clients have."""
    return isinstance(exc, TimeoutError) or any("Timeout" in kind.__name__ for kind in type(exc).__mro__)


def reason_for(exc: BaseException | None) -> tuple[StopCode, str | None]:
    """Gives the stop code and detail that an exception stands for when it leaves a run.

    Args:
        exc: the exception, or None for a plain return.

    Returns:
        The code, and the detail or None.
    """
    match exc:
        case None:
            return StopCode.FINISH, None
        case AgentStop():
            return exc.reason, exc.detail
        case ToolDenied():
            return exc.reason, exc.tool
        case StopIgnored():
            return exc.stop.reason, exc.stop.detail
        case KeyboardInterrupt():
            return StopCode.CANCELLED, "sigint"
        case SystemExit():
            return StopCode.CANCELLED, "exit"
        case asyncio.CancelledError():
            return StopCode.CANCELLED, "sigint" if _is_interrupted() else None
        case GeneratorExit():
            return StopCode.CANCELLED, None
        case _:
            return StopCode.ERROR, None


def _is_interrupted() -> bool:
    """Tells whether Ctrl-C is why `asyncio.run` cancels what runs in this thread."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = getattr(signal.getsignal(signal.SIGINT), "func", None)
    runner = getattr(handler, "__self__", None)
    return isinstance(runner, asyncio.Runner) and bool(getattr(runner, "_interrupt_count", 0))
