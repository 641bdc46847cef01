"""What must hold before a version may go out to runs: each gate is a function that says what speaks against it.

Decides that alone. `GATES` are asked before a version goes out to more runs; `SOUND` alone where none more get it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from otel_agent import checks
from otel_agent.cli.prompts.book import Book, read_book, read_what_can_be, shown
from otel_agent.cli.prompts.printing import complain, document, note, warn
from otel_agent.cli.prompts.readiness import readiness
from otel_agent.prompts import Ref
from otel_agent.stop import InvalidSetting
from otel_agent.views.text import clean

__all__ = [
    "GATES",
    "SOUND",
    "Gate",
    "has_a_text",
    "is_as_recorded",
    "is_known",
    "is_ready",
    "needs_a_reason",
    "pass_gates",
    "read_to_release",
    "texts_are_as_recorded",
]

Gate = Callable[[Book, Ref], Iterator[str]]


def has_a_text(book: Book, ref: Ref) -> Iterator[str]:
    """Wants a text under the version, unless none of the prompt's texts can be seen from here."""
    if ref.name in book.registry.names:
        try:
            book.registry.get(ref, field="version")
        except InvalidSetting as wrong:
            yield str(wrong)


def is_known(book: Book, ref: Ref) -> Iterator[str]:
    """Wants a version to be named somewhere where no text of its prompt can be seen from here: it may be mistyped."""
    if ref.name in book.registry.names:
        return
    named = {row.ref for row in book.rows()} | set(book.lock.entries if book.lock is not None else ())
    if f"{ref.name}:{ref.version}" not in named:
        yield (
            f"nothing here has or names {ref.name}:{ref.version}: no text, no release, no line of "
            f"{shown(book.lock_file)}{checks.nearest(f'{ref.name}:{ref.version}', named)}; where the application has "
            "the text in its code, --force is the way"
        )


def is_as_recorded(book: Book, ref: Ref) -> Iterator[str]:
    """Wants the text of a version to be the one that the lock records."""
    text = book.texts.get(f"{ref.name}:{ref.version}")
    if text is not None and book.lock_state(text.prompt) == "changed":
        name = f"{ref.name}:{ref.version}"
        yield (
            f"the text of {name} in {shown(text.place)} is not the one that {shown(book.lock_file)} records; "
            f"see `otel-agent prompts diff {shlex.quote(name)}`"
        )


def texts_are_as_recorded(book: Book, _: Ref) -> Iterator[str]:
    """Wants every text to be so: a process that starts refuses all of them for the sake of one."""
    for text in book.texts.values():
        yield from is_as_recorded(book, Ref(text.prompt.name, text.prompt.version))


def is_ready(book: Book, ref: Ref) -> Iterator[str]:
    """Wants all that `otel-agent check` lists."""
    for item in readiness(book, ref):
        if not item.ready:
            yield str(item)


SOUND: tuple[Gate, ...] = (has_a_text, is_known, texts_are_as_recorded)
GATES: tuple[Gate, ...] = (*SOUND, is_ready)


def read_to_release(config: Path | None, *, force: bool) -> Book:
    """Reads all of it, for what cannot be read keeps every process from loading; by force what can be read.

    Raises:
        InvalidSetting: something cannot be read, or by force the override file cannot.
    """
    if not force:
        return read_book(config)
    book = read_what_can_be(config)
    if book.broken is not None:
        raise book.broken
    for wrong in book.problems:
        warn(str(wrong))
    return book


def needs_a_reason(why: str | None) -> None:
    """Wants a reason of who forces something.

    Raises:
        UsageError: there is none.
    """
    if not why:
        raise click.UsageError("--force needs --why: the reason is kept in the history")


def pass_gates(
    book: Book,
    ref: Ref,
    *,
    gates: tuple[Gate, ...] = GATES,
    force: bool,
    why: str | None,
    as_json: bool = False,
) -> tuple[str, ...]:
    """Stops the command where a gate objects, unless it is forced.

    Args:
        book: what is known.
        ref: the version that is to go out.
        gates: who is asked.
        force: go on, and say what was objected.
        why: the reason that is kept, without which nothing is forced.
        as_json: print what was objected as a document too, where the command stops.

    Returns:
        What was objected and is overridden.

    Raises:
        UsageError: it is forced without a reason.
        Exit: a gate objects.
    """
    if force:
        needs_a_reason(why)
    objections = tuple(" ".join(clean(objection).split()) for gate in gates for objection in gate(book, ref))
    for objection in objections:
        (note if force else complain)(objection)
    if objections and not force:
        complain("nothing was changed; --force --why TEXT does it in spite of that")
        if as_json:
            document({"prompt": ref.name, "version": ref.version, "changed": False, "missing": list(objections)})
        raise click.exceptions.Exit(1)
    return objections
