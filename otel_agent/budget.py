"""Budgets: the limits of a run, and the sums that are held against them.

Decides whether one more call fits. Reads no clock (who asks brings the time), does no I/O, imports no OpenTelemetry.

One run has one `Account`; the accounts of a run and of all runs under it share one lock, so that a call which draws on
three levels is let through by all of them or by none:

    reserve   used + held + amount <= limit, at every level, then held += amount everywhere
    settle    held -= what was reserved, used += what it really was
    cancel    held -= what was reserved

The lock is held for the sums only. `settle` and `cancel` never wait for it: they queue, and whoever holds the lock, or
the next one to take it, does the queued work. So a stream that is collected in the middle of a gate cannot deadlock it.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from decimal import MAX_EMAX, MIN_EMIN, ROUND_FLOOR, Context, Decimal
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from otel_agent import checks
from otel_agent.checks import Money
from otel_agent.stop import InvalidSetting, StopCode
from otel_agent.usage import MICRO, LimitUse, Usage, micro_to_usd

__all__ = [
    "STEPS",
    "TOKENS",
    "TOOL_CALLS",
    "USD",
    "Account",
    "Actual",
    "Budget",
    "FinalCall",
    "Note",
    "Refusal",
    "Repeat",
    "Spend",
]

NANO = 1_000_000_000
DEFAULT_OUTPUT_TOKENS = 4096
LARGEST_PER_TOOL = 1000
REMEMBERED_CALLS = 4096
READ_WAIT_SECONDS = 0.1
GATE_WAIT_SECONDS = 1.0

STEPS, TOOL_CALLS, TOKENS, USD = range(4)
INPUT, OUTPUT, CACHED, WRITTEN, REASONED, ESTIMATED, UNPRICED = range(4, 11)
KINDS = 11
CODES = (StopCode.MAX_STEPS, StopCode.MAX_TOOL_CALLS, StopCode.MAX_TOKENS, StopCode.MAX_USD)
DIMENSIONS = ("steps", "tool_calls", "tokens", "usd")
NO_LIMIT = math.inf

Spend = tuple[tuple[int, int], ...]
"""Amounts by dimension, only those above 0: steps, calls, tokens, micro-USD."""

ONE_TOOL_CALL: Spend = ((TOOL_CALLS, 1),)

# The application's decimal context may round or trap: a limit keeps its digits.
_DOWN = Context(prec=60, rounding=ROUND_FLOOR, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class FinalCall:
    """What is kept back for one last call after a stop.

    Attributes:
        tokens: input and output tokens of that call.
        usd: its price in USD: str, int, Decimal, or a float by its shortest repr.

    Raises:
        InvalidSetting: a value is negative, no number, or too large.
    """

    tokens: int = 0
    usd: Money = Decimal(0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", checks.count("FinalCall.tokens", self.tokens))
        object.__setattr__(self, "usd", checks.usd("FinalCall.usd", self.usd))


def _per_tool(value: object) -> Mapping[str, int]:
    where = "Budget.max_calls_per_tool"
    allowed = "a mapping of tool names to whole numbers, such as {'kb.search': 6}"
    caps = checks.mapping(where, value, allowed)
    if len(caps) > LARGEST_PER_TOOL:
        raise InvalidSetting(field=where, value=f"{len(caps)} tools", allowed=f"at most {LARGEST_PER_TOOL} tools")
    return MappingProxyType({checks.text(where, tool): checks.count(f"{where}[{tool!r}]", caps[tool]) for tool in caps})


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits of a run and of all runs under it; `None` is no limit, 0 is none allowed.

    Attributes:
        max_steps: LLM calls sent.
        max_tool_calls: tool calls made.
        max_seconds: seconds, or a `timedelta`, from the run's start; above 0.
        max_tokens: input and output tokens as billed.
        max_usd: USD: str, int, Decimal, or a float by its shortest repr; finer than 0.000001 is rounded down.
        max_calls_per_tool: calls by tool name; a call above is denied, the run goes on.
        max_repeats: how often one tool may be called with the same arguments.
        warn_at: the share of a limit at which it warns, once; above 0, at most 1.
        final_call: kept back for one last call after a stop.
        default_output_tokens: tokens held for the output of a call that names no maximum.
        interrupt: "signal" lets `max_seconds` interrupt a hung call in the main thread (SIGALRM).

    Raises:
        InvalidSetting: a value can never work.
    """

    max_steps: int | None = None
    max_tool_calls: int | None = None
    max_seconds: float | timedelta | None = None
    max_tokens: int | None = None
    max_usd: Money | None = None
    max_calls_per_tool: Mapping[str, int] = field(default_factory=dict)
    max_repeats: int | None = None
    warn_at: float = 0.8
    final_call: FinalCall | None = None
    default_output_tokens: int = DEFAULT_OUTPUT_TOKENS
    interrupt: Literal["signal"] | None = None

    def __post_init__(self) -> None:
        for name, check in _BUDGET_CHECKS.items():
            value = getattr(self, name)
            if value is not None or name in _NEVER_NONE:
                object.__setattr__(self, name, check(f"Budget.{name}", value))
        self._check_final_call()

    def _check_final_call(self) -> None:
        if self.final_call is None:
            return
        for name, kept, limit in (
            ("max_steps", 1, self.max_steps),
            ("max_tokens", self.final_call.tokens, self.max_tokens),
            ("max_usd", self.final_call.usd, self.max_usd),
        ):
            if limit is not None and kept > limit:  # type: ignore[operator]
                raise InvalidSetting(
                    field=f"Budget.{name}", value=limit, allowed=f"at least {kept}, kept for final_call"
                )

    def __reduce__(self) -> tuple[Any, ...]:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return (_rebuild_budget, ({**values, "max_calls_per_tool": dict(self.max_calls_per_tool)},))


