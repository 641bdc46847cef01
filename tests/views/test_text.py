from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent.views import text
from otel_agent.views.text import ASCII, UNICODE, Span


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0 ms"),
        (-3.0, "0 ms"),
        (0.0004, "<1 ms"),
        (0.412, "412 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (3.2, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (125.2, "2 m 05 s"),
        (3599.6, "1 h 00 m"),
        (3725, "1 h 02 m"),
        (3_600_000, "1,000 h 00 m"),
        (float("nan"), "?"),
        (float("inf"), "?"),
    ],
)
def test_seconds(seconds: float, written: str) -> None:
    assert text.seconds_text(seconds) == written


@pytest.mark.parametrize(
    ("usd", "written"),
    [
        (None, "cost unknown"),
        ("0", "$0"),
        ("0.00", "$0"),
        ("0.000001", "$0.000001"),
        ("0.000921", "$0.000921"),
        ("0.001", "$0.0010"),
        ("0.0312", "$0.0312"),
        ("0.03125", "$0.0313"),
        ("0.5", "$0.50"),
        ("0.50", "$0.50"),
        ("1.2345", "$1.2345"),
        ("12.345", "$12.35"),
        ("1204.5", "$1,204.50"),
        ("-0.25", "-$0.25"),
        ("123456789012345678901234567890.12", "$123,456,789,012,345,678,901,234,567,890.12"),
    ],
)
def test_money(usd: str | None, written: str) -> None:
    assert text.money_text(None if usd is None else Decimal(usd)) == written


def test_money_ignores_the_decimal_context_of_the_application() -> None:
    with decimal.localcontext(decimal.Context(prec=1, traps=[decimal.Inexact, decimal.Rounded])):
        assert text.money_text(Decimal("1204.56")) == "$1,204.56"


def test_plural_and_thousands() -> None:
    assert text.plural(1, "step") == "1 step"
    assert text.plural(0, "step") == "0 steps"
    assert text.plural(8120, "token") == "8,120 tokens"


def test_what_is_not_printable_is_spelt_out() -> None:
    assert text.clean("kb.search ünï 検索") == "kb.search ünï 検索"
    assert text.clean("a\x1b[31mb\r\n\x9b\u202e\u2028\udc80") == r"a\x1b[31mb\r\n\x9b\u202e\u2028\udc80"


@given(st.text())
def test_clean_text_is_always_printable(value: str) -> None:
    assert text.clean(value).isprintable()


@given(st.text(), st.integers(0, 40), st.sampled_from(["…", "..."]))
def test_fitting_text_takes_no_more_columns_than_there_are(value: str, width: int, ellipsis: str) -> None:
    assert text.width_of(text.fit(value, width, ellipsis)) <= width


def test_fitting_text_says_that_something_is_missing() -> None:
    assert text.fit("kb.search", 9) == "kb.search"
    assert text.fit("kb.search", 8) == "kb.sear…"
    assert text.fit("検索検索", 6) == "検索…"
    assert text.fit("kb.search", 2, "...") == ".."


def test_wide_and_combining_characters_take_their_columns() -> None:
    assert text.width_of("検索") == 4
    assert text.width_of("e\u0301") == 1


def test_bar_is_full_only_when_all_is_used() -> None:
    assert text.bar(0) == "░░░░░░░░░░"
    assert text.bar(10 / 12) == "████████░░"
    assert text.bar(0.9999) == "█████████░"
    assert text.bar(1) == text.bar(7) == "██████████"
    assert text.bar(0.5, cells=4, glyphs=ASCII) == "##--"


@pytest.mark.parametrize(
    ("used", "limit", "part", "spent"),
    [
        (10, 12, 10 / 12, False),
        (12, 12, 1.0, True),
        (0, 0, 0.0, False),
        (1, 0, float("inf"), True),
        (None, Decimal(1), 0.0, False),
        (Decimal("0.4999999"), Decimal("0.50"), 0.9999998, False),
    ],
)
def test_share_of_a_limit(used: object, limit: object, part: float, spent: bool) -> None:
    assert text.share(used, limit) == part
    assert text.is_spent(used, limit) is spent


@pytest.mark.parametrize(
    ("name", "used", "limit", "written"),
    [
        ("tool_calls", 10, 12, "10/12"),
        ("tokens", 8120, 9000, "8,120/9,000"),
        ("seconds", 41.23, 60.0, "41.2/60 s"),
        ("seconds", 60, 60, "60/60 s"),
        ("usd", Decimal("0.0312"), Decimal("0.50"), "$0.0312/$0.50"),
        ("usd", None, Decimal("0.50"), "?/$0.50"),
    ],
)
def test_use_of_a_limit_in_its_unit(name: str, used: object, limit: object, written: str) -> None:
    assert text.limit_text(name, used, limit) == written


