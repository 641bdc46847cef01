"""What spans say of runs: the row of each run, and what happened in it, in order.

Decides what of a span counts where. Ours say all themselves; of those of others, by the GenAI conventions alone, what
a run used is summed from the calls under it, and a run that did not fail has finished.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeAlias

from otel_agent import semconv
from otel_agent.stop import GROUPS, StopCode
from otel_agent.stores.otlp_json import PastSpan
from otel_agent.usage import (
    CallRecord,
    CallStarted,
    LimitUse,
    PastRun,
    RunRecord,
    RunStarted,
    Usage,
    micro_to_usd,
    usd_to_micro,
)

__all__ = ["Event", "Events", "by_run", "events_of", "is_run", "kind_of", "run_id_of", "runs_of", "task_of"]

Event: TypeAlias = RunStarted | CallStarted | CallRecord | RunRecord
Events: TypeAlias = list[tuple[int, Event]]


def kind_of(span: PastSpan) -> str | None:
    """Gives "run", "llm" or "tool", or None for a span that is none of an agent's."""
    operation = span.attributes.get(semconv.OPERATION)
    if operation == semconv.OPERATION_RUN:
        return "run"
    if operation == semconv.OPERATION_TOOL:
        return "tool"
    return "llm" if semconv.REQUEST_MODEL in span.attributes else None


def is_run(span: PastSpan) -> bool:
    """Tells whether a span is a whole run; a refused one never began."""
    return kind_of(span) == "run" and span.attributes.get(semconv.DECISION) != "deny"


def run_id_of(span: PastSpan) -> str | None:
    """Gives the id of the run that a span says it belongs to."""
    found = span.attributes.get(semconv.RUN_ID)
    return found if isinstance(found, str) and found else None


def task_of(span: PastSpan) -> str | None:
    """Gives the task that a run was given, where its span says so."""
    return _text(span, semconv.TASK_ID)


class _Trees:
    """Spans by the run that they belong to; ids are made up for the runs of others."""

    def __init__(self, spans: Iterable[PastSpan]) -> None:
        self.all = list(spans)
        self._by_id = {(span.trace_id, span.span_id): span for span in self.all}
        self._owners: dict[tuple[str, str], str | None] = {}
        self.runs = {self.owner(span): span for span in self.all if is_run(span)}
        self.calls: defaultdict[str, list[PastSpan]] = defaultdict(list)
        for span in self.all:
            owner = None if is_run(span) or kind_of(span) is None else self.owner(span)
            if owner is not None:
                self.calls[owner].append(span)
        self.parents = {run_id: self._parent(span) for run_id, span in self.runs.items()}
        self.children: defaultdict[str, list[str]] = defaultdict(list)
        for run_id, parent in self.parents.items():
            if parent in self.runs and parent is not None and run_id is not None:
                self.children[parent].append(run_id)

    def owner(self, span: PastSpan | None) -> str | None:
        """Gives the run of a span: what it says, else the nearest run above it."""
        path: list[tuple[str, str]] = []
        found: str | None = None
        while span is not None and (span.trace_id, span.span_id) not in path:
            key = span.trace_id, span.span_id
            if key in self._owners:
                found = self._owners[key]
                break
            path.append(key)
            found = run_id_of(span) or (span.trace_id[:16] + span.span_id if is_run(span) else None)
            if found is not None:
                break
            span = self._by_id.get((span.trace_id, span.parent_span_id or ""))
        self._owners.update(dict.fromkeys(path, found))
        return found

    def _parent(self, span: PastSpan) -> str | None:
        said = _text(span, semconv.RUN_PARENT_ID)
        return said or self.owner(self._by_id.get((span.trace_id, span.parent_span_id or "")))


def by_run(spans: Iterable[PastSpan]) -> dict[str, list[PastSpan]]:
    """Gives the spans of each run, without those of the runs under it; what belongs to no run is left out."""
    trees = _Trees(spans)
    found: defaultdict[str, list[PastSpan]] = defaultdict(list)
    for span in trees.all:
        owner = trees.owner(span)
        if owner is not None:
            found[owner].append(span)
    return dict(found)


class _Used(NamedTuple):
    """What a run used with all under it; `micro_usd` None where some of it has no price."""

    steps: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    micro_usd: int | None
    estimated: bool


