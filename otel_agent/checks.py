"""What a value may be: counts, money, seconds, names, keywords. Refuses the rest where it is written.

Every check takes the field's name first, so that the error can say it, and gives the value back in its one inner form.
Reads nothing, keeps nothing.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard, TypeVar, cast

from otel_agent.stop import InvalidSetting

__all__ = [
    "Money",
    "choice",
    "class_name",
    "count",
    "each",
    "each_key_once",
    "flag",
    "fraction",
    "instance_of",
    "is_list",
    "is_mapping",
    "known_keywords",
    "mapping",
    "name",
    "nearest",
    "seconds",
    "text",
    "usd",
]

Money = str | int | float | Decimal

LARGEST_COUNT = 10**12
LARGEST_USD = Decimal(10) ** 9
MOST_DECIMALS = 30
LARGEST_SECONDS = 366 * 86_400.0
LONGEST_TEXT = 256
UNSEEN = r"\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""What a name must not hold beside the control characters of ASCII, as a class of a regular expression has it."""

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


_QUALNAME: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_MODULE: Callable[[type], object] = type.__dict__["__module__"].__get__


def class_name(value: object) -> str:
    """Gives the qualified name of a value's class with its module; nothing of the class itself is asked.

    A metaclass may raise for whoever looks at its classes, and a class may have anything for its module.
    """
    try:
        module = _MODULE(type(value))
    except AttributeError:
        module = None
    name = _QUALNAME(type(value))
    return f"{module}.{name}" if type(module) is str else name


def count(field: str, value: object, *, least: int = 0, most: int = LARGEST_COUNT) -> int:
    """Checks a whole number of things.

    Args:
        field: what is set, for the error.
        value: an `int` between `least` and `most`.
        least: the smallest that makes sense.
        most: the largest that makes sense.

    Raises:
        InvalidSetting: it is no such number.
    """
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return int(value)
    raise InvalidSetting(field=field, value=value, allowed=f"a whole number from {least} to {most:,}")


def usd(field: str, value: object, *, most: Decimal = LARGEST_USD) -> Decimal:
    """Checks a sum of money in USD: str, int, Decimal, or a float, which is taken by its shortest repr.

    Raises:
        InvalidSetting: it is no number, negative, infinite, NaN or above `most`.
    """
    if isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool):
        try:
            amount = Decimal(float.__repr__(value) if isinstance(value, float) else value)
        except InvalidOperation:
            amount = Decimal("NaN")
        if amount.is_finite() and 0 <= amount <= most and amount.adjusted() >= -MOST_DECIMALS:
            return amount
    raise InvalidSetting(field=field, value=value, allowed=f"an amount of USD from 0 to {most:,}, such as '0.50'")


def seconds(field: str, value: object) -> float:
    """Checks a positive time in seconds, or a `timedelta`.

    Raises:
        InvalidSetting: it is no such time, or longer than a year.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, (int, float)) and not isinstance(number, bool) and 0 < number <= LARGEST_SECONDS:
        return float(number)
    raise InvalidSetting(field=field, value=value, allowed="seconds above 0, at most a year, or a timedelta")


def number(field: str, value: object, *, least: float, most: float) -> float:
    """Checks a number from `least` to `most`.

    Raises:
        InvalidSetting: it is no such number.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise InvalidSetting(field=field, value=value, allowed=f"a number from {least:g} to {most:g}")


