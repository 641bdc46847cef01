"""`otel-agent prompts lock`: records which text each version is."""

from __future__ import annotations

from pathlib import Path

import click

from otel_agent.cli.prompts.book import read_book, shown
from otel_agent.cli.prompts.options import Command, reads, who_or_user, writes
from otel_agent.cli.prompts.printing import complain, document, say
from otel_agent.stores.prompt_lock import lock_prompts
from otel_agent.stores.release_writer import now

__all__ = ["lock"]

EXITS = (
    "Exit codes: 0 all is recorded; 1 a text has changed under its version, or --check found one that is not recorded; "
    "2 wrong usage; 130 interrupted."
)


@click.command(cls=Command, short_help="Record which text each version is.", epilog=EXITS)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where something is not recorded, as for CI.")
@writes
@reads
@click.pass_context
def lock(
    context: click.Context, config: Path | None, as_json: bool, dry_run: bool, who: str | None, check: bool
) -> None:
    """Record the id of every version that is not in prompts.lock yet, with who and when.

    What is recorded stays. From then on a text that changes under its version is refused: by this command, and by every
    process that loads it. Keep the file under version control: each line is a prompt that somebody lets pass.
    """
    book = read_book(config)
    prompts = [text.prompt for text in book.texts.values()]
    only_look = dry_run or check
    added = lock_prompts(book.lock_file, prompts, who=who_or_user(who), when=now(), dry_run=only_look)
    if as_json:
        lines = [{"id": entry.id, "who": entry.who, "when": entry.when} for entry in added]
        document({"lock": str(book.lock_file), "added": lines, "dry_run": only_look})
    else:
        for entry in added:
            say(f"{'would record' if only_look else 'recorded'}  {entry.id}")
        if not added:
            say(f"{shown(book.lock_file)} has all {len(prompts)} versions")
    if check and added:
        complain(f"{len(added)} not in {shown(book.lock_file)}: `otel-agent prompts lock` records them")
        context.exit(1)
