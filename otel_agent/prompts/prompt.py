"""Prompts as values with an id that every language computes alike.

Decides what a prompt is and what its id is. Reads no disk and no clock; imports no OpenTelemetry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from otel_agent import checks
from otel_agent.stop import InvalidSetting

__all__ = ["Prompt", "build_system_prompt", "prompt_id"]

GUARD = "You are a production agent. You must follow tool policies and budgets.\nAlways stop with a stop_reason."
LONGEST_TEXT = 10_000_000
SHORT_HASH = 12


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
        checks.text("Prompt.name", self.name, without=":")
        checks.text("Prompt.version", self.version, without=":")
        object.__setattr__(self, "hash", _sha256("Prompt.text", self.text))
        object.__setattr__(self, "id", f"{self.name}:{self.version}:{self.hash[:SHORT_HASH]}")


@checks.known_keywords
def build_system_prompt(prompt: Prompt, *, mark: Literal["start", "end"] | None = "start") -> str:
    """Builds the system prompt to send: guard lines, the prompt's id, and its text without outer white space.

    Args:
        prompt: the prompt to send.
        mark: where the line with the id stands. "start" is before the text; "end" is behind it and None leaves it
            out, for providers that cache by prefix.

    Returns:
        The text, lines ending in LF.
    """
    checks.instance_of("build_system_prompt.prompt", prompt, Prompt, "a Prompt")
    if mark is not None:
        checks.choice("build_system_prompt.mark", mark, ("start", "end"))
    line, text = f"[prompt_id={prompt.id}]", prompt.text.strip(" \t\r\n")
    body = {"start": f"{line}\n{text}", "end": f"{text}\n{line}", None: text}[mark]
    return f"{GUARD}\n\n{body}"
