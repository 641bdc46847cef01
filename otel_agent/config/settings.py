"""Settings: each declared once, with its variable, its values, its default and one line of meaning.

Decides what holds: an argument of `configure()`, else the environment, else the default. Builds nothing from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

from otel_agent import checks
from otel_agent.stop import InvalidSetting

__all__ = ["CAPTURE_EXCEPTIONS", "CONSOLE", "HASH_KEY", "MODE", "SETTINGS", "THREADS", "Setting", "check_environment"]

T = TypeVar("T")

_MODES = ("enforce", "observe")
_EXCEPTIONS = ("type", "frames", "full")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


class Setting(Generic[T]):
    """One setting: where it comes from and what it may be.

    Args:
        variable: the environment variable.
        parse: turns the variable's text into the value, given the field's name first.
        default: what holds when nothing is set.
        allowed: the values, in words, for the README's table.
        about: one line of meaning.
    """

    def __init__(self, variable: str, parse: Callable[[str, str], T], default: T, *, allowed: str, about: str) -> None:
        self.variable = variable
        self.allowed = allowed
        self.about = about
        self.default = default
        self._parse = parse
        self._chosen: T | None = None

    def choose(self, value: T | None) -> None:
        """Lets an argument win over the environment; None leaves it to the environment."""
        self._chosen = value

    def get(self) -> T:
        """Gives the value that holds now.

        Raises:
            InvalidSetting: the environment's text is none of the allowed values.
        """
        if self._chosen is not None:
            return self._chosen
        text = os.environ.get(self.variable)
        return self._parse(self.variable, text) if text else self.default


def _word(words: tuple[str, ...]) -> Callable[[str, str], str]:
    return lambda field, text: checks.choice(field, text.strip().lower(), words)


def _yes_or_no(field: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise InvalidSetting(field=field, value=text, allowed="true or false")
    return word in _TRUE


def _maybe(field: str, text: str) -> bool | None:
    return None if text.strip().lower() == "auto" else _yes_or_no(field, text)


def _secret(field: str, text: str) -> bytes | None:
    return text.encode("utf-8", "surrogateescape")


_NO_CONSOLE: bool | None = None
_NO_KEY: bytes | None = None

MODE = Setting(
    "OTEL_AGENT_MODE",
    _word(_MODES),
    "enforce",
    allowed="`enforce`, `observe`",
    about="`observe` counts and reports, and stops nothing, in the whole process",
)
THREADS = Setting(
    "OTEL_AGENT_THREADS",
    _yes_or_no,
    True,
    allowed="`true`, `false`",
    about="carry the run into new threads and thread pools",
)
CONSOLE = Setting(
    "OTEL_AGENT_CONSOLE",
    _maybe,
    _NO_CONSOLE,
    allowed="`auto`, `true`, `false`",
    about="print each run as a tree on stderr; `auto` does so where no backend is configured",
)
CAPTURE_EXCEPTIONS = Setting(
    "OTEL_AGENT_CAPTURE_EXCEPTIONS",
    _word(_EXCEPTIONS),
    "frames",
    allowed="`type`, `frames`, `full`",
    about="what of an exception is on its span; only `full` has the message, which may quote a prompt",
)
HASH_KEY = Setting(
    "OTEL_AGENT_HASH_KEY",
    _secret,
    _NO_KEY,
    allowed="any text",
    about="the key of the argument hashes on spans; without it each process takes a random one",
)

SETTINGS: tuple[Setting[str] | Setting[bool] | Setting[bool | None] | Setting[bytes | None], ...] = (
    MODE,
    THREADS,
    CONSOLE,
    CAPTURE_EXCEPTIONS,
    HASH_KEY,
)


def check_environment() -> None:
    """Reads every setting once.

    Raises:
        InvalidSetting: one of them can never work.
    """
    for setting in SETTINGS:
        setting.get()
