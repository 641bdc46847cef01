from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from otel_agent.views.live import DEEPEST, OpenRuns, Status, status_text
from otel_agent.views.text import ASCII, UNICODE
from otel_agent.views.tree import CallNode, Node, RunNode
from tests.views.feed import Feed
from tests.views.test_drawing import Trees


@pytest.fixture
def trees() -> Trees:
    return Trees()


@pytest.fixture
def feed(trees: Trees) -> Feed:
    return Feed(trees, trees.clock)


def names(trees: Trees) -> list[str]:
    assert trees.tree is not None
    return [item.name if isinstance(item, CallNode) else item.started.agent for item in trees.tree.items]


def test_children_stand_in_order_of_start(feed: Feed, trees: Trees) -> None:
    feed.start("a")
    feed.begin("first", "a")
    feed.clock.now += 1
    feed.begin("second", "a")
    feed.clock.now += 1
    feed.start("b", "a", agent="third")
    feed.clock.now += 1
    feed.tool("fourth", "a")
    feed.finish("second", "a", seconds=2.01)
    feed.end("b", "a")
    feed.finish("first", "a", seconds=3.01)
    feed.end("a")
    assert names(trees) == ["first", "second", "third", "fourth"]


def test_calls_that_begin_at_one_time_stand_in_the_order_they_were_told(feed: Feed, trees: Trees) -> None:
    feed.start()
    for name in ("x", "y", "z"):
        feed.begin(name)
    for name in ("z", "x", "y"):
        feed.finish(name)
    feed.end()
    assert names(trees) == ["x", "y", "z"]


