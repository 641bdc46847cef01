"""Charts as inline SVG: bars over time, spreads, shares. Pure: numbers and names in, text out.

Decides scales, ticks and where a label stands. Colours are classes, so that the page chooses them for light and dark;
nothing is told by colour alone, since every mark has a title and every group its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Bar", "Spread", "bars", "legend", "shares", "spreads"]

WIDTH, LEFT, RIGHT = 760, 56, 12
BARS_HEIGHT, AXIS = 180, 22
ROW, NAME = 30, 190
LABEL_EVERY = 110
HALF_LABEL = 40


class Bar(NamedTuple):
    """One bar: its label, and the height of each of its parts, from the bottom."""

    label: str
    parts: Sequence[int]


class Spread(NamedTuple):
    """How the values of a group lie: the 5th, 25th, 50th, 75th and 95th of a hundred, and how many there are."""

    name: str
    color: int
    size: int
    marks: tuple[float, float, float, float, float]


def legend(names: Sequence[tuple[str, int]]) -> str:
    """Gives the names of colours, each beside its colour."""
    items = (f'<li><span class="swatch c{color}"></span>{escape(name)}</li>' for name, color in names)
    return f'<ul class="legend">{"".join(items)}</ul>'


def bars(found: Sequence[Bar], names: Sequence[tuple[str, int]], *, about: str) -> str:
    """Draws stacked bars over time.

    Args:
        found: the bars, in order.
        names: the name and colour of each part.
        about: what it shows, for those who hear it.
    """
    top = _nice(max((sum(bar.parts) for bar in found), default=0))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(found))
    wide = max(1.0, min(60.0, step * 0.8))
    drawn = [_grid(top)]
    every = max(1, math.ceil(LABEL_EVERY / step))
    for at, bar in enumerate(found):
        middle = LEFT + (at + 0.5) * step
        drawn.append(_stack(bar, names, middle - wide / 2, wide, top))
        if at % every == 0:
            drawn.append(_text(min(middle, WIDTH - HALF_LABEL), BARS_HEIGHT + AXIS - 6, bar.label, "middle"))
    return _svg(BARS_HEIGHT + AXIS, about, drawn)


def _stack(bar: Bar, names: Sequence[tuple[str, int]], left: float, wide: float, top: float) -> str:
    drawn: list[str] = []
    base = 0
    for (name, color), part in zip(names, bar.parts, strict=True):
        if part:
            high = part / top * (BARS_HEIGHT - 10)
            y = BARS_HEIGHT - base / top * (BARS_HEIGHT - 10) - high
            title = f"{bar.label}: {part:,} {name}"
            drawn.append(_rect(left, y, wide, max(1.0, high), color, title))
        base += part
    return "".join(drawn)


def _grid(top: float) -> str:
    drawn: list[str] = []
    for part in (0.0, 0.5, 1.0) if top > 1 else (0.0, 1.0):
        y = BARS_HEIGHT - part * (BARS_HEIGHT - 10)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(LEFT - 6, y + 4, _short(part * top), "end"))
    return "".join(drawn)


def spreads(found: Sequence[Spread], write: Callable[[float], str], *, about: str) -> str:
    """Draws how the values of each group lie, one row a group: a line, a box, and its middle.

    Args:
        found: the groups.
        write: writes a value.
        about: what it shows, for those who hear it.
    """
    top = max((spread.marks[4] for spread in found), default=0.0) or 1.0
    room = WIDTH - NAME - RIGHT - 70

    def x(value: float) -> float:
        return NAME + value / top * room

    drawn = [_spread(spread, at * ROW + ROW / 2, x, write) for at, spread in enumerate(found)]
    bottom = len(found) * ROW
    for part in (0.0, 0.5, 1.0):
        at = x(part * top)
        drawn.insert(0, f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{bottom}"/>')
        drawn.append(_text(at, bottom + AXIS - 6, write(part * top), "middle"))
    return _svg(bottom + AXIS, about, drawn)


def _spread(spread: Spread, y: float, x: Callable[[float], float], write: Callable[[float], str]) -> str:
    low, quarter, middle, three, high = map(x, spread.marks)
    said = ", ".join(write(mark) for mark in spread.marks)
    title = f"{spread.name}: {spread.size:,} runs; 5, 25, 50, 75 and 95 of 100 are at most {said}"
    return (
        _text(NAME - 8, y + 4, _cut(spread.name), "end")
        + f'<line class="s{spread.color}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        + _rect(quarter, y - 8, max(1.5, three - quarter), 16, spread.color, title)
        + f'<line class="middle" x1="{middle:.1f}" x2="{middle:.1f}" y1="{y - 10}" y2="{y + 10}"/>'
        + _text(high + 6, y + 4, write(spread.marks[2]), "start", "strong")
    )


def shares(rows: Sequence[tuple[str, Sequence[int]]], names: Sequence[tuple[str, int]], *, about: str) -> str:
    """Draws what each group is made of, one full row a group.

    Args:
        rows: the name of each group, and how much of each part it has.
        names: the name and colour of each part.
        about: what it shows, for those who hear it.
    """
    drawn: list[str] = []
    for at, (name, parts) in enumerate(rows):
        drawn.append(_text(NAME - 8, at * ROW + ROW / 2 + 4, _cut(name), "end"))
        drawn.append(_share(name, parts, names, at * ROW + 5))
    return _svg(len(rows) * ROW, about, drawn)


def _share(group: str, parts: Sequence[int], names: Sequence[tuple[str, int]], y: float) -> str:
    total, left = sum(parts) or 1, float(NAME)
    drawn: list[str] = []
    for (name, color), part in zip(names, parts, strict=True):
        wide = part / total * (WIDTH - NAME - RIGHT)
        if part:
            title = f"{group}: {name} {part:,} of {total:,} ({part / total:.1%})"
            drawn.append(_rect(left, y, max(1.0, wide - 1), ROW - 10, color, title))
            if wide > 44:
                drawn.append(_text(left + wide / 2, y + ROW / 2 - 1, f"{part / total:.0%}", "middle", "inside"))
        left += wide
    return "".join(drawn)


def _svg(height: float, about: str, drawn: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(about)}">{"".join(drawn)}</svg>'


def _rect(x: float, y: float, wide: float, high: float, color: int, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"'
    return f'<rect class="c{color}" {place} rx="1.5"><title>{escape(title)}</title></rect>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(name: str) -> str:
    return name if len(name) <= 27 else name[:26] + "…"


def _nice(top: float) -> float:
    """Gives the next of 1, 2, 4, 5, 10, 20, ... that is not below."""
    if top <= 1:
        return 1
    power = math.pow(10, math.floor(math.log10(top)))
    return next(power * step for step in (1, 2, 4, 5, 10) if power * step >= top)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
