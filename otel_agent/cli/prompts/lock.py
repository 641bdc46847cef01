"""`otel-agent prompts lock`: records which text each version is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from otel_agent.cli.prompts.book import Book, read_book, shown
from otel_agent.cli.prompts.code import from_option, with_code
from otel_agent.cli.prompts.options import Command, reads, who_or_user, writes
from otel_agent.cli.prompts.printing import complain, document, note, say
from otel_agent.prompts import Prompt
from otel_agent.stores.prompt_lock import PromptLock, check_lock, lock_prompts
from otel_agent.stores.release_writer import now

__all__ = ["lock"]

EXITS = (
    "Exit codes: 0 all is recorded; 1 a text has changed under its version, or --check found one that is not recorded, "
    "or a released version whose text is gone; 2 wrong usage; 130 interrupted."
)


@click.command(cls=Command, short_help="Record which text each version is.", epilog=EXITS)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 where something is not recorded or gone, for CI."
)
@from_option
@writes
@reads
@click.pass_context
def lock(
    context: click.Context,
    config: Path | None,
    as_json: bool,
    dry_run: bool,
    who: str | None,
    check: bool,
    places: Sequence[str],
) -> None:
    """Record the id of every version that is not in prompts.lock yet, with who and when.

    What is recorded stays. From then on a text that changes under its version is refused: by this command, and by every
    process that loads it. Keep the file under version control: each line is a prompt that somebody lets pass.
    """
    book = with_code(read_book(config), places)
    prompts = list(book.registry)
    for text in book.texts.values():
        check_lock(book.lock or PromptLock(), [text.prompt], place=text.code)
    only_look = dry_run or check
    gone = _gone(book, prompts) if check else {}
    added = lock_prompts(book.lock_file, prompts, who=who_or_user(who), when=now(), dry_run=only_look)
    if as_json:
        lines = [{"id": entry.id, "who": entry.who, "when": entry.when} for entry in added]
        document({"lock": str(book.lock_file), "added": lines, "without_text": list(gone), "dry_run": only_look})
    else:
        for entry in added:
            say(f"{'would record' if only_look else 'recorded'}  {entry.id}")
        if not added:
            say(f"{shown(book.lock_file)} has all {len(prompts)} versions")
    if check and added:
        complain(f"{len(added)} not in {shown(book.lock_file)}: `otel-agent prompts lock` records them")
    _tell_of(book, gone)
    if check and (added or any(gone.values())):
        context.exit(1)


def _gone(book: Book, prompts: Iterable[Prompt]) -> dict[str, str | None]:
    """Gives each version that is recorded and has no text, and what it is released as."""
    texts = {f"{prompt.name}:{prompt.version}" for prompt in prompts}
    released = {row.ref: row.released for row in book.rows()}
    recorded = [f"{entry.ref.name}:{entry.ref.version}" for entry in book.lock or ()]
    return {ref: released.get(ref) for ref in recorded if ref not in texts}


def _tell_of(book: Book, gone: Mapping[str, str | None]) -> None:
    for ref, released in gone.items():
        said = f"{ref} is in {shown(book.lock_file)} and has no text here"
        if released is None:
            note(said)
        else:
            complain(f"{said}: it is released as {released}")