def test_of_two_calls_of_a_name_the_one_ends_that_began_when_it_did(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.begin("slow")
    feed.clock.now += 5
    feed.tool("between")
    feed.begin("slow")
    feed.clock.now += 1
    feed.finish("slow", seconds=1.0)
    feed.end()
    assert trees.drawn()[1:] == [
        "├─ tool  slow     6.0 s  still running",
        "├─ tool  between  10 ms",
        "└─ tool  slow     1.0 s",
    ]


def test_a_call_that_nobody_saw_begin_is_placed_by_its_seconds(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.clock.now += 3
    feed.tool("short")
    feed.finish("long", seconds=2.0)
    feed.end()
    assert names(trees) == ["long", "short"]


def test_strangers_and_latecomers_are_ignored(feed: Feed, trees: Trees) -> None:
    feed.begin(run="nobody")
    feed.finish(run="nobody")
    feed.end("nobody")
    assert trees.tree is None
    feed.start("a")
    feed.start("b", "a")
    feed.begin("late", "b")
    feed.end("b", "a")
    feed.finish("late", "b")
    feed.end("b", "a")
    feed.end("a")
    kept = trees.drawn()
    feed.tool(run="a")
    feed.tool(run="b")
    feed.end("b", "a")
    feed.end("a")
    assert trees.drawn() == kept
    assert len(trees.runs) == 0


def test_a_run_told_of_twice_is_one_run(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.tool()
    feed.start()
    feed.end()
    assert names(trees) == ["kb.search"]


def test_a_run_whose_parent_is_not_open_is_a_root(feed: Feed, trees: Trees) -> None:
    feed.start("b", parent="elsewhere")
    feed.end("b", parent="elsewhere")
    assert trees.tree is not None


def test_a_call_outside_any_run_is_ignored(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.tool(run=None)  # type: ignore[arg-type]
    feed.end()
    assert names(trees) == []


def test_two_roots_at_once_keep_apart(feed: Feed, trees: Trees) -> None:
    feed.start("a")
    feed.start("b")
    feed.tool("one", "a")
    feed.tool("two", "b")
    feed.end("b")
    assert names(trees) == ["two"]
    feed.end("a")
    assert names(trees) == ["one"]


def kept(node: Node) -> int:
    return 1 + sum(map(kept, node.items)) if isinstance(node, RunNode) else 1


@pytest.mark.parametrize("nested", [False, True])
def test_a_long_run_keeps_a_bounded_number_of_calls(nested: bool) -> None:
    trees = Trees(lines=50)
    feed = Feed(trees, trees.clock)
    feed.start("a")
    root = trees.runs._roots["a"].node
    most = 0
    for number in range(20_000):
        if nested and number % 20 == 0:
            feed.start(str(number), "a")
            feed.tool(run=str(number))
            feed.end(str(number), "a")
        feed.tool(run="a")
        most = max(most, kept(root))
    assert 50 <= most <= 100
    feed.end("a")
    assert len(trees.drawn()) == 50


def growth(work: Callable[[int], None]) -> int:
    """Gives the bytes that 5,000 more rounds of some work leave behind, after 500 rounds."""
    tracemalloc.start()
    try:
        work(500)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        work(5_000)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_memory_is_flat_over_a_long_run() -> None:
    trees = Trees(lines=50)
    feed = Feed(trees, trees.clock)
    feed.start()

    def calls(count: int) -> None:
        for number in range(count):
            feed.tool(f"t{number}" * 1000)
            feed.denied(f"d{number}", reason=f"r{number}" * 1000)

    assert growth(calls) < 50_000


def test_memory_is_flat_over_many_runs_that_leave_things_open(feed: Feed, trees: Trees) -> None:
    def runs(count: int) -> None:
        for number in range(count):
            feed.start(f"{number}")
            feed.start(f"{number}.child", f"{number}")
            feed.begin("left open", f"{number}.child")
            feed.end(f"{number}")
            if number % 2:
                feed.end(f"{number}.child", f"{number}")

    assert growth(runs) < 20_000
    assert not trees.runs._open


def test_calls_in_flight_are_bounded_too(feed: Feed, trees: Trees) -> None:
    feed.start()
    for _ in range(10_000):
        feed.begin()
    assert len(trees.runs._open["r"].flights) == 256


def test_runs_nested_without_end_are_counted_below_a_depth(feed: Feed, trees: Trees) -> None:
    feed.start("0")
    for number in range(1, 200):
        feed.start(str(number), str(number - 1))
        feed.tool(run=str(number))
    for number in reversed(range(200)):
        feed.end(str(number), None if number == 0 else str(number - 1))
    drawn = trees.drawn(width=500)
    assert len(drawn) == 2 * (DEEPEST + 1)
    assert drawn[-1].endswith(f"└─ ... {199 - DEEPEST} more calls, {199 - DEEPEST} more runs")


def test_status(feed: Feed, trees: Trees) -> None:
    assert trees.runs.status(trees.clock.now) is None
    feed.start("a", agent="support-bot")
    feed.llm(run="a", seconds=1.5)
    feed.begin("ask", "a")
    feed.start("b", "a")
    feed.start("other")
    feed.denied(run="b")
    feed.finish("unseen", "b")
    feed.begin("kb.search", "b")
    feed.clock.now += 12
    feed.begin("quick", "b")
    status = trees.runs.status(trees.clock.now)
    assert status == Status("support-bot", 13.5, 1, 4, 1200, "kb.search", 12.0, 1)
    feed.end("a")
    feed.clock.now += 1
    assert trees.runs.status(trees.clock.now) == Status("bot", 13.0, 0, 0, 0, None, 0.0, 0)


def test_status_in_words() -> None:
    status = Status("bot", 41.2, 1, 5, 4120, "kb.search", 12.0, 2)
    assert status_text(status, UNICODE) == (
        "bot · 41.2 s · in kb.search 12.0 s · 1 step · 5 tool calls · 4,120 tokens (+2 more runs)"
    )
    idle = status._replace(doing=None, others=1, agent="a\x1bb")
    assert status_text(idle, ASCII) == r"a\x1bb | 41.2 s | 1 step | 5 tool calls | 4,120 tokens (+1 more run)"


def test_open_runs_say_how_many_roots_there_are() -> None:
    assert not OpenRuns(50)
