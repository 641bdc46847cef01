"""Prices are exact, found by the right name, and never 0 for want of one; genai-prices is the yardstick."""

from __future__ import annotations

import decimal
import itertools
import logging
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from typing import Any, cast

import genai_prices
import pytest
from genai_prices import data_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import pricing
from otel_agent.pricing import Price, PriceBook, Quote
from otel_agent.stop import InvalidSetting
from otel_agent.usage import micro_to_usd, usd_to_micro

MINI = Price(input="0.25", output=2, cached_input="0.025")


def book(**prices: Price) -> PriceBook:
    return PriceBook(prices)


def quoted(provider: str | None, model: str, prices: PriceBook | None = None) -> Quote:
    quote = (prices or PriceBook()).quote(provider, model)
    assert quote is not None
    return quote


def input_price(provider: str | None, model: str, prices: PriceBook) -> int | None:
    """Micro-USD of a million input tokens."""
    quote = prices.quote(provider, model)
    return None if quote is None else quote.micro_usd(1_000_000, 0)


# Price.


@pytest.mark.parametrize("value", ["0.1", 0.1, Decimal("0.1")])
def test_money_is_exact_however_it_is_written(value: Any) -> None:
    price = Price(input=value, output=value, cached_input=value, per_call=value)
    assert price == Price(input="0.1", output="0.1", cached_input="0.1", per_call="0.1")
    assert price.input == Decimal("0.1")


def test_whole_and_missing_prices() -> None:
    price = Price(input=1, output=0)
    assert (price.input, price.output, price.cached_input, price.per_call) == (1, 0, None, None)


WRONG = [
    -1,
    "-0.01",
    float("nan"),
    float("inf"),
    "NaN",
    "sNaN",
    "Infinity",
    1_000_001,
    "1e7",
    True,
    False,
    "",
    "one",
    b"1",
]


@pytest.mark.parametrize("field", ["input", "output", "cached_input", "per_call"])
@pytest.mark.parametrize(
    "value", [*WRONG, [1], 10**5_000, "1e-31", "1e-999999999999"], ids=lambda value: str(type(value))
)
def test_wrong_prices_name_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Price(**{"input": 1, "output": 1, field: value})
    assert caught.value.field == f"Price.{field}"
    assert "USD" in caught.value.allowed


@pytest.mark.parametrize("field", ["input", "output"])
def test_input_and_output_cannot_be_unknown(field: str) -> None:
    with pytest.raises(InvalidSetting, match=f"Price.{field} = None"):
        Price(**cast(Any, {"input": 1, "output": 1, field: None}))


def test_largest_and_finest_prices() -> None:
    assert Price(input=1_000_000, output="1e-30").input == 1_000_000


def test_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(InvalidSetting, match="cached_input"):
        Price(input=1, output=1, cache_input=1)  # type: ignore[call-arg]


def test_a_price_is_a_frozen_value() -> None:
    assert len({MINI, Price(input="0.250", output="2.0", cached_input=0.025)}) == 1
    assert pickle.loads(pickle.dumps(MINI)) == MINI
    with pytest.raises(AttributeError):
        MINI.input = Decimal(1)  # type: ignore[misc]
    with pytest.raises(TypeError):
        Price(1, 1)  # type: ignore[misc]


# What a call costs.


def test_parts_have_their_own_price() -> None:
    quote = quoted(None, "m", book(m=MINI))
    assert quote.source == "local"
    assert quote.micro_usd(1_000_000, 0) == 250_000
    assert quote.micro_usd(0, 1_000_000) == 2_000_000
    assert quote.micro_usd(1_000_000, 0, 1_000_000) == 25_000
    assert quote.micro_usd(1_000_000, 0, 400_000, 200_000) == 150_000 + 10_000
    assert quote.micro_usd(0, 1_000_000, 0, 0, 1_000_000) == 2_000_000


def test_cached_input_without_a_price_costs_what_input_costs() -> None:
    assert quoted(None, "m", book(m=Price(input=3, output=1))).micro_usd(100, 0, 100) == 300


def test_a_call_can_cost_something_by_itself() -> None:
    quote = quoted(None, "m", book(m=Price(input=0, output=0, per_call="0.01")))
    assert quote.micro_usd(None, None) == 10_000
    assert sum(quote.micro_usd(5, 5) for _ in range(100)) == usd_to_micro(Decimal("1.00"))


