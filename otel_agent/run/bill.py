"""What a call may cost and what it did: prices, what to hold for it, and what its response says, by attribute name.

Decides no limit: it turns tokens into money and readings into numbers. Keeps the one price book of the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from otel_agent import semconv
from otel_agent.budget import TOKENS, Spend
from otel_agent.pricing import Price, PriceBook, Quote
from otel_agent.usage import Reading

__all__ = [
    "Bill",
    "bill_of",
    "most_output",
    "overrun",
    "price_book",
    "quote",
    "said",
    "shown_parameters",
    "spend",
    "use_prices",
]

_NUMBERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "n": "choice.count",
    "stream": "stream",
}


def price_book(prices: Mapping[str, Price] | None = None, fallback: Price | None = None) -> PriceBook:
    """Builds a price book that knows what time it is, for prices that depend on it."""
    return PriceBook(prices, fallback, now=lambda: datetime.now(UTC))


class _Prices:
    book = price_book()


def use_prices(book: PriceBook) -> None:
    """Puts a price book in place, for every call from now on."""
    _Prices.book = book


def quote(provider: str | None, model: str) -> Quote | None:
    """Gives the price of a model, or None when nobody priced it."""
    return _Prices.book.quote(provider, model)


class Bill(NamedTuple):
    """What a call used and cost: tokens, micro-USD or None, where the price is from, whether a part is estimated."""

    input_tokens: int
    output_tokens: int
    micro_usd: int | None
    source: str
    estimated: bool


def bill_of(
    reading: Reading, used: int, output: int, *, provider: str | None, asked: Quote | None, cost: int | None
) -> Bill:
    """Gives what a call used and cost.

    Args:
        reading: what the response says.
        used: its input tokens, said or estimated.
        output: its output tokens, said or estimated.
        provider: the provider asked.
        asked: the price of the model asked for, which holds where the one that answered has none.
        cost: what the provider says it cost, in micro-USD, or None.
    """
    estimated = reading.input_tokens is None or reading.output_tokens is None
    if cost is not None:
        return Bill(used, output, cost, "provider", estimated)
    price = quote(provider, reading.model) if reading.model else None
    if price is None or price.source == "fallback":
        price = asked or price
    if price is None:
        return Bill(used, output, None, "unknown", estimated)
    cached, written, reasoned = reading.cached_input_tokens, reading.cache_write_tokens, reading.reasoning_tokens
    return Bill(used, output, price.micro_usd(used, output, cached, written, reasoned), price.source, estimated)


def spend(need: int, output: int, price: Quote | None) -> Spend:
    """Gives what to hold for a call: a step, input and output tokens, and their price."""
    money = 0 if price is None else price.micro_usd(need, output)
    return 1, 0, need + output, money


def most_output(price: Quote, need: int, most: int, money: int) -> int:
    """Gives the most output tokens, up to `most`, that cost at most `money` micro-USD together with the input."""
    if price.micro_usd(need, most) <= money:
        return most
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if price.micro_usd(need, middle) <= money else (low, middle - 1)
    return low


def overrun(held: Spend, bill: Bill) -> int:
    """Gives how many tokens a response had more than were held for it; 0 where none were held."""
    return max(0, bill.input_tokens + bill.output_tokens - held[TOKENS]) if held[TOKENS] else 0


def said(reading: Reading) -> dict[str, Any]:
    """Gives what a response says of itself, by attribute name."""
    found = {
        semconv.RESPONSE_MODEL: reading.model,
        semconv.RESPONSE_ID: reading.response_id,
        semconv.RESPONSE_FINISH_REASONS: reading.finish_reasons or None,
        semconv.CACHE_READ_TOKENS: reading.cached_input_tokens,
        semconv.CACHE_WRITE_TOKENS: reading.cache_write_tokens,
        semconv.REASONING_TOKENS: reading.reasoning_tokens,
    }
    return {key: value for key, value in found.items() if value is not None}


def shown_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the parameters that can hold no content, by attribute name."""
    found: dict[str, Any] = {}
    for name, key in _NUMBERS.items():
        if isinstance(parameters.get(name), (int, float)):
            found[semconv.REQUEST_PREFIX + key] = parameters[name]
    effort = parameters.get("reasoning_effort")
    if isinstance(effort, str) and effort.isalpha():
        found[semconv.REQUEST_PREFIX + "reasoning.level"] = effort
    return found
