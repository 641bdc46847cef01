"""What the verbs accept: names, attributes, prompts, budgets. Refuses the rest where it is written."""

from __future__ import annotations

from typing import Any

from otel_agent import checks, semconv
from otel_agent.budget import Budget
from otel_agent.prompts import Prompt
from otel_agent.stop import InvalidSetting

__all__ = ["NO_BUDGET", "attributes", "budget", "maybe_count", "maybe_text", "prompt", "server"]

NO_BUDGET = Budget()
MOST_ATTRIBUTES = 128
_PLAIN = (str, bool, int, float)


def maybe_text(field: str, value: object) -> str | None:
    """Checks a text or None."""
    return None if value is None else checks.text(field, value)


def maybe_count(field: str, value: object, *, least: int = 0) -> int | None:
    """Checks a whole number or None."""
    return None if value is None else checks.count(field, value, least=least)


def attributes(field: str, value: object) -> dict[str, Any]:
    """Checks the user's own span attributes: texts, bools, numbers, or lists of one of them."""
    if value is None:
        return {}
    allowed = f"a mapping of at most {MOST_ATTRIBUTES} names to texts, bools, numbers, or lists of them"
    given = checks.mapping(field, value, allowed)
    if len(given) > MOST_ATTRIBUTES:
        raise InvalidSetting(field=field, value=f"{len(given)} attributes", allowed=allowed)
    return {checks.text(field, key): _attribute(f"{field}[{key!r}]", item) for key, item in given.items()}


def _attribute(field: str, value: object) -> Any:
    items: list[Any] = list(value) if checks.is_list(value) else [value]
    kinds: set[Any] = {type(item) for item in items}
    if len(kinds) <= 1 and all(isinstance(item, _PLAIN) and _travels(item) for item in items):
        return tuple(items) if checks.is_list(value) else value
    allowed = "a text of valid Unicode, a bool, a number of 64 bits, or a list of one of them"
    raise InvalidSetting(field=field, value=value, allowed=allowed)


def _travels(item: Any) -> bool:
    """Tells whether OTLP can carry a value."""
    if isinstance(item, str):
        return item.isascii() or not any("\ud800" <= character <= "\udfff" for character in item)
    return not isinstance(item, int) or -(2**63) <= item < 2**63


def prompt(field: str, value: object) -> Prompt | str | None:
    """Checks a `Prompt`, or a name; whether one is registered under it is asked when a run opens."""
    if value is None or isinstance(value, Prompt):
        return value
    if isinstance(value, str) and ":" in value:
        allowed = f"a name such as {value.partition(':')[0] or 'support'}; a Prompt(...) pins a version"
        raise InvalidSetting(field=field, value=value, allowed=allowed)
    if isinstance(value, str):
        return checks.text(field, value)
    raise InvalidSetting(field=field, value=value, allowed="a Prompt, the name of a registered one, or None")


def budget(field: str, value: object) -> Budget | None:
    """Checks a `Budget`, or None for the one of the configuration."""
    return None if value is None else checks.instance_of(field, value, Budget, "a Budget or None")


def server(field: str, value: object) -> dict[str, Any]:
    """Splits `host` or `host:port` into the two attributes of the conventions."""
    if value is None:
        return {}
    text = checks.text(field, value)
    host, colon, port = text.rpartition(":")
    bare = ":" in host and "/" not in host and not host.endswith("]")  # an IPv6 address without a port
    if not colon or text.endswith("]") or bare:
        return {semconv.SERVER_ADDRESS: text}
    if not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise InvalidSetting(field=field, value=value, allowed="a host, or host:port")
    return {semconv.SERVER_ADDRESS: host, semconv.SERVER_PORT: int(port)}
