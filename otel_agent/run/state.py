"""One open run: its account, its span, and what users may ask of it.

Decides whom a note or a stop concerns. Lets no call through itself (tool.py, llm.py), wraps no function (drive.py), and
leaves its end to border.py.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_agent import checks, semconv
from otel_agent import context as ctx
from otel_agent.budget import NANO, NO_LIMIT, STEPS, TOKENS, TOOL_CALLS, USD, Account, Budget, Note, Refusal
from otel_agent.checks import Money
from otel_agent.context import Frame
from otel_agent.prompts import Prompt
from otel_agent.run.bill import Bill
from otel_agent.run.repeats import hashing_arguments
from otel_agent.stop import AgentStop, StopCode, StopIgnored, ToolDenied, stop_for
from otel_agent.telemetry import events, spans
from otel_agent.telemetry.guard import warn_once
from otel_agent.telemetry.pipeline import Pipeline
from otel_agent.usage import LimitUse, Remaining, RunResult, Usage, micro_to_usd

__all__ = ["Run", "RunBudget", "RunFrame", "current_run", "open_runs", "run_of"]

SWALLOWED_AT_MOST = 3


class RunFrame(Frame):
    """A frame that belongs to a run, or to none."""

    __slots__ = ()
    run: Run | None


class _Unset:
    def __repr__(self) -> str:
        return "<unchanged>"


_UNSET: Any = _Unset()


class RunBudget:
    """The limits of an open run."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def limits(self) -> Budget:
        """The limits that hold now."""
        return self._run.account.budget

    @checks.known_keywords
    def update(
        self,
        *,
        max_steps: int | None = _UNSET,
        max_tool_calls: int | None = _UNSET,
        max_seconds: float | timedelta | None = _UNSET,
        max_tokens: int | None = _UNSET,
        max_usd: Money | None = _UNSET,
        max_calls_per_tool: Mapping[str, int] = _UNSET,
        max_repeats: int | None = _UNSET,
        warn_at: float = _UNSET,
        actor: str | None = None,
    ) -> None:
        """Raises or lowers limits while the run is open; a stop that has happened stays.

        Args:
            max_steps: as in `Budget`, as are the others; what is left out stays as it is.
            max_tool_calls: calls.
            max_seconds: seconds from the run's start.
            max_tokens: tokens.
            max_usd: USD.
            max_calls_per_tool: calls by tool name.
            max_repeats: calls with the same arguments.
            warn_at: a share.
            actor: who changes it, for the event.

        Raises:
            InvalidSetting: a value can never work; nothing has changed then.
        """
        asked = {
            "max_steps": max_steps,
            "max_tool_calls": max_tool_calls,
            "max_seconds": max_seconds,
            "max_tokens": max_tokens,
            "max_usd": max_usd,
            "max_calls_per_tool": max_calls_per_tool,
            "max_repeats": max_repeats,
            "warn_at": warn_at,
        }
        changes = {name: value for name, value in asked.items() if value is not _UNSET}
        if actor is not None:
            checks.text("update.actor", actor)
        before, after = self._run.account.change(**changes)
        self._run.limits_changed({name: (getattr(before, name), getattr(after, name)) for name in changes}, actor)


