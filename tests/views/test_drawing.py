from __future__ import annotations

from decimal import Decimal

import pytest

from otel_agent.stop import GROUPS, StopCode
from otel_agent.usage import RunRecord, Usage
from otel_agent.views.drawing import render_tree
from otel_agent.views.live import OpenRuns
from otel_agent.views.text import ASCII, width_of
from otel_agent.views.tree import CallNode, RunNode
from tests.views.feed import PROMPT, Clock, Feed, limits

FULL = Usage(steps=3, tool_calls=4, input_tokens=7044, output_tokens=976, seconds=4.84, cost_usd=Decimal("0.010872"))


class Trees:
    """A listener that keeps the last tree."""

    def __init__(self, lines: int = 200) -> None:
        self.clock = Clock()
        self.runs = OpenRuns(lines)
        self.tree: RunNode | None = None

    def run_started(self, run: object, /) -> None:
        self.runs.run_started(run, self.clock.now)  # type: ignore[arg-type]

    def call_started(self, call: object, /) -> None:
        self.runs.call_started(call, self.clock.now)  # type: ignore[arg-type]

    def call_ended(self, call: object, /) -> None:
        self.runs.call_ended(call, self.clock.now)  # type: ignore[arg-type]

    def run_ended(self, run: RunRecord, /) -> None:
        self.tree = self.runs.run_ended(run, self.clock.now) or self.tree

    def drawn(self, **options: object) -> list[str]:
        assert self.tree is not None
        return render_tree(self.tree, **options)  # type: ignore[arg-type]


@pytest.fixture
def trees() -> Trees:
    return Trees()


@pytest.fixture
def feed(trees: Trees) -> Feed:
    return Feed(trees, trees.clock)


def play_nested(feed: Feed) -> None:
    feed.start("a", agent="support-bot", prompt_id=PROMPT)
    feed.llm(run="a", seconds=1.12, input_tokens=1204, output_tokens=310)
    feed.tool(run="a", seconds=0.012)
    feed.begin("ask_researcher", "a")
    feed.start("b", "a", agent="researcher")
    feed.llm("gpt-5", "b", 2.4, input_tokens=2950, output_tokens=402, cost_usd=Decimal("0.0077"))
    feed.tool("web.fetch", "b", 0.31, cost_usd=Decimal("0.001"), error_type="TimeoutError")
    feed.denied("gpt-5", "b", "max_steps", "llm")
    usage = Usage(steps=1, tool_calls=1, input_tokens=2950, output_tokens=402, seconds=2.71, cost_usd=Decimal("0.0087"))
    feed.end("b", "a", agent="researcher", code=StopCode.MAX_STEPS, usage=usage, limits=limits(steps=(1, 1)))
    feed.finish("ask_researcher", "a", seconds=2.72)
    feed.llm(run="a", seconds=0.98, estimated=True, cost_usd=None)
    feed.denied(run="a")
    used = limits(
        steps=(25, 3),
        tool_calls=(4, 4),
        seconds=(60, 4.84),
        tokens=(9000, 8020),
        usd=(Decimal("0.50"), Decimal("0.010872")),
    )
    feed.end("a", agent="support-bot", code=StopCode.MAX_TOOL_CALLS, stop_detail="kb.search", usage=FULL, limits=used)


NESTED = """\
support-bot · support:v13:50af3e26c3af · 4.8 s · 3 steps · 4 tool calls · 8,020 tokens · $0.0109
  max_tool_calls:kb.search
├─ llm   gpt-5-mini       1.1 s   1,204 in   310 out       $0.0021
├─ tool  kb.search        12 ms
├─ tool  ask_researcher   2.7 s
├─ researcher · 2.7 s · 1 step · 1 tool call · 3,352 tokens · $0.0087 · max_steps
│  ├─ llm   gpt-5       2.4 s  2,950 in  402 out  $0.0077
│  ├─ tool  web.fetch  310 ms                     $0.0010  TimeoutError
│  └─ llm   gpt-5      denied: max_steps (limit 1)
│  steps ██████████ 1/1
├─ llm   gpt-5-mini      980 ms  ~1,000 in  ~200 out  cost unknown
└─ tool  kb.search       denied: max_tool_calls (limit 4)
steps      █░░░░░░░░░ 3/25
tool_calls ██████████ 4/4
seconds    ░░░░░░░░░░ 4.8/60 s
tokens     ████████░░ 8,020/9,000
usd        ░░░░░░░░░░ $0.0109/$0.50"""


def test_nested_tree(feed: Feed, trees: Trees) -> None:
    play_nested(feed)
    assert trees.drawn(width=100) == NESTED.split("\n")


