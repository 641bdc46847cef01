"""A parallel batch of tool calls: all of them are let through or denied at once, in order, before any of them runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.context import Context

from otel_agent import checks
from otel_agent import context as ctx
from otel_agent.budget import Refusal, Repeat
from otel_agent.run.calls import run_here
from otel_agent.run.drive import Verb
from otel_agent.run.state import Run, RunFrame
from otel_agent.run.tool import Slot, ToolVerb, refuse_tool, tool_digest
from otel_agent.stop import InvalidSetting, StopCode, ToolDenied

__all__ = ["Batch", "BatchVerb"]

MOST_CALLS = 10_000


class Batch(RunFrame):
    """The slots of one batch, in the order asked."""

    __slots__ = ("run", "slots")
    run: Run | None
    slots: list[Slot]


class BatchVerb(Verb[Batch]):
    """`tool_calls([(name, arguments), ...])`: a `with` or `async with` block that gives the slots."""

    def __init__(self, wanted: Iterable[tuple[str, Any]]) -> None:
        super().__init__()
        self.wanted = _wanted(wanted)

    def entered(self, frame: Batch) -> list[Slot]:
        return frame.slots

    def open(self, wrapped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
        context = ctx.current_context()
        above: Any = context.get(ctx.FRAME)
        batch = Batch()
        batch.above, batch.before = above, context
        batch.run = run = run_here(above, context)
        if run is None:
            batch.slots = [_slot(None, name, None, None, context) for name, _ in self.wanted]
        else:
            batch.slots = self._admit(run, context)
        ctx.attach(Context({**context, ctx.FRAME: batch}))
        return batch

    def _admit(self, run: Run, context: Context) -> list[Slot]:
        """Asks the account for all calls at once.

        Raises:
            AgentStop: the run must end.
        """
        account = run.account
        calls = [
            (name, Repeat(tool_digest(name, arguments), account) if account.tree.repeats else None)
            for name, arguments in self.wanted
        ]
        answers = account.reserve_batch(calls, now=ctx.monotonic())
        run.report()
        if len(answers) == 1 and answers[0] is not None and not answers[0].denial:
            raise refuse_tool(run, ToolVerb(self.wanted[0][0]), answers[0], context)
        asked = zip(calls, answers, strict=True)
        return [_slot(run, name, repeat, refusal, context) for (name, repeat), refusal in asked]

    def close(self, frame: Batch, exc: BaseException | None, result: Any) -> BaseException | None:
        for slot in frame.slots:
            slot.give_back()
        ctx.restore(frame)
        return exc


def _slot(run: Run | None, name: str, repeat: Repeat | None, refusal: Refusal | None, context: Context) -> Slot:
    slot = Slot()
    slot.run, slot.name, slot.repeat, slot.denied, slot.state = run, name, repeat, None, "held"
    if run is None:
        slot.state = "free"
    elif refusal is not None:
        slot.state = "denied"
        error = refuse_tool(run, ToolVerb(name), _as_denial(refusal), context)
        slot.denied = error if isinstance(error, ToolDenied) else None
    return slot


def _as_denial(refusal: Refusal) -> Refusal:
    """Turns "too many tool calls" into a denial; what the batch itself holds counts as used to who reads it."""
    if refusal.code is StopCode.MAX_TOOL_CALLS:
        refusal = refusal._replace(used=max(refusal.used, refusal.limit))
    return refusal._replace(denial=True)


def _wanted(calls: object) -> list[tuple[str, Any]]:
    where, allowed = "tool_calls.wanted", f"a list of at most {MOST_CALLS} pairs of a tool's name and its arguments"
    if isinstance(calls, (str, bytes)) or not isinstance(calls, Iterable):
        raise InvalidSetting(field=where, value=calls, allowed=allowed)
    pairs = list(checks.each(calls))
    if len(pairs) > MOST_CALLS or not all(checks.is_list(pair) and len(pair) == 2 for pair in pairs):
        raise InvalidSetting(field=where, value=pairs, allowed=allowed)
    return [(checks.text(where, name), arguments) for name, arguments in pairs]
