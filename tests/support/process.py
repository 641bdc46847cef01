"""A test as a process of its own, as far as telemetry can tell: no variables of others, no filters left on loggers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["as_new"]


@contextmanager
def as_new(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hides every `OTEL_*` variable, and takes back what a throttle put on the exporters' loggers."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    before = {name: list(logger.filters) for name, logger in _loggers()}
    yield
    for name, logger in _loggers():
        logger.filters[:] = before.get(name, [])


def _loggers() -> list[tuple[str, logging.Logger]]:
    known = logging.Logger.manager.loggerDict
    return [(name, each) for name, each in list(known.items()) if isinstance(each, logging.Logger)]