def fraction(field: str, value: object) -> float:
    """Checks a share above 0 and at most 1.

    Raises:
        InvalidSetting: it is no such share.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1 and not math.isnan(value):
        return float(value)
    raise InvalidSetting(field=field, value=value, allowed="a number above 0 and at most 1, such as 0.8")


def flag(field: str, value: object) -> bool:
    """Checks a yes or no.

    Raises:
        InvalidSetting: it is no bool.
    """
    if isinstance(value, bool):
        return value
    raise InvalidSetting(field=field, value=value, allowed="True or False")


def text(field: str, value: object, *, without: str = "", longest: int = LONGEST_TEXT) -> str:
    """Checks a text that is not empty, valid Unicode, and free of control characters and of those in `without`.

    Raises:
        InvalidSetting: it is no such text.
    """
    if isinstance(value, str) and 0 < len(value) <= longest and value.strip() and _clean(value, without):
        return value
    also = f" and no {without!r}" if without else ""
    allowed = f"a text of 1 to {longest} characters, valid Unicode, with no control characters{also}"
    raise InvalidSetting(field=field, value=value, allowed=allowed)


def name(field: str, value: object) -> str:
    """Checks the name or the version of a prompt: a text without `:` that keeps to its line, and to its direction.

    Raises:
        InvalidSetting: it is no such text.
    """
    found = text(field, value, without=":")
    if found.isascii() or not re.search(f"[{UNSEEN}]", found):
        return found
    allowed = "a name with no control characters, and none that ends a line or turns its direction"
    raise InvalidSetting(field=field, value=value, allowed=allowed)


def _clean(value: str, without: str) -> bool:
    if value.isascii() and value.isprintable():
        return not any(character in value for character in without)
    return not any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" or c in without for c in value)


def choice(field: str, value: object, allowed: Iterable[str]) -> str:
    """Checks that a value is one of a few words.

    Raises:
        InvalidSetting: it is none of them.
    """
    words = list(allowed)
    if isinstance(value, str) and value in words:
        return value
    raise InvalidSetting(field=field, value=value, allowed="one of " + ", ".join(words) + nearest(value, words))


def instance_of(field: str, value: object, kind: type[T], allowed: str) -> T:
    """Checks that a value is of a class.

    Raises:
        InvalidSetting: it is of another.
    """
    if isinstance(value, kind):
        return value
    raise InvalidSetting(field=field, value=value, allowed=allowed)


def mapping(field: str, value: object, allowed: str) -> Mapping[Any, Any]:
    """Checks that a value is a mapping.

    Raises:
        InvalidSetting: it is none.
    """
    if is_mapping(value):
        return value
    raise InvalidSetting(field=field, value=value, allowed=allowed)


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Tells whether a value is a mapping, of whatever to whatever."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Tells whether a value is a list or tuple, of whatever."""
    return isinstance(value, (list, tuple))


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds the mapping of a JSON object, as `object_pairs_hook`.

    Raises:
        InvalidSetting: a key stands twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidSetting(field="the JSON object", value=key, allowed="a key that stands there once")
        found[key] = value
    return found


def each(value: Any) -> Iterable[Any]:
    """Gives an iterable as one of whatever."""
    items: Iterable[Any] = value
    return items


def known_keywords(target: F, called: str | None = None) -> F:
    """Makes a class or function refuse an unknown keyword, naming the nearest right one.

    Args:
        target: the class or function; a class is changed for good.
        called: what people know it by; its own name by default.
    """
    anything: Any = target
    function = anything.__init__ if inspect.isclass(target) else target
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    known = frozenset(names)

    @functools.wraps(function)
    def checked(*args: Any, **keywords: Any) -> Any:
        if keywords.keys() <= known:
            return function(*args, **keywords)
        raise _unknown(called or anything.__name__, keywords, names)

    if not inspect.isclass(target):
        return cast(F, checked)
    anything.__init__ = checked
    return cast(F, anything)


def _unknown(owner: str, keywords: Mapping[str, object], names: list[str]) -> InvalidSetting:
    word = next(word for word in keywords if word not in names)
    allowed = "one of the keywords " + ", ".join(names) + nearest(word, names)
    # the value may be a secret whose right keyword would have hidden it
    return InvalidSetting(field=f"{owner}.{word}", value=type(keywords[word]), allowed=allowed)


def nearest(word: object, words: Iterable[str]) -> str:
    """Gives ` (did you mean ...?)` with the nearest right word, for the end of an error, or an empty text."""
    import difflib  # only for an error

    near = difflib.get_close_matches(str(word), list(words), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
