"""The border of a run: what its end means, and what is told of it.

Decides the one stop reason of a run: a stop of its own, one of a run above or below, a failure, a cancellation, or a
return. Whoever comes first ends a run: its own block, or the end of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeGuard

from opentelemetry.trace import INVALID_SPAN, Span

from otel_agent import context as ctx
from otel_agent import semconv
from otel_agent.run.bill import Bill
from otel_agent.run.blame import blame, blamed, is_cancellation, is_decision
from otel_agent.run.calls import error_of, record
from otel_agent.run.state import Run, closed, open_runs, plain
from otel_agent.stop import GROUPS, AgentStop, StopCode, StopIgnored, ToolDenied, reason_for
from otel_agent.telemetry import spans
from otel_agent.telemetry.guard import broken
from otel_agent.telemetry.listeners import heard, tell
from otel_agent.usage import LimitUse, Listener, RunRecord, RunResult, Usage, micro_to_usd

__all__ = ["end_open_runs", "end_run"]


class _End(NamedTuple):
    """What the end of a run means: the stop reason, its detail, the error type, what is to be raised, and why."""

    code: StopCode
    detail: str | None
    error: str | None
    exc: BaseException | None
    cause: BaseException | None


def end_run(run: Run, exc: BaseException | None, output: Any) -> BaseException | None:
    """Ends a run once, whoever comes first: its own block, or the end of the process."""
    now = ctx.monotonic()
    if not run.account.closed:
        run.account.time_is_near(now)
    end = _meaning(run, exc, now)
    if exc is None and run.account.stop is None:
        run.account.came_late(now)
    if not run.account.close():
        return exc
    run.report()
    closed(run)
    sent = [estimate() for estimate in tuple(run.in_flight.values())]
    usage, own = (_with_sent(run.account.usage(now, own=own), sent) for own in (False, True))
    limits = run.account.limit_uses(now)
    record = RunRecord(
        run_id=run.id,
        parent_id=run.parent.id if run.parent is not None else None,
        agent=run.agent,
        prompt_id=run.prompt_id,
        mode=run.mode,
        stop_reason=end.code,
        stop_detail=end.detail,
        error_type=end.error,
        trace_id=spans.trace_id(run.span) if run.span is not None else None,
        usage=usage,
        own_usage=own,
        limits=limits,
        denials=run.denials,
        variant=run.variant,
    )
    run.finish(_result(record, end, output))
    if not run.copied:
        _project(run, record, end, exc)
    return end.exc


def _with_sent(usage: Usage, sent: list[Bill]) -> Usage:
    """Adds the calls that are still in flight when their run ends, at their estimates."""
    if not sent:
        return usage
    costs = [bill.micro_usd for bill in sent]
    known = usage.cost_usd is not None and None not in costs
    return replace(
        usage,
        steps=usage.steps + len(sent),
        input_tokens=usage.input_tokens + sum(bill.input_tokens for bill in sent),
        output_tokens=usage.output_tokens + sum(bill.output_tokens for bill in sent),
        cost_usd=(usage.cost_usd or 0) + micro_to_usd(sum(cost or 0 for cost in costs)) if known else None,
        estimated=True,
    )


def _result(record: RunRecord, end: _End, output: Any) -> RunResult[Any]:
    return RunResult(
        output=output if end.exc is None else None,
        stop_reason=end.code,
        stop_detail=end.detail,
        error=end.exc if isinstance(end.exc, (AgentStop, ToolDenied)) else None,
        run_id=record.run_id,
        trace_id=record.trace_id,
        prompt_id=record.prompt_id,
        usage=record.usage,
        own_usage=record.own_usage,
        denials=record.denials,
    )


def _meaning(run: Run, exc: BaseException | None, now: int) -> _End:
    """Decides what the end of a run means."""
    if run.timer is not None and run.timer.expired():
        run.account.time_is_up(now)
    exc = _at_the_border(run, exc)
    cause = _cause(run, exc)
    stop = run.account.stop
    if stop is not None:
        code, detail = stop.code, stop.detail
    else:
        code, detail = _code_of(run, cause)
    quiet = GROUPS[code] == "done" or code is StopCode.CANCELLED
    error = None
    if exc is not None and cause is not None and not is_cancellation(cause):
        error = error_of(exc) if not is_decision(cause) else None if quiet else error_of(cause)
    if error is None and not quiet:
        error = str(code)
    return _End(code, detail, error, exc, cause)


def _cause(run: Run, exc: BaseException | None) -> BaseException | None:
    """Gives what a group of exceptions was raised for: its first stop, else what was first in it; else the exception.

    A group that left a call of this run as a whole, and one of nothing but cancellations, stands for itself.
    """
    if not _is_group(exc) or blamed(exc, run.root_id) is not None:
        return exc
    leaves = [leaf.stop if isinstance(leaf, StopIgnored) else leaf for leaf in _leaves(exc)]
    failed = [leaf for leaf in leaves if not is_cancellation(leaf)]
    return min(failed, key=lambda leaf: not isinstance(leaf, AgentStop), default=exc)


def _code_of(run: Run, exc: BaseException | None) -> tuple[StopCode, str | None]:
    if isinstance(exc, AgentStop) and exc.run_id is None:  # the application's own
        return exc.reason, exc.detail
    if isinstance(exc, AgentStop) and exc.run_id != run.id:
        above = any(level.run_id == exc.run_id for level in run.account.levels)
        return exc.reason, exc.detail or ("parent" if above else "child")
    if exc is not None and is_cancellation(exc):
        hit = run.deadline_hit()
        return (StopCode.MAX_SECONDS, "parent") if hit is not None else reason_for(exc)
    left = blamed(exc, run.root_id) if exc is not None and not is_decision(exc) else None
    return reason_for(exc) if left is None else (left, None)


def _at_the_border(run: Run, exc: BaseException | None) -> BaseException | None:
    """Turns what stands for the run's own stop back into it: an ignored stop, the timer, a group of nothing else."""
    if isinstance(exc, StopIgnored) and exc.stop.run_id == run.id:
        return exc.stop
    if _is_group(exc):
        return _only_stop(run, exc) or exc
    timer = run.timer
    if timer is not None and timer.expired() and isinstance(exc, (TimeoutError, asyncio.CancelledError)):
        return run.stop_of(run.account.time_is_up(ctx.monotonic()))
    return exc


