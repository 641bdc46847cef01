"""Prompts as values with an id that every language computes alike.

Decides what a prompt is and what its id is. Reads no disk and no clock; imports no OpenTelemetry.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from otel_agent import checks
from otel_agent.stop import InvalidSetting

__all__ = ["Prompt", "build_system_prompt", "prompt_id"]

GUARD = "You are a production agent. You must follow tool policies and budgets.\nAlways stop with a stop_reason."
LONGEST_TEXT = 10_000_000
SHORT_HASH = 12

_MARKS = ("start", "end")
_PLACEHOLDER = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")


@checks.known_keywords
def prompt_id(text: str) -> str:
    """Gives the short hash of a prompt's text.

    Args:
        text: the text as given; nothing is stripped.

    Returns:
        The first 12 hex digits of the sha256 of its UTF-8 bytes.

    Raises:
        InvalidSetting: the text is empty or no valid Unicode.
    """
    return _sha256("prompt_id.text", text)[:SHORT_HASH]


def _sha256(where: str, text: object) -> str:
    allowed = f"a text of 1 to {LONGEST_TEXT:,} characters that is valid Unicode"
    value = checks.instance_of(where, text, str, allowed)
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise InvalidSetting(field=where, value=value, allowed=allowed) from None
    if not 0 < len(value) <= LONGEST_TEXT:
        raise InvalidSetting(field=where, value=value, allowed=allowed)
    return hashlib.sha256(encoded).hexdigest()


@checks.known_keywords
@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a prompt.

    Attributes:
        name: what the prompt is for; no `:` inside.
        version: which version this is; no `:` inside.
        text: the prompt as given.
        hash: the full sha256 of the text, 64 hex digits.
        id: `name:version:` and the first 12 digits of the hash.

    Raises:
        InvalidSetting: a part is empty, no valid Unicode, or holds what it must not.
    """

    name: str
    version: str
    text: str = field(repr=False)
    hash: str = field(init=False, repr=False, compare=False)
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        checks.name("Prompt.name", self.name)
        checks.name("Prompt.version", self.version)
        object.__setattr__(self, "hash", _sha256("Prompt.text", self.text))
        object.__setattr__(self, "id", f"{self.name}:{self.version}:{self.hash[:SHORT_HASH]}")

    @property
    def variables(self) -> frozenset[str]:
        """The names that stand in the text as `{{name}}`."""
        return frozenset(_PLACEHOLDER.findall(self.text))

    def render(self, values: Mapping[str, object] | None = None, /, **more: object) -> str:
        """Gives the text with a value for each `{{name}}`; the id stays that of the text as given.

        A value stands there as it is and is never rendered again, so that what it says cannot ask for another variable.

        Args:
            values: texts or numbers by the variable's name.
            **more: further ones, over those of `values`.

        Raises:
            InvalidSetting: a variable is missing or unknown, or a value is no number and no text of valid Unicode.
        """
        given = {**_values(values), **more}
        wanted = self.variables
        for name in sorted(wanted - given.keys()):
            allowed = f"given: {self.name}:{self.version} has {_listed(wanted)}"
            raise InvalidSetting(field=f"render.{name}", value=None, allowed=allowed)
        for name in given.keys() - wanted:
            allowed = f"left out: {self.name}:{self.version} has {_listed(wanted)}{checks.nearest(name, wanted)}"
            raise InvalidSetting(field=f"render.{name}", value=type(given[name]), allowed=allowed)
        texts = {name: _inserted(f"render.{name}", value) for name, value in given.items()}
        return _PLACEHOLDER.sub(lambda match: texts[match[1]], self.text)


def _values(values: object) -> Mapping[str, object]:
    if values is None:
        return {}
    return checks.mapping("render.values", values, "a mapping of variable names to texts or numbers")


def _listed(names: frozenset[str]) -> str:
    return "the variables " + ", ".join(sorted(names)) if names else "no variables"


def _inserted(where: str, value: object) -> str:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return str(value)
    allowed = "a text of valid Unicode, or a number"
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidSetting(field=where, value=type(value), allowed=allowed)  # the value may be a customer's
    return value


@checks.known_keywords
def build_system_prompt(
    prompt: Prompt,
    *,
    mark: Literal["start", "end"] | None = "start",
    variables: Mapping[str, object] | None = None,
) -> str:
    """Builds the system prompt to send: guard lines, the prompt's id, and its text without outer white space.

    Args:
        prompt: the prompt to send.
        mark: where the line with the id stands. "start" is before the text; "end" is behind it and None leaves it
            out, for providers that cache by prefix.
        variables: what to put in for each `{{name}}`, as `Prompt.render` does; None leaves the text as it is.

    Returns:
        The text, lines ending in LF.

    Raises:
        InvalidSetting: an argument is none of these; with variables, one is missing or unknown.
    """
    checks.instance_of("build_system_prompt.prompt", prompt, Prompt, "a Prompt")
    _check_mark(mark)
    whole = prompt.text if variables is None else prompt.render(variables)
    line, text = f"[prompt_id={prompt.id}]", whole.strip(" \t\r\n")
    body = {"start": f"{line}\n{text}", "end": f"{text}\n{line}", None: text}[mark]
    return f"{GUARD}\n\n{body}"


def _check_mark(mark: object) -> None:
    if not isinstance(mark, str | None) or mark not in (*_MARKS, None):
        allowed = f"one of {', '.join(_MARKS)}, or None{checks.nearest(mark, _MARKS)}"
        raise InvalidSetting(field="build_system_prompt.mark", value=mark, allowed=allowed)
