"""Agent runs: opened under the run that is open here or as a root; called as they are, or for a `RunResult`.

What the end of a run means is decided in border.py.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, SpanKind

from otel_agent import checks, config, semconv
from otel_agent import context as ctx
from otel_agent.budget import NANO, NO_LIMIT, Budget
from otel_agent.prompts import Prompt
from otel_agent.run import arguments as given
from otel_agent.run.border import end_open_runs, end_run
from otel_agent.run.calls import first_line, fn_name, refused_span
from otel_agent.run.choice import choose_prompt, may_run
from otel_agent.run.defaults import default_budget
from otel_agent.run.drive import BoundWrapped, Instead, Unopened, Verb, Wrapped, drive, kind_of, own_parameter, through
from otel_agent.run.exits import watch_exit
from otel_agent.run.interrupt import arm, disarm
from otel_agent.run.state import Run, open_runs, opened, plain, run_of
from otel_agent.stop import StopCode, stop_for
from otel_agent.telemetry import spans
from otel_agent.telemetry.instruments import watch_open_runs
from otel_agent.telemetry.listeners import heard, tell
from otel_agent.telemetry.pipeline import current_pipeline
from otel_agent.usage import Listener, RunStarted

__all__ = ["AgentFunction", "AgentVerb"]

DEFAULT_NAME = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the user asked of a run."""

    name: str | None = None
    prompt: Prompt | str | None = None
    budget: Budget | None = None
    mode: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    tenant: str | None = None
    attributes: Mapping[str, Any] | None = None
    description: str | None = None


_ASKED_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "name": given.maybe_text,
    "prompt": given.prompt,
    "budget": given.budget,
    "mode": lambda where, value: None if value is None else checks.choice(where, value, ("enforce", "observe")),
    "conversation_id": given.maybe_text,
    "user_id": given.maybe_text,
    "tenant": given.maybe_text,
    "attributes": given.attributes,
}


