"""The account against a model that is too simple to be wrong: lists of numbers, every sum worked out anew.

The model is asked everything that the account is asked. What it answers, what it used and held, and what it noted must
be the same at every step; in the end nothing is held, and the runs' own sums are what the root used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_agent import Budget, FinalCall, InvalidSetting, StopCode
from otel_agent.budget import NO_LIMIT, Account, Actual, Refusal, Repeat

STEPS, TOOL_CALLS, TOKENS, USD = range(4)
CODES = [StopCode.MAX_STEPS, StopCode.MAX_TOOL_CALLS, StopCode.MAX_TOKENS, StopCode.MAX_USD]
DEEPEST, MOST_ACCOUNTS = 3, 6
SECOND, MICRO = 1_000_000_000, 1_000_000
TOOLS, DIGESTS = ["search", "ticket"], ["a", "b", "a"]

Amounts = tuple[int, int, int, int]
Answer = tuple[str, StopCode, Any, Any, bool, bool] | None
"""A refusal as both sides give it: whose, code, limit, used, pending, denial."""
Known = tuple[str, "Level", int | None]
"""A call that may repeat another: its digest, who makes it, the tool's own cap."""


def none() -> list[int]:
    return [0, 0, 0, 0]


def micro(usd: Any) -> int:
    return int(Decimal(usd) * MICRO)


def money(amount: float) -> Decimal:
    return Decimal(int(amount)) / MICRO


