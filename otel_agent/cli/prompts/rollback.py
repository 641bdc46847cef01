"""`otel-agent prompts rollback [TARGET]`: back to a version that is known to be good."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from otel_agent import InvalidSetting
from otel_agent.cli.prompts.book import Book, read_what_can_be, shown
from otel_agent.cli.prompts.changing import Asked, Done, make
from otel_agent.cli.prompts.gates import has_a_text, is_as_recorded, needs_a_reason, pass_gates
from otel_agent.cli.prompts.options import Command, force_option, reads, writes
from otel_agent.cli.prompts.printing import note, warn
from otel_agent.cli.prompts.targets import Target, name_of, the_name, version_of
from otel_agent.prompts import Ref, Release, changes, parse_ref
from otel_agent.prompts.changes import Author, Changed

__all__ = ["rollback"]

MOST = 6  # of the versions that are named


@click.command(cls=Command, short_help="Take a version back: new runs get the one before.")
@click.argument("target", required=False, type=Target(versions=True, names=True))
@force_option
@writes
@reads
def rollback(
    target: str | None,
    config: Path | None,
    as_json: bool,
    dry_run: bool,
    who: str | None,
    why: str | None,
    force: bool,
) -> None:
    """Give every new run TARGET, and end a canary.

    TARGET is the version to go back to, such as support:v12. A prompt's name, or nothing where there is one prompt,
    goes to its rollback version. Naming the active version takes back the canary alone. A second rollback changes
    nothing: it never leads to what was taken back. What is in disorder beside that is told, and is no hindrance.
    """
    book = read_what_can_be(config)
    for wrong in book.problems:
        warn(str(wrong))
    name, ref = _meant(book, target, any_name=force)
    asked = Asked(who=who, why=why, dry_run=dry_run, as_json=as_json, mend=force, urgent=True)
    if force:
        needs_a_reason(why)
    if book.broken is not None:
        if not force:
            raise book.broken
        warn(f"{book.broken}; what cannot be read of it is lost, and it is kept as {shown(book.files.broken)}")

    def how(release: Release | None, author: Author) -> Changed:
        """Asks for the text where it is certain which one it is: once the file is locked."""
        changed = _back(name, ref, release, author, force=force)
        if changed.change is None:
            return changed
        to = parse_ref("rollback", changed.release.active)
        objections = pass_gates(book, to, gates=(has_a_text,), force=force, why=why, as_json=as_json)
        return changed._replace(change=replace(changed.change, overridden=objections))

    done = make(book, name, how, asked)
    for contradiction in is_as_recorded(book, parse_ref("rollback", done.after.active)):
        note(contradiction)
    if done.changed.change is None:
        _tell_where_to(book, done.after)
    elif ref is None:
        _tell_of_the_canary(done)


def _back(name: str, ref: Ref | None, release: Release | None, author: Author, *, force: bool) -> Changed:
    if release is not None:
        return changes.roll_back(release, None if ref is None else str(ref), author)
    if force and ref is not None:
        return changes.activate(None, str(ref), author)
    raise InvalidSetting(field="rollback", value=name, allowed="a prompt that something is released of")


def _meant(book: Book, target: str | None, *, any_name: bool) -> tuple[str, Ref | None]:
    if target is None:
        return the_name(book, "rollback"), None
    if target in book.names:
        return name_of(book, target), None
    ref = version_of(book, target)
    return ref.name if any_name else name_of(book, ref.name), ref


def _tell_where_to(book: Book, release: Release) -> None:
    """Names the versions that one can go to, where the rollback led nowhere."""
    others = [row for row in book.rows() if row.name == release.name and row.text is not None and not row.active]
    if others:
        refs = ", ".join(row.ref for row in others[-MOST:])
        note(f"to go to another version name it, `otel-agent prompts rollback VERSION`: {refs}")


def _tell_of_the_canary(done: Done) -> None:
    """Says how to take back a canary alone, which somebody may have meant who named no version."""
    before = done.before
    if before is not None and before.candidate is not None and done.after.active != before.active:
        command = f"otel-agent prompts rollback {shlex.quote(before.active)}"
        note(f"`{command}` would have taken back the canary {before.candidate} alone")