def runs_of(spans: Iterable[PastSpan]) -> list[PastRun]:
    """Gives the row of each run whose own span is among these."""
    trees = _Trees(spans)
    used: dict[str, _Used] = {}
    return [_row(trees, run_id, span, used) for run_id, span in trees.runs.items() if run_id is not None]


def _row(trees: _Trees, run_id: str, span: PastSpan, known: dict[str, _Used]) -> PastRun:
    used = _used(trees, run_id, known, 0)
    code = _stop(span)
    return PastRun(
        run_id=run_id,
        parent_id=trees.parents[run_id],
        trace_id=span.trace_id,
        task=task_of(span),
        agent=_text(span, semconv.AGENT_NAME) or span.name or "agent",
        prompt_id=_text(span, semconv.PROMPT_ID),
        variant=_text(span, semconv.PROMPT_VARIANT),
        mode=_text(span, semconv.BUDGET_MODE) or "enforce",
        stop_reason=code,
        stop_detail=_text(span, semconv.STOP_DETAIL),
        error_type=_text(span, semconv.ERROR_TYPE),
        ended_ns=span.end_ns,
        seconds=span.seconds,
        steps=used.steps,
        tool_calls=used.tool_calls,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        micro_usd=used.micro_usd,
        estimated=used.estimated,
    )


def _stop(span: PastSpan) -> str:
    code = _text(span, semconv.STOP_REASON)
    if code in GROUPS:
        return str(code)
    return str(StopCode.ERROR if span.failed else StopCode.FINISH)


def _used(trees: _Trees, run_id: str, known: dict[str, _Used], depth: int) -> _Used:
    """Sums a run and those under it; what the run's own span says of all of it wins."""
    if run_id in known:
        return known[run_id]
    own = _own(trees.runs[run_id], trees.calls[run_id])
    # A depth that no agent reaches: what goes round in circles ends there.
    under = [_used(trees, child, known, depth + 1) for child in trees.children[run_id]] if depth < 200 else []
    known[run_id] = _as_said(trees.runs[run_id], _sum([own, *under]))
    return known[run_id]


def _own(span: PastSpan, calls: Iterable[PastSpan]) -> _Used:
    made = [call for call in calls if call.attributes.get(semconv.DECISION, "allow") == "allow"]
    kinds = Counter(kind_of(call) for call in made)
    costs = [_micro(call, semconv.COST_USD) for call in made if kind_of(call) == "llm"]
    cost = _micro(span, semconv.COST_USD)
    if cost is None and not _says_all(span):
        cost = sum(each or 0 for each in costs) if None not in costs else None
    return _Used(
        steps=kinds["llm"],
        tool_calls=kinds["tool"],
        input_tokens=_own_tokens(span, made, semconv.INPUT_TOKENS),
        output_tokens=_own_tokens(span, made, semconv.OUTPUT_TOKENS),
        micro_usd=cost,
        estimated=any(call.attributes.get(semconv.USAGE_ESTIMATED) is True for call in made),
    )


def _own_tokens(span: PastSpan, calls: Iterable[PastSpan], key: str) -> int:
    said = _count(span, key)
    return said if said is not None else sum(_count(call, key) or 0 for call in calls if kind_of(call) == "llm")