def test_cost_is_rounded_up_once() -> None:
    quote = quoted(None, "m", book(m=Price(input="0.4", output="0.4")))
    assert quote.micro_usd(1, 1) == 1  # 0.8, not 1 + 1
    assert quote.micro_usd(1, 2) == 2  # 1.2
    assert quote.micro_usd(5, 0) == 2  # exactly
    assert quote.micro_usd(0, 0) == 0


def test_tiniest_price_is_not_nothing() -> None:
    assert quoted(None, "m", book(m=Price(input="1e-30", output=0))).micro_usd(1, 0) == 1


def test_unknown_counts_are_nothing() -> None:
    assert quoted(None, "m", book(m=MINI)).micro_usd(None, None, None, None, None) == 0


def test_parts_larger_than_their_whole_raise_it() -> None:
    quote = quoted(None, "m", book(m=MINI))
    assert quote.micro_usd(0, 0, 1_000_000) == 25_000
    assert quote.micro_usd(None, None, 0, 1_000_000, 1_000_000) == 250_000 + 2_000_000


money = st.decimals(0, 1_000, places=6) | st.floats(1e-9, 1_000).map(lambda value: Decimal(repr(value)))
amounts = st.integers(0, 10**9)


@given(st.tuples(money, money, money, money), amounts, amounts, st.data())
def test_cost_is_exact(usd: tuple[Decimal, ...], tokens: int, output: int, data: Any) -> None:
    cached = data.draw(st.integers(0, tokens))
    quote = quoted(None, "m", book(m=Price(input=usd[0], cached_input=usd[1], output=usd[2], per_call=usd[3])))
    fresh, hit, answer, call = map(Fraction, usd)
    exact = (tokens - cached) * fresh + cached * hit + output * answer + call * 10**6
    assert quote.micro_usd(tokens, output, cached) == -(-exact // 1)


@given(st.integers(1, 10**6), st.integers(1, 500))
def test_a_cap_of_n_calls_lets_n_calls_through(micro: int, calls: int) -> None:
    quote = quoted(None, "m", book(m=Price(input=0, output=0, per_call=micro_to_usd(micro))))
    assert calls * quote.micro_usd(7, 7) == usd_to_micro(micro_to_usd(micro) * calls)


def test_the_applications_decimal_context_changes_nothing() -> None:
    published = quoted("openai", "gpt-5-mini").micro_usd(1_234_567, 7_654_321)
    with decimal.localcontext(decimal.Context(prec=2, traps=[decimal.Inexact, decimal.Rounded])):
        quote = quoted(None, "m", book(m=Price(input="123.456789", output="0.000001")))
        assert quote.micro_usd(1_000_000, 1_000_000) == 123_456_790
        assert quoted("openai", "gpt-5-mini").micro_usd(1_234_567, 7_654_321) == published
        assert micro_to_usd(123_456_789_012) == Decimal("123456.789012")
        assert usd_to_micro(Decimal("123456.7890121")) == 123_456_789_013


# Which price holds.


def test_own_price_goes_before_the_published_one() -> None:
    published = genai_prices.calc_price(genai_prices.Usage(input_tokens=10**6), "gpt-5-mini", provider_id="openai")
    assert input_price("openai", "gpt-5-mini", PriceBook()) == usd_to_micro(published.total_price) > 0
    assert input_price("openai", "gpt-5-mini", PriceBook({"gpt-5-mini": Price(input=7, output=7)})) == 7_000_000


def test_own_names_are_tried_from_the_most_exact() -> None:
    model, undated = "gpt-5-mini-2025-08-07", "gpt-5-mini"
    names = [f"openai/{model}", model, f"openai/{undated}", undated]
    for known in range(len(names)):
        prices = PriceBook({name: Price(input=known + at, output=0) for at, name in enumerate(names[known:])})
        assert input_price("openai", model, prices) == known * 1_000_000


def test_own_price_of_one_provider_is_not_anothers() -> None:
    prices = PriceBook({"custom/house-model": MINI})
    assert input_price("custom", "house-model", prices) == 250_000
    assert input_price("other", "house-model", prices) is None
    assert input_price(None, "house-model", prices) is None


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("house-2025-08-07", True),
        ("house-20250807", True),
        ("house@20250807", True),
        ("house-2025-13-07", False),
        ("house-2025-0807", False),
        ("house-1925-08-07", False),
        ("house-2025-08-07-preview", False),
        ("house-2025-08-07\n", False),
        ("house-mini", False),
        ("house-", False),
        ("House", False),
    ],
)
def test_only_a_date_may_follow_a_known_name(model: str, *, known: bool) -> None:
    assert (PriceBook({"house": MINI}).quote(None, model) is not None) is known


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("custom", "gpt-5-mini"),
        ("ibm.watsonx.ai", "gpt-5-mini"),
        (None, "house-model"),
        (None, ""),
    ],
)
def test_unknown_model_has_no_price_but_the_fallback(provider: str | None, model: str) -> None:
    assert PriceBook().quote(provider, model) is None
    fallback = quoted(provider, model, PriceBook(fallback=Price(input=5, output=5)))
    assert fallback.source == "fallback"
    assert fallback.micro_usd(10, 0) == 50


