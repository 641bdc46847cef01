"""What tests of stores share: a cache folder of their own, telemetry in memory, a clock to move, warnings said anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent.telemetry import guard
from otel_agent.testing import Capture, FakeClock, capture, fake_clock


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives the user's cache folder, which is another one for each test; no prompt is set by the environment."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("LOCALAPPDATA", str(folder))
    monkeypatch.setattr(guard, "_said", {})
    return folder


@pytest.fixture
def kept() -> Iterator[Capture]:
    with capture() as kept:
        yield kept


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with fake_clock() as clock:
        yield clock