def _sum(parts: list[_Used]) -> _Used:
    costs = [part.micro_usd for part in parts]
    return _Used(
        steps=sum(part.steps for part in parts),
        tool_calls=sum(part.tool_calls for part in parts),
        input_tokens=sum(part.input_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        micro_usd=sum(cost or 0 for cost in costs) if None not in costs else None,
        estimated=any(part.estimated for part in parts),
    )


def _says_all(span: PastSpan) -> bool:
    return semconv.BUDGET["tokens"].used in span.attributes


def _as_said(span: PastSpan, summed: _Used) -> _Used:
    if not _says_all(span):
        return summed
    said = {name: _count(span, keys.used) for name, keys in semconv.BUDGET.items() if name != "usd"}
    tokens = said["tokens"]
    output = min(summed.output_tokens, tokens) if tokens is not None else summed.output_tokens
    return _Used(
        steps=summed.steps if said["steps"] is None else said["steps"],
        tool_calls=summed.tool_calls if said["tool_calls"] is None else said["tool_calls"],
        input_tokens=summed.input_tokens if tokens is None else tokens - output,
        output_tokens=output,
        micro_usd=_micro(span, semconv.BUDGET["usd"].used),
        estimated=summed.estimated,
    )


# what happened, in order


def events_of(spans: Iterable[PastSpan]) -> Events:
    """Gives what happened in the runs of these spans, with its time in nanoseconds, in order."""
    trees = _Trees(spans)
    known: dict[str, _Used] = {}
    found: list[tuple[int, int, Event]] = []
    for run_id, span in trees.runs.items():
        if run_id is not None:
            depth = _depth(trees, run_id)
            row = _row(trees, run_id, span, known)
            found.append((span.start_ns, depth, _started(row, span)))
            found.append((span.end_ns, 3_000 - depth, _ended(row, span)))
            for call in trees.calls[run_id]:
                found += [(at, 1_000 + (at == call.end_ns), event) for at, event in _call(call, row)]
    return [(at, event) for at, _, event in sorted(found, key=lambda each: each[:2])]


def _depth(trees: _Trees, run_id: str) -> int:
    depth, above = 0, trees.parents[run_id]
    while above in trees.runs and above is not None and depth < 200:
        depth, above = depth + 1, trees.parents[above]
    return depth


def _started(row: PastRun, span: PastSpan) -> RunStarted:
    return RunStarted(
        **_kept(RunStarted, row),
        limits=_limits(span),
    )


def _ended(row: PastRun, span: PastSpan) -> RunRecord:
    usage = Usage(
        steps=row.steps,
        tool_calls=row.tool_calls,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        seconds=row.seconds,
        cost_usd=None if row.micro_usd is None else micro_to_usd(row.micro_usd),
        estimated=row.estimated,
    )
    kept = _kept(RunRecord, row) | {"stop_reason": StopCode(row.stop_reason)}
    return RunRecord(**kept, usage=usage, own_usage=usage, limits=_limits(span), denials={})


def _kept(kind: type[RunStarted] | type[RunRecord], row: PastRun) -> dict[str, Any]:
    """Gives the fields that a row and a record share."""
    return {name: getattr(row, name) for name in kind._fields if hasattr(row, name)}


def _call(span: PastSpan, run: PastRun) -> Iterator[tuple[int, Event]]:
    kind = kind_of(span) or ""
    name = _text(span, semconv.TOOL_NAME if kind == "tool" else semconv.REQUEST_MODEL) or _refused_agent(span)
    decision = _text(span, semconv.DECISION)
    denied = decision is not None and decision != "allow"
    if not denied:
        yield span.start_ns, CallStarted(kind, name, run.run_id)
    cost = _micro(span, semconv.COST_USD)
    yield (
        span.end_ns,
        CallRecord(
            kind=kind,
            name=name,
            run_id=run.run_id,
            agent=run.agent,
            prompt_id=run.prompt_id,
            seconds=span.seconds,
            input_tokens=_count(span, semconv.INPUT_TOKENS),
            output_tokens=_count(span, semconv.OUTPUT_TOKENS),
            cost_usd=None if cost is None else micro_to_usd(cost),
            estimated=span.attributes.get(semconv.USAGE_ESTIMATED) is True,
            decision="deny" if denied else "allow",
            reason=_text(span, semconv.DECISION_REASON),
            error_type=_text(span, semconv.ERROR_TYPE) or ("error" if span.failed else None),
        ),
    )


def _refused_agent(span: PastSpan) -> str:
    return _text(span, semconv.AGENT_NAME) or span.name or "?"


def _limits(span: PastSpan) -> Mapping[str, LimitUse]:
    found: dict[str, LimitUse] = {}
    for name, keys in semconv.BUDGET.items():
        limit, used = span.attributes.get(keys.limit), span.attributes.get(keys.used)
        if isinstance(limit, (int, float)):
            money = name == "usd"
            found[name] = LimitUse(_money(limit), _money(used)) if money else LimitUse(limit, used)
    return found


def _money(value: Any) -> Decimal | None:
    try:
        found = Decimal(float.__repr__(value) if isinstance(value, float) else value)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return found if found.is_finite() else None


def _micro(span: PastSpan, key: str) -> int | None:
    found = _money(span.attributes.get(key))
    return None if found is None or found < 0 else usd_to_micro(found)


def _count(span: PastSpan, key: str) -> int | None:
    found = span.attributes.get(key)
    if isinstance(found, (int, float)) and not isinstance(found, bool) and 0 <= found < 2**53:
        return int(found)
    return None


def _text(span: PastSpan, key: str) -> str | None:
    found = span.attributes.get(key)
    return found if isinstance(found, str) and found else None
