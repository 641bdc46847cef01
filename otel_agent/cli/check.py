"""`otel-agent check [PROMPT]`: what a version needs before it may go out, there or missing, at any time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from otel_agent.cli.prompts.book import Book, read_what_can_be, shown
from otel_agent.cli.prompts.gates import SOUND
from otel_agent.cli.prompts.options import REFUSED, Command, reads
from otel_agent.cli.prompts.printing import document, note, say
from otel_agent.cli.prompts.readiness import Item, readiness
from otel_agent.cli.prompts.targets import Target, name_of, version_of
from otel_agent.prompts import Ref, parse_ref

__all__ = ["check"]


class _Checked(NamedTuple):
    """One version, as what it is released, and what it needs."""

    ref: Ref
    id: str | None
    released: str | None
    items: list[Item]

    @property
    def ready(self) -> bool:
        return all(item.ready for item in self.items)


@click.command(
    cls=Command,
    short_help="What a prompt still needs before it may go out.",
    epilog="Exit codes: 0 ready; 1 something is missing, or cannot be read; 2 wrong usage.",
)
@click.argument("prompt", required=False, type=Target(versions=True, names=True))
@reads
@click.pass_context
def check(context: click.Context, prompt: str | None, config: Path | None, as_json: bool) -> None:
    """Say what PROMPT needs before it may go out, there or missing, and what mends that.

    That is what `prompts activate` and `prompts canary` ask for: golden tasks passed, limits, a way back, telemetry
    that goes somewhere. PROMPT is a version, such as support:v14, or a prompt's name: its active version, and the
    canary that runs. Without it all prompts are checked.
    """
    book = read_what_can_be(config)
    checked = [_checked(book, ref) for ref in _asked(book, prompt)]
    ready = bool(checked) and all(each.ready for each in checked)
    if as_json:
        document({"ready": ready, "prompts": [_json(each) for each in checked]})
    else:
        for each in checked:
            _tell(each)
    if not checked:
        note("no prompt is configured: no otel-agent.yaml, or it releases none; --config FILE names one")
    if not ready:
        context.exit(REFUSED)


def _asked(book: Book, prompt: str | None) -> Iterator[Ref]:
    if prompt is not None and prompt not in book.names:
        yield version_of(book, prompt)
        return
    for name in book.names if prompt is None else [name_of(book, prompt)]:
        release = book.release(name)
        if release is None:
            note(f"nothing is released of {name}: `otel-agent check {name}:VERSION` checks a version")
            continue
        for ref in (release.active, release.candidate):
            if ref is not None:
                yield parse_ref("released", ref)


def _checked(book: Book, ref: Ref) -> _Checked:
    row = next((row for row in book.rows() if row.ref == f"{ref.name}:{ref.version}"), None)
    released = None if row is None else row.released
    return _Checked(ref, book.id_of(ref), released, [_text(book, ref), *readiness(book, ref)])


def _text(book: Book, ref: Ref) -> Item:
    """Holds the text against what the commands ask of it, and against all that every process must load."""
    wrong = [str(each) for each in (*book.problems, book.broken) if each is not None]
    gone = not wrong and f"{ref.name}:{ref.version}" not in book.texts
    shows, tells = "`otel-agent prompts list` shows what there is", "`otel-agent config check` tells all that is wrong"
    wrong += [objection for gate in SOUND for objection in gate(book, ref)]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Item("text", False, wrong[0].splitlines()[0] + more, shows if gone else tells)
    text = book.texts.get(f"{ref.name}:{ref.version}")
    if text is None:
        return Item("text", True, "is in the code of the application, as far as can be seen from here")
    return Item("text", True, f"{shown(text.place)}, {book.lock_state(text.prompt)}")


def _tell(each: _Checked) -> None:
    released = f", {each.released}" if each.released else ""
    say(f"{each.ref.name}:{each.ref.version}{released}: {'ready' if each.ready else 'not ready'}")
    for item in each.items:
        say(f"  {'ok' if item.ready else 'missing':<7}  {item.name:<12}  {item.says}")
        if item.mend:
            say(f"  {'':<7}  {'':<12}  {item.mend}")


def _json(each: _Checked) -> dict[str, Any]:
    return {
        "prompt": f"{each.ref.name}:{each.ref.version}",
        "id": each.id,
        "released": each.released,
        "ready": each.ready,
        "items": [item._asdict() for item in each.items],
    }
