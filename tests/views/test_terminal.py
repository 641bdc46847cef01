from __future__ import annotations

import contextvars
import errno
import fcntl
import io
import logging
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from otel_agent.stop import InvalidSetting, StopCode
from otel_agent.usage import RunRecord
from otel_agent.views import TerminalView, terminal
from tests.views.feed import Clock, Feed, limits

TREE = "bot · 0 ms · 0 steps · 0 tool calls · 0 tokens · $0 · finish\n└─ tool  kb.search  10 ms\n"


class Plain(io.StringIO):
    """A stream that remembers each write, and notices two at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.mixed = False
        self._busy = False

    def write(self, text: str) -> int:
        self.mixed = self.mixed or self._busy
        self._busy = True
        time.sleep(0)
        self.writes.append(text)
        self._busy = False
        return len(text)


class Terminal(Plain):
    """A terminal that can say what a person sees on it."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        rows, column = [""], 0
        for char in "".join(self.writes):
            if char == "\r":
                column = 0
            elif char == "\n":
                rows, column = [*rows, ""], 0
            else:
                rows[-1] = rows[-1][:column].ljust(column) + char + rows[-1][column + 1 :]
                column += 1
        return [row.rstrip(" ") for row in rows]


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests, and no tick but the test's own."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(terminal, "REFRESH", 60.0)


