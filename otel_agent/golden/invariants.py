"""Whether a trial kept to its task: every bound against what its spans say.

Decides what is a violation, and which ones no quorum forgives: a missing stop reason, a forbidden tool, an unexpected
write. A call that was denied was not made: it violates nothing, and is told by `notes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from otel_agent.config.values import GoldenTask
from otel_agent.golden.observed import Observed, ToolUse
from otel_agent.golden.outputs import misses
from otel_agent.usage import micro_to_usd

__all__ = ["Violation", "notes", "violations"]

MOST_NAMES = 20


class Violation(NamedTuple):
    """A bound that was not kept: the field of the task, what it allows, what was found.

    A `strict` one fails the task in whichever repeat; the others only when too few repeats are clean.
    """

    field: str
    allowed: str
    found: str
    strict: bool = False


def violations(
    task: GoldenTask, observed: Observed, output: object, *, writes: Sequence[str] = ()
) -> tuple[Violation, ...]:
    """Gives every bound that a trial did not keep.

    Args:
        task: the task.
        observed: what its spans say.
        output: what the agent returned.
        writes: tools that change something outside.
    """
    made = [tool for tool in observed.tools if not tool.denied]
    found = [
        *_stop_reason(task, observed),
        *_amounts(task, observed),
        *_forbidden(task, made, writes),
        *_calls(task, made),
        *_repeats(task, made),
    ]
    if task.output is not None:
        found += [Violation(*miss) for miss in misses(task.output, output)]
    return tuple(found)


def notes(task: GoldenTask, observed: Observed) -> tuple[str, ...]:
    """Gives what is worth knowing of a trial and violates nothing: tries of a forbidden tool that were denied."""
    tried = Counter(tool.name for tool in observed.tools if tool.denied and tool.name in task.must_not_call)
    return tuple(
        f"{name}, which must not be called, was tried {_times(count)} and denied" for name, count in tried.items()
    )


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _stop_reason(task: GoldenTask, observed: Observed) -> Iterator[Violation]:
    expected = str(task.expect_stop_reason)
    if observed.stop_reason is None:
        yield Violation("expect_stop_reason", expected, "none: the run has no stop reason", strict=True)
    elif observed.stop_reason != expected:
        yield Violation("expect_stop_reason", expected, observed.stop_reason)


def _amounts(task: GoldenTask, observed: Observed) -> Iterator[Violation]:
    run = observed.run
    for name, bound, used in (
        ("steps", task.max_steps, run.steps),
        ("tool_calls", task.max_tool_calls, run.tool_calls),
        ("tokens", task.max_tokens, run.tokens),
    ):
        if bound is not None and name in observed.unknown:
            yield Violation(f"max_{name}", f"at most {bound:,}", f"unknown: the spans say nothing of its {name}")
        elif bound is not None and used > bound:
            yield Violation(f"max_{name}", f"at most {bound:,}", f"{used:,}")
    if task.max_seconds is not None and run.seconds > task.max_seconds:
        yield Violation("max_seconds", f"at most {task.max_seconds:g}", f"{run.seconds:.3g}")
    if task.max_usd is not None:
        cost = None if run.micro_usd is None else micro_to_usd(run.micro_usd)
        if cost is None:
            yield Violation("max_usd", f"at most {task.max_usd:f}", "unknown: some call has no price")
        elif cost > task.max_usd:
            yield Violation("max_usd", f"at most {task.max_usd:f}", f"{cost:f}")


def _forbidden(task: GoldenTask, made: Sequence[ToolUse], writes: Sequence[str]) -> Iterator[Violation]:
    for name, count in Counter(tool.name for tool in made).items():
        if name in task.must_not_call:
            yield Violation("must_not_call", f"no call of {name}", f"called {_times(count)}", strict=True)
        elif name in writes and name not in (*task.must_call, *task.may_call):
            allowed = f"no call of {name}, which writes, without may_call or must_call"
            yield Violation("may_call", allowed, f"called {_times(count)}", strict=True)


def _calls(task: GoldenTask, made: Sequence[ToolUse]) -> Iterator[Violation]:
    names = [tool.name for tool in made]
    if task.call_order == "exact":
        if names != list(task.must_call):
            yield Violation("call_order", f"exactly {_listed(task.must_call)}", _listed(names))
        return
    lacking = Counter(task.must_call) - Counter(names)
    for name in lacking:
        wanted, found = task.must_call.count(name), names.count(name)
        yield Violation("must_call", f"{name} called{f' {_times(wanted)}' if wanted > 1 else ''}", _times(found))
    if task.call_order == "in_order" and not lacking and not _in_order(task.must_call, names):
        yield Violation("call_order", f"{_listed(task.must_call)}, in this order", _listed(names))


def _in_order(wanted: Sequence[str], names: Sequence[str]) -> bool:
    left = iter(names)
    return all(name in left for name in wanted)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (", ".join(names[:MOST_NAMES]) or "no calls") + more


def _repeats(task: GoldenTask, made: Sequence[ToolUse]) -> Iterator[Violation]:
    if task.max_repeats is None:
        return
    most = task.max_repeats
    for name, calls in Counter(tool.name for tool in made).items():
        known = Counter(tool.arguments for tool in made if tool.name == name)
        hidden = known.pop(None, 0)
        same = max(known.values(), default=0)
        allowed = f"{name} at most {_times(most)} with the same arguments"
        if same > most:
            yield Violation("max_repeats", allowed, _times(same))
        elif same + hidden > most:
            found = f"unknown: {hidden:,} of {calls:,} spans say nothing of the arguments"
            yield Violation("max_repeats", allowed, found)