def known_sum(amounts: Iterable[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


@dataclass(eq=False)
class Level:
    """The model of one account."""

    name: str
    budget: Budget
    above: Level | None
    observe: bool
    started: int
    used: list[int] = field(default_factory=none)
    own: list[int] = field(default_factory=none)
    held: list[int] = field(default_factory=none)
    kept: list[int] = field(default_factory=none)
    responses: list[Actual] = field(default_factory=list)
    own_responses: list[Actual] = field(default_factory=list)
    by_tool: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    stop: Answer = None
    final_taken: bool = False
    closed: bool = False
    said: set[tuple[str, StopCode]] = field(default_factory=set)
    notes: list[tuple[str, str, StopCode]] = field(default_factory=list)

    def lineage(self) -> list[Level]:
        return [self, *(self.above.lineage() if self.above else ())]

    def limit(self, i: int) -> float:
        usd = None if self.budget.max_usd is None else micro(self.budget.max_usd)
        limit = [self.budget.max_steps, self.budget.max_tool_calls, self.budget.max_tokens, usd][i]
        return NO_LIMIT if limit is None else limit

    def shown(self, i: int, amount: float) -> Any:
        return money(amount) if i == USD else amount

    # what is in the way

    def obstacles(
        self, spend: Amounts, now: int, tool: str | None, repeat: Known | None
    ) -> Iterator[tuple[str, StopCode, Any, Any, bool, bool]]:
        budget = self.budget
        if budget.max_seconds is not None and now >= self.started + budget.max_seconds * SECOND:
            yield (self.name, StopCode.MAX_SECONDS, budget.max_seconds, (now - self.started) / SECOND, False, False)
        calls = self.by_tool.get(tool or "", 0)
        if tool in budget.max_calls_per_tool and calls >= budget.max_calls_per_tool[tool]:
            limit = budget.max_calls_per_tool[tool]
            yield (self.name, StopCode.MAX_CALLS_PER_TOOL, limit, calls, False, True)
        if repeat is not None:
            digest, caller, own = repeat
            most = own if own is not None and caller is self else budget.max_repeats
            if most is not None and self.seen.get(digest, 0) >= most:
                yield (self.name, StopCode.LOOP_DETECTED, most, self.seen.get(digest, 0), False, False)
        for i, amount in enumerate(spend):
            limit = self.limit(i)
            fits = self.used[i] + self.held[i] + amount <= limit - self.kept[i]
            if (amount and not fits) or self.used[i] > limit:
                pending = self.used[i] + amount <= limit - self.kept[i]
                yield (self.name, CODES[i], self.shown(i, limit), self.shown(i, self.used[i]), pending, False)

    def refuses(self, spend: Amounts, now: int, tool: str | None, repeat: Known | None, *, last_words: bool) -> Answer:
        if self.stop is not None and not last_words:
            return self.stop
        budget = self.budget
        self.look_at_time(now)
        found = list(self.obstacles(spend, now, tool, repeat))
        if found and not self.observe:
            return found[0]
        for answer in found:
            self.note("exceeded", answer[1], tool if answer[1] is StopCode.MAX_CALLS_PER_TOOL else None)
        cap = budget.max_calls_per_tool.get(tool or "")
        if cap and self.by_tool.get(tool or "", 0) + 1 >= math.ceil(round(cap * budget.warn_at, 6)):
            self.note("warning", StopCode.MAX_CALLS_PER_TOOL, tool)
        return None

    # notes

    def note(self, kind: str, code: StopCode, tool: str | None = None) -> None:
        if (kind, code, tool) not in self.said:
            self.said.add((kind, code, tool))
            self.notes.append((kind, self.name, code, tool or ""))

    def look_at_time(self, now: int) -> None:
        budget = self.budget
        if budget.max_seconds is not None and now >= self.started + int(budget.max_seconds * SECOND * budget.warn_at):
            self.note("warning", StopCode.MAX_SECONDS)

    def look_at_limits(self) -> None:
        for i, code in enumerate(CODES):
            limit = self.limit(i)
            if limit != NO_LIMIT and limit > 0 and self.used[i] >= math.ceil(round(limit * self.budget.warn_at, 6)):
                self.note("warning", code)
            if self.used[i] > limit:
                self.note("exceeded", code)

    def halt(self, answer: Answer) -> None:
        if answer is not None and self.stop is None and not answer[4] and not answer[5]:
            self.stop = answer
            self.note("exceeded", answer[1])

    def change(self, budget: Budget) -> None:
        was = [self.limit(i) for i in range(4)]
        before, self.budget = self.budget, budget
        anew = {code for i, code in enumerate(CODES) if self.limit(i) != was[i]}
        if before.max_seconds != budget.max_seconds:
            anew.add(StopCode.MAX_SECONDS)
        if before.warn_at != budget.warn_at:
            anew |= {*CODES, StopCode.MAX_SECONDS}
        caps = {tool for tool, cap in budget.max_calls_per_tool.items() if cap != before.max_calls_per_tool.get(tool)}
        if before.warn_at != budget.warn_at:
            caps |= {*budget.max_calls_per_tool}
        self.said = {said for said in self.said if said[1] not in anew and said[2] not in caps}
        self.look_at_limits()

    def open_final(self) -> None:
        for level in self.lineage()[1:]:
            level.held = [held - kept for held, kept in zip(level.held, self.kept, strict=True)]
        self.kept, self.final_taken = none(), True


class Model:
    """The model of a tree: each question goes from level to level, and is counted only when none of them refuses."""

    def __init__(self) -> None:
        self.levels: dict[str, Level] = {}

    def find(self, answer: Answer) -> Level:
        assert answer is not None
        return self.levels[answer[0]]

    def take(
        self,
        level: Level,
        spend: Amounts,
        now: int,
        tool: str | None = None,
        repeat: Known | None = None,
        *,
        final: bool = False,
    ) -> Answer:
        for asked in level.lineage():
            answer = asked.refuses(spend, now, tool, repeat, last_words=final and asked is level)
            if answer is not None:
                return answer
        for asked in level.lineage():
            asked.held = [held + amount for held, amount in zip(asked.held, spend, strict=True)]
            if tool is not None:
                asked.by_tool[tool] = asked.by_tool.get(tool, 0) + 1
            if repeat is not None:
                asked.seen[repeat[0]] = asked.seen.get(repeat[0], 0) + 1
        return None

    def reserve(self, level: Level, spend: Amounts, now: int, tool: Any = None, repeat: Any = None) -> Answer:
        answer = self.take(level, spend, now, tool, repeat)
        if answer is not None:
            self.find(answer).halt(answer)
        return answer

    def final(self, level: Level, spend: Amounts, now: int) -> Answer:
        if level.final_taken:
            return self.reserve(level, spend, now)
        kept, held = level.kept, [list(above.held) for above in level.lineage()[1:]]
        level.open_final()
        answer = self.take(level, spend, now, final=True)
        if answer is not None:
            level.kept, level.final_taken = kept, False
            for above, before in zip(level.lineage()[1:], held, strict=True):
                above.held = before
            self.find(answer).halt(answer)
        return answer

    def use(self, level: Level, held: Amounts, used: Amounts) -> None:
        for each in level.lineage():
            each.held = [a - b for a, b in zip(each.held, held, strict=True)]
            each.used = [a + b for a, b in zip(each.used, used, strict=True)]
            each.look_at_limits()
        level.own = [a + b for a, b in zip(level.own, used, strict=True)]

    def give_back(self, level: Level, spend: Amounts, tool: str | None = None, digest: str | None = None) -> None:
        for each in level.lineage():
            each.held = [held - amount for held, amount in zip(each.held, spend, strict=True)]
            if tool is not None:
                each.by_tool[tool] -= 1
        if digest is not None:
            self.forget(level, digest)

    def forget(self, level: Level, digest: str) -> None:
        for each in level.lineage():
            each.seen[digest] -= 1

    def batch(self, level: Level, calls: list[tuple[str, str | None]], now: int) -> list[Answer]:
        answers = []
        for tool, digest in calls:
            repeat = None if digest is None else (digest, level, None)
            answers.append(self.take(level, (0, 1, 0, 0), now, tool, repeat))
        end = self.end_of(answers)
        if end is None:
            return answers
        for (tool, digest), answer in zip(calls, answers, strict=True):
            if answer is None:
                self.give_back(level, (0, 1, 0, 0), tool, digest)
        self.find(end).halt(end)
        return [end]

    def end_of(self, answers: list[Answer]) -> Answer:
        refused = [answer for answer in answers if answer is not None and not answer[5]]
        for answer in refused:
            if answer[1] != StopCode.MAX_TOOL_CALLS or self.find(answer).stop is answer:
                return answer
        return refused[0] if refused and None not in answers else None


def answer_of(refusal: Refusal | None) -> Answer:
    if refusal is None:
        return None
    return (refusal.account.run_id, refusal.code, refusal.limit, refusal.used, refusal.pending, refusal.denial)


maybe = st.none() | st.integers(0, 4)
who = st.integers(0, 5)
costs = st.sampled_from([0, 0, 1, 3])
extra = st.sampled_from([None, -2, 0, 2])
digests = st.sampled_from([None, None, *DIGESTS])
batches = st.lists(st.tuples(st.sampled_from(TOOLS), digests), max_size=4)
said = st.tuples(maybe, maybe, maybe)
changes = st.sampled_from(
    [
        {"max_steps": 1},
        {"max_steps": 6, "max_tokens": 5},
        {"max_steps": None, "max_tokens": 30},
        {"max_tool_calls": 1},
        {"max_tool_calls": 9, "max_usd": "0.000004"},
        {"max_usd": "0.00002", "max_repeats": 4},
        {"max_usd": None, "max_repeats": None},
        {"max_seconds": 2},
        {"max_seconds": 20},
        {"max_seconds": None, "max_calls_per_tool": {}},
        {"max_calls_per_tool": {"search": 1}},
        {"warn_at": 0.25, "max_repeats": 1},
        {"warn_at": 1},
    ]
)


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    limits = {
        "max_steps": draw(st.sampled_from([None, None, 0, 1, 3, 5])),
        "max_tool_calls": draw(st.sampled_from([None, None, 0, 2, 4, 6])),
        "max_tokens": draw(st.sampled_from([None, None, 0, 4, 10, 20])),
        "max_usd": draw(st.sampled_from([None, None, "0", "0.000003", "0.000008"])),
        "max_seconds": draw(st.sampled_from([None, None, 2, 4, 8])),
        "max_calls_per_tool": draw(st.sampled_from([{}, {}, {"search": 0}, {"search": 2}, {"search": 1, "ticket": 3}])),
        "max_repeats": draw(st.sampled_from([None, None, 0, 1, 3])),
        "warn_at": draw(st.sampled_from([0.8, 0.5, 1.0])),
    }
    final = draw(st.sampled_from([None, None, FinalCall(tokens=2), FinalCall(tokens=1, usd="0.000002")]))
    try:
        return Budget(**limits, final_call=final)
    except InvalidSetting:
        return Budget(**limits)


@dataclass(frozen=True, eq=False)
class Flight:
    """A call that is held: one of a model, or a slot of a batch."""

    level: Level
    spend: Amounts = (0, 1, 0, 0)
    tool: str = ""
    digest: str | None = None


class Accounts(RuleBasedStateMachine):
    """One tree of accounts and its model, asked the same."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.accounts: dict[str, Account] = {}
        self.now = 5 * SECOND
        self.calls: list[Flight] = []
        self.slots: list[Flight] = []
        self.asked = 0

    @property
    def levels(self) -> list[Level]:
        return list(self.model.levels.values())

    @property
    def open_levels(self) -> list[Level]:
        """Those that may ask: a gate of a run that has ended is refused before its account is asked."""
        return [level for level in self.levels if not level.closed]

    def pick(self, number: int) -> tuple[Level, Account]:
        self.asked += 1
        level = self.open_levels[number % len(self.open_levels)]
        return level, self.accounts[level.name]

    def has_asked_much(self) -> bool:
        return self.asked > 15 and len(self.open_levels) > 0

    def repeat(self, level: Level, digest: str | None, cap: int | None = None) -> tuple[Any, Repeat | None]:
        """Gives a call that may repeat another as the model and as the account take it."""
        if digest is None:
            return None, None
        return (digest, level, cap), Repeat(digest, self.accounts[level.name], cap)

    # runs

    @initialize(budget=budgets(), observe=st.integers(0, 3))
    def open_root(self, budget: Budget, observe: int) -> None:
        self.open(budget, None, observe == 3)

    @precondition(lambda self: self.open_levels and len(self.accounts) < MOST_ACCOUNTS)
    @rule(above=who, budget=budgets(), observe=st.integers(0, 3))
    def open_child(self, above: int, budget: Budget, observe: int) -> None:
        parent = self.open_levels[above % len(self.open_levels)]
        if len(parent.lineage()) < DEEPEST:
            self.open(budget, parent, observe == 3)

    def open(self, budget: Budget, above: Level | None, observe: bool) -> None:
        name = f"run{len(self.accounts)}"
        parent = self.accounts[above.name] if above else None
        account = Account(budget, name, parent, now=self.now, observe=observe)
        level = Level(name, budget, above, observe, self.now)
        if budget.final_call is not None:
            level.kept = [1, 0, budget.final_call.tokens, micro(budget.final_call.usd)]
        answer = self.model.take(above, tuple(level.kept), self.now) if above else None
        assert answer_of(account.open()) == answer
        if answer is None:
            self.accounts[name], self.model.levels[name] = account, level
        else:
            account.close()  # gives nothing back that it could not keep

    @rule(seconds=st.sampled_from([0, 1, 1, 2]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @precondition(lambda self: self.open_levels)
    @rule(number=who, some=changes)
    def change(self, number: int, some: dict[str, Any]) -> None:
        level, account = self.pick(number)
        try:
            level.change(replace(level.budget, **some))
        except InvalidSetting:
            with pytest.raises(InvalidSetting):
                account.change(**some)
            return
        assert account.change(**some)[1] == level.budget

    @precondition(has_asked_much)
    @rule(number=who)
    def end(self, number: int) -> None:
        self.end_one(self.pick(number)[0])

    def end_one(self, level: Level) -> None:
        account = self.accounts[level.name]
        for each in level.lineage():
            each.look_at_time(self.now)
        account.look_at_time(self.now)
        limit = level.budget.max_seconds
        if limit is not None and self.now >= level.started + limit * SECOND:
            level.note("exceeded", StopCode.MAX_SECONDS)
        account.came_late(self.now)
        level.open_final()
        level.closed = True
        assert account.close()
        assert not account.close()

    # stops

    @precondition(has_asked_much)
    @rule(number=who)
    def stop(self, number: int) -> None:
        level, account = self.pick(number)
        level.stop = level.stop or (level.name, StopCode.HANDOFF, None, None, False, False)
        account.mark(StopCode.HANDOFF, None)

    @precondition(has_asked_much)
    @rule(number=who)
    def interrupt(self, number: int) -> None:
        level, account = self.pick(number)
        if level.budget.max_seconds is not None:
            used = (self.now - level.started) / SECOND
            level.look_at_time(self.now)
            level.halt((level.name, StopCode.MAX_SECONDS, level.budget.max_seconds, used, False, False))
            assert answer_of(account.time_is_up(self.now)) == level.stop

    @precondition(lambda self: self.open_levels)
    @rule(number=who)
    def ask_a_model_without_price(self, number: int) -> None:
        level, account = self.pick(number)
        answer = next((each.stop for each in level.lineage() if each.stop is not None), None)
        limited = [each for each in level.lineage() if each.limit(USD) != NO_LIMIT]
        if answer is None:
            for each in limited:
                if each.observe:
                    each.note("exceeded", StopCode.UNPRICED_MODEL)
            if not all(each.observe for each in limited):
                answer = (level.name, StopCode.UNPRICED_MODEL, None, None, False, False)
        assert answer_of(account.unpriced("some-model")) == answer

    # calls

    @precondition(lambda self: self.open_levels)
    @rule(number=who, tokens=st.integers(0, 5), cost=costs)
    def ask_a_model(self, number: int, tokens: int, cost: int) -> None:
        level, account = self.pick(number)
        spend = (1, 0, tokens, cost)
        answer = self.model.reserve(level, spend, self.now)
        assert answer_of(account.reserve(spend, now=self.now)) == answer
        self.fly(answer, Flight(level, spend))

    @precondition(lambda self: self.open_levels)
    @rule(number=who, tokens=st.integers(0, 5), cost=costs)
    def ask_a_last_time(self, number: int, tokens: int, cost: int) -> None:
        level, account = self.pick(number)
        spend = (1, 0, tokens, cost)
        answer = self.model.final(level, spend, self.now)
        assert answer_of(account.reserve(spend, now=self.now, final=True)) == answer
        self.fly(answer, Flight(level, spend))

    def fly(self, answer: Answer, call: Flight) -> None:
        if answer is None:
            self.fits(call.level, call.spend)
            self.calls.append(call)

    @precondition(lambda self: self.open_levels)
    @rule(number=who, tool=st.sampled_from(TOOLS), digest=digests, cap=st.sampled_from([None, 0, 1, 2]), cost=costs)
    def use_a_tool(self, number: int, tool: str, digest: str | None, cap: int | None, cost: int) -> None:
        level, account = self.pick(number)
        spend = (0, 1, 0, cost)
        known, repeat = self.repeat(level, digest, cap)
        answer = self.model.reserve(level, spend, self.now, tool, known)
        if repeat is None and not cost:
            assert answer_of(account.count_tool_call(tool, self.now)) == answer
        else:
            assert answer_of(account.reserve(spend, now=self.now, tool=tool, repeat=repeat, sent=True)) == answer
        if answer is None:
            self.fits(level, spend)
            self.model.use(level, spend, spend)

    def fits(self, level: Level, spend: Amounts) -> None:
        """What was let through is within every limit that is enforced."""
        for each in level.lineage():
            for i, amount in enumerate(spend):
                assert each.observe or not amount or each.used[i] + each.held[i] + each.kept[i] <= each.limit(i)

    @precondition(lambda self: self.calls)
    @rule(
        number=who, more=st.integers(-3, 3), paid=st.sampled_from([None, -2, 0, 2]), said=said, estimated=st.booleans()
    )
    def settle(self, number: int, more: int, paid: int | None, said: Any, estimated: bool) -> None:
        call = self.calls.pop(number % len(self.calls))
        tokens = max(0, call.spend[TOKENS] + more)
        cost = None if paid is None else max(0, call.spend[USD] + paid)
        self.settle_one(call, Actual(tokens // 2, tokens - tokens // 2, cost, *said, estimated))

    @precondition(lambda self: self.open_levels)
    @rule(number=who, held=st.integers(0, 3), used=st.integers(0, 12))
    def ask_and_settle(self, number: int, held: int, used: int) -> None:
        """One that says little of what it will use."""
        before = len(self.calls)
        self.ask_a_model(number, held, 0)
        if len(self.calls) > before:
            self.settle_one(self.calls.pop(), Actual(used, 0, used // 3))

    def settle_one(self, call: Flight, actual: Actual) -> None:
        tokens, cost = actual.input_tokens + actual.output_tokens, actual.micro_usd
        self.accounts[call.level.name].settle(call.spend, actual)
        self.model.use(call.level, call.spend, (1, 0, tokens, cost or 0))
        call.level.own_responses.append(actual)
        for each in call.level.lineage():
            each.responses.append(actual)

    @precondition(lambda self: self.calls)
    @rule(number=who)
    def cancel(self, number: int) -> None:
        self.cancel_one(self.calls.pop(number % len(self.calls)))

    def cancel_one(self, call: Flight) -> None:
        self.accounts[call.level.name].cancel(call.spend)
        self.model.give_back(call.level, call.spend)

    # batches

    @precondition(lambda self: self.open_levels)
    @rule(number=who, calls=batches)
    def ask_for_a_batch(self, number: int, calls: list[tuple[str, str | None]]) -> None:
        level, account = self.pick(number)
        asked = [(tool, self.repeat(level, digest)[1]) for tool, digest in calls]
        answers = self.model.batch(level, calls, self.now)
        assert [answer_of(refusal) for refusal in account.reserve_batch(asked, now=self.now)] == answers
        if len(answers) == len(calls):
            let = [call for call, answer in zip(calls, answers, strict=True) if answer is None]
            self.slots += [Flight(level, tool=tool, digest=digest) for tool, digest in let]
            self.fits(level, (0, len(let), 0, 0))

    @precondition(lambda self: any(not slot.level.closed for slot in self.slots))
    @rule(number=who, cost=costs, digest=digests)
    def spend_slot(self, number: int, cost: int, digest: str | None) -> None:
        held = [slot for slot in self.slots if not slot.level.closed]
        slot = held[number % len(held)]
        level, account = slot.level, self.accounts[slot.level.name]
        announced, (known, repeat) = self.repeat(level, slot.digest)[1], self.repeat(level, digest)
        refusal = account.spend_slot(cost, now=self.now, repeat=repeat, announced=announced)
        if slot.digest is not None:
            self.model.forget(level, slot.digest)
        answer = self.model.reserve(level, (0, 0, 0, cost), self.now, None, known)
        assert answer_of(refusal) == answer
        self.slots.remove(slot)
        if answer is None:
            self.model.use(level, (0, 1, 0, cost), (0, 1, 0, cost))
        else:
            self.slots.append(replace(slot, digest=None))

    @precondition(lambda self: self.slots)
    @rule(number=who)
    def give_back_slot(self, number: int) -> None:
        self.give_back_one(self.slots.pop(number % len(self.slots)))

    def give_back_one(self, slot: Flight) -> None:
        self.accounts[slot.level.name].give_back_slot(slot.tool, self.repeat(slot.level, slot.digest)[1])
        self.model.give_back(slot.level, slot.spend, slot.tool, slot.digest)

    # what must hold at every step

    @invariant()
    def sums_are_the_same(self) -> None:
        for level in self.levels:
            account = self.accounts[level.name]
            assert account.used[:4] == level.used
            assert account.held == level.held
            assert account.own[:4] == level.own
            assert account.by_tool == {tool: calls for tool, calls in level.by_tool.items() if calls}
            assert account.seen == {digest: calls for digest, calls in level.seen.items() if calls}

    @invariant()
    def what_is_left_is_the_same(self) -> None:
        for level in self.levels:
            account = self.accounts[level.name]
            for i in (TOKENS, USD):
                left = [each.limit(i) - each.kept[i] - each.used[i] - each.held[i] for each in level.lineage()]
                assert account.left(i) == min(left)
                assert account.left(i, final=True) == min(left[0] + level.kept[i], *left[1:], NO_LIMIT)
                assert account.limited(i) == (min(left) != NO_LIMIT)

    @invariant()
    def usage_is_the_same(self) -> None:
        for level in self.levels:
            account = self.accounts[level.name]
            for usage, used, said in (
                (account.usage(self.now), level.used, level.responses),
                (account.usage(self.now, own=True), level.own, level.own_responses),
            ):
                assert [usage.steps, usage.tool_calls, usage.total_tokens] == used[:3]
                assert usage.cached_input_tokens == known_sum(one.cached_input_tokens for one in said)
                assert usage.cache_write_tokens == known_sum(one.cache_write_tokens for one in said)
                assert usage.reasoning_tokens == known_sum(one.reasoning_tokens for one in said)
                assert usage.estimated == any(one.estimated for one in said)
                assert usage.cost_usd == (None if any(one.micro_usd is None for one in said) else money(used[USD]))

    @invariant()
    def the_same_is_noted(self) -> None:
        """Each limit warns once and is exceeded once, until it is changed."""
        if self.accounts:
            noted = self.accounts["run0"].tree.notes
            expected = [note for level in self.levels for note in level.notes]
            found = [(note.kind, note.account.run_id, note.code, note.tool or "") for note in noted]
            assert sorted(found) == sorted(expected)
            noted.clear()
            for level in self.levels:
                level.notes.clear()

    def teardown(self) -> None:
        """Ends whatever is open: nothing stays held, and no call is counted twice or lost."""
        for level in reversed(self.open_levels):
            self.end_one(level)
        for call in self.calls:
            self.cancel_one(call)
        for slot in self.slots:
            self.give_back_one(slot)
        self.sums_are_the_same()
        assert all(account.held == none() for account in self.accounts.values())
        if self.accounts:
            own = zip(*(account.own for account in self.accounts.values()), strict=True)
            assert [sum(amounts) for amounts in own] == self.accounts["run0"].used


Accounts.TestCase.settings = settings(
    max_examples=300, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAccounts = pytest.mark.timeout(900)(Accounts.TestCase)  # 15,000 steps: long where the machine has other work


def test_a_cap_that_is_set_while_the_run_is_open_holds_from_then_on() -> None:
    account = Account(Budget(), "run")
    assert account.reserve((0, 1, 0, 0), now=0, tool="search", sent=True) is None
    account.change(max_calls_per_tool={"search": 2})
    assert account.reserve((0, 1, 0, 0), now=0, tool="search", sent=True) is None
    refusal = account.reserve((0, 1, 0, 0), now=0, tool="search", sent=True)
    assert answer_of(refusal) == ("run", StopCode.MAX_CALLS_PER_TOOL, 2, 2, False, True)


def test_a_deadline_that_is_moved_warns_and_is_exceeded_anew() -> None:
    account = Account(Budget(max_seconds=10), "run", observe=True)
    for limit, now in ((10, 10), (20, 20)):
        account.change(max_seconds=limit)
        for _ in range(2):
            assert account.reserve((1, 0, 0, 0), now=now * SECOND) is None
    kinds = [(note.kind, note.limit) for note in account.tree.notes]
    assert kinds == [("warning", 10), ("exceeded", 10), ("warning", 20), ("exceeded", 20)]