class Run(RunFrame):
    """One open run of an agent, as `current_run()` and `with agent_run(...) as run` give it.

    Attributes:
        id: 32 hex digits.
        agent: the agent's name.
        prompt: the prompt it uses, or None.
        variant: as what that was selected, "active" or "canary"; None where it was given, or there is none.
        mode: "enforce" or "observe".
        conversation_id: as given, or None.
        user_id: as given, or None.
        tenant: as given, or None.
    """

    __slots__ = (
        "__weakref__",
        "_denials",
        "_result",
        "_swallowed",
        "account",
        "agent",
        "call_attributes",
        "conversation_id",
        "copied",
        "id",
        "in_flight",
        "loop",
        "mode",
        "parent",
        "pipeline",
        "prompt",
        "prompt_source",
        "recorded",
        "span",
        "steps",
        "tenant",
        "timer",
        "tool_attributes",
        "user_id",
        "variant",
    )

    def __init__(
        self,
        *,
        agent: str,
        prompt: Prompt | None,
        variant: str | None = None,
        prompt_source: str | None = None,
        budget: Budget,
        mode: str,
        parent: Run | None,
        pipeline: Pipeline,
        conversation_id: str | None,
        user_id: str | None,
        tenant: str | None,
    ) -> None:
        self.id = ctx.new_id()
        self.agent = agent
        self.prompt = prompt
        self.variant = variant
        self.prompt_source = prompt_source
        self.mode = mode
        self.parent = parent
        self.pipeline = pipeline
        self.conversation_id = conversation_id
        self.user_id = user_id
        self.tenant = tenant
        self.account: Account = Account(
            budget,
            self.id,
            parent.account if parent else None,
            now=ctx.monotonic(),
            observe=mode == "observe",
        )
        if hashing_arguments():
            self.account.tree.repeats = True
        self.steps = itertools.count(1)
        self.timer: asyncio.Timeout | None = None
        self.in_flight: dict[Frame, Callable[[], Bill]] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.span: Span | None = None
        self.recorded = False
        self.copied = False
        self.call_attributes: dict[str, Any] = {semconv.RUN_ID: self.id}
        if prompt is not None:
            self.call_attributes[semconv.PROMPT_ID] = prompt.id
        self.tool_attributes = {**self.call_attributes, semconv.AGENT_NAME: agent}
        self._denials: dict[str, int] = {}
        self._swallowed: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._result: RunResult[Any] | None = None

    @property
    def run(self) -> Run:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """The run itself, as every frame has it."""
        return self

    @property
    def root_id(self) -> str:
        """The id of the outermost run."""
        return self.account.levels[-1].run_id

    @property
    def prompt_id(self) -> str | None:
        """`name:version:hash` of the prompt, or None."""
        return self.prompt.id if self.prompt is not None else None

    @property
    def usage(self) -> Usage:
        """What this run and all runs under it have used so far."""
        return self.account.usage(ctx.monotonic())

    @property
    def own_usage(self) -> Usage:
        """What this run has used itself so far."""
        return self.account.usage(ctx.monotonic(), own=True)

    @property
    def budget(self) -> RunBudget:
        """The limits of this run, to read and to change."""
        return RunBudget(self)

    @property
    def result(self) -> RunResult[Any]:
        """How the run ended.

        Raises:
            RuntimeError: it is still open.
        """
        if self._result is None:
            raise RuntimeError(f"run {self.id} is still open: it has no result yet")
        return self._result

    def remaining(self) -> Remaining:
        """Gives what may still be used, at the level that has least left."""
        left = self.account.left
        seconds = min(level.deadline for level in self.account.levels) - ctx.monotonic()
        usd = left(USD)
        return Remaining(
            steps=_count_left(left(STEPS)),
            tool_calls=_count_left(left(TOOL_CALLS)),
            tokens=_count_left(left(TOKENS)),
            usd=None if usd == NO_LIMIT else micro_to_usd(max(0, int(usd))),
            seconds=None if seconds == NO_LIMIT else max(0.0, seconds / NANO),
        )

    @checks.known_keywords
    def stop(self, code: StopCode | str, detail: str | None = None) -> None:
        """Marks the run as stopped; its next LLM or tool call raises.

        Args:
            code: one of the stop codes, for example "handoff".
            detail: free text beside it.

        Raises:
            InvalidSetting: there is no such code.
        """
        checks.choice("Run.stop.code", code, StopCode)
        if detail is not None:
            checks.text("Run.stop.detail", detail)
        self.account.mark(StopCode(code), detail)

    def final_call(self, model: str, **keywords: Any) -> Any:
        """Opens the one last LLM call that `Budget(final_call=...)` kept back, once.

        Args:
            model: the model to call.
            **keywords: as for `llm_call`.

        Returns:
            What `llm_call(...)` returns, to be used with `with` or `async with`.
        """
        return _last_words[0](self, model, keywords)

    def __repr__(self) -> str:
        return f"<Run {self.agent} {self.id}>"

    # for the other files of this room

    def deadline_hit(self) -> Run | None:
        """Gives the run, this or one above, whose deadline is interrupting this task, or None."""
        run: Run | None = self
        while run is not None:
            if run.timer is not None and run.timer.expired():
                return run
            run = run.parent
        return None

    def refused(self, refusal: Refusal) -> AgentStop:
        """Builds the stop for a refusal; the third time that one task or thread swallows it, `StopIgnored`.

        Raises:
            StopIgnored: the stop was swallowed three times here.
        """
        account, stop = refusal.account, self.stop_of(refusal)
        if account.stop is refusal and self._owner(account).raised_here() > SWALLOWED_AT_MOST:
            raise StopIgnored(stop=stop)
        return stop

    def stop_of(self, refusal: Refusal) -> AgentStop:
        """Builds the stop for a refusal."""
        return stop_for(
            refusal.code,
            detail=refusal.detail,
            limit=refusal.limit,
            used=refusal.used,
            run_id=refusal.account.run_id,
            pending=refusal.pending,
        )

    def raised_here(self) -> int:
        """Counts how often this task, piece of pool work, or thread got the run's stop, this time included."""
        who = _here()
        self._swallowed[who] = self._swallowed.get(who, 0) + 1
        return self._swallowed[who]

    def denied(self, denial: ToolDenied) -> None:
        """Counts a denial and reports it."""
        reason = str(denial.reason)
        with self.account.tree.lock:
            self._denials[reason] = self._denials.get(reason, 0) + 1
        if self.pipeline.instruments is not None:
            self.pipeline.instruments.denied(self.agent, denial.tool, reason)
        fields = {semconv.TOOL_NAME: denial.tool, semconv.DECISION_REASON: reason}
        self._event(semconv.POLICY_DECISION, {**fields, semconv.LIMIT: denial.limit, semconv.LIMIT_USED: denial.used})

    @property
    def denials(self) -> dict[str, int]:
        """How many calls were refused so far, by reason."""
        return dict(self._denials)

    def report(self) -> None:
        """Reports what the accounts of this tree noted: limits that are near, and limits that were passed."""
        notes = self.account.tree.notes
        while notes:
            try:
                note = notes.popleft()
            except IndexError:
                return
            if note.kind == "forked":
                warn_once("forked", "run %s is open in a forked process: its budget is a copy there", self.id)
                continue
            owner = self._owner(note.account)
            owner.report_note(note)

    def _owner(self, account: Account) -> Run:
        """Gives the run that a note is about: one of these, or another open one of the same tree."""
        return next((run for run in self.lineage() if run.account is account), _open.get(account.run_id, self))

    def lineage(self) -> Iterator[Run]:
        """Gives this run and those above it."""
        run: Run | None = self
        while run is not None:
            yield run
            run = run.parent

    def report_note(self, note: Note) -> None:
        """Reports one note on the span, as a log event and as a metric."""
        code = str(note.code)
        name = semconv.BUDGET_WARNING if note.kind == "warning" else semconv.BUDGET_EXCEEDED
        fields = {semconv.LIMIT: plain(note.limit), semconv.LIMIT_USED: plain(note.used), semconv.EVENT_CODE: code}
        if note.tool is not None:
            fields[semconv.TOOL_NAME] = note.tool
        if self.mode == "observe":
            fields[semconv.BUDGET_MODE] = self.mode
        if self.span is not None and self.span.is_recording():
            spans.add_event(self.span, name, {key: value for key, value in fields.items() if value is not None})
        self._event(name, fields, warn=True)
        if self.pipeline.instruments is not None:
            self.pipeline.instruments.limit_noted(note.kind, self.agent, self.prompt_id, code)

    def limits_changed(self, changes: Mapping[str, tuple[Any, Any]], actor: str | None) -> None:
        """Reports changed limits, one event for each."""
        for name, (before, after) in changes.items():
            fields = {
                semconv.EVENT_CODE: name,
                semconv.EVENT_LIMIT_OLD: plain(before),
                semconv.EVENT_LIMIT_NEW: plain(after),
                semconv.EVENT_ACTOR: actor,
            }
            self._event(semconv.BUDGET_CHANGED, fields)
            if self.span is not None:
                known = {key: value for key, value in fields.items() if value is not None}
                spans.add_event(self.span, semconv.BUDGET_CHANGED, known)
        if "max_seconds" in changes:
            self._reschedule()
            for follow in _new_deadline:
                follow(self)

    def _reschedule(self) -> None:
        """Moves the timer of an async run to the new deadline, from whichever thread."""
        if self.timer is None or self.loop is None:
            return
        deadline = self.account.deadline
        left = None if deadline == NO_LIMIT else (deadline - ctx.monotonic()) / NANO
        self.loop.call_soon_threadsafe(_move, self.timer, left)

    def _event(self, name: str, fields: Mapping[str, Any], *, warn: bool = False) -> None:
        common = {**self.call_attributes, semconv.AGENT_NAME: self.agent}
        events.emit(self.pipeline.logger, name, {**common, **fields}, warn=warn, context=self.event_context())

    def event_context(self) -> Context | None:
        """Gives the context whose span the run's events belong to."""
        if self.span is None:
            return None
        return Context({**self.before, spans.SPAN: self.span})

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Emits one of the run's own log events."""
        self._event(name, fields)

    def limit_uses(self) -> dict[str, LimitUse]:
        """Gives every limit that is set with its use."""
        return self.account.limit_uses(ctx.monotonic())

    def finish(self, result: RunResult[Any]) -> None:
        """Keeps how the run ended."""
        self._result = result
        self.timer = self.loop = None

    def ended_by_itself(self) -> bool:
        """Tells whether the run has ended, with a stop of its own or a denial: what `.run` keeps in its result."""
        error = None if self._result is None else self._result.error
        return isinstance(error, ToolDenied) or (isinstance(error, AgentStop) and error.run_id == self.id)


