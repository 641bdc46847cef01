"""What tests of runs share: telemetry in memory, a clock to move, prices of one's own, warnings said anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from otel_agent import Price
from otel_agent.pricing import PriceBook
from otel_agent.run import use_prices
from otel_agent.telemetry import guard
from otel_agent.testing import Capture, FakeClock, capture, fake_clock
from tests.support.verbs import VERBS, Balance, Verb, clean

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
    monkeypatch.setattr(guard, "_said", {})


@pytest.fixture(params=VERBS, ids=lambda verb: verb.name)
def verb(request: pytest.FixtureRequest) -> Verb:
    """Gives each of the three verbs in turn."""
    found: Verb = request.param
    return found


@pytest.fixture
def unharmed(kept: Capture, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Holds a test to what every test of a callable is held to.

    The caller's context is the same object before and after; every span is ended; nothing is logged, such as a context
    that could not be detached or a span that was ended twice.
    """
    spans = Balance()
    kept.tracer_provider.add_span_processor(spans)
    with clean():
        yield
    assert spans.open == 0
    said = caplog.get_records("call")  # `records` are those of the teardown, which this is
    assert [record.getMessage() for record in said if record.levelno >= logging.WARNING] == []
