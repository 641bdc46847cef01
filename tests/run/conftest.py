"""What tests of runs share: telemetry in memory, a clock to move, prices of one's own, warnings said anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from otel_agent import Price
from otel_agent.pricing import PriceBook
from otel_agent.run import use_prices
from otel_agent.telemetry import guard
from otel_agent.testing import Capture, FakeClock, capture, fake_clock

SetPrices = Callable[..., None]


@pytest.fixture
def kept() -> Iterator[Capture]:
    with capture() as kept:
        yield kept


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with fake_clock() as clock:
        yield clock


@pytest.fixture
def prices() -> Iterator[SetPrices]:
    """Puts prices in place, by model, and a fallback; the usual ones come back afterwards."""

    def put(fallback: Price | None = None, **prices: Price) -> None:
        use_prices(PriceBook(prices, fallback))

    yield put
    use_prices(PriceBook())


@pytest.fixture
def warnings_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every warning that is logged once be logged once more."""
    monkeypatch.setattr(guard, "_said", set())