def plain(value: Any) -> Any:
    """Gives a limit or a use as a number or text that a span attribute can hold, or None."""
    if value is None or isinstance(value, (int, str, float)):
        return value
    if checks.is_mapping(value):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return float(value)


def _count_left(left: float) -> int | None:
    return None if left == NO_LIMIT else max(0, int(left))


def _move(timer: asyncio.Timeout, left: float | None) -> None:
    try:
        timer.reschedule(None if left is None else asyncio.get_running_loop().time() + left)
    except RuntimeError:
        return  # it has fired, or what it was for has ended meanwhile


def _here() -> Any:
    """Gives the task, else the piece of pool work, else the thread."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task or ctx.current_context().get(ctx.WORK) or threading.current_thread()


_last_words: list[Callable[[Run, str, dict[str, Any]], Any]] = []


def gives_last_words(verb: Callable[[Run, str, dict[str, Any]], Any]) -> None:
    """Names the function behind `Run.final_call`, which stands above this room's floor."""
    _last_words[:] = [verb]


_open: weakref.WeakValueDictionary[str, Run] = weakref.WeakValueDictionary()
_new_deadline: list[Callable[[Run], None]] = []


def on_new_deadline(follow: Callable[[Run], None]) -> None:
    """Names the function that follows a deadline which is changed while its run is open."""
    _new_deadline[:] = [follow]