def _only_stop(run: Run, group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    leaves = [leaf.stop if isinstance(leaf, StopIgnored) else leaf for leaf in _leaves(group)]
    ours = [leaf for leaf in leaves if isinstance(leaf, (AgentStop, ToolDenied)) and leaf.run_id == run.id]
    cancelled = [leaf for leaf in leaves if isinstance(leaf, asyncio.CancelledError)]
    if not ours or len(ours) + len(cancelled) != len(leaves):
        return None
    return min(ours, key=lambda leaf: (isinstance(leaf, ToolDenied), getattr(leaf, "pending", False)))


def _is_group(exc: BaseException | None) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    return isinstance(exc, BaseExceptionGroup)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if _is_group(exc):
            yield from _leaves(exc)
        else:
            yield exc


def _project(run: Run, record: RunRecord, end: _End, exc: BaseException | None) -> None:
    """Writes the end of a run onto its span, as a log event, as metrics, and to the listeners."""
    if run.span is not None and run.span.is_recording():
        spans.write(run.span, _totals(record))
        _fail(run.span, run.root_id, end, exc)
    run.event(semconv.RUN_FINISHED, _totals(record))
    if run.pipeline.instruments is not None:
        run.pipeline.instruments.run_ended(record)
    if heard.listeners:
        tell(_run_ended, record)
    spans.keep(record)
    if run.span is not None and run.span is not INVALID_SPAN:
        spans.end(run.span)


def _fail(span: Span, root_id: str, end: _End, exc: BaseException | None) -> None:
    failed = exc is not None and not any(is_decision(each) or is_cancellation(each) for each in (exc, end.cause or exc))
    if failed and exc is not None and blame(exc, root_id, StopCode.ERROR):
        record(span, exc)
    if end.error is not None:
        spans.fail(span, end.error)


def _totals(record: RunRecord) -> dict[str, Any]:
    own, usage = record.own_usage, record.usage
    found: dict[str, Any] = {
        semconv.STOP_REASON: str(record.stop_reason),
        semconv.INPUT_TOKENS: own.input_tokens,
        semconv.OUTPUT_TOKENS: own.output_tokens,
        semconv.USAGE_COMPLETE: not usage.estimated and usage.cost_usd is not None,
    }
    if record.stop_detail is not None:
        found[semconv.STOP_DETAIL] = record.stop_detail
    if own.cost_usd is not None:
        found[semconv.COST_USD] = float(own.cost_usd)
    for name, used in _used(record.limits, usage).items():
        if used is not None:
            found[semconv.BUDGET[name].used] = plain(used)
    for name, use in record.limits.items():
        found[semconv.BUDGET[name].limit] = plain(use.limit)
    return found


def _used(limits: Mapping[str, LimitUse], usage: Usage) -> dict[str, Any]:
    """Gives the use of every dimension, also of those without a limit; None is not known."""
    found: dict[str, Any] = {
        "steps": usage.steps,
        "tool_calls": usage.tool_calls,
        "tokens": usage.total_tokens,
        "seconds": round(usage.seconds, 6),
        "usd": usage.cost_usd,
    }
    return found | {name: use.used for name, use in limits.items() if name != "seconds"}


def _run_ended(listener: Listener) -> Any:
    return listener.run_ended


def end_open_runs(detail: str) -> None:
    """Ends every open run as cancelled, the innermost first."""
    for run in sorted(open_runs(), key=lambda run: -len(run.account.levels)):
        try:
            run.account.mark(StopCode.CANCELLED, detail)
            end_run(run, None, None)
        except Exception as exc:
            broken("ending a run at exit", exc)