BY_SOMETHING_ELSE = {
    "whisper-1": "openai",
    "mistral-ocr-2512": "mistral",
    "gpt-4.1": "github-copilot",
    "gemma-3": "google",
}


@pytest.mark.parametrize(("model", "provider"), BY_SOMETHING_ELSE.items())
def test_model_that_is_not_priced_by_tokens_is_not_free(model: str, provider: str) -> None:
    assert genai_prices.calc_price(genai_prices.Usage(input_tokens=10**6), model, provider_id=provider).total_price == 0
    assert PriceBook().quote(provider, model) is None


def test_model_that_is_free_by_name_costs_nothing() -> None:
    assert quoted("openrouter", "openai/gpt-oss-20b:free").micro_usd(10**6, 10**6) == 0


def test_a_request_can_have_a_published_price() -> None:
    assert quoted("perplexity", "sonar-pro").micro_usd(0, 0) > 0


@pytest.mark.parametrize(
    ("convention", "ours"),
    {
        "anthropic": "anthropic",
        "aws.bedrock": "aws",
        "azure.ai.inference": "azure",
        "azure.ai.openai": "azure",
        "cohere": "cohere",
        "deepseek": "deepseek",
        "gcp.gemini": "google",
        "gcp.gen_ai": "google",
        "gcp.vertex_ai": "google",
        "groq": "groq",
        "mistral_ai": "mistral",
        "moonshot_ai": "moonshotai",
        "openai": "openai",
        "perplexity": "perplexity",
        "x_ai": "x-ai",
        "X_AI": "x-ai",
    }.items(),
)
def test_providers_are_known_by_their_conventional_names(convention: str, ours: str) -> None:
    provider = next(each for each in data_snapshot.get_snapshot().providers if each.id == ours)
    priced = [model.id for model in provider.models if PriceBook().quote(ours, model.id)]
    assert priced
    for model in priced[:5]:
        assert input_price(convention, model, PriceBook()) == input_price(ours, model, PriceBook())


def test_azure_is_not_taken_for_openai() -> None:
    assert input_price("azure.ai.openai", "phi-4", PriceBook()) is not None
    assert input_price("openai", "phi-4", PriceBook()) is None


@pytest.mark.parametrize("name", [None, 5, ["m"], {}, b"m", object()])
def test_names_that_are_no_text_have_no_price_but_the_fallback(name: Any) -> None:
    fallback = PriceBook(fallback=MINI)
    assert PriceBook().quote("openai", name) is None
    assert PriceBook().quote(cast(Any, name or []), "no-such-model") is None
    assert quoted("openai", name, fallback).source == "fallback"
    assert quoted(name, "no-such-model", fallback).source == "fallback"


@given(st.none() | st.text(), st.text())
def test_any_names_can_be_asked_for(provider: str | None, model: str) -> None:
    quote = PriceBook(fallback=MINI).quote(provider, model)
    assert quote is not None
    assert quote.micro_usd(10, 10) >= 0


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"prices": [MINI]}, "PriceBook.prices"),
        ({"prices": {"": MINI}}, "PriceBook.prices"),
        ({"prices": {5: MINI}}, "PriceBook.prices"),
        ({"prices": {"m": "0.25"}}, "prices['m']"),
        ({"fallback": "0.25"}, "PriceBook.fallback"),
        ({"price": {}}, "PriceBook.price"),
    ],
)
def test_wrong_books_name_the_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        PriceBook(**settings)
    assert caught.value.field == field


def test_the_book_keeps_what_it_was_given() -> None:
    own = {"house": MINI}
    prices = PriceBook(own)
    own["other"] = MINI
    own.pop("house")
    assert prices.quote(None, "house") is not None
    assert prices.quote(None, "other") is None


# Look-ups.


def test_look_ups_are_remembered_also_those_that_found_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(_: object, model: str, *__: object) -> None:
        asked.append(model)

    monkeypatch.setattr(pricing, "_published", find)
    prices = PriceBook()
    for model in ("a", "b", "a", "a", "b"):
        assert prices.quote("openai", model) is None
    assert asked == ["a", "b"]