def test_nested_tree_in_ascii(feed: Feed, trees: Trees) -> None:
    play_nested(feed)
    drawn = trees.drawn(width=100, glyphs=ASCII)
    assert all(line.isascii() for line in drawn)
    assert drawn[2:6] == [
        "|- llm   gpt-5-mini       1.1 s   1,204 in   310 out       $0.0021",
        "|- tool  kb.search        12 ms",
        "|- tool  ask_researcher   2.7 s",
        "|- researcher | 2.7 s | 1 step | 1 tool call | 3,352 tokens | $0.0087 | max_steps",
    ]
    assert drawn[-1] == "usd        ---------- $0.0109/$0.50"


def test_a_last_child_run_hangs_on_no_rope(feed: Feed, trees: Trees) -> None:
    feed.start("a")
    feed.start("b", "a")
    feed.tool(run="b")
    feed.end("b", "a", limits=limits(steps=(2, 1)))
    feed.end("a")
    assert trees.drawn()[1:] == [
        "└─ bot · 0 ms · 0 steps · 0 tool calls · 0 tokens · $0 · finish",
        "   └─ tool  kb.search  10 ms",
        "   steps █████░░░░░ 1/2",
    ]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 200])
@pytest.mark.parametrize("glyphs", [None, ASCII])
def test_no_line_is_wider_than_the_terminal(feed: Feed, trees: Trees, width: int, glyphs: object) -> None:
    play_nested(feed)
    drawn = trees.drawn(width=width, **({} if glyphs is None else {"glyphs": glyphs}))
    assert max(map(width_of, drawn)) <= width
    assert [line for line in drawn if "max_tool_calls" in line], "the stop reason is never lost"


