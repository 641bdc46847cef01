"""`otel-agent prompts activate VERSION`: the version that every new run gets."""

from __future__ import annotations

from pathlib import Path

import click

from otel_agent.cli.prompts.book import read_book
from otel_agent.cli.prompts.changing import Asked, make
from otel_agent.cli.prompts.gates import pass_gates
from otel_agent.cli.prompts.options import Command, force_option, reads, writes
from otel_agent.cli.prompts.targets import VERSION, version_of
from otel_agent.prompts import changes

__all__ = ["activate"]


@click.command(cls=Command, short_help="Give every new run this version.")
@click.argument("version", type=VERSION)
@force_option
@writes
@reads
def activate(
    version: str,
    config: Path | None,
    as_json: bool,
    dry_run: bool,
    who: str | None,
    why: str | None,
    force: bool,
) -> None:
    """Give every new run VERSION, such as support:v14.

    What was active is what a rollback leads to from then on. A canary ends, whichever version it tries.
    """
    book = read_book(config)
    ref = version_of(book, version)
    pass_gates(book, ref, force=force, why=why)
    make(
        book,
        ref.name,
        lambda release, author: changes.activate(release, str(ref), author),
        Asked(who=who, why=why, dry_run=dry_run, as_json=as_json),
    )