def _rebuild_budget(values: dict[str, Any]) -> Budget:
    return Budget(**values)


_NEVER_NONE = frozenset({"max_calls_per_tool", "warn_at", "default_output_tokens"})
_BUDGET_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_steps": checks.count,
    "max_tool_calls": checks.count,
    "max_seconds": checks.seconds,
    "max_tokens": checks.count,
    "max_usd": checks.usd,
    "max_calls_per_tool": lambda where, value: _per_tool(value),
    "max_repeats": checks.count,
    "warn_at": checks.fraction,
    "final_call": lambda where, value: checks.instance_of(where, value, FinalCall, "a FinalCall or None"),
    "default_output_tokens": lambda where, value: checks.count(where, value, least=1),
    "interrupt": lambda where, value: checks.choice(where, value, ("signal",)),
}


class Refusal(NamedTuple):
    """Why a call does not fit: the level that said no, the code, its limit and use, in the limit's own unit.

    `pending` says that only calls in flight stand in the way; `denial` that it concerns this one call, not the run.
    """

    account: Account
    code: StopCode
    limit: Any = None
    used: Any = None
    pending: bool = False
    denial: bool = False
    detail: str | None = None


class Repeat(NamedTuple):
    """A call that may be a repeated one: the hash of tool and arguments, who calls, the tool's own `max_repeats`."""

    digest: str
    caller: Account
    cap: int | None = None


class Note(NamedTuple):
    """Something to report once.

    `kind` is "warning", "exceeded" for a limit that was passed, or "forked" for a budget that is now a copy.
    """

    kind: str
    account: Account
    code: StopCode | None
    limit: Any
    used: Any


class Actual(NamedTuple):
    """What a call really used: `amounts` by kind, and which of the optional kinds the response spoke of, as bits."""

    amounts: Spend
    said: int = 0

    @classmethod
    def of(
        cls,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_input_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        micro_usd: int | None = 0,
        estimated: bool = False,
    ) -> Actual:
        """Builds it from what is known: tokens, micro-USD (None: the price is unknown)."""
        said = 0
        amounts = [(STEPS, 1), (TOKENS, input_tokens + output_tokens), (INPUT, input_tokens), (OUTPUT, output_tokens)]
        for kind, amount in (
            (CACHED, cached_input_tokens),
            (WRITTEN, cache_write_tokens),
            (REASONED, reasoning_tokens),
        ):
            if amount is not None:
                said |= 1 << kind
                amounts.append((kind, amount))
        amounts.append((UNPRICED, 1) if micro_usd is None else (USD, micro_usd))
        if estimated:
            amounts.append((ESTIMATED, 1))
        return cls(tuple(amounts), said)


