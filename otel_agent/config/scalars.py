"""The single values of a configuration: flags, words, texts, numbers, money. Each says the same as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from otel_agent import checks
from otel_agent.config.shapes import Checked, Schema
from otel_agent.stop import InvalidSetting

__all__ = [
    "Bytes",
    "CallableRef",
    "Flag",
    "FolderOrFlag",
    "LongText",
    "Money",
    "Number",
    "PathText",
    "PromptName",
    "Ref",
    "Text",
    "Whole",
    "Word",
]

SMALLEST_USD = Decimal("0.000000001")
LONGEST_PATH = 4096
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_CONTROL = "\\x00-\\x1f\\x7f"
_HALVES = "\\ud800-\\udfff"  # of a character beyond U+FFFF; one alone is no Unicode


class Flag(Checked):
    """Yes or no; with `auto`, also that word, which is None."""

    def __init__(self, *, auto: bool = False) -> None:
        schema: Schema = {"enum": ["auto", True, False]} if auto else {"type": "boolean"}
        super().__init__(self._flag, schema, "`auto`, `true`, `false`" if auto else "`true`, `false`")
        self._auto = auto

    def _flag(self, field: str, value: object) -> bool | None:
        if isinstance(value, bool):
            return value
        if self._auto and value == "auto":
            return None
        raise InvalidSetting(field=field, value=value, allowed="true or false" + (", or auto" if self._auto else ""))

    def parse(self, field: str, text: str) -> bool | None:
        word = text.strip().lower()
        known = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
        return self._flag(field, known.get(word, word if word == "auto" else text))

    def plain(self, value: Any) -> Any:
        return "auto" if value is None else value


class Word(Checked):
    """One of a few words."""

    def __init__(self, *allowed: str) -> None:
        words = ", ".join(f"`{word}`" for word in allowed)
        super().__init__(lambda field, value: checks.choice(field, value, allowed), {"enum": list(allowed)}, words)

    def parse(self, field: str, text: str) -> Any:
        return super().parse(field, text.strip().lower())


class Text(Checked):
    """A short text without control characters."""

    def __init__(self, words: str = "a text") -> None:
        super().__init__(checks.text, _short(f"{_CONTROL}{_HALVES}"), words)


class PromptName(Checked):
    """The name or the version of a prompt."""

    def __init__(self) -> None:
        super().__init__(checks.name, _short(f"{_CONTROL}{_HALVES}{checks.UNSEEN}:"), "a name without `:`")


def _short(without: str) -> Schema:
    schema: Schema = {"type": "string", "minLength": 1, "maxLength": checks.LONGEST_TEXT, "pattern": "\\S"}
    return {**schema, "not": {"pattern": f"[{without}]"}}


class Ref(Checked):
    """A prompt's name and version, such as `support:v13`, and perhaps the short hash of its text."""

    _PATTERN = r"[^:]*[^:\s][^:]*:[^:]*[^:\s][^:]*(:[0-9a-f]{12})?"
    _ALLOWED = "a prompt's name and version, such as support:v13"

    def __init__(self) -> None:
        schema: Schema = {"type": "string", "maxLength": checks.LONGEST_TEXT}
        schema["not"] = {"pattern": f"[{_CONTROL}{_HALVES}{checks.UNSEEN}]"}
        super().__init__(self._ref, {**schema, "pattern": f"^{self._PATTERN}$"}, "`name:version`")

    def _ref(self, field: str, value: object) -> str:
        if isinstance(value, str) and re.fullmatch(self._PATTERN, value):
            for part in value.split(":"):
                checks.name(field, part)
            return checks.text(field, value)
        raise InvalidSetting(field=field, value=value, allowed=self._ALLOWED)


class CallableRef(Checked):
    """A function of a module, such as `app.agents:answer`."""

    _PATTERN = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"

    def __init__(self) -> None:
        schema: Schema = {"type": "string", "maxLength": checks.LONGEST_TEXT, "pattern": f"^{self._PATTERN}$"}
        super().__init__(self._ref, {**schema, "not": {"pattern": "\\n"}}, "`module:function`")

    def _ref(self, field: str, value: object) -> str:
        if isinstance(value, str) and len(value) <= checks.LONGEST_TEXT and re.fullmatch(self._PATTERN, value):
            return value
        raise InvalidSetting(field=field, value=value, allowed="a function of a module, such as app.agents:answer")