def test_a_million_names_do_not_grow_the_memory() -> None:
    prices = PriceBook()

    def ask(names: range) -> None:
        for number in names:
            assert prices.quote("anthropic", f"{number}-{'x' * 200}") is None

    ask(range(3_000))
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    ask(range(3_000, 6_000))
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    assert sum(grown.size_diff for grown in after.compare_to(before, "filename")) < 3_000 * 200


def test_own_prices_need_no_library() -> None:
    source = (
        "import sys\n"
        "from otel_agent.pricing import Price, PriceBook\n"
        "prices = PriceBook({'m': Price(input=1, output=1)}, fallback=Price(input=2, output=2))\n"
        "prices.quote('openai', 'm').micro_usd(1, 1)\n"
        "print({'genai_prices', 'pydantic'} & set(sys.modules))\n"
        "prices.quote('openai', 'gpt-5-mini')\n"
        "print('genai_prices' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["set()", "True"], done.stderr


def test_library_that_breaks_is_one_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pricing._complain.cache_clear()
    monkeypatch.setattr(data_snapshot, "get_snapshot", lambda: 1 / 0)
    prices = PriceBook({"house": MINI}, fallback=Price(input=9, output=9))
    for model in ("gpt-5", "gpt-5-mini", "house"):
        assert prices.quote("openai", model) is not None
    assert PriceBook().quote("openai", "gpt-5") is None
    assert [(record.name, record.levelno) for record in caplog.records] == [("otel_agent", logging.WARNING)]
    assert "ZeroDivisionError" in caplog.text
    pricing._complain.cache_clear()


def test_missing_library_is_one_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pricing._complain.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    assert PriceBook().quote("openai", "gpt-5") is None
    assert len(caplog.records) == 1
    pricing._complain.cache_clear()


def test_threads_get_the_same_answer() -> None:
    prices, costs = PriceBook(), []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        costs.append([input_price("openai", model, prices) for model in ("gpt-5", "gpt-5-mini", "none")])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert costs == [costs[0]] * 8
    assert [cost is None for cost in costs[0]] == [False, False, True]


# Against the library itself.


MOMENTS = [
    datetime(2025, 1, 1, 12, tzinfo=UTC),
    datetime(2026, 6, 30, 2, 30, tzinfo=UTC),
    datetime(2026, 10, 1, 7, tzinfo=UTC),
    datetime(2030, 1, 1, 20, tzinfo=UTC),
]


def usages(model: ModelInfo) -> Iterator[tuple[int, int, int, int, int]]:
    """Random usages of one model, also around the borders of its tiers."""
    dice = random.Random(model.id)
    periods = [each.prices for each in model.prices] if isinstance(model.prices, list) else [model.prices]
    tiered = [price for each in periods for price in each.__dict__.values() if isinstance(price, TieredPrices)]
    borders = {tier.start + step for price in tiered for tier in price.tiers for step in (0, 1)}
    for total in (0, dice.randrange(10**4), dice.randrange(10**7), *borders):
        cached = dice.randrange(total + 1)
        output = dice.randrange(10**5)
        yield total, output, cached, dice.randrange(total - cached + 1), dice.randrange(output + 1)


NAMES = ["{}", "us.{}", "accounts/fireworks/models/{}", "{}-latest", "{}-2512", "{}:org"]


def asked_for(provider: Provider, model: ModelInfo) -> str | None:
    """A name by which the library finds the model: not each is found by its own id."""
    plain = model.id.removeprefix("regional.")
    names = (name.format(plain) for name in NAMES)
    return next((name for name in names if provider.find_model(name) is model), None)


ALL = [(provider, model) for provider in data_snapshot.get_snapshot().providers for model in provider.models]
NAMED = [(provider, model, name) for provider, model in ALL if (name := asked_for(provider, model))]


def expected(provider: Provider, name: str, moment: datetime, usage: tuple[int, ...]) -> int:
    keys = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "output_reasoning_tokens")
    spent = genai_prices.Usage(**dict(zip(keys, usage, strict=True)))
    price = genai_prices.calc_price(spent, name, provider_id=provider.id, genai_request_timestamp=moment).total_price
    return int((price * 10**6).to_integral_value(rounding=ROUND_CEILING))