def test_glyphs_are_what_the_encoding_can_take() -> None:
    assert text.glyphs_for("utf-8") is text.glyphs_for(None) is UNICODE
    assert text.glyphs_for("ascii") is text.glyphs_for("cp1252") is text.glyphs_for("no-such-code") is ASCII


def test_a_line_that_is_too_wide_ends_in_an_ellipsis_also_between_its_pieces() -> None:
    line = [Span("abc"), Span("def"), Span("ghi")]
    assert text.paint(line, width=9) == "abcdefghi"
    assert text.paint(line, width=6) == "abcde…"
    assert text.paint(line, width=4) == "abc…"
    assert text.paint(line, width=2, glyphs=ASCII) == ".."


def test_blanks_at_the_end_are_dropped_in_colour_too() -> None:
    assert text.paint([Span("a", "red"), Span("  "), Span(" ", "dim")], color=True) == "\x1b[31ma\x1b[0m"


ROWS: list[list[text.Cell]] = [
    ["support:v13:50af3e26c3af", 1, Span("finish", "green"), 1204, Decimal("0.0021")],
    ["support:v14:9d1c2b7f0a3e", 12, Span("max_tool_calls", "red"), 108_120, None],
]
HEADERS = ["prompt", "runs", "stops", "tokens", "cost"]


def test_table() -> None:
    assert text.render_table(HEADERS, ROWS, footer=["total", 13, "", 109_324, Decimal("0.0021")]) == "\n".join(
        [
            "prompt                    runs  stops            tokens     cost",
            "────────────────────────  ────  ──────────────  ───────  ───────",
            "support:v13:50af3e26c3af     1  finish            1,204  $0.0021",
            "support:v14:9d1c2b7f0a3e    12  max_tool_calls  108,120        -",
            "────────────────────────  ────  ──────────────  ───────  ───────",
            "total                       13                  109,324  $0.0021",
        ]
    )


def test_table_cuts_its_texts_to_a_width_and_keeps_its_numbers() -> None:
    assert text.render_table(HEADERS, ROWS, width=42, glyphs=ASCII) == "\n".join(
        [
            "prompt    runs  stops      tokens     cost",
            "--------  ----  --------  -------  -------",
            "suppo...     1  finish      1,204  $0.0021",
            "suppo...    12  max_t...  108,120        -",
        ]
    )


def test_a_text_that_is_worth_its_lines_goes_on_in_the_next() -> None:
    rows = [["a", "at most 3, found 5", 1], ["b", "-", 20]]
    assert text.render_table(["task", "what broke", "runs"], rows, width=23, wrapped="what broke") == "\n".join(
        [
            "task  what broke   runs",
            "────  ───────────  ────",
            "a     at most 3,      1",
            "      found 5",
            "b     -              20",
        ]
    )
    assert "at most 3, found 5" in text.render_table(["what broke"], [["at most 3, found 5"]], wrapped="what broke")


def test_table_cuts_its_texts_no_shorter_than_can_be_read() -> None:
    assert text.render_table(["prompt"], [["support:v13:50af3e26c3af"]], width=3).split("\n")[2] == "support…"


def test_table_in_colour() -> None:
    lines = text.render_table(["stops"], [[Span("finish", "green")]], footer=["all"], color=True).split("\n")
    assert lines[0] == "\x1b[1mstops\x1b[0m"
    assert lines[2] == "\x1b[32mfinish\x1b[0m"
    assert lines[4] == "\x1b[1mall\x1b[0m"


def test_table_makes_its_texts_harmless() -> None:
    assert "\x1b" not in text.render_table(["a\x1b[2J"], [["b\x1b[2J"], [Span("c\x1b[2J")]])


def test_table_without_rows_is_its_head() -> None:
    assert text.render_table(["runs"], []) == "runs\n────"


@pytest.mark.parametrize(
    "number", ["1,204", "~8,120", "$0.0312", "-$1.00", "41.2 s", "412 ms", "2 m 05 s", "3.5 %", "-", ""]
)
def test_columns_of_numbers_stand_to_the_right(number: str) -> None:
    assert text.render_table(["a wide header"], [[number]]).split("\n")[2] == number.rjust(13).rstrip(" ")


@pytest.mark.parametrize("word", ["10 apples", "v13", "finish", "1 of 2"])
def test_columns_of_text_stand_to_the_left(word: str) -> None:
    assert text.render_table(["a wide header"], [[word]]).split("\n")[2] == word