class Stage:
    """Opens views on the test's clock and closes them after it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.views: list[TerminalView] = []

    def view(self, stream: Any = None, **options: Any) -> TerminalView:
        view = TerminalView(stream, **{"clock": self.clock, "width": 100, **options})
        self.views.append(view)
        return view

    def feed(self, stream: Any = None, **options: Any) -> Feed:
        return Feed(self.view(stream, **options), self.clock)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    for view in stage.views:
        view.close()


def one_run(feed: Feed, run: str = "r") -> None:
    feed.start(run)
    feed.tool(run=run)
    feed.end(run)


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "otel_agent terminal view"]


def wait_for(condition: Callable[[], object], seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.002)


def test_a_tree_is_one_write(stage: Stage) -> None:
    stream = Plain()
    one_run(stage.feed(stream))
    assert stream.writes == [TREE]


def test_a_child_run_alone_writes_nothing(stage: Stage) -> None:
    stream = Plain()
    feed = stage.feed(stream)
    feed.start("a")
    feed.start("b", "a")
    feed.end("b", "a")
    assert stream.writes == []
    feed.end("a")
    assert len(stream.writes) == 1


def test_runs_in_many_threads_do_not_mix(stage: Stage) -> None:
    stream = Plain()
    view = stage.view(stream)
    go = threading.Barrier(8)

    def work(name: str) -> None:
        go.wait()
        for number in range(25):
            feed = Feed(view)
            feed.start(f"{name}.{number}", agent=name)
            for _ in range(5):
                feed.tool(f"tool-of-{name}", f"{name}.{number}")
            feed.end(f"{name}.{number}", agent=name)

    threads = [threading.Thread(target=work, args=(f"agent{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stream.writes) == 200
    assert not stream.mixed
    for tree in stream.writes:
        agent = tree.split(" ")[0]
        assert tree.count(f"tool-of-{agent} ") == tree.count("tool-of-") == 5


def test_its_own_lines_are_cut(stage: Stage) -> None:
    stream = Plain()
    feed = stage.feed(stream, max_lines=8)
    feed.start()
    for _ in range(1000):
        feed.tool()
    feed.end()
    assert stream.writes[0].count("\n") == 8
    assert "... 994 more calls" in stream.writes[0]


def test_width_of_a_stream_that_is_no_terminal(stage: Stage) -> None:
    stream = Plain()
    feed = stage.feed(stream, width=None)
    feed.start(agent="a" * 150)
    feed.end()
    assert len(stream.writes[0].split("\n")[0]) == 118


def test_stderr_is_looked_up_at_each_write(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = stage.feed()
    for stream in (Plain(), Plain()):
        monkeypatch.setattr(sys, "stderr", stream)
        one_run(feed)
        assert stream.writes == [TREE]


def test_no_stderr_at_all_is_silence(stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    feed = stage.feed()
    monkeypatch.setattr(sys, "stderr", None)
    feed.start()
    stage.clock.now += 100
    feed.listener.tick()  # type: ignore[attr-defined]
    feed.end()
    assert not caplog.records


def test_a_stream_that_can_only_write_and_flush_will_do(stage: Stage) -> None:
    class Bare:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    one_run(stage.feed(stream := Bare()))
    assert stream.text == TREE


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_stream_that_cannot_take_the_glyphs_gets_ascii(stage: Stage, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    feed = stage.feed(stream)
    feed.start(agent="bôt検")
    feed.tool()
    feed.end(limits=limits(steps=(2, 1)))
    stream.seek(0)
    name = "b\\xf4t\\u691c" if encoding == "ascii" else "bôt\\u691c"
    assert stream.read() == (
        f"{name} | 0 ms | 0 steps | 0 tool calls | 0 tokens | $0 | finish\n"
        "`- tool  kb.search  10 ms\n"
        "steps #####----- 1/2\n"
    )


def test_a_stream_of_an_unknown_encoding_gets_ascii(stage: Stage) -> None:
    stream = type("Odd", (Plain,), {"encoding": "no-such-code"})()
    feed = stage.feed(stream)
    feed.start(agent="bôt")
    feed.end()
    assert stream.writes == ["b\\xf4t | 0 ms | 0 steps | 0 tool calls | 0 tokens | $0 | finish\n"]


@pytest.mark.parametrize(
    ("stream", "environment", "color", "colored"),
    [
        (Terminal, {}, None, True),
        (Plain, {}, None, False),
        (Terminal, {"NO_COLOR": "1"}, None, False),
        (Terminal, {"NO_COLOR": ""}, None, True),
        (Terminal, {"TERM": "dumb"}, None, False),
        (Plain, {"FORCE_COLOR": "1"}, None, True),
        (Terminal, {"TERM": "dumb", "FORCE_COLOR": "1"}, None, True),
        (Plain, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, None, False),
        (Plain, {"NO_COLOR": "1"}, True, True),
        (Terminal, {"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colour(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    stream: type[Plain],
    environment: dict[str, str],
    color: bool | None,
    colored: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = stream()
    feed = stage.feed(out, color=color)
    feed.start()
    feed.end(code=StopCode.MAX_STEPS)
    assert ("\x1b[31mmax_steps\x1b[0m" in out.writes[0]) is colored
    assert ("\x1b" in out.writes[0]) is colored


def test_progress_comes_after_a_while_and_goes_before_the_tree(stage: Stage) -> None:
    stream = Terminal()
    feed = stage.feed(stream, color=False)
    view = stage.views[0]
    feed.start()
    feed.llm(seconds=0.5)
    stage.clock.now += 0.49
    view.tick()
    assert stream.writes == []
    feed.begin()
    stage.clock.now += 12
    view.tick()
    assert stream.screen == ["⠙ bot · 13.0 s · in kb.search 12.0 s · 1 step · 1 tool call · 1,200 tokens"]
    feed.finish()
    stage.clock.now += 1
    view.tick()
    assert stream.screen == ["⠹ bot · 14.0 s · 1 step · 1 tool call · 1,200 tokens"]
    feed.end()
    assert stream.screen == [
        "bot · 0 ms · 0 steps · 0 tool calls · 0 tokens · $0 · finish",
        "├─ llm   gpt-5-mini  500 ms  1,000 in  200 out  $0.0021",
        "└─ tool  kb.search    10 ms",
        "",
    ]
    assert "\x1b" not in "".join(stream.writes), "no escape code is needed to write over a line"


def test_progress_is_one_line_for_all_runs(stage: Stage) -> None:
    stream = Terminal()
    feed = stage.feed(stream)
    for run in ("a", "b", "c"):
        feed.start(run, agent=f"agent-{run}")
        stage.clock.now += 2
    stage.views[0].tick()
    assert stream.screen == ["⠙ agent-a · 6.0 s · 0 steps · 0 tool calls · 0 tokens (+2 more runs)"]


def test_progress_comes_back_under_a_tree_while_another_run_is_open(stage: Stage) -> None:
    stream = Terminal()
    feed = stage.feed(stream, color=False)
    feed.start("a", agent="first")
    feed.start("b")
    stage.clock.now += 2
    stage.views[0].tick()
    feed.end("b")
    assert stream.screen == ["bot · 0 ms · 0 steps · 0 tool calls · 0 tokens · $0 · finish", ""]
    stage.views[0].tick()
    assert stream.screen[1] == "⠹ first · 2.0 s · 0 steps · 0 tool calls · 0 tokens"


def test_progress_never_wraps(stage: Stage) -> None:
    stream = Terminal()
    feed = stage.feed(stream, width=30)
    feed.start(agent="an-agent-with-quite-a-long-name")
    stage.clock.now += 5
    for _ in range(3):
        stage.views[0].tick()
    assert stream.screen == ["⠸ an-agent-with-quite-a-long…"]
    assert all(len(write) <= 30 for write in stream.writes)


def test_progress_can_be_off(stage: Stage) -> None:
    stream = Terminal()
    before = len(helpers())
    feed = stage.feed(stream, progress_after=None, plain_progress_every=None)
    feed.start()
    assert len(helpers()) == before
    stage.clock.now += 1000
    stage.views[0].tick()
    assert stream.writes == []


def test_close_takes_the_line_away_and_keeps_the_trees(stage: Stage) -> None:
    stream = Terminal()
    feed = stage.feed(stream, color=False)
    feed.start()
    stage.clock.now += 5
    stage.views[0].tick()
    assert stream.screen != [""]
    stage.views[0].close()
    assert stream.screen == [""]
    stage.views[0].tick()
    assert stream.screen == [""]
    feed.end()
    assert stream.screen[0].startswith("bot · ")
    stage.views[0].close()


def test_a_line_on_a_stream_that_was_replaced_is_taken_away_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Terminal(), Terminal()
    feed = stage.feed(color=False)
    monkeypatch.setattr(sys, "stderr", old)
    feed.start()
    stage.clock.now += 5
    stage.views[0].tick()
    monkeypatch.setattr(sys, "stderr", new)
    feed.end()
    assert old.screen == [""]
    assert new.screen == ["bot · 0 ms · 0 steps · 0 tool calls · 0 tokens · $0 · finish", ""]


@pytest.mark.parametrize("dumb", [False, True])
def test_a_log_gets_a_line_now_and_then(stage: Stage, monkeypatch: pytest.MonkeyPatch, dumb: bool) -> None:
    if dumb:
        monkeypatch.setenv("TERM", "dumb")
    stream = Terminal() if dumb else Plain()
    feed = stage.feed(stream)
    feed.start()
    for _ in range(25):
        stage.clock.now += 1
        stage.views[0].tick()
    assert stream.writes == [
        "bot · 10.0 s · 0 steps · 0 tool calls · 0 tokens · still open\n",
        "bot · 20.0 s · 0 steps · 0 tool calls · 0 tokens · still open\n",
    ]


def test_a_log_gets_no_line_from_many_short_runs(stage: Stage) -> None:
    stream = Plain()
    feed = stage.feed(stream)
    for number in range(30):
        feed.start(str(number))
        stage.clock.now += 9
        stage.views[0].tick()
        feed.end(str(number))
    assert not any("still open" in write for write in stream.writes)


def carrying(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """Makes a start of threads that gives them the context of who starts them."""

    def start_with_context(thread: threading.Thread) -> None:
        run, context = thread.run, contextvars.copy_context()
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(thread)

    return start_with_context


def test_one_helper_ticks_while_a_run_is_open_and_then_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "REFRESH", 0.005)
    run_of_caller: contextvars.ContextVar[str] = contextvars.ContextVar("run_of_caller", default="none")
    seen: set[tuple[str, str]] = set()
    run_of_caller.set("r")
    monkeypatch.setattr(threading.Thread, "start", carrying(threading.Thread.start))

    def clock() -> float:
        seen.add((threading.current_thread().name, run_of_caller.get()))
        return time.monotonic()

    stream = Terminal()
    others = set(helpers())
    feed = Feed(stage.view(stream, clock=clock, progress_after=0.001))
    feed.start("a")
    feed.start("b")
    (helper,) = set(helpers()) - others
    assert helper.daemon
    wait_for(lambda: len(stream.writes) > 3)
    feed.end("a")
    feed.end("b")
    wait_for(lambda: not helper.is_alive())
    assert seen == {(threading.current_thread().name, "r"), (helper.name, "none")}
    feed.start("c")
    (second,) = set(helpers()) - others
    feed.end("c")
    wait_for(lambda: not second.is_alive())


def test_close_ends_the_helper(stage: Stage) -> None:
    others = set(helpers())
    feed = stage.feed(Plain())
    feed.start()
    (helper,) = set(helpers()) - others
    stage.views[0].close()
    assert not helper.is_alive()
    feed.start("next")
    assert set(helpers()) == others


def test_a_run_goes_on_where_no_thread_can_be_started(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stream = Plain()
    one_run(stage.feed(stream))
    assert stream.writes == [TREE]


class Broken(Terminal):
    """A stream that breaks at its nth write."""

    def __init__(self, after: int, error: BaseException) -> None:
        super().__init__()
        self.left = after
        self.error = error

    def write(self, text: str) -> int:
        if self.left == 0:
            raise self.error
        self.left -= 1
        return super().write(text)


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(errno.ENOSPC, "full"), ValueError("closed"), LookupError()]
)
@pytest.mark.parametrize("after", [0, 2])
def test_a_broken_stream_is_one_warning_and_silence(stage: Stage, caplog: Any, error: Exception, after: int) -> None:
    stream = Broken(after, error)
    feed = stage.feed(stream)
    for _ in range(after + 3):
        one_run(feed)
        feed.start()
        stage.clock.now += 5
        stage.views[0].tick()
    assert len(stream.writes) == after
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].name == "otel_agent"
    assert "terminal view is off" in caplog.text


def test_a_closed_stream_is_one_warning_and_silence(stage: Stage, caplog: Any) -> None:
    stream = io.StringIO()
    stream.close()
    feed = stage.feed(stream)
    one_run(feed)
    one_run(feed)
    assert len(caplog.records) == 1


def test_a_warning_that_cannot_be_written_does_not_raise_either(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(logging.getLogger("otel_agent"), "warning", refuse)
    one_run(stage.feed(Broken(0, OSError())))


def test_the_helper_ends_when_the_stream_broke(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "REFRESH", 0.005)
    others = set(helpers())
    feed = stage.feed(Broken(0, OSError()))
    feed.start()
    stage.clock.now += 5
    wait_for(lambda: set(helpers()) == others)
    feed.start("next")
    assert set(helpers()) == others


def test_an_interrupt_while_writing_is_the_callers_and_the_next_tree_is_written(stage: Stage) -> None:
    stream = Broken(0, KeyboardInterrupt())
    feed = stage.feed(stream, color=False)
    with pytest.raises(KeyboardInterrupt):
        one_run(feed)
    stream.left = -1
    one_run(feed)
    assert stream.writes == [TREE]


class Stuck(Plain):
    """A stream that hangs in its first write until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        if not self.entered.is_set():
            self.entered.set()
            assert self.go.wait(5)
        return super().write(text)


