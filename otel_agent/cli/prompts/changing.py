"""One change of a release, from the command line to what is said of it; the commands differ in the change alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from otel_agent import InvalidSetting
from otel_agent.cli.prompts.book import Book, shown
from otel_agent.cli.prompts.options import who_or_user
from otel_agent.cli.prompts.printing import change_json, document, note, release_json, say, warn
from otel_agent.prompts import Release, parse_ref
from otel_agent.prompts.changes import Author, Changed

__all__ = ["Asked", "Done", "make"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a change is asked for: by whom, why, whether only to tell, in which form, and over what by force.

    Attributes:
        urgent: whether something is taken back, which a history in disorder must not hold up.
    """

    who: str | None
    why: str | None
    dry_run: bool
    as_json: bool
    mend: bool = False
    urgent: bool = False
    overridden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was released before and is now."""

    before: Release | None
    after: Release
    changed: Changed


def make(
    book: Book,
    name: str,
    how: Callable[[Release | None, Author], Changed],
    asked: Asked,
    *,
    notes: Callable[[Done], Iterable[str]] = lambda done: (),
) -> Done:
    """Makes a change and says what came of it.

    Args:
        book: what is known.
        name: the prompt's name.
        how: gives the new release out of what is released when the file is locked.
        asked: how it is asked for.
        notes: gives what is good to know of it.

    Raises:
        InvalidSetting: it cannot be; nothing has changed then.
    """
    seen: list[Release | None] = []
    lost: list[InvalidSetting] = []

    def noted(release: Release | None, author: Author) -> Changed:
        seen.append(release)
        return _recorded(book, how(release, author), asked)

    changed = book.files.change(
        name,
        book.configured.get(name),
        noted,
        who=who_or_user(asked.who),
        why=asked.why,
        dry_run=asked.dry_run,
        mend=asked.mend,
        urgent=asked.urgent,
        unrecorded=lost.append,
    )
    for wrong in lost:
        warn(f"the change is made, and {shown(book.files.history)} has no line of it: {wrong}")
    done = Done(before=seen[-1], after=changed.release, changed=changed)
    known = list(notes(done))
    if asked.as_json:
        document({**_json(done, dry_run=asked.dry_run), "recorded": not lost, "notes": known})
    else:
        _tell(book, done, dry_run=asked.dry_run)
    for each in known:
        note(each)
    _notes(book, done)
    return done


def _recorded(book: Book, changed: Changed, asked: Asked) -> Changed:
    """Puts into the change which text it is about, and what was overridden."""
    change = changed.change
    if change is None:
        return changed
    known = None if change.after is None else book.id_of(parse_ref("after", change.after))
    return changed._replace(change=replace(change, id=known, overridden=(*asked.overridden, *change.overridden)))


def _json(done: Done, *, dry_run: bool) -> dict[str, object]:
    change = done.changed.change
    return {
        "prompt": done.after.name,
        "changed": change is not None and not dry_run,
        "dry_run": dry_run,
        "before": release_json(done.before),
        "after": release_json(done.after),
        "change": None if change is None else change_json(change),
    }


def _tell(book: Book, done: Done, *, dry_run: bool) -> None:
    if done.changed.change is None:
        say(f"{done.after.name}: nothing to change, {done.after.active} is active and {_canary_text(done.after)}")
        return
    say(f"{done.after.name}:")
    before, after = _parts(done.before), _parts(done.after)
    width = max(map(len, after.values()))
    for part, value in after.items():
        was = f"  (was {before[part]})" if before[part] != value else ""
        say(f"  {part:<8}  {value:<{width}}{was}".rstrip())
    if dry_run:
        say("A dry run: nothing was changed.")
    else:
        say(_who_gets_what(done.after))
        say(f"It holds within a second in every process that follows {shown(book.files.override)};")
        say("runs in flight keep their prompt.")


def _parts(release: Release | None) -> dict[str, str]:
    if release is None:
        return dict.fromkeys(("active", "rollback", "canary"), "none")
    canary = release.canary
    return {
        "active": release.active,
        "rollback": release.rollback or "none",
        "canary": "none" if canary is None else f"{release.candidate}, {_share(release)}",
    }


def _canary_text(release: Release) -> str:
    return "no canary runs" if release.canary is None else f"{release.candidate} goes to {_share(release)}"


def _share(release: Release) -> str:
    canary = release.canary
    if canary is None:
        return "0 %"
    only = [f"tenant {tenant}" for tenant in canary.tenants] + [f"in {name}" for name in canary.environments]
    share = f"{canary.percent} % of the {canary.by}s"
    return f"{share} ({', '.join(only)})" if only else share


def _who_gets_what(release: Release) -> str:
    if release.canary is None:
        return f"New runs get {release.active}."
    return f"New runs get {release.active}; {release.candidate} goes to {_share(release)}."


def _notes(book: Book, done: Done) -> None:
    name = done.after.name
    forced = book.forced(name)
    if forced is not None:
        note(f"{forced[0]}={forced[1]} is set here: a process with that variable goes by it alone")
    for ref in {done.after.active, done.after.candidate} - {None}:
        text = book.texts.get(ref) if ref is not None else None
        if text is not None and book.lock is not None and book.lock_state(text.prompt) == "not locked":
            note(f"{ref} is not in {shown(book.lock_file)} yet: `otel-agent prompts lock` records it")
    if name not in book.registry.names:
        note(f"no text of {name} can be seen from here; the application must have it in its code")
