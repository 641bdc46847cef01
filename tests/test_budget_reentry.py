"""A gate in the middle of a gate: what a finalizer or a signal handler does there, tried at every point where one can.

Nothing here waits for chance: a trace function lets something happen at the n-th point inside the account, for every n
that there is.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from otel_agent.budget import Account, Actual, Budget, FinalCall, Repeat, account
from otel_agent.budget.account import NOTHING, ONE_STEP, ONE_TOOL_CALL, STEPS, TOOL_CALLS

MOST_POINTS = 1000
STRAIGHT_ON = {
    *("LOAD_FAST", "LOAD_GLOBAL", "LOAD_CONST", "LOAD_ATTR", "LOAD_METHOD", "STORE_FAST", "STORE_ATTR", "PUSH_NULL"),
    *("BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR", "BINARY_OP", "COMPARE_OP", "CONTAINS_OP", "IS_OP", "UNARY_NOT"),
    *("POP_TOP", "SWAP", "COPY", "NOP", "CACHE", "PRECALL", "KW_NAMES", "UNPACK_SEQUENCE", "TO_BOOL", "RETURN_VALUE"),
    *("LOAD_FAST_LOAD_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "LOAD_FAST_CHECK", "RETURN_CONST"),
    *("POP_JUMP_IF_FALSE", "POP_JUMP_IF_TRUE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE"),
    *("POP_JUMP_FORWARD_IF_FALSE", "POP_JUMP_FORWARD_IF_TRUE", "JUMP_FORWARD", "POP_JUMP_FORWARD_IF_NONE"),
    *("POP_JUMP_FORWARD_IF_NOT_NONE", "JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP"),
}
"""What neither calls nor allocates when done with plain numbers, lists and dicts: the interpreter goes straight on."""

Act = Callable[[], object]


class AtPoint:
    """Lets something happen at the n-th point inside the account where the interpreter may turn to something else.

    Such points are after every call, jump back and new container: there it runs signal handlers and finalizers.
    """

    def __init__(self, number: int, act: Act) -> None:
        self.left = number
        self.act: Act | None = act
        self.before: dict[FrameType, str] = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> AtPoint | None:
        if frame.f_code.co_filename != account.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and self.act is not None:
            done, self.before[frame] = self.before.get(frame), dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if done is not None and done not in STRAIGHT_ON:
                self.turn_away()
        return self

    def turn_away(self) -> None:
        self.left -= 1
        if self.left < 0 and self.act is not None:
            act, self.act = self.act, None
            sys.settrace(None)
            act()

    def during(self, outer: Act) -> None:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            outer()
        finally:
            sys.settrace(before)


def at_every_point(make: Callable[[], tuple[Act, Act, Act]]) -> int:
    """At each point of the first callable does the second, and asks the third whether all is well."""
    AtPoint(MOST_POINTS, lambda: None).during(make()[0])  # Python 3.12 traces opcodes only where it has done so before
    for number in range(MOST_POINTS):
        outer, inner, check = make()
        trace = AtPoint(number, inner)
        trace.during(outer)
        if trace.act is not None:
            return number
        check()
    pytest.fail("the account never came to an end")


def nested(budget: Budget) -> Account:
    """An account under two others, the uppermost of which has the limits."""
    root = Account(budget, "root")
    return Account(Budget(), "grandchild", Account(Budget(), "child", root))


def ask(account: Account, budget: Budget) -> bool:
    """Asks for one call of whatever the budget limits to one, and tells whether it was let through."""
    repeat = Repeat("digest", account) if budget.max_repeats else None
    if budget.max_tool_calls:
        return account.count_tool_call("search", 0) is None
    if budget.max_calls_per_tool or repeat:
        return account.reserve(ONE_TOOL_CALL, now=0, tool="search", repeat=repeat, sent=True) is None
    return account.reserve((1, 0, 1, 1), now=0, final=budget.final_call is not None) is None


LIMITED = {
    "steps": Budget(max_steps=1),
    "tool calls": Budget(max_tool_calls=1),
    "tokens": Budget(max_tokens=1),
    "money": Budget(max_usd="0.000001"),
    "calls of one tool": Budget(max_calls_per_tool={"search": 1}),
}


@pytest.mark.parametrize("limit", LIMITED)
def test_of_two_gates_one_inside_the_other_exactly_one_passes(limit: str) -> None:
    budget = LIMITED[limit]

    def make() -> tuple[Act, Act, Act]:
        account, passed = nested(budget), list[bool]()

        def check() -> None:
            assert sorted(passed) == [False, True]
            assert not ask(account, budget)
            for level in account.levels:
                assert [a + b for a, b in zip(level.used, level.held, strict=False)] in ([1, 0, 1, 1], [0, 1, 0, 0])
                assert sum(level.by_tool.values()) == level.used[TOOL_CALLS]

        return lambda: passed.append(ask(account, budget)), lambda: passed.append(ask(account, budget)), check

    assert at_every_point(make) > 10


def test_a_repeated_call_inside_another_stops_the_run() -> None:
    budget = Budget(max_repeats=1)

    def make() -> tuple[Act, Act, Act]:
        account, passed = nested(budget), list[bool]()

        def check() -> None:
            assert passed in ([False, True], [True, False], [False, False])
            assert account.levels[-1].stop is not None
            assert account.seen.get("digest", 0) == account.used[TOOL_CALLS] == sum(passed)

        return lambda: passed.append(ask(account, budget)), lambda: passed.append(ask(account, budget)), check

    assert at_every_point(make) > 10


def test_a_last_call_inside_another_passes_once() -> None:
    budget = Budget(max_steps=1, final_call=FinalCall(tokens=1))

    def make() -> tuple[Act, Act, Act]:
        account, passed = Account(budget, "run"), list[bool]()

        def last() -> None:
            passed.append(account.reserve(ONE_STEP, now=0, final=True) is None)

        def check() -> None:
            assert sorted(passed) == [False, True]
            assert account.held[:2] == [1, 0]

        return last, last, check

    assert at_every_point(make) > 10


HELD, USED = (1, 0, 100, 100), Actual(30, 20, 40)


def settling(account: Account) -> Act:
    assert account.reserve(HELD, now=0) is None
    return lambda: account.settle(HELD, USED)


def cancelling(account: Account) -> Act:
    assert account.reserve(HELD, now=0) is None
    return lambda: account.cancel(HELD)


def using(account: Account) -> Act:
    return lambda: account.reserve((0, 1, 0, 5), now=0, tool="search", repeat=Repeat("a", account), sent=True)


def counting(account: Account) -> Act:
    return lambda: account.count_tool_call("search", 0)


def holding(account: Account) -> Act:
    return lambda: account.reserve(HELD, now=0)


def batching(account: Account) -> Act:
    def batch() -> None:
        assert account.reserve_batch([("search", None), ("ticket", None)], now=0) == [None, None]
        account.give_back_slot("ticket", None)
        assert account.spend_slot(3, now=0, repeat=None, announced=None) is None

    return batch


def raising_limits(account: Account) -> Act:
    return lambda: account.levels[-1].change(max_tokens=2000, max_usd="0.003")


def nesting(account: Account) -> Act:
    def nest() -> None:
        child = Account(Budget(final_call=FinalCall(tokens=7)), "last", account)
        assert child.open() is None
        assert child.close()

    return nest


ACTS = [settling, cancelling, using, counting, holding, batching, raising_limits, nesting]


@pytest.mark.parametrize("inner", ACTS)
@pytest.mark.parametrize("outer", ACTS)
def test_sums_are_exact_whatever_comes_in_the_middle_of_what(
    outer: Callable[[Account], Act], inner: Callable[[Account], Act]
) -> None:
    budget = Budget(max_steps=1000, max_tool_calls=1000, max_tokens=1000, max_usd="0.001")

    def sums(account: Account) -> list[Any]:
        return [
            (level.used, level.own, level.held, dict(level.by_tool), dict(level.seen), level.full)
            for level in account.levels
        ]

    one_after_the_other = nested(budget)
    first, second = outer(one_after_the_other), inner(one_after_the_other)
    first()
    second()

    def make() -> tuple[Act, Act, Act]:
        account = nested(budget)

        def check() -> None:
            account.left(0)
            with account.tree.lock:
                assert sums(account) == sums(one_after_the_other)

        return outer(account), inner(account), check

    assert at_every_point(make) > 5


def test_each_limit_is_noted_once_also_when_two_pass_it_at_once() -> None:
    def make() -> tuple[Act, Act, Act]:
        account = nested(Budget(max_tokens=200, max_steps=1000))
        first, second = settling(account), settling(account)

        def more(act: Act) -> None:
            act()
            account.settle(NOTHING, Actual(200, 0))

        def check() -> None:
            account.left(0)
            with account.tree.lock:
                notes = [(note.kind, note.account.run_id, note.code) for note in account.tree.notes]
            assert sorted(notes) == [("exceeded", "root", "max_tokens"), ("warning", "root", "max_tokens")]

        return lambda: more(first), lambda: more(second), check

    assert at_every_point(make) > 10


def test_who_cannot_be_alone_in_time_is_let_read_and_refused_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the lock so long waits for something that the other will not give back before."""
    monkeypatch.setattr(account, "WAIT_SECONDS", 0.01)
    busy, held, done = nested(Budget(max_steps=5)), threading.Event(), threading.Event()
    settle = settling(busy)

    def hold() -> None:
        with busy.tree.lock:
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    try:
        settle()
        for refusal in (
            busy.reserve(ONE_STEP, now=0),
            busy.count_tool_call("search", 0),
            *busy.reserve_batch([("search", None)] * 3, now=0),
            Account(Budget(), "late", busy).open(),
        ):
            assert refusal is not None
            assert refusal.pending
        assert busy.usage(0).steps == 0
        assert busy.left(STEPS) == 4
    finally:
        done.set()
        holder.join()
    assert (busy.usage(0).steps, busy.left(STEPS)) == (1, 4)
    assert busy.reserve(ONE_STEP, now=0) is None
