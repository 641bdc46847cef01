"""The account of a run: what was used, what is held, and whether one more call fits.

One run has one `Account`; the accounts of a run and of all runs under it share one lock, so that a call which draws on
three levels is let through by all of them or by none:

    reserve   room -= amount at every level; refused, and given back everywhere, where a room falls below 0
    settle    room += what was reserved - what it really was, used += what it really was
    cancel    room += what was reserved

    room      limit - used - held

The lock is held for the sums only, and `settle` and `cancel` never wait for it: what cannot be done at once is queued,
and the next one who takes the lock does it. A finalizer or a signal handler may come in the middle of a gate, in the
thread that holds the lock, and ask a gate too: so the lock may be taken twice, each sum changes in one statement, and a
call is counted before it is looked at. The inner gate then sees what the outer one has taken, and neither lets through
what only the other could have had.

An exception out of a handler, such as that of Ctrl-C, may come after any call and at any jump back. So the lock is
taken and released inside one `try` in one function, and no loop is there: Python 3.13 has the jump of a loop outside.
"""

from __future__ import annotations

import functools
import math
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import MAX_EMAX, MIN_EMIN, ROUND_FLOOR, Context, Decimal
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from otel_agent import checks
from otel_agent.budget.limits import Budget, FinalCall
from otel_agent.checks import Money
from otel_agent.stop import StopCode
from otel_agent.usage import MICRO, LimitUse, Usage, micro_to_usd

__all__ = [
    "NANO",
    "NOTHING",
    "NO_LIMIT",
    "ONE_STEP",
    "ONE_TOOL_CALL",
    "STEPS",
    "TOKENS",
    "TOOL_CALLS",
    "USD",
    "Account",
    "Actual",
    "Note",
    "Refusal",
    "Repeat",
    "Spend",
]

NANO = 1_000_000_000
REMEMBERED_CALLS = 4096
WAIT_SECONDS = 10.0

STEPS, TOOL_CALLS, TOKENS, USD = range(4)
INPUT, OUTPUT, CACHED, WRITTEN, REASONED, ESTIMATED, UNPRICED = range(4, 11)
KINDS = 11
CODES = (StopCode.MAX_STEPS, StopCode.MAX_TOOL_CALLS, StopCode.MAX_TOKENS, StopCode.MAX_USD)
DIMENSIONS = ("steps", "tool_calls", "tokens", "usd")
NO_LIMIT = math.inf

# What stands for infinite in sums and times: integers add and compare faster than floats.
NEVER = UNLIMITED = 1 << 62
ALWAYS = -NEVER

Spend = tuple[int, int, int, int]
"""What one call may use: steps, tool calls, tokens, micro-USD."""

NOTHING: Spend = (0, 0, 0, 0)
ONE_STEP: Spend = (1, 0, 0, 0)
ONE_TOOL_CALL: Spend = (0, 1, 0, 0)

