"""`otel-agent prompts activate VERSION`: the version that every new run gets."""

from __future__ import annotations

from pathlib import Path

import click

from otel_agent.cli.prompts.changing import Asked, Done, make
from otel_agent.cli.prompts.gates import GATES, SOUND, pass_gates, read_to_release
from otel_agent.cli.prompts.options import Command, force_option, reads, writes
from otel_agent.cli.prompts.printing import note
from otel_agent.cli.prompts.targets import VERSION, version_of
from otel_agent.prompts import changes, parse_ref

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
    """Give every new run VERSION, such as support:v14. It must be ready: see `otel-agent check VERSION`.

    What was active is what a rollback leads to from then on. A canary ends, whichever version it tries.
    """
    book = read_to_release(config, force=force)
    ref = version_of(book, version)
    release = book.release(ref.name)
    goes_out = release is None or parse_ref("active", release.active)[:2] != ref[:2]
    overridden = pass_gates(book, ref, gates=GATES if goes_out else SOUND, force=force, why=why, as_json=as_json)
    done = make(
        book,
        ref.name,
        lambda release, author: changes.activate(release, str(ref), author),
        Asked(who=who, why=why, dry_run=dry_run, as_json=as_json, urgent=force, overridden=overridden),
    )
    _tell_of_the_canary(done, dry_run=dry_run)


def _tell_of_the_canary(done: Done, *, dry_run: bool) -> None:
    """Says that the end of a canary is all that came of it, which somebody may not have meant."""
    before = done.before
    if before is not None and before.candidate is not None and done.after.active == before.active:
        ended = "would end" if dry_run else "has ended"
        note(f"{before.active} was active already; what this changes is the canary {before.candidate}, which {ended}")
