"""Tool calls: one gate, one span each.

The way of one call: the account lets it through (or a span says why not), the span opens, the user's code runs, the
span closes, the instruments record.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from otel_agent import checks, config, hashing, semconv
from otel_agent import context as ctx
from otel_agent.budget import NANO, TOOL_CALLS, USD, Account, Budget, Refusal, Repeat, Spend
from otel_agent.checks import Money
from otel_agent.context import FRAME, attach, current_context, source
from otel_agent.run import arguments as given
from otel_agent.run.calls import (
    Call,
    CallVerb,
    close_failed,
    first_line,
    fn_name,
    refused_span,
    run_here,
    start_frame,
    tell_ended,
    tell_refused,
    tell_started,
)
from otel_agent.run.drive import drive, own_parameter
from otel_agent.run.playing import playing
from otel_agent.run.state import Run, RunFrame, plain
from otel_agent.stop import InvalidSetting, ToolDenied
from otel_agent.telemetry.guard import broken, warn_once
from otel_agent.telemetry.instruments import Instruments
from otel_agent.telemetry.listeners import heard
from otel_agent.telemetry.pipeline import current_pipeline
from otel_agent.telemetry.spans import keep, kept
from otel_agent.usage import micro_to_usd, usd_to_micro

__all__ = ["NOT_GIVEN", "Slot", "ToolCall", "ToolVerb", "refuse_tool"]

NOT_GIVEN: Any = object()
_RANDOM_KEY = os.urandom(32)
_CALLS = semconv.TOOL_CALLS
_LIMIT, _USED = semconv.BUDGET["tool_calls"]
_USD_KEYS = semconv.BUDGET["usd"]


class ToolCall(Call):
    """One open tool call, as `with tool_call(...) as call` gives it."""

    __slots__ = ("digest",)
    digest: str | None


class Slot(RunFrame):
    """One place of a batch, to be entered with `with` or `async with`: the tool called inside spends it.

    Attributes:
        name: the tool's name.
        denied: the `ToolDenied` that says why this call must not happen, or None.
    """

    __slots__ = ("denied", "name", "repeat", "run", "state")
    run: Run | None
    name: str
    repeat: Repeat | None
    denied: ToolDenied | None
    state: str

    def claim(self, state: str) -> bool:
        """Moves a slot that is still held into another state; False for all but the first who tries."""
        if self.run is None or self.state != "held":
            return False
        with self.run.account.tree.lock:
            held = self.state == "held"
            self.state = state if held else self.state
        return held

    def give_back(self) -> None:
        """Gives back what nobody used."""
        if self.run is not None and self.claim("given back"):
            self.run.account.give_back_slot(self.name, self.repeat)

    def __enter__(self) -> Slot:
        if self.denied is not None:
            raise self.denied
        if self.state == "given back":
            raise RuntimeError(f"the batch that this slot of {self.name} belongs to has ended")
        context = current_context()
        self.before, self.above = context, ctx.current_frame()
        attach(Context({**context, FRAME: self}))
        return self

    def __exit__(self, *exc: object) -> None:
        ctx.restore(self)
        if self.state == "held":
            warn_once(f"slot:{self.name}", "no tool_call was made in a slot of %s: nothing was counted", self.name)

    async def __aenter__(self) -> Slot:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)


class ToolVerb(CallVerb[ToolCall]):
    """`tool_call(...)`: a decorator, `with` and `async with` around one call of a tool."""

    span_kind = SpanKind.INTERNAL

    def __init__(
        self,
        name: str | None = None,
        *,
        cost_usd: Money | None = None,
        max_repeats: int | None = None,
        arguments: object = NOT_GIVEN,
        call_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name = given.maybe_text("tool_call.name", name)
        self.tool = self.name or ""
        self.micro_usd = 0 if cost_usd is None else usd_to_micro(checks.usd("tool_call.cost_usd", cost_usd))
        self.max_repeats = given.maybe_count("tool_call.max_repeats", max_repeats)
        self.arguments = arguments
        self.call_id = given.maybe_text("tool_call.call_id", call_id)
        self.own_attributes = given.attributes("tool_call.attributes", attributes)
        self.spend: Spend = (0, 1, 0, self.micro_usd)
        self._signature: inspect.Signature | None = None
        self._own: str | None = None
        self._latest: tuple[str, Budget, dict[str, Any]] = ("", given.NO_BUDGET, {})
        self._prepare(None)

    def _prepare(self, description: str | None) -> None:
        """Builds what is the same for every call."""
        self.span_name = f"{semconv.OPERATION_TOOL} {self.tool}"
        self.at_start = {
            semconv.OPERATION: semconv.OPERATION_TOOL,
            semconv.TOOL_NAME: self.tool,
            semconv.TOOL_TYPE: semconv.TOOL_TYPE_FUNCTION,
        }
        self.labels = {semconv.TOOL_NAME: self.tool, semconv.TOOL_TYPE: semconv.TOOL_TYPE_FUNCTION}
        self.more = {**self.own_attributes, semconv.DECISION: "allow"}
        if self.call_id is not None:
            self.more[semconv.TOOL_CALL_ID] = self.call_id
        if description:
            self.more[semconv.TOOL_DESCRIPTION] = description
        if self.micro_usd:
            self.more[semconv.COST_USD] = float(micro_to_usd(self.micro_usd))

    def __call__(self, fn: Any) -> Any:
        """Decorates a tool."""
        verb = ToolVerb(
            self.name or fn_name(fn),
            cost_usd=micro_to_usd(self.micro_usd) if self.micro_usd else None,
            max_repeats=self.max_repeats,
            call_id=self.call_id,
            attributes=self.own_attributes,
        )
        verb._prepare(first_line(fn))
        return drive(verb, fn)

    def open(self, wrapped: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ToolCall:
        context = current_context()
        above: Any = context.get(FRAME)
        run: Run | None = above if type(above) is Run else above.run if above is not None else None
        if run is not None and run.account.closed:
            run = run_here(above, context)
        if playing.stand_in is not None:
            playing.stand_in.opens(self, wrapped)
        call = ToolCall()
        call.run = run
        call.above = above
        call.before = context
        call.closed = False
        call.digest = None
        call.started = source.monotonic_ns()
        if run is None:
            self._check_name()
            call.pipeline = current_pipeline()
        else:
            call.pipeline = run.pipeline
            account, tree = run.account, run.account.tree
            if tree.repeats or self.max_repeats is not None or type(above) is Slot or not self.tool:
                refusal = self._ask(run, call, wrapped, args, kwargs)
            elif self.micro_usd:
                refusal = account.reserve(self.spend, now=call.started, tool=self.tool, sent=True)
            else:
                refusal = account.count_tool_call(self.tool, call.started)
            if tree.notes:
                run.report()
            if refusal is not None:
                raise refuse_tool(run, self, refusal, context)
        start_frame(call, self, context)
        if heard.listeners:
            tell_started("tool", self.tool, run)
        return call

    def _check_name(self) -> None:
        if not self.tool:
            raise InvalidSetting(field="tool_call.name", value=None, allowed="the tool's name, for a `with` block")

    def _ask(
        self,
        run: Run,
        call: ToolCall,
        wrapped: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Refusal | None:
        """Asks the account to let a call through that may be a repeated one, or has a slot in a batch."""
        account, name, slot, repeat = run.account, self.tool, call.above, None
        self._check_name()
        seen = wrapped is not None or self.arguments is not NOT_GIVEN
        if seen and (account.tree.repeats or self.max_repeats is not None):
            call.digest = self._digest(wrapped, args, kwargs)
            repeat = Repeat(call.digest, account, self.max_repeats)
        if type(slot) is Slot and slot.name == name and slot.claim("spent"):
            return self._spend_slot(slot, account, repeat, call.started)
        return account.reserve(self.spend, now=call.started, tool=name, repeat=repeat, sent=True)

    def _spend_slot(self, slot: Slot, account: Account, repeat: Repeat | None, now: int) -> Refusal | None:
        refusal = account.spend_slot(self.micro_usd, now=now, repeat=repeat, announced=slot.repeat)
        slot.repeat = None
        if refusal is not None:
            slot.state = "held"
        return refusal

    def attributes(self, call: ToolCall) -> dict[str, Any]:
        run = call.run
        if run is None:
            return {**self.more, **self.at_start}
        account = run.account
        run_id, budget, known = self._latest
        if run_id is not run.id or budget is not account.budget:
            budget, known = self._known(run)
        found = known.copy()
        found[_CALLS] = account.by_tool.get(self.tool, 0)
        if budget.max_tool_calls is not None:
            found[_USED] = account.used[TOOL_CALLS]
        if self.micro_usd and budget.max_usd is not None:
            found[_USD_KEYS.used] = plain(micro_to_usd(account.used[USD]))
        if call.digest is not None:
            key = config.HASH_KEY.get() or _RANDOM_KEY
            found[semconv.TOOL_ARGS_HASH] = hashing.keyed_digest(key, call.digest)
        return found

    def _known(self, run: Run) -> tuple[Budget, dict[str, Any]]:
        """Gives the limits, and the attributes that are the same for every call under them, built once."""
        budget = run.account.budget
        known = {**self.more, **self.at_start, **run.tool_attributes}
        if budget.max_tool_calls is not None:
            known[_LIMIT] = budget.max_tool_calls
        if self.tool in budget.max_calls_per_tool:
            known[semconv.TOOL_LIMIT] = budget.max_calls_per_tool[self.tool]
        if self.micro_usd and budget.max_usd is not None:
            known[_USD_KEYS.limit] = plain(checks.usd("Budget.max_usd", budget.max_usd))
        self._latest = run.id, budget, known  # one assignment: calls of other runs may come in between
        return budget, known

    def _digest(self, wrapped: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if wrapped is not None:
            return tool_digest(self.tool, self.arguments_of(wrapped, args, kwargs))
        return tool_digest(self.tool, self.arguments)

    def arguments_of(self, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Gives a call's arguments by the names of the tool's parameters, the tool's own object left out."""
        try:
            if self._signature is None:
                self._signature, self._own = inspect.signature(wrapped), own_parameter(wrapped)
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
        except (TypeError, ValueError):  # wrong arguments are the call's own error; a built-in may have no signature
            return [args, kwargs]
        return {name: value for name, value in bound.arguments.items() if name != self._own}

    def close(self, frame: ToolCall, exc: BaseException | None, result: Any) -> BaseException | None:
        if frame.closed:
            return exc
        frame.closed = True
        try:
            error = None if exc is None else close_failed(frame.run, frame.span, "tool", exc)
            instruments = frame.pipeline.instruments
            if instruments is not None or heard.listeners:
                self._measure(frame, error, instruments)
            try:
                frame.span.end()
            except Exception as exc_of_span:
                broken("ending a span", exc_of_span)
            if kept.take is not None:
                keep(frame.span)
        finally:
            if current_context().get(FRAME) is frame:
                attach(frame.before)
            else:
                ctx.restore(frame)
        return exc

    def _measure(self, call: ToolCall, error: str | None, instruments: Instruments | None) -> None:
        seconds = (source.monotonic_ns() - call.started) / NANO
        if instruments is not None:
            instruments.tool_ended(self._labels(call, error), seconds)
            if self.micro_usd and call.run is not None:
                instruments.spent(call.run.agent, call.run.prompt_id, None, float(micro_to_usd(self.micro_usd)))
        if heard.listeners:
            cost = micro_to_usd(self.micro_usd) if self.micro_usd else None
            tell_ended(call, "tool", self.tool, error, seconds, cost_usd=cost)

    def _labels(self, call: ToolCall, error: str | None) -> dict[str, Any]:
        labels = self.labels if call.run is None else {**self.labels, semconv.AGENT_NAME: call.run.agent}
        return labels if error is None else {**labels, semconv.ERROR_TYPE: error}


def tool_digest(name: str | None, arguments: object) -> str:
    """Gives the hash of a tool and its arguments."""
    return hashing.digest([name, arguments])


def refuse_tool(run: Run, verb: ToolVerb, refusal: Refusal, context: Context) -> BaseException:
    """Reports a refused tool call, with a span of its own, and gives what is to be raised."""
    name = str(verb.name)
    attributes = {**verb.more, **verb.at_start, **run.tool_attributes}
    attributes.pop(semconv.COST_USD, None)  # it was not made
    refused_span(run, verb.span_name, SpanKind.INTERNAL, context, attributes, refusal)
    tell_refused(run, "tool", name, refusal)
    if not refusal.denial:
        return run.refused(refusal)
    denial = ToolDenied(tool=name, reason=refusal.code, limit=refusal.limit, used=refusal.used, run_id=run.id)
    run.denied(denial)
    return denial
