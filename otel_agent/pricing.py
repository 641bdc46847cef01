"""What a call costs: the user's own prices, then those genai-prices ships, then the fallback price.

Decides which price belongs to a provider and a model, and turns tokens into micro-USD, rounded up once a call.
Never raises once it is built, never guesses: a model that nobody priced has no quote, and a quote is never 0 for it.
Reads no network and no disk. genai-prices is imported when the first price is needed that is not the user's own.
"""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from otel_agent import checks
from otel_agent.checks import Money
from otel_agent.stop import InvalidSetting
from otel_agent.usage import MICRO

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

__all__ = ["Price", "PriceBook", "Quote"]

LARGEST_PRICE = Decimal(MICRO)
FINEST_PLACES = 30
LARGEST_CACHE = 1024

Source = Literal["local", "fallback"]
_Ratio: TypeAlias = tuple[int, int]

_log = logging.getLogger("otel_agent")


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in USD: each a str, int, Decimal, or a float by its shortest repr; kept as `Decimal`.

    Attributes:
        input: USD per million input tokens, those written to a cache included.
        output: USD per million output tokens, reasoning included.
        cached_input: USD per million input tokens read from a cache; None is the price of input.
        per_call: USD per call, on top of the tokens; None is nothing.

    Raises:
        InvalidSetting: a value is no number, negative, infinite, NaN, above 1,000,000, or has over 30 decimal places.
    """

    input: Money
    output: Money
    cached_input: Money | None = None
    per_call: Money | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached_input", "per_call"):
            value: object = getattr(self, name)
            if value is not None or name in ("input", "output"):
                object.__setattr__(self, name, _usd(f"Price.{name}", value))


def _usd(field: str, value: object) -> Decimal:
    usd = checks.usd(field, value, most=LARGEST_PRICE)
    if -int(usd.as_tuple().exponent) > FINEST_PLACES:
        raise InvalidSetting(field=field, value=value, allowed=f"USD with at most {FINEST_PLACES} decimal places")
    return usd


class _Rates(NamedTuple):
    """What one token or call costs in micro-USD, times `scale`, once a call has more than `above` input tokens."""

    above: int
    input: int
    cached: int
    written: int
    output: int
    reasoning: int
    call: int
    scale: int


class Quote:
    """The price that holds for one provider and model.

    Attributes:
        source: "local" for the user's own price or one of genai-prices, "fallback" for the fallback price.
    """

    __slots__ = ("_rates", "source")

    def __init__(self, source: Source, rates: tuple[_Rates, ...]) -> None:
        self.source: Source = source
        self._rates = rates

    def micro_usd(
        self,
        input_tokens: int | None,
        output_tokens: int | None,
        cached_input_tokens: int | None = 0,
        cache_write_tokens: int | None = 0,
        reasoning_tokens: int | None = 0,
    ) -> int:
        """Gives what one call costs in micro-USD, rounded up; never raises.

        A part that exceeds its whole raises the whole: 10 cached of 5 input tokens are 10 input tokens.

        Args:
            input_tokens: all input tokens, cached and cache-write tokens inside; None counts as 0, as below.
            output_tokens: all output tokens, reasoning tokens inside.
            cached_input_tokens: the part of the input read from a cache.
            cache_write_tokens: the part of the input written to a cache.
            reasoning_tokens: the part of the output that was reasoning.
        """
        cached, written, reasoning = cached_input_tokens or 0, cache_write_tokens or 0, reasoning_tokens or 0
        fresh = (input_tokens or 0) - cached - written
        if fresh < 0:
            fresh = 0
        answer = (output_tokens or 0) - reasoning
        if answer < 0:
            answer = 0
        _, per_fresh, per_cached, per_written, per_answer, per_reasoning, call, scale = self._for(
            fresh + cached + written
        )
        cost = fresh * per_fresh + cached * per_cached + written * per_written + call
        return -(-(cost + answer * per_answer + reasoning * per_reasoning) // scale)

    def _for(self, input_tokens: int) -> _Rates:
        rates = self._rates
        return rates[0] if len(rates) == 1 else _tier(rates, input_tokens)


class _ChangingQuote(Quote):
    """A price that depends on the date or the hour: one table of rates for each period."""

    __slots__ = ("_current", "_periods")

    def __init__(self, current: Callable[[], ModelPrice], periods: Sequence[ModelPrice]) -> None:
        super().__init__("local", _compiled(periods[-1]))
        self._current = current
        self._periods = [(period, _compiled(period)) for period in periods]

    def _for(self, input_tokens: int) -> _Rates:
        try:
            now = self._current()
            return _tier(next(rates for period, rates in self._periods if period is now), input_tokens)
        except Exception:
            _complain()
            return _tier(self._rates, input_tokens)


def _tier(rates: tuple[_Rates, ...], input_tokens: int) -> _Rates:
    return next((tier for tier in rates if input_tokens > tier.above), rates[-1])


@checks.known_keywords
class PriceBook:
    """Prices by provider and model.

    Looked up in this order, the first that is found holds:

    1. the user's own price for "provider/model" or "model", by exactly that name;
    2. the same without the date that the model's name ends with: `gpt-5-mini-2025-08-07` and `claude-opus-4-20250514`
       are looked up as `gpt-5-mini` and `claude-opus-4`;
    3. the price of genai-prices for that provider; without a provider, for the model's maker. A provider that it does
       not know is not taken for another one, as the same model costs something else there. A model that is not priced
       by tokens or calls (but by minutes, pages, ...) has no price;
    4. the fallback price.

    Args:
        prices: the user's own prices, by "model" or "provider/model".
        fallback: the price of every model without one, or None: such a model has no quote.
        now: tells the time, with its time zone, for prices that depend on it; None leaves that to genai-prices,
            which takes 50 times longer.

    Raises:
        InvalidSetting: a name or a price can never work.
    """

    def __init__(
        self,
        prices: Mapping[str, Price] | None = None,
        fallback: Price | None = None,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._own = _own_prices(prices)
        self._fallback = None if fallback is None else _quote("fallback", _price("PriceBook.fallback", fallback))
        self._now = now
        self._cached = functools.lru_cache(maxsize=LARGEST_CACHE)(self._look_up)

    def quote(self, provider: str | None, model: str) -> Quote | None:
        """Gives the price of a model, or None when nobody priced it; never raises.

        Args:
            provider: the provider's name, one of the GenAI conventions or of genai-prices; None when not known.
            model: the model's name, as it is sent or as the response names it.
        """
        try:
            return self._cached(provider, model)
        except Exception:
            # A name that is no text.
            return self._fallback

    def _look_up(self, provider: str | None, model: str) -> Quote | None:
        own = (self._own.get(name) for name in _names(provider, model))
        return next((quote for quote in own if quote), None) or self._published(provider, model) or self._fallback

    def _published(self, provider: str | None, model: str) -> Quote | None:
        try:
            return _published(provider, model, self._now)
        except LookupError:
            return None
        except Exception:
            _complain()
            return None


def _own_prices(prices: object) -> dict[str, Quote]:
    if prices is None:
        return {}
    named = checks.mapping("PriceBook.prices", prices, "a mapping of model names to Price")
    return {
        checks.text("PriceBook.prices", name): _quote("local", _price(f"prices[{name!r}]", named[name]))
        for name in named
    }


def _price(field: str, value: object) -> Price:
    return checks.instance_of(field, value, Price, "a Price")


_DATE = re.compile(r"[-@]20\d\d(-?)(0[1-9]|1[0-2])\1(0[1-9]|[12]\d|3[01])\Z")


def _names(provider: str | None, model: str) -> Iterator[str]:
    for name in (model, _DATE.sub("", model)):
        if provider:
            yield f"{provider}/{name}"
        yield name


def _quote(source: Source, price: Price) -> Quote:
    fresh, output = _ratio(price.input), _ratio(price.output)
    cached = fresh if price.cached_input is None else _ratio(price.cached_input)
    return Quote(source, (_rates(-1, fresh, cached, fresh, output, output, _ratio(price.per_call or 0, times=MICRO)),))


def _ratio(usd: Money, *, times: int = 1) -> _Ratio:
    numerator, denominator = Decimal(usd).as_integer_ratio()
    return numerator * times, denominator


def _rates(above: int, *ratios: _Ratio) -> _Rates:
    """Brings prices to whole numbers; USD per million is micro-USD for one."""
    scale = math.lcm(*(denominator for _, denominator in ratios))
    return _Rates._make((above, *(numerator * (scale // denominator) for numerator, denominator in ratios), scale))


# The conventions' names of providers that genai-prices does not know, or takes for another.
_PROVIDERS = {
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
}

_PRICED = (
    "input_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "output_mtok",
    "output_reasoning_mtok",
    "requests_kcount",
)


def _published(provider: str | None, model: str, now: Callable[[], datetime] | None) -> Quote | None:
    from genai_prices.data_snapshot import DataSnapshot, get_snapshot

    # The snapshot remembers every name it was ever asked for; one that is thrown away does not grow.
    snapshot = DataSnapshot(providers=get_snapshot().providers, from_auto_update=False)
    name = _PROVIDERS.get(provider.lower(), provider) if provider else None
    return _quote_of(*snapshot.find_provider_model(model, None, name, None), now)


def _quote_of(provider: Provider, model: ModelInfo, now: Callable[[], datetime] | None) -> Quote | None:
    periods = [period.prices for period in model.prices] if isinstance(model.prices, list) else [model.prices]
    if not all(_is_priced(model, period) for period in periods):
        return None
    if len(periods) == 1:
        return Quote("local", _compiled(periods[0]))
    return _ChangingQuote(_clock(provider, model, now), periods)


def _is_priced(model: ModelInfo, prices: ModelPrice) -> bool:
    # No price at all can mean free or not known: only the name says which.
    return any(price is not None for price in _listed(prices)) or model.id.endswith(":free")


def _listed(prices: ModelPrice) -> list[Decimal | TieredPrices | None]:
    return [getattr(prices, key, None) for key in _PRICED]


def _clock(provider: Provider, model: ModelInfo, now: Callable[[], datetime] | None) -> Callable[[], ModelPrice]:
    """Gives what tells the prices of the present; without a clock of ours the library is asked what nothing costs."""
    if now is not None:
        return lambda: model.get_prices(now())
    from genai_prices import Usage

    return lambda: model.calc_price(Usage(), provider).model_price


def _compiled(prices: ModelPrice) -> tuple[_Rates, ...]:
    """Turns prices into rates by size of the input, the largest first.

    A tier holds for the whole call once the input is larger than its start. Tokens of a kind that has no price of its
    own cost what their whole costs: https://github.com/pydantic/genai-prices.
    """
    listed = _listed(prices)
    starts = {
        tier.start for price in listed if price is not None and not isinstance(price, Decimal) for tier in price.tiers
    }
    return tuple(_tier_rates(listed, above) for above in (*sorted(starts, reverse=True), -1))


def _tier_rates(listed: Sequence[Decimal | TieredPrices | None], above: int) -> _Rates:
    fresh, cached, written, output, reasoning, per_thousand = (_at(price, above) for price in listed)
    whole_input, whole_output = _ratio(fresh or 0), _ratio(output or 0)
    return _rates(
        above,
        whole_input,
        whole_input if cached is None else _ratio(cached),
        whole_input if written is None else _ratio(written),
        whole_output,
        whole_output if reasoning is None else _ratio(reasoning),
        _ratio(per_thousand or 0, times=1000),
    )


def _at(price: Decimal | TieredPrices | None, above: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= above), price.base)


@functools.cache
def _complain() -> None:
    _log.warning("genai-prices does not work: only your own prices are known", exc_info=True)