def test_a_stuck_terminal_holds_up_only_who_writes_to_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.05)
    stream = Stuck()
    feed = stage.feed(stream)
    writer = threading.Thread(target=one_run, args=(feed, "first"))
    writer.start()
    assert stream.entered.wait(5)
    began = time.monotonic()
    for _ in range(100):
        feed.start("second")
        feed.tool(run="second")
        stage.views[0].tick()
    assert time.monotonic() - began < 1.0
    feed.end("second")
    assert time.monotonic() - began < 1.5
    assert stream.writes == []
    stream.go.set()
    writer.join()
    assert len(stream.writes) == 2, "who was stuck writes the tree of the other too"


def test_a_stuck_terminal_keeps_a_bounded_number_of_trees(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    stream = Stuck()
    feed = stage.feed(stream)
    writer = threading.Thread(target=one_run, args=(feed, "first"))
    writer.start()
    assert stream.entered.wait(5)
    for number in range(300):
        one_run(feed, str(number))
    stream.go.set()
    writer.join()
    assert len(stream.writes) == 101


class Recalling(Plain):
    """A stream whose writes come back to the view, as a finalizer that runs in between does."""

    feed: Feed

    def write(self, text: str) -> int:
        written = super().write(text)
        if len(self.writes) == 1:
            one_run(self.feed, "within")
            self.feed.listener.tick()  # type: ignore[attr-defined]
        return written


def test_a_view_never_waits_for_itself(stage: Stage) -> None:
    stream = Recalling()
    stream.feed = stage.feed(stream)
    began = time.monotonic()
    one_run(stream.feed)
    assert time.monotonic() - began < 0.5
    assert stream.writes == [TREE, TREE]


def test_events_while_another_thread_counts_are_taken_in_later(stage: Stage) -> None:
    stream = Plain()
    feed = stage.feed(stream)
    view = stage.views[0]
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        assert view._counting.take(1)
        holding.set()
        release.wait(5)
        view._counting.leave()

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(5)
    feed.start()
    feed.tool()
    release.set()
    holder.join()
    feed.end()
    assert stream.writes == [TREE]


def test_a_tree_is_written_on_return_also_when_another_thread_snatched_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Plain()
    feed = stage.feed(stream)
    view = stage.views[0]
    snatched, go = threading.Event(), threading.Event()
    finish = view._runs.run_ended

    def finish_slowly(*event: Any) -> object:
        snatched.set()
        assert go.wait(5)
        return finish(*event)

    class Snatching(deque[Any]):
        def append(self, event: Any, /) -> None:
            super().append(event)
            if isinstance(event[1], RunRecord):
                threading.Thread(target=view._work_off, args=(0.0,)).start()
                assert snatched.wait(5)
                threading.Timer(0.05, go.set).start()

    monkeypatch.setattr(view._runs, "run_ended", finish_slowly)
    monkeypatch.setattr(view, "_events", Snatching())
    one_run(feed)
    assert stream.writes == [TREE]


def test_a_tree_is_written_on_return_also_when_another_thread_is_writing_it(stage: Stage) -> None:
    stream = Stuck()
    feed = stage.feed(stream)
    feed.start()
    feed.tool()
    view = stage.views[0]

    class Snatched(deque[Any]):
        def append(self, tree: Any, /) -> None:
            super().append(tree)
            threading.Thread(target=view._write_trees, args=(0.0,)).start()
            assert stream.entered.wait(5)
            threading.Timer(0.05, stream.go.set).start()

    view._trees = Snatched()
    feed.end()
    assert stream.writes == [TREE]


def in_child(work: Callable[[], object]) -> int:
    """Runs work in a forked process and gives its exit code: 0 when it is true."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -9


def test_a_forked_process_inherits_no_lock_and_no_open_run(stage: Stage) -> None:
    stream = Terminal()
    feed = stage.feed(stream, color=False)
    view = stage.views[0]
    feed.start("of-parent")
    stage.clock.now += 5
    view.tick()
    shown = list(stream.writes)

    def child() -> bool:
        feed.tool(run="of-parent")
        feed.end("of-parent")
        one_run(feed, "of-child")
        return stream.writes == [*shown, TREE]

    def hold(taken: threading.Event, release: threading.Event) -> None:
        assert view._counting.take(1)
        assert view._writing.take(1)
        taken.set()
        release.wait(5)
        view._writing.leave()
        view._counting.leave()

    taken, release = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold, args=(taken, release))
    holder.start()
    assert taken.wait(5)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(terminal, "REFRESH", 0.01)
            assert in_child(child) == 0
    finally:
        release.set()
        holder.join()
    feed.end("of-parent")
    assert len(stream.writes) == len(shown) + 1


def test_a_fork_never_meets_the_helper_and_the_parent_gets_it_back(stage: Stage) -> None:
    stream = Plain()
    others = set(helpers())
    feed = stage.feed(stream)
    feed.start()
    (first,) = set(helpers()) - others
    assert in_child(lambda: not set(helpers()) - others) == 0
    assert not first.is_alive()
    (second,) = set(helpers()) - others
    assert second is not first
    feed.end()
    assert len(stream.writes) == 1


def test_a_process_that_ends_with_a_run_open_leaves_a_clean_line() -> None:
    source = (
        "import io, sys, time\n"
        "from otel_agent.usage import RunStarted\n"
        "from otel_agent.views import TerminalView, terminal\n"
        "terminal.REFRESH = 0.01\n"
        "class Terminal(io.TextIOWrapper):\n"
        "    def isatty(self): return True\n"
        "view = TerminalView(Terminal(sys.stdout.buffer, encoding='utf-8'), progress_after=0.001, width=80)\n"
        "view.run_started(RunStarted('r', None, 'bot', None, {}, 'enforce'))\n"
        "time.sleep(0.15)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, timeout=30, check=True)
    assert b"bot \xc2\xb7 " in done.stdout
    assert done.stdout.endswith(b" \r")
    assert done.stderr == b""


def test_on_a_real_terminal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "REFRESH", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    read = bytearray()

    def reads(wanted: bytes) -> Callable[[], bool]:
        def read_on() -> bool:
            read.extend(os.read(ours, 4096))
            return wanted in read

        return read_on

    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        feed = Feed(stage.view(stream, clock=time.monotonic, progress_after=0.01, width=None))
        feed.start(agent="an-agent-with-a-name-that-is-longer-than-40-columns")
        wait_for(reads("an-agent-with-a-name-that-is-longer-…".encode()))
        assert b"\x1b" not in read
        feed.end(agent="an-agent-with-a-name-that-is-longer-than-40-columns", code=StopCode.MAX_STEPS)
        wait_for(reads(b"\x1b[31mmax_steps\x1b[0m\r\n"))
        stage.views[0].close()
    os.close(ours)
    header = bytes(read).rpartition(b" \r")[2].decode().split("\r\n")[0]
    assert header == "\x1b[1man-agent-with-a-name-that-is-longer-t…\x1b[0m"


@pytest.mark.parametrize("columns", ["33", "not a number", "0", "-4"])
def test_width_of_a_terminal_that_does_not_say(stage: Stage, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((50, 24)))
    stream = Terminal()
    feed = stage.feed(stream, width=None, color=False)
    feed.start(agent="a" * 150)
    feed.end()
    assert len(stream.screen[0]) == (31 if columns == "33" else 48)


@pytest.mark.parametrize(
    "setting",
    [
        {"width": 0},
        {"width": "80"},
        {"width": 10**9},
        {"max_lines": 7},
        {"max_lines": 10**9},
        {"max_lines": 20.0},
        {"color": "yes"},
        {"progress_after": -1},
        {"progress_after": float("nan")},
        {"plain_progress_every": 0},
        {"plain_progress_every": float("inf")},
    ],
)
def test_a_setting_that_can_never_work_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=f"TerminalView.{next(iter(setting))} = "):
        TerminalView(**setting)


def test_times_may_be_timedeltas(stage: Stage) -> None:
    stream = Terminal()
    feed = stage.feed(stream, progress_after=timedelta(minutes=1))
    feed.start()
    stage.clock.now += 59.9
    stage.views[0].tick()
    assert stream.writes == []
    stage.clock.now += 0.1
    stage.views[0].tick()
    assert len(stream.writes) == 1
