"""`otel-agent prompts reset [NAME]`: what the configuration says of a prompt holds again."""

from __future__ import annotations

from pathlib import Path

import click

from otel_agent import InvalidSetting
from otel_agent.cli.prompts.book import read_book
from otel_agent.cli.prompts.changing import Asked, make
from otel_agent.cli.prompts.options import Command, reads, why_option, writes
from otel_agent.cli.prompts.targets import NAME, name_of, the_name
from otel_agent.prompts import Release, changes
from otel_agent.prompts.changes import Author, Changed

__all__ = ["reset"]


@click.command(cls=Command, short_help="Go back to what the configuration says.")
@click.argument("name", required=False, type=NAME)
@why_option
@writes
@reads
def reset(
    name: str | None, config: Path | None, as_json: bool, dry_run: bool, who: str | None, why: str | None
) -> None:
    """Take away what these commands have released of NAME: what otel-agent.yaml says holds again.

    NAME may be left out where there is one prompt. A later change of otel-agent.yaml counts again too.
    """
    book = read_book(config)
    prompt = the_name(book, "reset") if name is None else name_of(book, name)
    configured = book.configured.get(prompt)
    if configured is None:
        allowed = "a prompt that the configuration releases; of this one it says nothing to go back to"
        raise InvalidSetting(field="reset", value=prompt, allowed=allowed)

    def how(release: Release | None, author: Author) -> Changed:
        if release is None or prompt not in book.override.releases:
            return Changed(configured, None)
        return changes.reset(release, configured, author)

    make(book, prompt, how, Asked(who=who, why=why, dry_run=dry_run, as_json=as_json, urgent=True))
