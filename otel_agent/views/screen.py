"""Where trees and the progress line are written: one stream, plain or a terminal.

Decides colour, width and characters from the stream and the environment, anew at each write, since streams are
replaced. Knows no clock and no run that is open; for one thread at a time; lets the stream's errors out.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from otel_agent.views.drawing import render_tree
from otel_agent.views.live import Status, status_text
from otel_agent.views.text import Span, fit, glyphs_for, paint, width_of
from otel_agent.views.tree import RunNode

__all__ = ["Screen", "colored", "columns", "encodable"]

PLAIN_WIDTH = 120


class Screen:
    """A stream that trees are written to, under a status line that comes and goes.

    Args:
        stream: where to write, or None for `sys.stderr` as it is at each write.
        color: whether to use escape codes, or None to ask NO_COLOR, FORCE_COLOR, TERM and the stream.
        width: columns, or None to ask the terminal.
    """

    def __init__(self, stream: TextIO | None, *, color: bool | None, width: int | None) -> None:
        self._stream = stream
        self._color = color
        self._width = width
        self._shown: tuple[TextIO, int] | None = None
        self._frame = 0

    @property
    def live(self) -> bool:
        """Whether a line can be written over: the stream is a terminal that is not dumb."""
        stream = self._now()
        return stream is not None and _is_terminal(stream) and not _is_dumb()

    def tree(self, root: RunNode) -> None:
        """Writes a tree in one piece; a status line makes room for it first."""
        stream = self._now()
        if stream is None:
            return
        glyphs = glyphs_for(_encoding(stream))
        lines = render_tree(root, width=self._columns(stream), color=self._colored(stream), glyphs=glyphs)
        self.clear(unless=stream)
        self._write(stream, self._wipe() + "\n".join(lines) + "\n")

    def status(self, status: Status) -> None:
        """Writes the status line over the one before, on a terminal."""
        stream = self._now()
        if stream is None:
            return
        self.clear(unless=stream)
        glyphs = glyphs_for(_encoding(stream))
        self._frame = (self._frame + 1) % len(glyphs.spinner)
        width = self._columns(stream) - 1
        text = fit(f"{glyphs.spinner[self._frame]} {status_text(status, glyphs)}", width, glyphs.ellipsis)
        before = self._shown[1] if self._shown else 0
        self._shown = stream, width_of(text)
        padding = " " * min(width - width_of(text), max(0, before - width_of(text)))
        self._write(stream, "\r" + text + padding)

    def note(self, status: Status) -> None:
        """Writes a status as a line that stays, where nothing can be written over."""
        stream = self._now()
        if stream is not None:
            glyphs = glyphs_for(_encoding(stream))
            line = [Span(f"{status_text(status, glyphs)}{glyphs.dot}still open")]
            self._write(stream, paint(line, width=self._columns(stream), glyphs=glyphs) + "\n")

    def clear(self, *, unless: TextIO | None = None) -> None:
        """Takes the status line away, unless it stands on the stream that is written to next."""
        if self._shown is not None and self._shown[0] is not unless:
            stream = self._shown[0]
            self._write(stream, self._wipe())

    def forget(self) -> None:
        """Leaves the status line to another process, whose line it is."""
        self._shown = None

    def _wipe(self) -> str:
        """Gives what takes the status line away, without an escape code."""
        width = self._shown[1] if self._shown else 0
        self._shown = None
        return "\r" + " " * width + "\r" if width else ""

    def _now(self) -> TextIO | None:
        return sys.stderr if self._stream is None else self._stream

    def _columns(self, stream: TextIO) -> int:
        return columns(stream) if self._width is None else self._width

    def _colored(self, stream: TextIO) -> bool:
        return colored(stream) if self._color is None else self._color

    def _write(self, stream: TextIO, text: str) -> None:
        stream.write(encodable(text, _encoding(stream)))
        stream.flush()


def colored(stream: TextIO) -> bool:
    """Tells whether a stream is to have escape codes: asks NO_COLOR, FORCE_COLOR, TERM and the stream."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (_is_terminal(stream) and not _is_dumb())


def columns(stream: TextIO) -> int:
    """Gives how wide a stream is: that of its terminal, and 120 where there is none."""
    return _terminal_width(stream) if _is_terminal(stream) else PLAIN_WIDTH


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def _is_terminal(stream: TextIO) -> bool:
    asked = getattr(stream, "isatty", None)
    return asked is not None and bool(asked())


def _encoding(stream: TextIO) -> str | None:
    return getattr(stream, "encoding", None)


def _terminal_width(stream: TextIO) -> int:
    """Asks COLUMNS, then the terminal behind the stream; 80 where neither says."""
    try:
        said = int(os.environ.get("COLUMNS", "0"))
    except ValueError:
        said = 0
    if said > 0:
        return said
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def encodable(text: str, encoding: str | None) -> str:
    """Spells out what the stream's encoding does not have."""
    try:
        return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")
    except LookupError:
        return text.encode("ascii", "backslashreplace").decode("ascii")
