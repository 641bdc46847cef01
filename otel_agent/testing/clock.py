"""A clock that moves only when it is told to, and ids that count: runs that come out the same every time."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import contextmanager

from otel_agent import checks
from otel_agent.context import source

__all__ = ["FakeClock", "counting_ids", "fake_clock"]


class FakeClock:
    """The clock that runs and calls read inside `fake_clock()`."""

    def __init__(self) -> None:
        self._now = 1_000_000_000

    def advance(self, seconds: float) -> None:
        """Moves the clock by a positive time in seconds."""
        self._now += int(checks.seconds("FakeClock.advance", seconds) * 1_000_000_000)

    def monotonic_ns(self) -> int:
        """Gives its time in nanoseconds."""
        return self._now


@contextmanager
def fake_clock() -> Generator[FakeClock]:
    """Lets runs and calls inside the block read a clock that only `advance` moves; asyncio's own timers stay real."""
    clock, before = FakeClock(), source.monotonic_ns
    source.monotonic_ns = clock.monotonic_ns
    try:
        yield clock
    finally:
        source.monotonic_ns = before


@contextmanager
def counting_ids() -> Generator[None]:
    """Gives runs inside the block the ids 1, 2, 3, ..., as 32 hex digits."""
    numbers, before = itertools.count(1), source.new_id
    source.new_id = lambda: f"{next(numbers):032x}"
    try:
        yield
    finally:
        source.new_id = before