class _Tree:
    """What a root run and all runs under it share: the lock, the queued work, the notes to report."""

    __slots__ = ("late", "lock", "notes", "repeats")

    def __init__(self) -> None:
        self.repeats = False
        self.lock = threading.Lock()
        self.late: deque[tuple[Account, Spend, Actual | None]] = deque()
        self.notes: deque[Note] = deque()

    def drain(self) -> None:
        """Does the queued work unless somebody holds the lock, who then does it on leaving."""
        while self.late and self.lock.acquire(blocking=False):
            try:
                self.work()
            finally:
                self.lock.release()

    def work(self) -> None:
        late = self.late
        while late:
            account, held, actual = late.popleft()
            for level in account.levels:
                level.apply(held, actual)
            if actual is not None:
                own = account.own
                for i, amount in actual.amounts:
                    own[i] += amount
                account.own_said |= actual.said

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Waits a short time for a consistent picture; in a signal handler inside a gate it reads what there is."""
        if not self.lock.acquire(timeout=READ_WAIT_SECONDS):
            yield
            return
        try:
            self.work()
            yield
        finally:
            self.lock.release()
            self.drain()


class Account:
    """The sums of one run, under the accounts of its ancestors.

    Args:
        budget: the run's limits.
        run_id: whose account it is.
        parent: the account of the run above, or None for a root.
        now: the time of the start in nanoseconds of a monotonic clock.
        observe: count and note, refuse nothing.
    """

    __slots__ = (
        "alarms",
        "budget",
        "by_tool",
        "closed",
        "deadline",
        "exceeded",
        "final",
        "final_taken",
        "full",
        "held",
        "levels",
        "limits",
        "observe",
        "own",
        "own_said",
        "run_id",
        "said",
        "seen",
        "started",
        "stop",
        "tree",
        "used",
        "warn_at_time",
    )

    def __init__(
        self, budget: Budget, run_id: str, parent: Account | None = None, *, now: int = 0, observe: bool = False
    ) -> None:
        self.run_id = run_id
        self.started = now
        self.observe = observe
        self.tree: _Tree = parent.tree if parent else _Tree()
        self.levels: tuple[Account, ...] = (self, *parent.levels) if parent else (self,)
        self.used, self.own = [0] * KINDS, [0] * KINDS
        self.held = [0] * 4
        self.said = self.own_said = 0
        self.by_tool: dict[str, int] = {}
        self.seen: OrderedDict[str, int] = OrderedDict()
        self.exceeded: set[StopCode] = set()
        self.stop: Refusal | None = None
        self.closed = self.final_taken = False
        self.final = [0] * 4
        self._set_limits(budget)

    # limits

    def _set_limits(self, budget: Budget) -> None:
        self.budget = budget
        self.tree.repeats = self.tree.repeats or budget.max_repeats is not None
        self.final = _kept(None if self.final_taken else budget.final_call)
        full = [
            NO_LIMIT if limit is None else limit
            for limit in (budget.max_steps, budget.max_tool_calls, budget.max_tokens, _micro_or_none(budget.max_usd))
        ]
        self.full: list[float] = full
        self.limits: list[float] = [limit - amount for limit, amount in zip(full, self.final, strict=True)]
        self.alarms: list[float] = [
            math.ceil(round(limit * budget.warn_at, 6)) if 0 < limit < NO_LIMIT else NO_LIMIT for limit in full
        ]
        spent = None if budget.max_seconds is None else int(float(budget.max_seconds) * NANO)  # type: ignore[arg-type]
        self.deadline: float = NO_LIMIT if spent is None else self.started + spent
        self.warn_at_time: float = NO_LIMIT if spent is None else self.started + spent * budget.warn_at

    def change(self, **changes: Any) -> tuple[Budget, Budget]:
        """Puts other limits in place.

        Returns:
            The budget before and after.

        Raises:
            InvalidSetting: a value can never work; nothing has changed then.
        """
        before = self.budget
        after = replace(before, **changes)
        with self.tree.reading():
            full, alarms, warn_at_time = self.full, self.alarms, self.warn_at_time
            self._set_limits(after)
            if before.warn_at == after.warn_at:  # what has warned stays quiet
                same = zip(self.full, full, self.alarms, alarms, strict=True)
                self.alarms = [old if now == was else new for now, was, new, old in same]
                self.warn_at_time = warn_at_time if before.max_seconds == after.max_seconds else self.warn_at_time
        return before, after

    # the gate

    def open(self) -> Refusal | None:
        """Keeps room in every ancestor for the final call, if there is to be one."""
        kept: Spend = tuple((i, amount) for i, amount in enumerate(self.final) if amount)
        return self.reserve(kept, levels=self.levels[1:], now=self.started) if self.levels[1:] else None

    def reserve(
        self,
        spend: Spend,
        *,
        now: int,
        tool: str | None = None,
        repeat: Repeat | None = None,
        sent: bool = False,
        levels: Sequence[Account] | None = None,
        final: bool = False,
    ) -> Refusal | None:
        """Lets one call through, or says which limit is in the way.

        Args:
            spend: what the call may use.
            now: nanoseconds of the monotonic clock.
            tool: the tool's name, for its own cap.
            repeat: which call this repeats, for `max_repeats`.
            sent: count it as used at once, not as held.
            levels: the accounts to ask, from the own one up; all by default.
            final: the one last call after a stop.

        Returns:
            None when the call may go; it is then counted at every level.
        """
        tree = self.tree
        if not tree.lock.acquire(timeout=GATE_WAIT_SECONDS):
            return self._busy(spend)
        try:
            if tree.late:
                tree.work()
            opened = final and not self.final_taken
            if opened:
                self._release_final()
            elif final and self.stop is not None:
                return self.stop
            asked = self.levels if levels is None else levels
            for account in asked:
                refusal = account._refuses(spend, now, tool, repeat, final and account is self)
                if refusal is not None:
                    if opened:
                        self._keep_final()
                    return refusal
            for account in asked:
                account._count(spend, tool, repeat, sent)
            if sent:
                for i, amount in spend:
                    self.own[i] += amount
        finally:
            tree.lock.release()
        if tree.late:
            tree.drain()
        return None

    def _busy(self, spend: Spend) -> Refusal:
        """Only a signal handler or a finalizer inside a gate of this thread waits that long: it must not decide."""
        code = CODES[spend[0][0]] if spend else StopCode.MAX_STEPS
        return Refusal(self, code, pending=True, detail="asked from inside another gate")

    def reserve_batch(self, calls: Sequence[tuple[str, Repeat | None]], *, now: int) -> list[Refusal | None]:
        """Holds one tool call for each of a batch, in order while they fit.

        Args:
            calls: tool name, and the call it may repeat.
            now: nanoseconds of the monotonic clock.

        Returns:
            None or the refusal for each call. A single refusal that is no denial and stands alone in the list ends the
            run: nothing is held then.
        """
        tree = self.tree
        if not tree.lock.acquire(timeout=GATE_WAIT_SECONDS):
            return [self._busy(ONE_TOOL_CALL)]
        try:
            tree.work()
            answers = [self._hold_one(tool, repeat, now) for tool, repeat in calls]
            end = _end_of(answers)
            if end is None:
                return answers
            for (tool, repeat), refusal in zip(calls, answers, strict=True):
                if refusal is None:
                    self._unhold(tool, repeat)
            end.account._mark(end)
            return [end]
        finally:
            tree.lock.release()
            tree.drain()

    def _hold_one(self, tool: str, repeat: Repeat | None, now: int) -> Refusal | None:
        for account in self.levels:
            refusal = account._refuses(ONE_TOOL_CALL, now, tool, repeat, False, mark=False)
            if refusal is not None:
                return refusal
        for account in self.levels:
            account._count(ONE_TOOL_CALL, tool, repeat, False)
        return None

    def _unhold(self, tool: str, repeat: Repeat | None) -> None:
        for account in self.levels:
            account.held[TOOL_CALLS] -= 1
            account.by_tool[tool] -= 1
            if repeat is not None:
                account._forget(repeat.digest)

    def _refuses(
        self, spend: Spend, now: int, tool: str | None, repeat: Repeat | None, final: bool, *, mark: bool = True
    ) -> Refusal | None:
        if self.stop is not None and not final:
            return self.stop
        if now >= self.warn_at_time:
            self._mind_time(now)
        if self.observe:
            self._watch(spend, now, tool, repeat)
            return None
        refusal = self._first_in_the_way(spend, now, tool, repeat)
        if refusal is None:
            return None
        if mark and not refusal.denial:
            self._mark(refusal)
        return refusal

    def _watch(self, spend: Spend, now: int, tool: str | None, repeat: Repeat | None) -> None:
        """Notes every limit that would have stopped this call, not only the first."""
        start = self.started
        alone = [((), now, None, None), ((), start, tool, None), ((), start, None, repeat)]
        for each in (*alone, *(((part,), start, None, None) for part in spend)):
            refusal = self._first_in_the_way(*each)
            if refusal is not None:
                self._note_exceeded(refusal.code, refusal.limit, refusal.used)

    def _mark(self, refusal: Refusal) -> None:
        if self.stop is None and not refusal.pending:
            self.stop = refusal
            self._note_exceeded(refusal.code, refusal.limit, refusal.used)

    def _first_in_the_way(self, spend: Spend, now: int, tool: str | None, repeat: Repeat | None) -> Refusal | None:
        if now >= self.deadline:
            return self._too_late(now)
        refusal = self._tool_refused(tool) if tool is not None else None
        if refusal is None and repeat is not None:
            refusal = self._repeated(repeat)
        if refusal is not None:
            return refusal
        used, held, limits = self.used, self.held, self.limits
        for i, amount in spend:
            if used[i] + held[i] + amount > limits[i]:
                return self._spent(i, amount)
        return None

    def _too_late(self, now: int) -> Refusal:
        limit = self.budget.max_seconds
        return Refusal(self, StopCode.MAX_SECONDS, limit, round((now - self.started) / NANO, 3))

    def _tool_refused(self, tool: str) -> Refusal | None:
        cap = self.budget.max_calls_per_tool.get(tool)
        used = self.by_tool.get(tool, 0)
        if cap is None or used < cap:
            return None
        return Refusal(self, StopCode.MAX_CALLS_PER_TOOL, cap, used, denial=True)

    def _repeated(self, repeat: Repeat) -> Refusal | None:
        own = repeat.caller is self and repeat.cap is not None
        cap = repeat.cap if own else self.budget.max_repeats
        used = self.seen.get(repeat.digest, 0)
        return None if cap is None or used < cap else Refusal(self, StopCode.LOOP_DETECTED, cap, used)

    def _spent(self, i: int, amount: int) -> Refusal:
        pending = self.used[i] + amount <= self.limits[i]
        return Refusal(self, CODES[i], _shown(i, self.full[i]), _shown(i, self.used[i]), pending)

    def _count(self, spend: Spend, tool: str | None, repeat: Repeat | None, sent: bool) -> None:
        sums = self.used if sent else self.held
        for i, amount in spend:
            sums[i] += amount
            if sent and sums[i] >= self.alarms[i]:
                self._alarm(i)
        if tool is not None:
            self.by_tool[tool] = self.by_tool.get(tool, 0) + 1
        if repeat is not None:
            self._remember(repeat.digest)

    def _remember(self, digest: str) -> None:
        self.seen[digest] = self.seen.pop(digest, 0) + 1
        if len(self.seen) > REMEMBERED_CALLS:
            self.seen.popitem(last=False)

    def _forget(self, digest: str) -> None:
        left = self.seen.pop(digest, 0) - 1
        if left > 0:
            self.seen[digest] = left

    # after the call

    def settle(self, held: Spend, actual: Actual) -> None:
        """Replaces what was reserved by what was used; never waits, accepted also after the run's end."""
        self.tree.late.append((self, held, actual))
        self.tree.drain()

    def cancel(self, held: Spend) -> None:
        """Gives back what was reserved for a call that was certainly not sent; never waits."""
        self.tree.late.append((self, held, None))
        self.tree.drain()

    def apply(self, held: Spend, actual: Actual | None) -> None:
        """Moves one call's amounts from held to used; only with the lock held."""
        sums = self.held
        for i, amount in held:
            sums[i] -= amount
        if actual is None:
            return
        sums = self.used
        for i, amount in actual.amounts:
            sums[i] += amount
        self.said |= actual.said
        alarms = self.alarms
        if sums[STEPS] >= alarms[STEPS] or sums[TOKENS] >= alarms[TOKENS] or sums[USD] >= alarms[USD]:
            for i in (STEPS, TOKENS, USD):
                self._alarm(i)

    def open_slot(self, repeat: Repeat) -> None:
        """Forgets which call a batch announced, so that the one made in its place counts as itself."""
        with self.tree.reading():
            for account in self.levels:
                account._forget(repeat.digest)

    def take_slot(self) -> None:
        """Turns one tool call that a batch holds into one that was made."""
        with self.tree.reading():
            for account in self.levels:
                account.held[TOOL_CALLS] -= 1
                account._count(ONE_TOOL_CALL, None, None, sent=True)
            self.own[TOOL_CALLS] += 1

    def give_back_slot(self, tool: str, repeat: Repeat | None) -> None:
        """Gives back one tool call that a batch holds and nobody made."""
        with self.tree.reading():
            self._unhold(tool, repeat)

    # stops and notes

    def mark(self, code: StopCode, detail: str | None) -> None:
        """Marks the run as stopped; the first mark stays."""
        with self.tree.reading():
            if self.stop is None:
                self.stop = Refusal(self, code, detail=detail)

    def time_is_up(self, now: int) -> Refusal:
        """Marks the run as stopped by its deadline and gives the stop that holds."""
        with self.tree.reading():
            if self.stop is None:
                self.stop = self._too_late(now)
            return self.stop

    def came_late(self, now: int) -> None:
        """Notes a run that returned by itself after its deadline."""
        if now >= self.deadline:
            with self.tree.reading():
                late = self._too_late(now)
                self._note_exceeded(late.code, late.limit, late.used)

    def close(self) -> bool:
        """Ends the run: later gates are refused, what was kept for the final call is given back.

        Returns:
            False when it had ended already.
        """
        with self.tree.reading():
            if self.closed:
                return False
            self.closed = True
            self._release_final()
            return True

    def _release_final(self) -> None:
        """Opens what was kept for the final call, once."""
        kept, self.final, self.final_taken = self.final, [0] * 4, True
        self.limits = [limit + amount for limit, amount in zip(self.limits, kept, strict=True)]
        for account in self.levels[1:]:
            account.held = [held - amount for held, amount in zip(account.held, kept, strict=True)]

    def _keep_final(self) -> None:
        """Keeps the room for the final call once more: the one that asked for it did not fit."""
        self.final, self.final_taken = _kept(self.budget.final_call), False
        self.limits = [limit - amount for limit, amount in zip(self.limits, self.final, strict=True)]
        for account in self.levels[1:]:
            account.held = [held + amount for held, amount in zip(account.held, self.final, strict=True)]

    def unpriced(self, model: str) -> Refusal | None:
        """Refuses a call whose price nobody knows where a level limits money; one that only observes takes note."""
        limited = [account for account in self.levels if account.limits[USD] != NO_LIMIT]
        with self.tree.reading():
            for account in self.levels:
                if account.stop is not None:
                    return account.stop
            for account in limited:
                if account.observe:
                    account._note_exceeded(StopCode.UNPRICED_MODEL, None, None)
        enforced = any(not account.observe for account in limited)
        return Refusal(self, StopCode.UNPRICED_MODEL, detail=model) if enforced else None

    def forked(self) -> None:
        """Makes this copy work in a forked child, where nobody is left to give the lock back, and has it reported."""
        self.tree.lock = threading.Lock()
        self.tree.notes.append(Note("forked", self, None, None, None))

    def _note_exceeded(self, code: StopCode, limit: Any, used: Any) -> None:
        if code not in self.exceeded:
            self.exceeded.add(code)
            self.tree.notes.append(Note("exceeded", self, code, limit, used))

    def _alarm(self, i: int) -> None:
        """Notes a limit that is nearly used up, and one that is passed; then stays quiet about it."""
        if self.used[i] < self.alarms[i]:
            return
        limit, used = self.full[i], self.used[i]
        if self.alarms[i] <= limit:
            self.tree.notes.append(Note("warning", self, CODES[i], _shown(i, limit), _shown(i, used)))
            self.alarms[i] = limit + 1
        if used > limit:
            self._note_exceeded(CODES[i], _shown(i, limit), _shown(i, used))
            self.alarms[i] = NO_LIMIT

    def _mind_time(self, now: int) -> None:
        self.warn_at_time = NO_LIMIT
        late = self._too_late(now)
        self.tree.notes.append(Note("warning", self, StopCode.MAX_SECONDS, late.limit, late.used))

    # reading

    def left(self, dimension: int, *, final: bool = False) -> float:
        """Gives what is left at the level that has least, in calls, tokens or micro-USD; infinite without a limit."""
        return min(
            account.limits[dimension]
            + (account.final[dimension] if final and account is self else 0)
            - account.used[dimension]
            - account.held[dimension]
            for account in self.levels
        )

    def limited(self, dimension: int) -> bool:
        """Tells whether some level limits a dimension."""
        return any(account.limits[dimension] != NO_LIMIT for account in self.levels)

    def usage(self, now: int, *, own: bool = False) -> Usage:
        """Gives what the run and the runs under it used, or the run alone.

        Args:
            now: nanoseconds of the monotonic clock.
            own: without the runs under it.
        """
        with self.tree.reading():
            used, said = (self.own, self.own_said) if own else (self.used, self.said)
            return Usage(
                steps=used[STEPS],
                tool_calls=used[TOOL_CALLS],
                input_tokens=used[INPUT],
                output_tokens=used[OUTPUT],
                cached_input_tokens=used[CACHED] if said >> CACHED & 1 else None,
                cache_write_tokens=used[WRITTEN] if said >> WRITTEN & 1 else None,
                reasoning_tokens=used[REASONED] if said >> REASONED & 1 else None,
                seconds=(now - self.started) / NANO,
                cost_usd=None if used[UNPRICED] else micro_to_usd(used[USD]),
                estimated=bool(used[ESTIMATED]),
            )

    def limit_uses(self, now: int) -> dict[str, LimitUse]:
        """Gives every limit that is set with its use, by dimension: calls, tokens, seconds, USD as `Decimal`."""
        found = {
            name: LimitUse(_shown(i, self.full[i]), _shown(i, self.used[i]))
            for i, name in enumerate(DIMENSIONS)
            if self.full[i] != NO_LIMIT
        }
        if self.budget.max_seconds is not None:
            found["seconds"] = LimitUse(self.budget.max_seconds, round((now - self.started) / NANO, 3))
        return found


def _end_of(answers: Sequence[Refusal | None]) -> Refusal | None:
    """Gives the refusal that ends the run: any but "too many tool calls", or that one when no call of the batch fits."""
    refusals = [refusal for refusal in answers if refusal is not None and not refusal.denial]
    for refusal in refusals:
        if refusal.code is not StopCode.MAX_TOOL_CALLS or refusal.account.stop is refusal:
            return refusal
    return refusals[0] if refusals and None not in answers else None


def _shown(dimension: int, amount: float) -> Any:
    return micro_to_usd(int(amount)) if dimension == USD else int(amount)


def _kept(final_call: FinalCall | None) -> list[int]:
    return [0] * 4 if final_call is None else [1, 0, final_call.tokens, _micro(final_call.usd)]


def _micro(usd: Money) -> int:
    return int(_DOWN.multiply(Decimal(usd), MICRO))


def _micro_or_none(usd: Money | None) -> int | None:
    return None if usd is None else _micro(usd)
