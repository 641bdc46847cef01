"""What must hold before a version may go out to runs: each gate is a function that says what speaks against it.

Decides that alone. A gate that is to be asked before `activate` and `canary` is added to `GATES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click

from otel_agent.cli.prompts.book import Book, shown
from otel_agent.cli.prompts.printing import complain, note
from otel_agent.prompts import Ref
from otel_agent.stop import InvalidSetting

__all__ = ["GATES", "Gate", "has_a_text", "is_as_recorded", "pass_gates"]

Gate = Callable[[Book, Ref], Iterator[str]]


def has_a_text(book: Book, ref: Ref) -> Iterator[str]:
    """Wants a text under the version, unless none of the prompt's texts can be seen from here."""
    if ref.name in book.registry.names:
        try:
            book.registry.get(ref, field="version")
        except InvalidSetting as wrong:
            yield str(wrong)


def is_as_recorded(book: Book, ref: Ref) -> Iterator[str]:
    """Wants the text to be the one that the lock records, for a process that starts would refuse another."""
    text = book.texts.get(f"{ref.name}:{ref.version}")
    if text is not None and book.lock_state(text.prompt) == "changed":
        yield (
            f"the text of {ref.name}:{ref.version} is not the one that {shown(book.lock_file)} records; "
            f"see `otel-agent prompts diff {ref.name}:{ref.version}`"
        )


GATES: tuple[Gate, ...] = (has_a_text, is_as_recorded)


def pass_gates(book: Book, ref: Ref, *, gates: tuple[Gate, ...] = GATES, force: bool, why: str | None) -> None:
    """Stops the command where a gate objects, unless it is forced.

    Args:
        book: what is known.
        ref: the version that is to go out.
        gates: who is asked.
        force: go on, and say what was objected.
        why: the reason that is kept, without which nothing is forced.

    Raises:
        UsageError: it is forced without a reason.
        Exit: a gate objects.
    """
    if force and not why:
        raise click.UsageError("--force needs --why: the reason is kept in the history")
    objections = [objection for gate in gates for objection in gate(book, ref)]
    for objection in objections:
        (note if force else complain)(objection)
    if objections and not force:
        complain("nothing was changed; --force --why TEXT does it in spite of that")
        raise click.exceptions.Exit(1)
