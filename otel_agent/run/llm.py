"""LLM calls: estimated and priced before they are sent, settled at what the response says.

The way of one call: estimate, price, the account holds both, the span opens, the user's code sends and records, the
account is settled, the span closes, the instruments record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, SpanKind

from otel_agent import checks, hashing, semconv
from otel_agent import context as ctx
from otel_agent.budget import NANO, NO_LIMIT, NOTHING, ONE_STEP, TOKENS, USD, Actual, Refusal, Spend
from otel_agent.checks import Money
from otel_agent.pricing import Quote
from otel_agent.responses import StreamReading, estimate_tokens, read_response
from otel_agent.run import arguments as given
from otel_agent.run.bill import Bill, bill_of, most_output, overrun, quote, said, shown_parameters, spend
from otel_agent.run.calls import (
    Call,
    CallVerb,
    close_failed,
    refused_span,
    run_here,
    start_frame,
    tell_ended,
    tell_refused,
    tell_started,
)
from otel_agent.run.drive import drive
from otel_agent.run.state import Run, current_run, gives_last_words, plain
from otel_agent.run.steps import is_iterator
from otel_agent.stop import GROUPS, InvalidSetting, StopCode
from otel_agent.telemetry import spans
from otel_agent.telemetry.guard import warn_once
from otel_agent.telemetry.listeners import heard
from otel_agent.telemetry.pipeline import current_pipeline
from otel_agent.usage import Reading, micro_to_usd, usd_to_micro

__all__ = ["LLMCall", "LLMVerb", "current_call", "final_call"]

_RESERVE_TRIES = 50


class LLMCall(Call):
    """One open LLM call, as `with llm_call(...) as call` gives it."""

    __slots__ = (
        "cancelled",
        "expected_output",
        "fitting_output",
        "held",
        "quote",
        "recorded",
        "recorded_cost",
        "step",
        "stream",
    )
    cancelled: bool
    recorded_cost: int | None
    held: Spend
    fitting_output: int | None
    expected_output: int | None
    quote: Quote | None
    recorded: Reading | None
    stream: StreamReading | None
    step: int

    @property
    def max_output_tokens(self) -> int | None:
        """The most output tokens that this call may ask for and still fit, or None when nothing limits them."""
        return self.fitting_output

    @checks.known_keywords
    def record(
        self,
        response: object = None,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        model: str | None = None,
        finish_reason: str | None = None,
        cost_usd: Money | None = None,
    ) -> None:
        """Says what the call used; a second time replaces the first.

        Args:
            response: a response, or the final event of a stream, of the OpenAI or Anthropic SDK, or a dict like it;
                or a list of all events of a stream.
            input_tokens: as billed, cached and cache-write tokens inside; explicit numbers win over the response's.
            output_tokens: as billed, reasoning tokens inside.
            cached_input_tokens: the part of the input read from a cache.
            cache_write_tokens: the part of the input written to a cache.
            reasoning_tokens: the part of the output that was reasoning.
            model: the model that answered.
            finish_reason: why it ended.
            cost_usd: what the provider says it cost, in USD.

        Raises:
            InvalidSetting: a number is negative or none; nothing is recorded then.
        """
        numbers = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_input_tokens": cached_input_tokens,
            "cache_write_tokens": cache_write_tokens,
            "reasoning_tokens": reasoning_tokens,
        }
        known: dict[str, Any] = {
            name: checks.count(f"record.{name}", value) for name, value in numbers.items() if value is not None
        }
        if model is not None:
            known["model"] = checks.text("record.model", model)
        if finish_reason is not None:
            known["finish_reasons"] = (checks.text("record.finish_reason", finish_reason),)
        cost = None if cost_usd is None else usd_to_micro(checks.usd("record.cost_usd", cost_usd))
        if self.closed:
            warn_once("late record", "an LLM call was recorded after its block had ended: it stays at its estimate")
            return
        reading = _NOTHING_READ if response is None else _read(response)
        if reading == _NOTHING_READ and response is not None:
            unread = "record() was given a %s, which is no response that it can read: nothing of it counts"
            warn_once(f"unread:{type(response)}", unread, type(response).__name__)
        self.recorded = _whole(replace(reading, **known))
        self.recorded_cost = cost

    def cancel(self) -> None:
        """Says that nothing was sent for certain: the call counts nowhere and what it held is given back."""
        self.cancelled = True


class LLMVerb(CallVerb[LLMCall]):
    """`llm_call(...)`: a decorator, `with` and `async with` around one call of a model."""

    span_kind = SpanKind.CLIENT
    final = False

    def __init__(
        self,
        model: str,
        *,
        provider: str | None = None,
        operation: str = semconv.OPERATION_CHAT,
        messages: object = None,
        tools: object = None,
        parameters: Mapping[str, Any] | None = None,
        estimated_input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        server_address: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = checks.text("llm_call.model", model)
        self.provider = given.maybe_text("llm_call.provider", provider)
        self.operation = checks.text("llm_call.operation", operation)
        self.messages = messages
        self.tools = tools
        self.parameters = (
            {} if parameters is None else dict(checks.mapping("llm_call.parameters", parameters, _MAPPING))
        )
        self.estimated = given.maybe_count("llm_call.estimated_input_tokens", estimated_input_tokens)
        self.max_output = given.maybe_count("llm_call.max_output_tokens", max_output_tokens, least=1)
        self.span_name = f"{self.operation} {self.model}"
        self.at_start = {semconv.OPERATION: self.operation, semconv.REQUEST_MODEL: self.model}
        if self.provider is not None:
            self.at_start[semconv.PROVIDER] = self.provider
        self.at_start.update(given.server("llm_call.server_address", server_address))
        self.more = {**given.attributes("llm_call.attributes", attributes), **shown_parameters(self.parameters)}

    def __call__(self, fn: Any) -> Any:
        """Decorates a function that calls a model and returns its response, or a stream of it."""
        return drive(self, fn)

    # before the call

    def open(self, wrapped: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LLMCall:
        context = ctx.current_context()
        above: Any = context.get(ctx.FRAME)
        run = run_here(above, context)
        call = LLMCall()
        call.quote = quote(self.provider, self.model)
        call.run, call.above, call.started = run, above, ctx.monotonic()
        call.pipeline = current_pipeline() if run is None else run.pipeline
        call.held, call.step = NOTHING, 0
        call.expected_output = call.fitting_output = self.max_output
        call.recorded, call.stream = None, None
        call.recorded_cost, call.cancelled = None, False
        if run is not None:
            self._pass(call, run, context)
        call.before, call.closed = context, False
        start_frame(call, self, context)
        if run is not None:
            run.in_flight[call] = lambda: self._bill(call, _NOTHING_READ)
        if heard.listeners:
            tell_started("llm", self.model, run)
        return call

    def _pass(self, call: LLMCall, run: Run, context: Context) -> None:
        """Asks the account to hold what this call may use.

        Raises:
            AgentStop: the run must end, or this model has no price under a limit of money.
        """
        account = run.account
        price = call.quote if account.limited(USD) else None
        refusal = account.unpriced(self.model) if call.quote is None and account.limited(USD) else None
        if refusal is None:
            refusal = self._hold(call, run, price)
        if account.tree.notes:
            run.report()
        if refusal is not None:
            self._refuse(run, refusal, context)
        call.step = next(run.steps)

    def _hold(self, call: LLMCall, run: Run, price: Quote | None) -> Refusal | None:
        account = run.account
        tokens_matter = account.limited(TOKENS)
        if not tokens_matter and price is None:
            call.held = ONE_STEP
            return account.reserve(ONE_STEP, now=call.started, final=self.final)
        need = self._input_estimate()
        refusal = None
        for _ in range(_RESERVE_TRIES):
            output = self.max_output or self._what_fits(run, need, price)
            held = spend(need, output, price)
            refusal = account.reserve(held, now=call.started, final=self.final)
            if refusal is None:
                call.held, call.expected_output, call.fitting_output = held, output, output
                return None
            if self.max_output is not None or not refusal.pending:
                return refusal
        return refusal

    def _what_fits(self, run: Run, need: int, price: Quote | None) -> int:
        """Gives the default output, cut to what is left of tokens and money, at least 1."""
        account = run.account
        most = account.budget.default_output_tokens
        left = account.left(TOKENS, final=self.final)
        if left != NO_LIMIT:
            most = min(most, int(left) - need)
        money = account.left(USD, final=self.final)
        if price is not None and money != NO_LIMIT:
            most = most_output(price, need, most, int(money))
        return max(1, most)

    def _input_estimate(self) -> int:
        if self.estimated is not None:
            return self.estimated
        found = estimate_tokens(self.messages, self.tools)
        if found is None and self.messages is not None:
            warn_once(
                f"inestimable:{self.model}",
                "the messages of a call of %s can be read once only, so its input is held at 0 tokens; "
                "pass a list, or estimated_input_tokens",
                self.model,
            )
        return found or 0

    def _refuse(self, run: Run, refusal: Refusal, context: Context) -> None:
        attributes = {**self.more, **self.at_start, **run.call_attributes}
        refused_span(run, self.span_name, SpanKind.CLIENT, context, attributes, refusal)
        tell_refused(run, "llm", self.model, refusal)
        raise run.refused(refusal)

    def attributes(self, call: LLMCall) -> dict[str, Any]:
        run = call.run
        found = {**self.more, **self.at_start}
        if self.max_output is not None:
            found[semconv.REQUEST_MAX_TOKENS] = self.max_output
        if run is None:
            return found
        found.update(run.call_attributes)
        found[semconv.STEP] = call.step
        prompt = run.prompt
        if prompt is not None:
            found[semconv.GEN_AI_PROMPT_NAME] = prompt.name
            found[semconv.GEN_AI_PROMPT_VERSION] = prompt.version
        if prompt is not None or self.tools is not None:
            found[semconv.PROMPT_EFFECTIVE_HASH] = hashing.digest(
                {
                    "prompt": prompt.text if prompt is not None else None,
                    "tools": self.tools,
                    "model": self.model,
                    "parameters": self.parameters,
                }
            )
        return found

    # after the call

    def is_stream(self, result: Any) -> bool:
        return is_iterator(result)

    def reader(self, frame: LLMCall) -> Callable[[Any], None]:
        frame.stream = StreamReading(ctx.monotonic)
        return frame.stream.feed

    def unsent(self, frame: LLMCall) -> None:
        frame.cancel()

    def close(self, frame: LLMCall, exc: BaseException | None, result: Any) -> BaseException | None:
        if frame.closed:
            return exc
        frame.closed = True
        try:
            self._close(frame, exc, result)
        finally:
            ctx.restore(frame)
        return exc

    def _close(self, call: LLMCall, exc: BaseException | None, result: Any) -> None:
        run, span = call.run, call.span
        now = ctx.monotonic()
        seconds = (now - call.started) / NANO
        reading = self._read(call, result)
        bill = self._bill(call, reading)
        if run is not None:
            run.in_flight.pop(call, None)
            run.account.look_at_time(now)
            self._settle(call, run, reading, bill, exc)
        if call.pipeline.tracer is not None and span.is_recording():
            spans.write(span, self._after(call, run, reading, bill))
        error = None if exc is None else close_failed(run, span, "llm", exc)
        self._measure(call, run, reading, bill, seconds, error)
        if heard.listeners and call.cancelled:
            tell_ended(call, "llm", self.model, error, seconds)
        elif heard.listeners:
            tell_ended(
                call,
                "llm",
                self.model,
                error,
                seconds,
                input_tokens=bill.input_tokens,
                output_tokens=bill.output_tokens,
                cost_usd=None if bill.micro_usd is None else micro_to_usd(bill.micro_usd),
                estimated=bill.estimated,
            )
        if span is not INVALID_SPAN:
            spans.end(span)

    def _read(self, call: LLMCall, result: Any) -> Reading:
        """Gives what was recorded, else what the stream said, else what the returned response says."""
        if call.recorded is not None:
            return call.recorded
        if call.stream is not None and call.stream.began is not None:
            return call.stream.reading
        return _NOTHING_READ if result is None else read_response(result)

    def _bill(self, call: LLMCall, reading: Reading) -> Bill:
        """Gives what the call used and cost: what the response says, and the estimate for what it does not say."""
        used, output = reading.input_tokens, reading.output_tokens
        if used is None:
            used = self._input_estimate()
        if output is None:
            budget = call.run.account.budget if call.run is not None else given.NO_BUDGET
            output = call.expected_output or budget.default_output_tokens
        return bill_of(reading, used, output, provider=self.provider, asked=call.quote, cost=call.recorded_cost)

    def _settle(self, call: LLMCall, run: Run, reading: Reading, bill: Bill, exc: BaseException | None) -> None:
        if call.cancelled:
            run.account.cancel(call.held)
            return
        run.account.settle(
            call.held,
            Actual(
                input_tokens=bill.input_tokens,
                output_tokens=bill.output_tokens,
                cached_input_tokens=reading.cached_input_tokens,
                cache_write_tokens=reading.cache_write_tokens,
                reasoning_tokens=reading.reasoning_tokens,
                micro_usd=bill.micro_usd,
                estimated=bill.estimated,
            ),
        )
        if bill.estimated and exc is None and any(call.held[TOKENS:]):
            warn_once(
                f"estimated:{run.agent}:{self.model}",
                "a call of %s by %s ended without a record: it is counted at its estimate of %d tokens",
                self.model,
                run.agent,
                bill.input_tokens + bill.output_tokens,
            )
        if run.account.tree.notes:
            run.report()

    def _after(self, call: LLMCall, run: Run | None, reading: Reading, bill: Bill) -> dict[str, Any]:
        """Builds the attributes that are known only after the call."""
        found: dict[str, Any] = {semconv.COST_SOURCE: bill.source}
        if call.cancelled:
            return {}
        found.update(self._tokens(reading, bill))
        found.update(said(reading))
        if bill.estimated:
            found[semconv.USAGE_ESTIMATED] = True
        if bill.micro_usd is not None:
            found[semconv.COST_USD] = float(micro_to_usd(bill.micro_usd))
        if call.stream is not None and call.stream.began is not None:
            found[semconv.TIME_TO_FIRST_CHUNK] = (call.stream.began - call.started) / NANO
        above = overrun(call.held, bill)
        if above:
            found[semconv.USAGE_OVERRUN] = above
        if run is not None:
            for name, use in run.limit_uses().items():
                if name in _DRAWN_ON:
                    found[semconv.BUDGET[name].limit] = plain(use.limit)
                    if use.used is not None:
                        found[semconv.BUDGET[name].used] = plain(use.used)
        return found

    def _tokens(self, reading: Reading, bill: Bill) -> dict[str, int]:
        """Gives the tokens of a call; an input of which nobody said anything is not known, and not 0."""
        found = {semconv.INPUT_TOKENS: bill.input_tokens, semconv.OUTPUT_TOKENS: bill.output_tokens}
        if not bill.input_tokens and reading.input_tokens is None and self.estimated is None:
            del found[semconv.INPUT_TOKENS]
        return found

    def _measure(
        self, call: LLMCall, run: Run | None, reading: Reading, bill: Bill, seconds: float, error: str | None
    ) -> None:
        instruments = call.pipeline.instruments
        if instruments is None or call.cancelled:
            return
        labels = dict(self.at_start)
        if reading.model is not None:
            labels[semconv.RESPONSE_MODEL] = reading.model
        tokens = self._tokens(reading, bill)
        tokens.update({key: value for key, value in said(reading).items() if key in semconv.USAGE_COUNTS})
        instruments.inference_ended(labels, seconds, error, tokens)
        if run is not None and bill.micro_usd is not None:
            instruments.spent(run.agent, run.prompt_id, self.model, float(micro_to_usd(bill.micro_usd)))


class _FinalVerb(LLMVerb):
    """The one last call after a stop."""

    final = True
    kept_by: Run

    def open(self, wrapped: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LLMCall:
        if current_run() is not self.kept_by:
            allowed = "to be opened in the run that kept it, not in one under it or in none"
            raise InvalidSetting(field="final_call", value=self.kept_by, allowed=allowed)
        return super().open(wrapped, args, kwargs)

    def _pass(self, call: LLMCall, run: Run, context: Context) -> None:
        _check_final(run)
        self.final = run.account.stop is not None  # before a stop it is a call like any other
        super()._pass(call, run, context)


_MAPPING = "a mapping of parameter names to values"
_NOTHING_READ = Reading()
_DRAWN_ON = ("steps", "tokens", "usd")


def _read(response: object) -> Reading:
    """Reads a response, or all events of a stream."""
    if not checks.is_list(response):
        return read_response(response)
    stream = StreamReading()
    for event in response:
        stream.feed(event)
    return stream.reading


def _whole(reading: Reading) -> Reading:
    """Lifts a whole that is smaller than its parts: what was read from a cache was sent."""
    parts = (reading.cached_input_tokens or 0) + (reading.cache_write_tokens or 0)
    used, output, reasoned = reading.input_tokens, reading.output_tokens, reading.reasoning_tokens or 0
    return replace(
        reading,
        input_tokens=used if used is None else max(used, parts),
        output_tokens=output if output is None else max(output, reasoned),
    )


_KEPT_FOR = frozenset({"budget", "loop"})


def final_call(run: Run, model: str, keywords: dict[str, Any]) -> LLMVerb:
    """Gives the last call that a budget kept back.

    Raises:
        InvalidSetting: the budget keeps nothing back.
        AgentStop: the run was stopped by something that allows no last call, or the last call was made.
    """
    verb = _final_verb(model, **keywords)
    verb.kept_by = run
    if run.account.budget.final_call is None and run.account.stop is not None:
        raise run.refused(run.account.stop)
    if run.account.budget.final_call is None:
        raise InvalidSetting(field="Budget.final_call", value=None, allowed="a FinalCall, for Run.final_call")
    _check_final(run)
    return verb


_final_verb = checks.known_keywords(_FinalVerb, "final_call")


def _check_final(run: Run) -> None:
    stop = run.account.stop
    if stop is not None and (GROUPS[stop.code] not in _KEPT_FOR or stop.code is StopCode.MAX_SECONDS):
        raise run.refused(stop)


gives_last_words(final_call)


def current_call() -> LLMCall | None:
    """Gives the LLM call that is open here, or None."""
    frame = ctx.current_frame()
    while frame is not None and not isinstance(frame, (LLMCall, Run)):
        frame = frame.above
    return frame if isinstance(frame, LLMCall) else None
