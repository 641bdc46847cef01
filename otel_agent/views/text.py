"""Numbers, names and tables as text: small pure functions.

Decides how a duration, a count, a sum of money, a bar and a table are written, and makes text from outside harmless.
Knows no run, writes nothing, and never turns money into a float.
"""

from __future__ import annotations

import bisect
import math
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "ASCII",
    "UNICODE",
    "Cell",
    "Glyphs",
    "Line",
    "Span",
    "amount_text",
    "bar",
    "clean",
    "count_text",
    "fit",
    "glyphs_for",
    "is_spent",
    "limit_text",
    "money_text",
    "paint",
    "plural",
    "render_table",
    "seconds_text",
    "share",
    "width_of",
]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_HALF_UP = Context(prec=60, rounding=ROUND_HALF_UP, traps=[])  # the application's own may round or trap
_NUMBER = re.compile(r"[~<]?-?\$?[\d,]+(\.\d+)?( ?(%|[a-z]{1,2}))?( \d\d [ms])?|-|")


class Span(NamedTuple):
    """A piece of a line in one style: "bold", "dim", "red", "green", "yellow", "cyan", or "" for none."""

    text: str
    style: str = ""


Line: TypeAlias = Sequence[Span]
Cell: TypeAlias = str | int | Decimal | Span | None


class Glyphs(NamedTuple):
    """The characters that trees, bars and tables are drawn with."""

    branch: str
    last: str
    pipe: str
    dot: str
    ellipsis: str
    full: str
    empty: str
    rule: str
    spinner: str


UNICODE = Glyphs("├─ ", "└─ ", "│  ", " · ", "…", "█", "░", "─", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
ASCII = Glyphs("|- ", "`- ", "|  ", " | ", "...", "#", "-", "-", "|/-\\")


def glyphs_for(encoding: str | None) -> Glyphs:
    """Chooses the glyphs that an encoding can take; None is a stream of text, which takes all."""
    try:
        "".join(UNICODE).encode(encoding or "utf-8")
    except (UnicodeError, LookupError):
        return ASCII
    return UNICODE


def seconds_text(seconds: float) -> str:
    """Writes a duration, given in seconds: `412 ms`, `3.2 s`, `2 m 05 s`, `1 h 02 m`."""
    if not math.isfinite(seconds):
        return "?"
    if 0 < seconds < 0.001:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} m"


def count_text(count: int) -> str:
    """Writes a count with thousands separators: `8,120`."""
    return f"{count:,}"


def plural(count: int, noun: str) -> str:
    """Writes a count and its noun: `1 step`, `8,120 steps`."""
    return f"{count_text(count)} {noun}" if count == 1 else f"{count_text(count)} {noun}s"


def money_text(usd: Decimal | None) -> str:
    """Writes a sum of USD with as many digits as its size needs: `$0.0312`, `$0.50`, `$1,204.50`; None is unknown."""
    if usd is None:
        return "cost unknown"
    size = usd.copy_abs()
    places = 6 if size < Decimal("0.001") else 4 if size < 10 else 2
    least = 4 if size < Decimal("0.01") else 2
    text = f"{_HALF_UP.quantize(size, Decimal((0, (1,), -places))):,f}"
    whole, _, cents = text.partition(".")
    sign = "-" if usd < 0 else ""
    return f"{sign}${whole}.{cents.rstrip('0').ljust(least, '0')}" if usd else "$0"


def clean(text: str) -> str:
    """Makes text from outside harmless: what is not printable (escape codes, line ends, bidi marks) is spelt out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _spell(char) for char in text)


def _spell(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def width_of(text: str) -> int:
    """Counts the terminal columns that a text takes: wide characters two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """Cuts a text to a number of columns, with an ellipsis where something is missing."""
    if width_of(text) <= width:
        return text
    return _start(text, width - len(ellipsis)) + ellipsis[: max(0, width)]


def _start(text: str, room: int) -> str:
    return text[: bisect.bisect(list(accumulate(map(_columns, text))), room)]


def share(used: Any, limit: Any) -> float:
    """Gives how much of a limit is used, 1.0 for all of it; an unknown use counts as none."""
    if used is None or not used:
        return 0.0
    return float(used) / float(limit) if limit else math.inf


def is_spent(used: Any, limit: Any) -> bool:
    """Tells whether something was used and nothing is left, without rounding."""
    return used is not None and used > 0 and used >= limit


def bar(part: float, *, cells: int = 10, glyphs: Glyphs = UNICODE) -> str:
    """Draws a share (1.0 is all) as a bar; the last cell fills only when all is used."""
    filled = cells if part >= 1 else max(0, int(part * cells))
    return glyphs.full * filled + glyphs.empty * (cells - filled)


def limit_text(name: str, used: Any, limit: Any) -> str:
    """Writes the use of a limit in its own unit: `10/12`, `41.2/60 s`, `$0.0312/$0.50`; an unknown use is `?`."""
    whole = amount_text(name, limit)
    return f"{'?' if used is None else amount_text(name, used).removesuffix(' s')}/{whole}"


