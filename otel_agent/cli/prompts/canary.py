"""`otel-agent prompts canary VERSION --percent N`: a version for a share of the conversations or users."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from otel_agent import InvalidSetting
from otel_agent.cli.prompts.book import Book
from otel_agent.cli.prompts.changing import Asked, Done, make
from otel_agent.cli.prompts.gates import GATES, SOUND, pass_gates, read_to_release
from otel_agent.cli.prompts.options import Command, force_option, reads, writes
from otel_agent.cli.prompts.targets import VERSION, version_of
from otel_agent.prompts import Canary, Ref, Release, changes
from otel_agent.prompts.changes import Author, Changed, Trial

__all__ = ["canary"]


class Percent(click.ParamType[str]):
    """A share of 0 to 100 per cent, in steps of 0.01, with or without its sign."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Gives the number as text, so that nothing is rounded."""
        number = str(value).removesuffix("%").strip()
        try:
            Canary(version="any", percent=number)
        except InvalidSetting as wrong:
            self.fail(f"{value!r} must be {wrong.allowed}", param, ctx)
        return number


@click.command(cls=Command, short_help="Try a version on a share of the runs, grow it, end it.")
@click.argument("version", type=VERSION)
@click.option("--percent", type=Percent(), required=True, metavar="N", help="The share, 0 to 100; 0 ends the canary.")
@click.option(
    "--by", type=click.Choice(["conversation", "user"]), help="Whose id decides; at first the conversation's."
)
@click.option("--tenant", "tenants", multiple=True, metavar="NAME", help="Only for this tenant; may be repeated.")
@click.option("--environment", "environments", multiple=True, metavar="NAME", help="Only there; may be repeated.")
@click.option("--salt", metavar="TEXT", help="Draw other conversations or users; at first the prompt's name.")
@force_option
@writes
@reads
def canary(
    version: str,
    percent: str,
    by: Literal["conversation", "user"] | None,
    tenants: Sequence[str],
    environments: Sequence[str],
    salt: str | None,
    config: Path | None,
    as_json: bool,
    dry_run: bool,
    who: str | None,
    why: str | None,
    force: bool,
) -> None:
    """Give VERSION, such as support:v14, to a share of the conversations, the same ones each time.

    It must be ready: see `otel-agent check VERSION`. The rest get the active version, and so does a run that has no
    such id. While the version is the same, what is not
    said stays as it is, and a greater share keeps everybody who is in. Another version begins without any of it, and
    another salt draws everybody anew; a note says so.
    """
    book = read_to_release(config, force=force)
    ref = _meant(book, version)
    trial = Trial(
        version=ref.version,
        percent=percent,
        by=by,
        salt=salt,
        tenants=tuple(dict.fromkeys(tenants)) or None,
        environments=tuple(dict.fromkeys(environments)) or None,
    )
    overridden: tuple[str, ...] = ()
    grows = bool(float(percent)) and _goes_to_more(book.release(ref.name), trial)
    if float(percent):
        gates = GATES if grows else SOUND
        overridden = pass_gates(book, ref, gates=gates, force=force, why=why, as_json=as_json)

    def how(release: Release | None, author: Author) -> Changed:
        if release is None:
            allowed = (
                f"a prompt that has an active version: `otel-agent prompts activate {shlex.quote(ref.name)}:VERSION`"
            )
            raise InvalidSetting(field="canary", value=ref.name, allowed=allowed)
        return changes.try_out(release, trial, author)

    asked = Asked(who=who, why=why, dry_run=dry_run, as_json=as_json, urgent=force or not grows, overridden=overridden)
    make(book, ref.name, how, asked, notes=_what_else_changes)


def _goes_to_more(release: Release | None, trial: Trial) -> bool:
    """Tells whether anybody may get the version who did not; a share that only shrinks takes it from some."""
    running = None if release is None else release.canary
    others = any(each is not None for each in (trial.by, trial.salt, trial.tenants, trial.environments))
    if running is None or running.version != trial.version or others:
        return True
    return float(trial.percent) > float(running.percent)


def _what_else_changes(done: Done) -> Iterator[str]:
    """Says who is in now and was not, or the other way round, beside what a share says."""
    before, after = done.before, done.after
    if before is None or before.canary is None or after.canary is None:
        return
    was, now = _options(before), _options(after)
    lost = [f"--{key} {value}" for key, values in was.items() for value in values if values != now[key]]
    if before.canary.version != after.canary.version and lost:
        yield (
            f"a new version begins anew: the canary {before.candidate} had {' '.join(lost)}, "
            f"that of {after.candidate} does not; say so again to keep it"
        )
    if (before.salt, before.canary.by) != (after.salt, after.canary.by):
        yield (
            f"the {after.canary.by}s of the canary are drawn anew: who had {before.candidate} may get "
            f"{after.active} now, and the other way round"
        )


def _options(release: Release) -> dict[str, tuple[str, ...]]:
    """Gives what a canary has that a new one has not by itself, by option."""
    canary = release.canary
    if canary is None:
        return {}
    return {
        "by": () if canary.by == "conversation" else (canary.by,),
        "salt": () if release.salt == release.name else (release.salt,),
        "tenant": canary.tenants,
        "environment": canary.environments,
    }


def _meant(book: Book, text: str) -> Ref:
    """Reads the version; a prompt's name alone is the version whose canary runs."""
    release = book.release(text)
    if release is None or release.canary is None:
        return version_of(book, text)
    return Ref(release.name, release.canary.version)