# The application's decimal context may round or trap: a limit keeps its digits.
_DOWN = Context(prec=60, rounding=ROUND_FLOOR, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
_NO_BUDGET = Budget()

P = ParamSpec("P")
R = TypeVar("R")


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

    `kind` is "warning", "exceeded" for a limit that was passed, or "forked" for a budget that is now a copy; `tool`
    names the tool of a limit that is one tool's own.
    """

    kind: str
    account: Account
    code: StopCode | None
    limit: Any
    used: Any
    tool: str | None = None


class Actual(NamedTuple):
    """What one LLM call really used; None where nobody said.

    Attributes:
        input_tokens: as billed, cached and cache-write tokens inside.
        output_tokens: as billed, reasoning tokens inside.
        micro_usd: what it cost; None when the price is unknown.
        cached_input_tokens: the part of the input read from a cache.
        cache_write_tokens: the part of the input written to a cache.
        reasoning_tokens: the part of the output that was reasoning.
        estimated: a part of it is an estimate.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int | None = 0
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False


class _Tree:
    """What a root run and all runs under it share: the lock, the queued work, the notes to report."""

    __slots__ = ("late", "lock", "notes", "repeats")

    def __init__(self) -> None:
        self.repeats = False
        self.lock = threading.RLock()
        self.late: deque[tuple[Account, Spend, Actual | None]] = deque()
        self.notes: deque[Note] = deque()

    def work(self) -> None:
        """Does the queued work; only with the lock held."""
        late = self.late
        while late:
            account, held, actual = late.popleft()
            account.apply(held, actual)


def _alone(
    method: Callable[Concatenate[Account, P], R], otherwise: Callable[[Account], R] | None = None
) -> Callable[Concatenate[Account, P], R]:
    """Makes a method one that is alone with the sums; `otherwise` gives the answer where it cannot be had in time."""

    @functools.wraps(method)
    def locked(self: Account, /, *args: P.args, **kwargs: P.kwargs) -> R:
        tree = self.tree
        lock, alone = tree.lock, False
        try:
            alone = lock.acquire(timeout=WAIT_SECONDS)
            if alone:
                tree.work()
                return method(self, *args, **kwargs)
        finally:
            try:
                lock.release()
            except RuntimeError:  # it was never ours
                alone = False
        return method(self, *args, **kwargs) if otherwise is None or alone else otherwise(self)

    return locked


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
        "below",
        "budget",
        "by_tool",
        "closed",
        "deadline",
        "exceeded",
        "final",
        "final_taken",
        "full",
        "levels",
        "look_from",
        "near",
        "observe",
        "own_said",
        "room",
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
        self.used, self.below = [0] * KINDS, [0] * KINDS
        self.said = self.own_said = 0
        self.by_tool: defaultdict[str, int] = defaultdict(int)
        self.seen: OrderedDict[str, int] = OrderedDict()
        self.exceeded: set[tuple[StopCode, str | None]] = set()
        self.near: set[str] = set()
        self.stop: Refusal | None = None
        self.closed = self.final_taken = False
        self.room, self.alarms = [UNLIMITED] * 4, [NEVER] * 4
        self.full = [UNLIMITED] * 4
        self.deadline: float = NO_LIMIT
        self.warn_at_time: float = NO_LIMIT
        self.look_from = NEVER
        self.budget = _NO_BUDGET
        self._put(budget)
        self.final = _kept(budget.final_call)
        _add(self.room, self.final, -1)

    # limits

    def change(self, **changes: Any) -> tuple[Budget, Budget]:
        """Puts other limits in place; what has warned stays quiet unless it changes itself.

        Returns:
            The budget before and after.

        Raises:
            InvalidSetting: a value can never work; nothing has changed then.
        """
        return self._change(changes)

    @_alone
    def _change(self, changes: dict[str, Any]) -> tuple[Budget, Budget]:
        before = self.budget
        self._put(replace(before, **changes))
        self._alarm()
        return before, self.budget

    def _put(self, budget: Budget) -> None:
        before, self.budget = self.budget, budget
        for i, limit in enumerate(_limits(budget)):
            if limit != self.full[i] or before.warn_at != budget.warn_at:
                self._put_limit(i, limit)
        if before.max_seconds != budget.max_seconds or before.warn_at != budget.warn_at:
            self._put_deadline()
        for tool, cap in budget.max_calls_per_tool.items():
            if cap != before.max_calls_per_tool.get(tool) or before.warn_at != budget.warn_at:
                self.near.discard(tool)
                self.exceeded.discard((StopCode.MAX_CALLS_PER_TOOL, tool))
        self._look()
        self.tree.repeats = self.tree.repeats or budget.max_repeats is not None

    def _put_limit(self, i: int, limit: int) -> None:
        more = limit - self.full[i]
        self.room[i] += more
        self.full[i] = limit
        self.alarms[i] = NEVER if limit == UNLIMITED else _warned_at(limit, self.budget.warn_at)
        self.exceeded.discard((CODES[i], None))

    def _put_deadline(self) -> None:
        limit = self.budget.max_seconds
        self.deadline = self.warn_at_time = NO_LIMIT
        if limit is not None:
            nanoseconds = int(checks.seconds("Budget.max_seconds", limit) * NANO)
            self.deadline = self.started + nanoseconds
            self.warn_at_time = self.started + int(nanoseconds * self.budget.warn_at)
        self.exceeded.discard((StopCode.MAX_SECONDS, None))

    def _look(self) -> None:
        """Sets the time from which a gate looks closely: the next warning, the deadline; at once for caps of tools."""
        next_time = min(self.deadline, self.warn_at_time)
        at_once = self.stop is not None or bool(self.budget.max_calls_per_tool)
        self.look_from = ALWAYS if at_once else NEVER if next_time == NO_LIMIT else int(next_time)

    @property
    def own(self) -> list[int]:
        """What the run used itself, without the runs below, by kind."""
        return [used - below for used, below in zip(self.used, self.below, strict=True)]

    @property
    def held(self) -> list[int]:
        """What calls in flight hold, and what runs below keep for their final calls, by dimension."""
        return [self.full[i] - self.final[i] - self.used[i] - self.room[i] for i in range(4)]

    # the gate

    def open(self) -> Refusal | None:
        """Keeps room in every ancestor for the final call, if there is to be one."""
        if len(self.levels) == 1:
            return None
        # the parent goes on without this child: nothing of it is marked as stopped
        refusal = self.levels[1].reserve(self.final, now=self.started, mark=False)
        if refusal is not None:
            self.final = NOTHING
        return refusal

    def reserve(
        self,
        spend: Spend,
        now: int,
        tool: str | None = None,
        repeat: Repeat | None = None,
        sent: bool = False,
        final: bool = False,
        mark: bool = True,
    ) -> Refusal | None:
        """Lets one call through, or says which limit is in the way.

        Args:
            spend: what the call may use.
            now: nanoseconds of the monotonic clock.
            tool: the tool's name, for its own cap.
            repeat: which call this repeats, for `max_repeats`.
            sent: count it as used at once, not as held: a tool call, whose price is known.
            final: the one last call after a stop.
            mark: a refusal stops the run whose limit is spent.

        Returns:
            None when the call may go; it is then counted at every level.
        """
        refusal: Refusal | None = None
        tree = self.tree
        lock = tree.lock
        try:
            if lock.acquire(False) or lock.acquire(timeout=WAIT_SECONDS):
                if tree.late:
                    tree.work()
                refusal = self._take_final(spend, now) if final else self._take(spend, now, tool, repeat)
                if refusal is None:
                    if sent:
                        self._use(spend)
                elif mark:
                    refusal.account._mark(refusal)
        finally:
            try:
                lock.release()
            except RuntimeError:  # it was never ours: who cannot look must not decide
                refusal = self._busy(spend)
        return refusal

    def count_tool_call(self, tool: str, now: int) -> Refusal | None:
        """Lets one tool call through that costs nothing and counts no repeats: `reserve` in the fewest steps.

        Args:
            tool: the tool's name.
            now: nanoseconds of the monotonic clock.
        """
        if self.tree.late:
            return self.reserve(ONE_TOOL_CALL, now=now, tool=tool, sent=True)
        lock, refusal, waits = self.tree.lock, None, False
        try:
            if lock.acquire(False):
                refusal = self._count_one(tool, now)
        finally:
            try:
                lock.release()
            except RuntimeError:  # somebody else has it
                waits = True
        return self.reserve(ONE_TOOL_CALL, now=now, tool=tool, sent=True) if waits else refusal

    def _count_one(self, tool: str, now: int) -> Refusal | None:
        for account in self.levels:
            room = account.room
            room[TOOL_CALLS] -= 1
            account.by_tool[tool] += 1
            steps, calls, tokens, usd = room
            if steps < 0 or calls < 0 or tokens < 0 or usd < 0 or now >= account.look_from:
                refusal = account._judge(ONE_TOOL_CALL, now, tool, None, False)
                if refusal is not None:
                    self._give_back(ONE_TOOL_CALL, tool, None, account)
                    refusal.account._mark(refusal)
                    return refusal
        for account in self.levels:
            used = account.used
            used[TOOL_CALLS] += 1
            if used[TOOL_CALLS] >= account.alarms[TOOL_CALLS]:
                account._alarm()
            if account is not self:
                account.below[TOOL_CALLS] += 1
        return None

    def _busy(self, spend: Spend) -> Refusal:
        code = next((code for code, amount in zip(CODES, spend, strict=True) if amount), StopCode.MAX_STEPS)
        return Refusal(self, code, pending=True, detail="the account could not be asked in time")

    def reserve_batch(self, calls: Sequence[tuple[str, Repeat | None]], *, now: int) -> list[Refusal | None]:
        """Holds one tool call for each of a batch, in order while they fit.

        Args:
            calls: tool name, and the call it may repeat.
            now: nanoseconds of the monotonic clock.

        Returns:
            None or the refusal for each call. A single refusal that is no denial and stands alone in the list ends the
            run: nothing is held then.
        """
        return self._hold(calls, now)

    def _hold_alone(self, calls: Sequence[tuple[str, Repeat | None]], now: int) -> list[Refusal | None]:
        answers = [self._take(ONE_TOOL_CALL, now, tool, repeat) for tool, repeat in calls]
        end = _end_of(answers)
        if end is None:
            return answers
        for (tool, repeat), refusal in zip(calls, answers, strict=True):
            if refusal is None:
                self._give_back(ONE_TOOL_CALL, tool, repeat, self.levels[-1])
        end.account._mark(end)
        return [end]

    def _nothing_held(self) -> list[Refusal | None]:
        return [self._busy(ONE_TOOL_CALL)]

    _hold = _alone(_hold_alone, _nothing_held)

    def _take(
        self, spend: Spend, now: int, tool: str | None, repeat: Repeat | None, final: bool = False
    ) -> Refusal | None:
        """Counts a call at every level, or at none where something is in its way, and gives that."""
        steps, calls, tokens, usd = spend
        for account in self.levels:
            room = account.room
            room[STEPS] -= steps
            room[TOOL_CALLS] -= calls
            room[TOKENS] -= tokens
            room[USD] -= usd
            if tool is not None:
                account.by_tool[tool] += 1
            if repeat is not None:
                account._remember(repeat.digest)
            if (
                room[STEPS] < 0
                or room[TOOL_CALLS] < 0
                or room[TOKENS] < 0
                or room[USD] < 0
                or now >= account.look_from
                or repeat is not None
            ):
                refusal = account._judge(spend, now, tool, repeat, final and account is self)
                if refusal is not None:
                    self._give_back(spend, tool, repeat, account)
                    return refusal
        return None

    def _give_back(self, spend: Spend, tool: str | None, repeat: Repeat | None, last: Account) -> None:
        """Takes a call back at every level from the own one to the last."""
        for account in self.levels:
            _add(account.room, spend)
            if tool is not None:
                account.by_tool[tool] -= 1
                if not account.by_tool[tool]:
                    del account.by_tool[tool]
            if repeat is not None:
                account._forget(repeat.digest)
            if account is last:
                return

    def _judge(self, spend: Spend, now: int, tool: str | None, repeat: Repeat | None, final: bool) -> Refusal | None:
        """Looks closely at a call that is counted here already, and gives what is in its way."""
        if self.stop is not None and not final:
            return self.stop
        if now >= self.warn_at_time:
            self._warn_of_time(now)
        obstacles = self._in_the_way(spend, now, tool, repeat)
        if not self.observe:
            refusal = next(obstacles, None)
            if refusal is not None:
                return refusal
        for refusal in obstacles:
            own = tool if refusal.code is StopCode.MAX_CALLS_PER_TOOL else None
            self._note_exceeded(refusal.code, refusal.limit, refusal.used, own)
        if tool is not None and tool in self.budget.max_calls_per_tool:
            self._warn_of_tool(tool)
        return None

    def _in_the_way(self, spend: Spend, now: int, tool: str | None, repeat: Repeat | None) -> Iterator[Refusal]:
        if now >= self.deadline:
            yield self._too_late(now)
        if tool is not None:
            cap, calls = self.budget.max_calls_per_tool.get(tool), self.by_tool[tool] - 1
            if cap is not None and calls >= cap:
                yield Refusal(self, StopCode.MAX_CALLS_PER_TOOL, cap, calls, denial=True)
        if repeat is not None:
            own = repeat.caller is self and repeat.cap is not None
            cap, calls = repeat.cap if own else self.budget.max_repeats, self.seen[repeat.digest] - 1
            if cap is not None and calls >= cap:
                yield Refusal(self, StopCode.LOOP_DETECTED, cap, calls)
        for i, amount in enumerate(spend):
            # what a call does not use is in its way only once it is exceeded, not while others hold it
            if self.room[i] < 0 and (amount or self.used[i] > self.full[i]):
                yield self._spent(i, amount)

    def _warn_of_tool(self, tool: str) -> None:
        cap, calls = self.budget.max_calls_per_tool[tool], self.by_tool[tool]
        if tool not in self.near and cap and calls >= _warned_at(cap, self.budget.warn_at):
            self.near.add(tool)
            self.tree.notes.append(Note("warning", self, StopCode.MAX_CALLS_PER_TOOL, cap, calls, tool))

    def _too_late(self, now: int) -> Refusal:
        limit = self.budget.max_seconds
        return Refusal(self, StopCode.MAX_SECONDS, limit, round((now - self.started) / NANO, 3))

    def _spent(self, i: int, amount: int) -> Refusal:
        pending = self.used[i] + amount <= self.full[i] - self.final[i]
        return Refusal(self, CODES[i], _shown(i, self.full[i]), _shown(i, self.used[i]), pending)

    def _use(self, spend: Spend) -> None:
        """Turns what is held into what was used; the room stays as it is."""
        steps, calls, tokens, usd = spend
        for account in self.levels:
            used, alarms = account.used, account.alarms
            used[STEPS] += steps
            used[TOOL_CALLS] += calls
            used[TOKENS] += tokens
            used[USD] += usd
            if used[TOOL_CALLS] >= alarms[TOOL_CALLS] or used[USD] >= alarms[USD]:
                account._alarm()
            if account is not self:
                _add(account.below, spend)

    def _remember(self, digest: str) -> None:
        seen = self.seen
        if digest in seen:
            seen[digest] += 1
            seen.move_to_end(digest)
            return
        seen[digest] = 1
        if len(seen) > REMEMBERED_CALLS:
            seen.popitem(last=False)

    def _forget(self, digest: str) -> None:
        if digest in self.seen:
            self.seen[digest] -= 1
            if not self.seen[digest]:
                del self.seen[digest]

    # after the call

    def settle(self, held: Spend, actual: Actual | None) -> None:
        """Replaces what was reserved by what was used; never waits, accepted also after the run's end.

        Args:
            held: what was reserved.
            actual: what was used; None for a call that was certainly not sent.
        """
        tree = self.tree
        lock = tree.lock
        try:
            if lock.acquire(False):
                self.apply(held, actual)
        finally:
            try:
                lock.release()
            except RuntimeError:  # somebody else has it: the next to have it does this too
                tree.late.append((self, held, actual))

    def cancel(self, held: Spend) -> None:
        """Gives back what was reserved for a call that was certainly not sent; never waits."""
        self.settle(held, None)

    def apply(self, held: Spend, actual: Actual | None) -> None:
        """Turns what one call held into what it used; only with the lock held."""
        if actual is None:
            for account in self.levels:
                _add(account.room, held)
            return
        steps, calls, tokens, usd = held
        sent, received, cost, cached, written, reasoned, estimated = actual
        total, paid = sent + received, cost or 0
        for account in self.levels:
            room, used, alarms = account.room, account.used, account.alarms
            room[STEPS] += steps - 1
            room[TOOL_CALLS] += calls
            room[TOKENS] += tokens - total
            room[USD] += usd - paid
            used[STEPS] += 1
            used[TOKENS] += total
            used[USD] += paid
            used[INPUT] += sent
            used[OUTPUT] += received
            if used[STEPS] >= alarms[STEPS] or used[TOKENS] >= alarms[TOKENS] or used[USD] >= alarms[USD]:
                account._alarm()
            if account is not self:
                below = account.below
                below[STEPS] += 1
                below[TOKENS] += total
                below[USD] += paid
                below[INPUT] += sent
                below[OUTPUT] += received
        if estimated or cost is None or cached is not None or written is not None or reasoned is not None:
            self._apply_more(actual)

    def _apply_more(self, actual: Actual) -> None:
        """Counts what not every response speaks of."""
        spoken_of = {
            CACHED: actual.cached_input_tokens,
            WRITTEN: actual.cache_write_tokens,
            REASONED: actual.reasoning_tokens,
            ESTIMATED: 1 if actual.estimated else None,
            UNPRICED: 1 if actual.micro_usd is None else None,
        }
        for kind, amount in spoken_of.items():
            if amount is not None:
                for account in self.levels:
                    account.used[kind] += amount
                    account.said |= 1 << kind
                    if account is not self:
                        account.below[kind] += amount
                self.own_said |= 1 << kind

    @_alone
    def spend_slot(
        self, micro_usd: int, *, now: int, repeat: Repeat | None, announced: Repeat | None
    ) -> Refusal | None:
        """Turns one tool call that a batch holds into one that was made, or says what is in its way now.

        Args:
            micro_usd: what the call costs.
            now: nanoseconds of the monotonic clock.
            repeat: which call it repeats.
            announced: which call the batch said it would be: forgotten, the one that is made counts as itself.
        """
        if announced is not None:
            for account in self.levels:
                account._forget(announced.digest)
        refusal = self.reserve((0, 0, 0, micro_usd), now=now, repeat=repeat, sent=True)
        if refusal is None:
            self._use(ONE_TOOL_CALL)
        return refusal

    @_alone
    def give_back_slot(self, tool: str, repeat: Repeat | None) -> None:
        """Gives back one tool call that a batch holds and nobody made."""
        self._give_back(ONE_TOOL_CALL, tool, repeat, self.levels[-1])

    # stops and notes

    @_alone
    def mark(self, code: StopCode, detail: str | None) -> None:
        """Marks the run as stopped; the first mark stays."""
        self._stop(Refusal(self, code, detail=detail))

    @_alone
    def time_is_up(self, now: int) -> Refusal:
        """Marks the run as stopped by its deadline and gives the stop that holds."""
        late = self._too_late(now)
        if now >= self.warn_at_time:
            self._warn_of_time(now)
        self._mark(late)
        return self.stop or late

    def look_at_time(self, now: int) -> None:
        """Notes the deadlines, of this run and those above, that are near after a call that may have been long."""
        for account in self.levels:
            if now >= account.warn_at_time:
                account.time_is_near(now)

    @_alone
    def time_is_near(self, now: int) -> None:
        """Notes once that the deadline is near."""
        if now >= self.warn_at_time:
            self._warn_of_time(now)

    @_alone
    def came_late(self, now: int) -> None:
        """Notes a run that returned by itself after its deadline."""
        if now >= self.deadline:
            late = self._too_late(now)
            self._note_exceeded(late.code, late.limit, late.used)

    @_alone
    def close(self) -> bool:
        """Ends the run: later gates are refused, what was kept for the final call is given back.

        Returns:
            False when it had ended already.
        """
        if self.closed:
            return False
        self.closed = True
        self._open_final()
        return True

    @_alone
    def unpriced(self, model: str) -> Refusal | None:
        """Refuses a call whose price nobody knows where a level limits money; one that only observes takes note."""
        limited = [account for account in self.levels if account.full[USD] != UNLIMITED]
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
        self.tree.lock = threading.RLock()
        self.tree.notes.append(Note("forked", self, None, None, None))

    def _mark(self, refusal: Refusal) -> None:
        """Stops the run for what a refusal says, unless that is no reason to."""
        if self.stop is None and not refusal.pending and not refusal.denial:
            self._stop(refusal)
            self._note_exceeded(refusal.code, refusal.limit, refusal.used)

    def _stop(self, refusal: Refusal) -> None:
        if self.stop is None:
            self.stop = refusal
            self.look_from = ALWAYS

    def _note_exceeded(self, code: StopCode, limit: Any, used: Any, tool: str | None = None) -> None:
        if (code, tool) not in self.exceeded:
            self.exceeded.add((code, tool))
            self.tree.notes.append(Note("exceeded", self, code, limit, used, tool))

    def _alarm(self) -> None:
        """Notes each limit that is nearly used up, and each that is passed; then stays quiet about it."""
        for i, limit in enumerate(self.full):
            used = self.used[i]
            if used < self.alarms[i]:
                continue
            if self.alarms[i] <= limit:
                self.alarms[i] = limit + 1
                self.tree.notes.append(Note("warning", self, CODES[i], _shown(i, limit), _shown(i, used)))
            if used > limit:
                self.alarms[i] = NEVER
                self._note_exceeded(CODES[i], _shown(i, limit), _shown(i, used))

    def _warn_of_time(self, now: int) -> None:
        self.warn_at_time = NO_LIMIT
        self._look()
        late = self._too_late(now)
        self.tree.notes.append(Note("warning", self, StopCode.MAX_SECONDS, late.limit, late.used))

    # the final call

    def _take_final(self, spend: Spend, now: int) -> Refusal | None:
        """Lets the one last call through, out of what was kept for it; what does not fit leaves that as it was."""
        if self.final_taken:
            return self._take(spend, now, None, None)
        kept = self.final
        self._open_final()
        refusal = self._take(spend, now, None, None, final=True)
        if refusal is not None:
            self.final, self.final_taken = kept, False
            for account in self.levels:
                _add(account.room, kept, -1)
        return refusal

    def _open_final(self) -> None:
        """Opens what was kept for the final call, once."""
        kept, self.final, self.final_taken = self.final, NOTHING, True
        for account in self.levels:
            _add(account.room, kept)

    # reading

    @_alone
    def left(self, dimension: int, *, final: bool = False) -> float:
        """Gives what is left at the level that has least, in calls, tokens or micro-USD; infinite without a limit."""
        least: float = NO_LIMIT
        for account in self.levels:
            if account.full[dimension] != UNLIMITED:
                kept = account.final[dimension] if final and account is self else 0
                least = min(least, account.room[dimension] + kept)
        return least

    def limited(self, dimension: int) -> bool:
        """Tells whether some level limits a dimension."""
        for account in self.levels:  # noqa: SIM110 (asked at every call, and a generator costs four times this)
            if account.full[dimension] != UNLIMITED:
                return True
        return False

    @_alone
    def usage(self, now: int, *, own: bool = False) -> Usage:
        """Gives what the run and the runs under it used, or the run alone.

        Args:
            now: nanoseconds of the monotonic clock.
            own: without the runs under it.
        """
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

    @_alone
    def limit_uses(self, now: int) -> dict[str, LimitUse]:
        """Gives every limit that is set with its use, by dimension: calls, tokens, seconds, USD as `Decimal`.

        The use of money is None where the price of a call is not known.
        """
        found = {
            name: LimitUse(_shown(i, self.full[i]), _shown(i, self.used[i]))
            for i, name in enumerate(DIMENSIONS)
            if self.full[i] != UNLIMITED
        }
        if "usd" in found and self.used[UNPRICED]:
            found["usd"] = found["usd"]._replace(used=None)
        if self.budget.max_seconds is not None:
            found["seconds"] = LimitUse(self.budget.max_seconds, round((now - self.started) / NANO, 3))
        return found


def _warned_at(limit: int, share: float) -> int:
    """Gives the use from which a limit is near."""
    return max(1, math.ceil(round(limit * share, 6)))


def _add(sums: list[int], spend: Spend, times: int = 1) -> None:
    for i, amount in enumerate(spend):
        sums[i] += amount * times


def _end_of(answers: Sequence[Refusal | None]) -> Refusal | None:
    """Gives the refusal that ends the run: any but "too many tool calls", or that one when no call fits."""
    refusals = [refusal for refusal in answers if refusal is not None and not refusal.denial]
    for refusal in refusals:
        if refusal.code is not StopCode.MAX_TOOL_CALLS or refusal.account.stop is refusal:
            return refusal
    return refusals[0] if refusals and None not in answers else None


def _limits(budget: Budget) -> tuple[int, ...]:
    usd = None if budget.max_usd is None else _micro(budget.max_usd)
    limits = (budget.max_steps, budget.max_tool_calls, budget.max_tokens, usd)
    return tuple(UNLIMITED if limit is None else limit for limit in limits)


def _shown(dimension: int, amount: int) -> Any:
    return micro_to_usd(amount) if dimension == USD else amount


def _kept(final_call: FinalCall | None) -> Spend:
    return NOTHING if final_call is None else (1, 0, final_call.tokens, _micro(final_call.usd))


def _micro(usd: Money) -> int:
    return int(_DOWN.multiply(Decimal(usd), MICRO))