class AgentVerb(Verb[Run]):
    """`agent_run(...)`: a decorator, `with` and `async with` around one run of an agent."""

    def __init__(self, asked: _Asked) -> None:
        super().__init__()
        self.asked = asked

    @classmethod
    def of(cls, where: str, base: _Asked | None = None, **given_now: Any) -> AgentVerb:
        """Builds a verb from keywords, over those of another one."""
        checked = {name: _ASKED_CHECKS[name](f"{where}.{name}", value) for name, value in given_now.items()}
        return cls(replace(base or _Asked(), **checked))

    def __call__(self, fn: Any) -> Any:
        """Decorates an agent."""
        asked = replace(self.asked, name=self.asked.name or fn_name(fn), description=first_line(fn))
        return drive(AgentVerb(asked), fn, AgentFunction)

    # opening

    def open(self, wrapped: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run:
        asked = self.asked
        context = ctx.current_context()
        above: Any = context.get(ctx.FRAME)
        parent = run_of(above, context)
        if parent is not None and parent.account.closed:
            parent = None
        mode = asked.mode or config.MODE.get()
        audience = asked.conversation_id, asked.user_id, asked.tenant
        prompt, variant, source = choose_prompt(asked.prompt, audience, parent, mode)
        passed = may_run(prompt, mode)
        if config.THREADS.get():
            ctx.carry_into_threads()
        agent = asked.name or DEFAULT_NAME
        budget = default_budget(agent) if asked.budget is None else asked.budget
        run = Run(
            agent=agent,
            prompt=prompt,
            variant=variant,
            prompt_source=source,
            budget=budget,
            mode=mode,
            parent=parent,
            pipeline=current_pipeline(),
            conversation_id=asked.conversation_id,
            user_id=asked.user_id,
            tenant=asked.tenant,
        )
        run.above, run.before = (above if parent is not None else None), context
        if parent is not None:
            _enter(parent, run)
        self._start(run, context)
        opened(run)
        watch_exit(end_open_runs, run.pipeline)
        if not passed:
            self._refuse(run)
        if budget.interrupt is not None and run.mode != "observe" and _is_plain(wrapped):
            arm(run)
        return run

    def _start(self, run: Run, context: Context) -> None:
        inside = {**context, ctx.FRAME: run}
        tracer = run.pipeline.tracer
        if tracer is not None:
            name = f"{semconv.OPERATION_RUN} {run.agent}"
            run.span = spans.start(tracer, name, context, SpanKind.INTERNAL, self._at_start(run))
            if run.span is not INVALID_SPAN:  # of a failure: the span around stays the current one
                inside[spans.SPAN] = run.span
            run.recorded = run.span.is_recording()
            if run.recorded:
                spans.write(run.span, self._more(run))
        ctx.attach(Context(inside))
        _announce(run)

    def _at_start(self, run: Run) -> dict[str, Any]:
        found: dict[str, Any] = {semconv.OPERATION: semconv.OPERATION_RUN, semconv.AGENT_NAME: run.agent}
        if run.prompt is not None:
            found[semconv.PROMPT_ID] = run.prompt.id
        return found

    def _more(self, run: Run) -> dict[str, Any]:
        asked = self.asked.attributes
        found: dict[str, Any] = {
            **({**asked, **self._at_start(run)} if asked else {}),
            semconv.RUN_ID: run.id,
            semconv.BUDGET_MODE: run.mode,
            semconv.BUDGET_UNIT_OF_STEP: semconv.STEP_UNIT,
        }
        if run.parent is not None:
            found[semconv.RUN_PARENT_ID] = run.parent.id
        if run.conversation_id is not None:
            found[semconv.CONVERSATION_ID] = run.conversation_id
        if self.asked.description is not None:
            found[semconv.AGENT_DESCRIPTION] = self.asked.description
        if run.prompt is not None:
            found[semconv.PROMPT_HASH] = run.prompt.hash
            found[semconv.GEN_AI_PROMPT_NAME] = run.prompt.name
            found[semconv.GEN_AI_PROMPT_VERSION] = run.prompt.version
        if run.variant is not None:
            found[semconv.PROMPT_VARIANT] = run.variant
        if run.prompt_source is not None:
            found[semconv.PROMPT_SOURCE] = run.prompt_source
        for name, use in run.limit_uses().items():
            found[semconv.BUDGET[name].limit] = plain(use.limit)
        return found

    def _refuse(self, run: Run) -> NoReturn:
        """Ends a run before its code begins.

        Raises:
            PolicyStop: its prompt has not passed.
        """
        raise _stopped(run, self.close)

    def timer(self, frame: Run) -> asyncio.Timeout | None:
        """Gives the timer that interrupts the task at the run's deadline."""
        unlimited = frame.account.deadline == NO_LIMIT
        if frame.mode == "observe" or (unlimited and frame.timer is not None) or not _in_task():
            return None
        frame.loop = asyncio.get_running_loop()
        left = None if unlimited else max(0.0, (frame.account.deadline - ctx.monotonic()) / NANO)
        frame.timer = asyncio.timeout(left)  # also without a deadline: one may be set while the run is open
        return frame.timer

    def last(self, frame: Run, result: Any) -> Any:
        if frame.account.budget.interrupt is not None:
            disarm(frame)  # an alarm between two steps would interrupt the consumer
        return super().last(frame, result)

    # closing

    def close(self, frame: Run, exc: BaseException | None, result: Any) -> BaseException | None:
        if frame.account.budget.interrupt is not None:
            disarm(frame)
        try:
            return end_run(frame, exc, result)
        finally:
            ctx.restore(frame)


def _stopped(run: Run, close: Callable[[Run, BaseException | None, Any], BaseException | None]) -> BaseException:
    """Closes a run as one whose prompt has not passed, and gives its stop."""
    code, detail = StopCode.GATE_FAILED, f"{run.prompt_id} has not passed its golden tasks"
    run.account.mark(code, detail)
    if run.span is not None and run.recorded:
        spans.write(run.span, {semconv.DECISION: "deny", semconv.DECISION_REASON: str(code)})
    stop = stop_for(code, detail=detail, run_id=run.id)
    return close(run, stop, None) or stop


def _is_plain(wrapped: Callable[..., Any] | None) -> bool:
    """Tells whether a run has a thread of its own until it ends: a block, or a function that is not async."""
    return wrapped is None or kind_of(wrapped) == "plain"


def _in_task() -> bool:
    """Tells whether asyncio runs this code; elsewhere a deadline holds at the gates only."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def _enter(parent: Run, run: Run) -> None:
    """Asks the runs above for room.

    Raises:
        AgentStop: one of them was stopped, or cannot keep room for the final call.
    """
    refusal = run.account.open()
    if refusal is None:
        return
    attributes = {semconv.OPERATION: semconv.OPERATION_RUN, **parent.call_attributes, semconv.AGENT_NAME: run.agent}
    name = f"{semconv.OPERATION_RUN} {run.agent}"
    refused_span(parent, name, SpanKind.INTERNAL, run.before, attributes, refusal)
    raise parent.refused(refusal)


def _announce(run: Run) -> None:
    limits = run.limit_uses()
    fields = {semconv.BUDGET[name].limit: plain(use.limit) for name, use in limits.items()}
    chosen = {semconv.PROMPT_VARIANT: run.variant, semconv.PROMPT_SOURCE: run.prompt_source}
    run.event(semconv.RUN_STARTED, {**fields, semconv.BUDGET_MODE: run.mode, **chosen})
    if run.pipeline.instruments is not None:
        run.pipeline.instruments.run_started(run.agent, run.prompt_id, run.variant)
    if heard.listeners:
        parent_id = run.parent.id if run.parent is not None else None
        tell(_run_started, RunStarted(run.id, parent_id, run.agent, run.prompt_id, limits, run.mode, run.variant))


def _run_started(listener: Listener) -> Any:
    return listener.run_started


def _oldest_ages() -> dict[str, float]:
    now = ctx.monotonic()
    ages: dict[str, float] = {}
    for run in open_runs():
        ages[run.agent] = max(ages.get(run.agent, 0.0), (now - run.account.started) / NANO)
    return ages


watch_open_runs(_oldest_ages)


class _ResultVerb(AgentVerb):
    """A run whose call gives a `RunResult`: its own stop and a denial are in it, all else is raised."""

    def _refuse(self, run: Run) -> NoReturn:
        _stopped(run, self.close)
        raise Unopened(run.result)

    def end(self, frame: Run, exc: BaseException | None, result: Any = None) -> Instead | None:
        instead = super().end(frame, exc, result)
        return (lambda exc: frame.result) if frame.ended_by_itself() else instead

    def returned(self, frame: Run, result: Any) -> Any:
        return frame.result

    def last(self, frame: Run, result: Any) -> Any:
        if inspect.isawaitable(result):
            return super().last(frame, result)
        exc = _no_single_result(type(result).__name__)
        self.close(frame, exc, None)
        raise exc


def _no_single_result(kind: str) -> TypeError:
    return TypeError(f"this agent gives a {kind}: iterate over it, it has no single result")


def _refuse(kind: str) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], *called_with: Any) -> Any:
        raise _no_single_result(kind)

    return call


class _BoundAgent(BoundWrapped):
    """A decorated method of one object, or of a class."""

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the agent and gives a `RunResult`; its own stop, or a denial, is in `.error` rather than raised."""
        return self._self_parent._self_run(self.__wrapped__, None, args, kwargs)

    def using(self, /, **keywords: Any) -> Any:
        """Gives the same agent with other keywords of `agent_run` for the calls made through it."""
        return AgentFunction(self.__wrapped__, using(self._self_parent._self_verb, keywords))


class AgentFunction(Wrapped):
    """A decorated agent: a call returns what the function returns, `.run` gives a `RunResult`, `.using` varies it."""

    __bound_function_wrapper__ = _BoundAgent

    def __init__(self, wrapped: Any, verb: AgentVerb) -> None:
        super().__init__(wrapped, verb)
        kind = kind_of(wrapped)
        steps = kind.endswith("generator")
        self._self_run = _refuse(kind) if steps else through(_ResultVerb(verb.asked), wrapped)
        self._self_wants_class = own_parameter(wrapped) == "cls"

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the agent and gives a `RunResult`; its own stop, or a denial, is in `.error` rather than raised."""
        if self._self_wants_class and not inspect.isclass(next(iter(args), None)):
            raise TypeError("from Python 3.13 on, .run() and .using() of a class method need @classmethod inside")
        return self._self_run(self.__wrapped__, None, args, kwargs)

    def using(self, /, **keywords: Any) -> Any:
        """Gives the same agent with other keywords of `agent_run` for the calls made through it."""
        return AgentFunction(self.__wrapped__, using(self._self_verb, keywords))


def using(verb: AgentVerb, keywords: dict[str, Any]) -> AgentVerb:
    """Gives a verb with some keywords changed.

    Raises:
        InvalidSetting: a keyword or value can never work.
    """

    @checks.known_keywords
    def using(
        *,
        prompt: Any = None,
        budget: Any = None,
        mode: Any = None,
        conversation_id: Any = None,
        user_id: Any = None,
        tenant: Any = None,
        attributes: Any = None,
        name: Any = None,
    ) -> None: ...

    using(**keywords)
    return AgentVerb.of("using", verb.asked, **keywords)