class LongText(Checked):
    """A prompt or an input: a text of 1 to `longest` characters, lines and all; never shown."""

    def __init__(self, words: str, *, longest: int) -> None:
        schema: Schema = {"type": "string", "minLength": 1, "maxLength": longest, "not": {"pattern": f"[{_HALVES}]"}}
        super().__init__(self._text, schema, words, secret=True)
        self._longest = longest

    def _text(self, field: str, value: object) -> str:
        if isinstance(value, str) and 0 < len(value) <= self._longest and not re.search(f"[{_HALVES}]", value):
            return value
        allowed = f"a text of 1 to {self._longest:,} characters, valid Unicode"
        raise InvalidSetting(field=field, value=type(value), allowed=allowed)


class Bytes(Checked):
    """A secret, kept as bytes and never shown."""

    def __init__(self) -> None:
        super().__init__(self._bytes, {"type": "string", "minLength": 1}, "any text", secret=True)

    def _bytes(self, field: str, value: object) -> bytes:
        if isinstance(value, str) and value:
            return value.encode("utf-8", "surrogateescape")
        raise InvalidSetting(field=field, value=type(value), allowed="a text that is not empty")

    def plain(self, value: Any) -> Any:
        return None


class PathText(Checked):
    """The name of a file or folder."""

    def __init__(self, words: str) -> None:
        schema: Schema = {"type": "string", "maxLength": LONGEST_PATH, "pattern": "\\S"}
        schema["not"] = {"pattern": f"[{_CONTROL}{_HALVES}]"}
        super().__init__(lambda field, value: Path(checks.text(field, value, longest=LONGEST_PATH)), schema, words)

    def plain(self, value: Any) -> Any:
        return None if value is None else str(value)


class FolderOrFlag(Checked):
    """A folder, or yes for the usual one, or no for none."""

    def __init__(self) -> None:
        self._folder = PathText("a folder")
        schema: Schema = {"anyOf": [{"type": "boolean"}, self._folder.schema()]}
        super().__init__(self._place, schema, "`true`, `false`, or a folder")

    def _place(self, field: str, value: object) -> Path | bool:
        return value if isinstance(value, bool) else Path(checks.text(field, value, longest=LONGEST_PATH))

    def parse(self, field: str, text: str) -> Path | bool:
        word = text.strip().lower()
        known = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
        return self._place(field, known.get(word, text))


class Whole(Checked):
    """A whole number; 25.0 is one, as in JSON."""

    def __init__(self, least: int = 0, most: int = checks.LARGEST_COUNT) -> None:
        schema: Schema = {"type": "integer", "minimum": least, "maximum": most}
        words = "a whole number" if least == 0 else f"a whole number from {least}"
        super().__init__(lambda field, value: checks.count(field, _whole(value), least=least, most=most), schema, words)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Number(Checked):
    """A number between two bounds; the lower one is `least`, or not reached at `above`."""

    def __init__(self, check: Callable[[str, Any], Any], words: str, **bounds: float) -> None:
        keywords = {"least": "minimum", "above": "exclusiveMinimum", "most": "maximum"}
        schema: Schema = {"type": "number", **{keywords[name]: bounds[name] for name in bounds}}
        super().__init__(check, {**schema, **_no_nan(bounds["most"])}, words)


def _no_nan(most: float) -> Schema:
    """Says once more what `maximum` says: a NaN passes every bound, and fails to fail this one."""
    return {"not": {"exclusiveMinimum": most}}


class Money(Checked):
    """USD, as a number or as a text of digits; 0, or at least 0.000000001, so that it is a short decimal."""

    def __init__(self, most: int) -> None:
        self._text = rf"[0-9]{{1,{len(str(most)) - 1}}}(\.[0-9]{{1,9}})?"
        self._most = Decimal(most)
        number: Schema = {"type": "number", "minimum": float(SMALLEST_USD), "maximum": most, **_no_nan(most)}
        text: Schema = {"type": "string", "pattern": f"^{self._text}$", "not": {"pattern": "\\n"}}
        super().__init__(self._usd, {"anyOf": [number, {"const": 0}, text]}, "USD, such as `0.50`")

    def _usd(self, field: str, value: Any) -> Decimal:
        if isinstance(value, str) and not re.fullmatch(self._text, value):
            raise InvalidSetting(field=field, value=value, allowed=f"an amount of USD from 0 to {self._most:,}")
        usd = checks.usd(field, value, most=self._most)
        if 0 < usd < SMALLEST_USD:
            raise InvalidSetting(field=field, value=value, allowed=f"0, or at least {SMALLEST_USD:f} USD")
        return usd

    def plain(self, value: Any) -> Any:
        return f"{value:f}"