def test_every_published_price_is_what_the_library_makes_of_it() -> None:
    moment = MOMENTS[0]
    prices = PriceBook(now=lambda: moment)
    compared = 0
    for provider, model, name in NAMED:
        quote = prices.quote(provider.id, name)
        if quote is None:
            continue
        for moment, usage in itertools.product(MOMENTS, usages(model)):
            assert quote.micro_usd(*usage) == expected(provider, name, moment, usage), (provider.id, name, usage)
            compared += 1
    assert compared > 3 * 4 * 0.9 * len(ALL)


def test_what_has_no_quote_has_no_price_by_tokens() -> None:
    unpriced = [(provider, name) for provider, _, name in NAMED if PriceBook().quote(provider.id, name) is None]
    assert 0 < len(unpriced) < 0.03 * len(ALL)
    for provider, name in unpriced:
        assert 0 in {expected(provider, name, moment, (10**6, 10**6, 0, 0, 0)) for moment in MOMENTS}, name


def test_a_price_that_changes_follows_the_clock_of_the_library() -> None:
    usage = (10_000, 1_000, 100, 10, 1)
    changing = [each for each in NAMED if isinstance(each[1].prices, list) and each[0].id == "openai"]
    assert changing
    for provider, _, name in changing:
        assert quoted(provider.id, name).micro_usd(*usage) == expected(provider, name, datetime.now(UTC), usage)


def priced(**keys: Any) -> ModelPrice:
    return ModelPrice(**{name: Decimal(value) if isinstance(value, int) else value for name, value in keys.items()})


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts one model into the library's data, in place of all others."""

    def publish(prices: Any) -> None:
        model = ModelInfo(id="m", match=ClauseEquals("m"), prices=prices)
        provider = Provider(id="p", name="P", api_pattern="p", models=[model])
        snapshot = data_snapshot.DataSnapshot([provider], from_auto_update=False)
        monkeypatch.setattr(data_snapshot, "_custom_snapshot", snapshot)

    return publish


def test_a_tier_holds_for_the_whole_call_above_its_start(published: Any) -> None:
    tiers = [Tier(start=100, price=Decimal(2)), Tier(start=200, price=Decimal(3))]
    published(priced(input_mtok=TieredPrices(base=Decimal(1), tiers=tiers), output_mtok=10))
    quote = quoted("p", "m")
    assert quote.source == "local"
    assert [quote.micro_usd(tokens, 0) for tokens in (100, 101, 200, 201)] == [100, 202, 400, 603]
    assert quote.micro_usd(50, 1, 300) == 300 * 3 + 10  # the parts say that the input was larger


def test_a_price_changes_at_its_date_and_at_its_hours(published: Any) -> None:
    june, morning = date(2026, 6, 1), time(6, tzinfo=UTC)
    published(
        [
            ConditionalPrice(prices=priced(input_mtok=1)),
            ConditionalPrice(StartDateConstraint(june), prices=priced(input_mtok=2)),
            ConditionalPrice(TimeOfDateConstraint(morning, morning.replace(hour=22)), prices=priced(input_mtok=3)),
        ]
    )
    moment = datetime(2026, 5, 31, 5, 59, tzinfo=UTC)
    quote = quoted("p", "m", PriceBook(now=lambda: moment))
    assert quote.source == "local"
    for month, day, hour, price in [(5, 31, 5, 1), (5, 31, 6, 3), (5, 31, 21, 3), (5, 31, 22, 1), (6, 1, 0, 2)]:
        moment = datetime(2026, month, day, hour, tzinfo=UTC)
        assert quote.micro_usd(10, 0) == 10 * price, moment


def test_a_clock_that_breaks_leaves_the_last_price(published: Any, caplog: pytest.LogCaptureFixture) -> None:
    pricing._complain.cache_clear()
    june = StartDateConstraint(date(2026, 6, 1))
    published([ConditionalPrice(prices=priced(input_mtok=1)), ConditionalPrice(june, prices=priced(input_mtok=2))])
    quote = quoted("p", "m", PriceBook(now=lambda: datetime.fromisoformat("soon")))
    assert [quote.micro_usd(10, 0), quote.micro_usd(20, 0)] == [20, 40]
    assert len(caplog.records) == 1
    pricing._complain.cache_clear()


def test_a_price_that_is_by_tokens_only_at_times_is_unknown(published: Any) -> None:
    june = StartDateConstraint(date(2026, 6, 1))
    published([ConditionalPrice(prices=priced(audio_hours=1)), ConditionalPrice(june, prices=priced(input_mtok=2))])
    assert PriceBook().quote("p", "m") is None