def test_a_long_name_gives_way_to_the_numbers(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.tool("a_tool_with_a_name_that_goes_on_and_on_and_on", seconds=0.5, error_type="ValueError")
    feed.end()
    assert trees.drawn(width=50)[-1] == "└─ tool  a_tool_with_a_name_t…  500 ms  ValueError"


def test_what_went_wrong_stands_right_after_the_last_number(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.llm()
    feed.tool(error_type="ValueError")
    feed.end()
    assert trees.drawn()[1:] == [
        "├─ llm   gpt-5-mini  1.0 s  1,000 in  200 out  $0.0021",
        "└─ tool  kb.search   10 ms  ValueError",
    ]


def test_names_of_wide_characters_stay_aligned(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.tool("検索")
    feed.tool("kb")
    feed.end()
    assert trees.drawn()[1:] == ["├─ tool  検索  10 ms", "└─ tool  kb    10 ms"]


def test_control_characters_are_spelt_out_wherever_a_name_can_stand(feed: Feed, trees: Trees) -> None:
    evil = "x\x1b[2J\r\ny"
    feed.start("a", agent=evil, prompt_id=evil)
    feed.tool(evil, "a", error_type=evil)
    feed.denied(evil, "a", evil)
    feed.finish(evil, "a", kind=evil)
    feed.end("a", agent=evil, stop_detail=evil, error_type=evil, limits={**limits(tokens=(1, 1)), evil: (1, 1)})
    drawn = trees.drawn(width=500)
    assert all(line.isprintable() for line in drawn)
    assert sum(line.count(r"x\x1b[2J\r\ny") for line in drawn) == 11


def test_very_long_names_are_not_kept(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.tool("n" * 10_000)
    feed.tool(error_type="e" * 10_000)
    feed.end(stop_detail="d" * 10_000)
    assert trees.tree is not None
    calls = [item for item in trees.tree.items if isinstance(item, CallNode)]
    assert [(len(call.name), len(call.why or "")) for call in calls] == [(200, 0), (9, 200)]
    assert sum(map(len, trees.drawn(width=10_000))) < 1500


@pytest.mark.parametrize("code", StopCode)
def test_colour_of_every_stop_reason(feed: Feed, trees: Trees, code: StopCode) -> None:
    feed.start()
    feed.end(code=code)
    wanted = {"done": 32, "policy": 33}.get(GROUPS[code], 33 if code == "cancelled" else 31)
    assert trees.drawn(color=True)[0].endswith(f"\x1b[{wanted}m{code}\x1b[0m")


def test_colour_of_budget_bars(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.end(limits=limits(steps=(100, 79), tool_calls=(10, 8), tokens=(10, 10), seconds=(10, 12.5)))
    steps, tools, tokens, seconds = trees.drawn(color=True)[1:]
    assert steps == "steps      \x1b[32m███████░░░\x1b[0m 79/100"
    assert tools == "tool_calls \x1b[33m████████░░\x1b[0m\x1b[33m 8/10\x1b[0m"
    assert tokens == "tokens     \x1b[31m██████████\x1b[0m\x1b[31m 10/10\x1b[0m"
    assert seconds == "seconds    \x1b[31m██████████\x1b[0m\x1b[31m 12.5/10 s\x1b[0m"


def test_colour_of_calls(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.tool(error_type="ValueError")
    feed.denied()
    feed.llm(cost_usd=None)
    feed.end()
    failed, denied, unknown = trees.drawn(color=True)[1:]
    assert failed.endswith("\x1b[31mValueError\x1b[0m")
    assert denied.endswith("\x1b[33mdenied: max_tool_calls\x1b[0m")
    assert unknown.endswith("\x1b[33mcost unknown\x1b[0m")


def test_plain_text_has_no_escape_code(feed: Feed, trees: Trees) -> None:
    play_nested(feed)
    assert "\x1b" not in "".join(trees.drawn(color=False))


def test_observe_mode_is_said(feed: Feed, trees: Trees) -> None:
    feed.start(mode="observe")
    feed.end(mode="observe", limits=limits(steps=(2, 3)))
    assert trees.drawn() == [
        "bot · 0 ms · 0 steps · 0 tool calls · 0 tokens · $0 · observe mode · finish",
        "steps ██████████ 3/2",
    ]


def test_estimated_and_unknown_cost_are_said(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.end(usage=Usage(steps=1, input_tokens=900, cost_usd=Decimal("0.5"), estimated=True))
    assert trees.drawn() == ["bot · 0 ms · 1 step · 0 tool calls · ~900 tokens · ~$0.50 · finish"]
    feed.start()
    feed.end(usage=Usage(steps=1, input_tokens=900, cost_usd=None))
    assert trees.drawn() == ["bot · 0 ms · 1 step · 0 tool calls · 900 tokens · cost unknown · finish"]


def test_an_error_says_its_type_and_a_stop_does_not_say_itself_twice(feed: Feed, trees: Trees) -> None:
    feed.start()
    feed.end(code=StopCode.ERROR, error_type="builtins.ValueError")
    assert trees.drawn()[0].endswith(" · error (builtins.ValueError)")
    feed.start()
    feed.end(code=StopCode.MAX_STEPS, error_type="max_steps")
    assert trees.drawn()[0].endswith(" · max_steps")


def test_a_denial_names_the_limit_of_the_run_above_that_is_used_up(feed: Feed, trees: Trees) -> None:
    feed.start("a")
    feed.start("b", "a")
    feed.denied(run="b")
    feed.end("b", "a", limits=limits(tool_calls=(20, 3)))
    feed.end("a", limits=limits(tool_calls=(12, 12)))
    assert trees.drawn()[2].endswith("denied: max_tool_calls (limit 12)")


def test_a_denial_names_no_limit_when_two_could_have_been_it(feed: Feed, trees: Trees) -> None:
    feed.start("a")
    feed.start("b", "a")
    feed.denied(run="b", reason="max_tokens")
    feed.end("b", "a", limits=limits(tokens=(900, 800)))
    feed.end("a", limits=limits(tokens=(1000, 850)))
    assert trees.drawn()[2].endswith("denied: max_tokens")


def test_what_is_open_when_its_root_ends_is_said(feed: Feed, trees: Trees) -> None:
    feed.start("a")
    feed.begin("hang", "a")
    feed.clock.now += 1
    feed.start("b", "a", agent="child", limits=limits(steps=(3, 0)))
    feed.begin("gpt-5", "b", "llm")
    feed.clock.now += 2.5
    feed.end("a")
    assert trees.drawn()[1:] == [
        "├─ tool  hang  3.5 s  still running",
        "└─ child · 2.5 s · still open",
        "   └─ llm   gpt-5  2.5 s  still running",
        "   steps ░░░░░░░░░░ 0/3",
    ]


def test_a_long_list_is_cut_in_its_middle() -> None:
    trees = Trees(lines=9)
    feed = Feed(trees, trees.clock)
    feed.start()
    for number in range(317):
        feed.tool(f"t{number}", error_type="E" if number == 100 else None)
        if number == 200:
            feed.denied("d")
    feed.end()
    assert trees.drawn()[1:] == [
        "├─ tool  t0    10 ms",
        "├─ tool  t1    10 ms",
        "├─ tool  t2    10 ms",
        "├─ ... 311 more calls (1 denied, 1 failed)",
        "├─ tool  t313  10 ms",
        "├─ tool  t314  10 ms",
        "├─ tool  t315  10 ms",
        "└─ tool  t316  10 ms",
    ]


def test_one_hidden_call_and_one_hidden_run_are_not_plural() -> None:
    trees = Trees(lines=8)
    feed = Feed(trees, trees.clock)
    feed.start("a")
    for number in range(4):
        feed.tool(run="a")
        if number == 1:
            feed.start("b", "a")
            feed.tool(run="b")
            for _ in range(4):
                feed.tool(run="b")
            feed.end("b", "a")
    feed.end("a")
    assert "├─ ... 5 more calls, 1 more run" in trees.drawn()
