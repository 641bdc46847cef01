from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent.usage import RunStarted
from otel_agent.views.drawing import render_tree
from otel_agent.views.tree import LEAST_LINES, CallNode, Node, Order, RunNode, fold
from tests.views.feed import limits

Shape = int | list["Shape"]

shapes = st.recursive(
    st.integers(1, 30),
    lambda inner: st.lists(inner, max_size=12),
    max_leaves=60,
)


class Maker:
    """Grows a tree from a shape: a number is that many calls, a list is a child run."""

    def __init__(self) -> None:
        self.number = 0

    def order(self) -> Order:
        self.number += 1
        return Order(0.0, self.number)

    def run(self, shape: Shape, parent: RunNode | None = None) -> RunNode:
        started = RunStarted("r", None, "bot", None, limits(steps=(9, 1)), "enforce")
        node = RunNode(started, self.order(), parent, 0 if parent is None else parent.depth + 1)
        for part in [shape] if isinstance(shape, int) else shape:
            if isinstance(part, int):
                for _ in range(part):
                    node.add(self.call())
            else:
                node.add(self.run(part, node))
        return node

    def call(self) -> CallNode:
        order = self.order()
        return CallNode(order, "tool", f"t{order.number}", 0.1, "ok")


def total(node: Node) -> tuple[int, int]:
    """Counts calls and runs, the hidden ones too."""
    if isinstance(node, CallNode):
        return 1, 0
    parts = [total(item) for item in node.items]
    return node.hidden.calls + sum(part[0] for part in parts), 1 + node.hidden.runs + sum(part[1] for part in parts)


@settings(deadline=None)
@given(shapes, st.integers(LEAST_LINES, 60))
def test_a_folded_tree_fits_and_loses_no_count(shape: Shape, lines: int) -> None:
    node = Maker().run(shape)
    before, drawn = total(node), render_tree(node)
    fold(node, lines)
    assert total(node) == before
    assert len(render_tree(node)) <= lines
    if len(drawn) <= lines:
        assert render_tree(node) == drawn, "what fits is left alone"


@settings(deadline=None)
@given(shapes, shapes, st.integers(LEAST_LINES, 60))
def test_folding_again_and_again_loses_no_count(first: Shape, second: Shape, lines: int) -> None:
    maker = Maker()
    node = maker.run(first)
    fold(node, lines)
    node.add(maker.run(second, node))
    for _ in range(40):
        node.add(maker.call())
    before = total(node)
    fold(node, lines)
    fold(node, LEAST_LINES)
    assert total(node) == before
    assert len(render_tree(node)) <= LEAST_LINES


def test_a_list_keeps_its_beginning_and_its_newest_end() -> None:
    maker = Maker()
    node = maker.run(20)
    for _ in range(3):
        fold(node, 10)
        for _ in range(10):
            node.add(maker.call())
    fold(node, 11)
    assert [item.name for item in node.items if isinstance(item, CallNode)] == [
        *["t2", "t3", "t4"],
        *["t47", "t48", "t49", "t50", "t51"],
    ]
    assert node.gap == 3
    assert node.hidden.calls == 42


def test_a_late_call_that_began_early_goes_to_the_beginning() -> None:
    maker = Maker()
    node = maker.run(30)
    fold(node, 12)
    before = node.items[: node.gap]
    slow = CallNode(Order(-1.0, 99), "tool", "slow", 9.0, "ok")
    node.add(slow)
    assert node.items[: node.gap] == [slow, *before]
    fold(node, 12)
    assert isinstance(node.items[0], CallNode)
    assert node.items[0].name == "slow"


def test_child_runs_share_what_room_there_is_and_the_small_one_stays_whole() -> None:
    node = Maker().run([[4], [100], [100]])
    fold(node, 60)
    small, one, other = node.items
    assert isinstance(small, RunNode)
    assert isinstance(one, RunNode)
    assert isinstance(other, RunNode)
    assert small.gap is None
    assert {len(one.items), len(other.items)} == {22, 23}


def test_a_run_that_was_cut_out_still_counts_what_happens_in_it() -> None:
    maker = Maker()
    node = maker.run([[1]] * 40)
    middle = node.items[20]
    assert isinstance(middle, RunNode)
    fold(node, 20)
    assert not middle.kept
    before = node.hidden.calls
    middle.add(maker.call())
    middle.add(maker.run(5, middle))
    middle.hide_run()
    assert node.hidden.calls == before + 6
    assert total(node) == (46, 43)
    assert middle.items == []