_watching_forks = threading.Event()


def open_runs() -> list[Run]:
    """Gives the runs that are open in this process, also while others open and end."""
    while True:
        try:
            return list(_open.values())
        except RuntimeError:  # one came or went meanwhile
            continue


def opened(run: Run) -> None:
    """Takes a run into the list of open ones."""
    _open[run.id] = run
    if not _watching_forks.is_set() and hasattr(os, "register_at_fork"):
        _watching_forks.set()
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    """Makes the open runs of the parent copies here: their budget goes on, their end is the parent's to tell."""
    runs = open_runs()
    for root in {run.account.levels[-1] for run in runs}:
        root.forked()
    for run in runs:
        run.copied = True
    _open.clear()


def closed(run: Run) -> None:
    """Takes a run off the list of open ones."""
    _open.pop(run.id, None)


def run_of(frame: Frame | None, context: Context) -> Run | None:
    """Gives the run that a frame stands for.

    A frame that a thread inherited, and whose run has ended since, stands for none: a worker thread that was born in a
    run must not belong to it for life.
    """
    run: Run | None = getattr(frame, "run", None)
    if run is not None and run.account.closed and context.get(ctx.INHERITED) is frame:
        warn_once(
            "inherited",
            "a thread inherited run %s, which has ended: what the thread does now belongs to no run",
            run.id,
        )
        return None
    return run


def current_run() -> Run | None:
    """Gives the run that is open here, or None."""
    frame = ctx.current_frame()
    return run_of(frame, ctx.current_context()) if frame is not None else None
