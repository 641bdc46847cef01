"""What was used: the values that a run, a call and their listeners speak in.

Decides what a token count and a sum of money mean here; reads no clock, keeps no state. Money is an `int` of
micro-USD inside and a `Decimal` of USD at the edge. Unknown is `None`, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, Context, Decimal
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from otel_agent.stop import AgentStop, StopCode, ToolDenied

__all__ = [
    "CallRecord",
    "CallStarted",
    "LimitUse",
    "Listener",
    "PastRun",
    "Reading",
    "Remaining",
    "RunRecord",
    "RunResult",
    "RunStarted",
    "Usage",
    "micro_to_usd",
    "usd_to_micro",
]

T = TypeVar("T")

MICRO = 1_000_000

# The application's decimal context may round or trap: money has one of its own, which rounds up or not at all.
_UP = Context(prec=60, rounding=ROUND_CEILING, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def usd_to_micro(usd: Decimal) -> int:
    """Turns USD into micro-USD, rounded up, so that a sum of costs is never too low."""
    return int(_UP.to_integral_value(_UP.multiply(usd, MICRO)))


def micro_to_usd(micro: int) -> Decimal:
    """Turns micro-USD into USD, exactly, without trailing zeros."""
    return _UP.divide(micro, MICRO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one model response says of itself, in one meaning for every provider.

    Attributes:
        input_tokens: all input as billed, cached and cache-write tokens inside, or None when not said.
        output_tokens: all output as billed, reasoning tokens inside, or None when not said.
        cached_input_tokens: the part of the input read from a cache, or None.
        cache_write_tokens: the part of the input written to a cache, or None.
        reasoning_tokens: the part of the output that was reasoning, or None.
        model: the model that answered, or None.
        response_id: the provider's id of the response, or None.
        finish_reasons: why the model ended, one a choice.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    model: str | None = None
    response_id: str | None = None
    finish_reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run has used so far.

    Attributes:
        steps: LLM calls sent, also failed ones.
        tool_calls: tool calls made.
        input_tokens: input as billed, cached tokens inside.
        output_tokens: output as billed, reasoning tokens inside.
        cached_input_tokens: the part of the input read from a cache; None when no response said.
        cache_write_tokens: the part of the input written to a cache; None when no response said.
        reasoning_tokens: the part of the output that was reasoning; None when no response said.
        seconds: time since the run opened, or that it took.
        cost_usd: USD; None when the price of some call is unknown.
        estimated: True when some call is counted at its estimate, since its response never said.
    """

    steps: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    seconds: float = 0.0
    cost_usd: Decimal | None = Decimal(0)
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What a run may still use, after what its calls in flight hold; None where nothing limits it.

    Attributes:
        steps: LLM calls.
        tool_calls: tool calls.
        seconds: seconds until the deadline, never below 0.
        tokens: input and output tokens.
        usd: USD.
    """

    steps: int | None
    tool_calls: int | None
    seconds: float | None
    tokens: int | None
    usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Generic[T]):
    """How a run ended.

    Attributes:
        output: what the function returned; None when it did not return, and for `with` blocks.
        stop_reason: the stop code, a `str`.
        stop_detail: free text beside it, or None.
        error: the run's own stop, or the denial that escaped from it; None when it returned.
        run_id: the run's id, 32 hex digits.
        trace_id: 32 hex digits, or None when nothing was traced.
        prompt_id: `name:version:hash`, or None.
        usage: what the run and all runs under it used.
        own_usage: what the run used itself, without the runs under it.
        denials: how many calls were refused, by reason.
    """

    output: T | None
    stop_reason: StopCode
    stop_detail: str | None
    error: AgentStop | ToolDenied | None
    run_id: str
    trace_id: str | None
    prompt_id: str | None
    usage: Usage
    own_usage: Usage
    denials: Mapping[str, int] = field(default_factory=dict[str, int])


class LimitUse(NamedTuple):
    """One limit of a run and how much of it is used, both in the limit's own unit (USD as `Decimal`)."""

    limit: Any
    used: Any


class RunStarted(NamedTuple):
    """A run has opened: what listeners are told first."""

    run_id: str
    parent_id: str | None
    agent: str
    prompt_id: str | None
    limits: Mapping[str, LimitUse]
    mode: str
    variant: str | None = None


class CallStarted(NamedTuple):
    """One LLM or tool call was let through: `kind` is "llm" or "tool", `name` the model or the tool."""

    kind: str
    name: str
    run_id: str | None


class CallRecord(NamedTuple):
    """One LLM or tool call has ended, or was refused: what listeners are told.

    `kind` is "llm" or "tool"; `name` the model or the tool; `run_id` is None outside a run. Tokens and `cost_usd` are
    None where unknown or where the call has none. `decision` is "allow", or "deny" with `reason`.
    `error_type` is None when the call went well.
    """

    kind: str
    name: str
    run_id: str | None
    agent: str | None
    prompt_id: str | None
    seconds: float
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    estimated: bool
    decision: str
    reason: str | None
    error_type: str | None


class RunRecord(NamedTuple):
    """A run has ended: what listeners are told last.

    `variant` is "active" or "canary" where its prompt was selected by name, else None.
    `limits` maps steps, tool_calls, seconds, tokens and usd (those set) to limit and use.
    """

    run_id: str
    parent_id: str | None
    agent: str
    prompt_id: str | None
    mode: str
    stop_reason: StopCode
    stop_detail: str | None
    error_type: str | None
    trace_id: str | None
    usage: Usage
    own_usage: Usage
    limits: Mapping[str, LimitUse]
    denials: Mapping[str, int]
    variant: str | None = None


class Listener(Protocol):
    """Whoever wants to know what happens. Called in the thread of the call; what it raises is logged and forgotten."""

    def run_started(self, run: RunStarted, /) -> None: ...
    def call_started(self, call: CallStarted, /) -> None: ...
    def call_ended(self, call: CallRecord, /) -> None: ...
    def run_ended(self, run: RunRecord, /) -> None: ...


class PastRun(NamedTuple):
    """A finished run as a history keeps it, with the use of the runs under it.

    `ended_ns` is nanoseconds since 1970 (UTC), `seconds` how long it took, `micro_usd` what it cost in micro-USD or
    None where some price is unknown, `task` the task it was given, where tasks repeat.
    """

    run_id: str
    parent_id: str | None
    trace_id: str | None
    task: str | None
    agent: str
    prompt_id: str | None
    variant: str | None
    mode: str
    stop_reason: str
    stop_detail: str | None
    error_type: str | None
    ended_ns: int
    seconds: float
    steps: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    micro_usd: int | None
    estimated: bool

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens
