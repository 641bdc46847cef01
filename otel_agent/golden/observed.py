"""What the spans of one trial say: its run, the tools that were called, the stop reason.

Decides which run is meant and how calls are counted; ours say all themselves, those of others are read by the GenAI
conventions. Runs under it count in it. Judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from otel_agent import hashing, semconv
from otel_agent.stores.otlp_json import PastSpan
from otel_agent.stores.past_spans import by_run, is_run, kind_of, run_id_of, runs_of
from otel_agent.usage import PastRun

__all__ = ["NoRun", "Observed", "ToolUse", "observe"]

DENIED = ("deny", "duplicate")


class ToolUse(NamedTuple):
    """One call of a tool, or a try of one.

    `arguments` is a hash, equal for equal arguments, or None where the span says nothing of them; `denied`: it was
    refused and not made; `failed`: it was made and ended with an error.
    """

    name: str
    arguments: str | None
    denied: bool
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one trial did.

    Attributes:
        run: its outermost run, with what the runs under it used.
        tools: the tools that were called in it and in the runs under it, by their start.
        limits: the limits that its span carried, such as "tool_calls".
        stop_reason: its stop code; None where the span of a run of ours has none. A run of another framework that
            failed has the code "error", any other one "finish": its conventions know no more.
        unknown: which of "steps" and "tokens" the spans say nothing of, though something was used.
    """

    run: PastRun
    tools: tuple[ToolUse, ...] = ()
    limits: tuple[str, ...] = ()
    stop_reason: str | None = None
    unknown: frozenset[str] = frozenset()


class NoRun(ValueError):
    """Spans have not exactly one outermost run; the message is one line."""


def observe(spans: Iterable[PastSpan]) -> Observed:
    """Reads the spans of one trial.

    Args:
        spans: all of its spans, in any order.

    Raises:
        NoRun: there is no run among them, or there are several beside each other.
    """
    every = list(spans)
    run = _outermost(every)
    runs = by_run(every)
    own = next(span for span in runs[run.run_id] if is_run(span))
    calls = sorted(
        (span for each in runs.values() for span in each if not is_run(span)), key=lambda each: each.start_ns
    )
    return Observed(
        run=run,
        tools=tuple(_tool(span) for span in calls if kind_of(span) == "tool"),
        limits=tuple(name for name, keys in semconv.BUDGET.items() if keys.limit in own.attributes),
        stop_reason=_stop_reason(own, run),
        unknown=frozenset(_unknown(own, run, calls)),
    )


def _outermost(spans: Sequence[PastSpan]) -> PastRun:
    rows = runs_of(spans)
    ids = {row.run_id for row in rows}
    roots = [row for row in rows if row.parent_id not in ids]
    if len(roots) > 1:
        names = ", ".join(row.agent for row in roots[:3])
        raise NoRun(f"{len(roots)} runs stand beside each other ({names}): put one run around them")
    if not roots:
        raise NoRun(_why_none(spans))
    return roots[0]


def _why_none(spans: Sequence[PastSpan]) -> str:
    refused = [span.attributes.get(semconv.DECISION_REASON) for span in spans if kind_of(span) == "run"]
    if refused:
        return f"the run was refused before it began: {refused[0] or 'no reason is given'}"
    if not spans:
        return "there are no spans: the agent makes no run, or its spans went elsewhere"
    named = f"{semconv.OPERATION} {semconv.OPERATION_RUN}"
    return f"none of its spans ({len(spans)}) is a run: that is a span with {named}"


def _tool(span: PastSpan) -> ToolUse:
    denied = span.attributes.get(semconv.DECISION) in DENIED
    return ToolUse(
        name=str(span.attributes.get(semconv.TOOL_NAME) or span.name),
        arguments=_arguments(span),
        denied=denied,
        failed=not denied and (span.failed or semconv.ERROR_TYPE in span.attributes),
    )


def _arguments(span: PastSpan) -> str | None:
    ours = span.attributes.get(semconv.TOOL_ARGS_HASH)
    if isinstance(ours, str):
        return ours
    given = span.attributes.get(semconv.TOOL_ARGUMENTS)
    return None if given is None else hashing.digest(_read(given))


def _read(arguments: Any) -> Any:
    """Gives what JSON says: the same arguments may be written in another order."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments


def _stop_reason(own: PastSpan, run: PastRun) -> str | None:
    ours = run_id_of(own) is not None
    return None if ours and not own.attributes.get(semconv.STOP_REASON) else run.stop_reason


def _unknown(own: PastSpan, run: PastRun, calls: Sequence[PastSpan]) -> Iterable[str]:
    """Tells what a run of another framework must have used, but does not say."""
    if run_id_of(own) is not None:
        return
    asked = [span for span in calls if kind_of(span) == "llm" and not span.failed]
    if run.tokens and not run.steps:
        yield "steps"
    if semconv.INPUT_TOKENS not in own.attributes and any(not _says_tokens(span) for span in asked):
        yield "tokens"


def _says_tokens(span: PastSpan) -> bool:
    found: Any = span.attributes
    return semconv.INPUT_TOKENS in found or semconv.OUTPUT_TOKENS in found