def amount_text(name: str, amount: Any) -> str:
    """Writes an amount in the unit of the limit of that name: `12`, `60 s`, `$0.50`."""
    if name == "usd":
        return money_text(amount)
    number = f"{amount:,}" if isinstance(amount, int) else f"{amount:,.1f}".removesuffix(".0")
    return f"{number} s" if name == "seconds" else number


def paint(line: Line, *, width: int | None = None, color: bool = False, glyphs: Glyphs = UNICODE) -> str:
    """Turns a line into text that fits a width.

    Args:
        line: the pieces, already clean.
        width: columns, or None for no limit.
        color: whether to use escape codes.
        glyphs: whose ellipsis marks what was cut.
    """
    pieces = _without_blanks_at_end(line)
    if width is not None and sum(width_of(span.text) for span in pieces) > width:
        pieces = _cut(pieces, width, glyphs.ellipsis)
    return "".join(_styled(span, color) for span in pieces)


def _without_blanks_at_end(line: Line) -> list[Span]:
    pieces = list(line)
    while pieces and not pieces[-1].text.strip(" "):
        pieces.pop()
    if pieces:
        pieces[-1] = Span(pieces[-1].text.rstrip(" "), pieces[-1].style)
    return pieces


def _cut(line: Line, width: int, ellipsis: str) -> list[Span]:
    """Cuts a line that is too wide."""
    kept: list[Span] = []
    room = width - len(ellipsis)
    for span in line:
        kept.append(Span(_start(span.text, room), span.style))
        room -= width_of(span.text)
    return [*kept, Span(ellipsis[: max(0, width)])]


def _styled(span: Span, color: bool) -> str:
    code = _CODES.get(span.style)
    return f"\x1b[{code}m{span.text}\x1b[0m" if color and code and span.text else span.text


def render_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    footer: Sequence[Cell] | None = None,
    color: bool = False,
    width: int | None = None,
    wrapped: str | None = None,
    glyphs: Glyphs = UNICODE,
) -> str:
    """Draws an aligned table; columns of numbers stand to the right.

    Args:
        headers: one text a column.
        rows: as many cells each: text, an int (a count), a Decimal (USD), a `Span` (styled text), or None (`-`).
        footer: a last row under a rule, such as the totals, or None.
        color: whether to use escape codes.
        width: columns that the whole may take; columns of text are cut to fit. None is no limit.
        wrapped: the header of a column whose texts go on in the next line where others are cut, or None.
        glyphs: what the rules are drawn with.

    Returns:
        The lines, joined, without a line end after the last one.
    """
    body = [[_span(cell) for cell in row] for row in rows]
    last = [[_span(cell, "bold") for cell in footer]] if footer is not None else []
    top = [Span(clean(header), "bold") for header in headers]
    right = [all(_NUMBER.fullmatch(row[at].text) for row in body + last) for at in range(len(top))]
    widths = [max(width_of(row[at].text) for row in [top, *body, *last]) for at in range(len(top))]
    _narrow(widths, right, width)
    if wrapped is not None:
        column = list(headers).index(wrapped)
        body = [line for row in body for line in _unfolded(row, column, widths[column])]
    rule = [Span(glyphs.rule * size, "dim") for size in widths]
    table = [top, rule, *body, *([rule] if last else []), *last]
    return "\n".join(paint(_row(row, widths, right, glyphs), color=color) for row in table)


def _span(cell: Cell, style: str = "") -> Span:
    if isinstance(cell, Span):
        return Span(clean(cell.text), cell.style)
    if cell is None:
        return Span("-", "dim")
    if isinstance(cell, Decimal):
        return Span(money_text(cell), style)
    return Span(clean(cell) if isinstance(cell, str) else count_text(cell), style)


def _narrow(widths: list[int], right: list[bool], width: int | None) -> None:
    """Takes columns from the widest text until the table fits, or every text is down to 8 columns."""
    texts = [at for at, numbers in enumerate(right) if not numbers]
    while width is not None and texts and sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= 8:
            return
        widths[widest] -= 1


def _unfolded(row: Sequence[Span], at: int, width: int) -> Iterator[list[Span]]:
    """Gives a row as the lines that it takes where one of its texts goes on in the next line."""
    first, *more = textwrap.wrap(row[at].text, width) or [""]
    yield [*row[:at], row[at]._replace(text=first), *row[at + 1 :]]
    for text in more:
        yield [Span(text if column == at else "", row[at].style) for column in range(len(row))]


def _row(row: Sequence[Span], widths: list[int], right: list[bool], glyphs: Glyphs) -> list[Span]:
    line: list[Span] = []
    for at, span in enumerate(row):
        text = fit(span.text, widths[at], glyphs.ellipsis)
        padding = Span(" " * (widths[at] - width_of(text)))
        gap = Span("  " if at else "")
        line += [gap, padding, Span(text, span.style)] if right[at] else [gap, Span(text, span.style), padding]
    return line
