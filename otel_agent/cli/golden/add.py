"""`otel-agent golden add`: an incident becomes a task, with bounds from the runs of a good prompt."""

from __future__ import annotations

import fnmatch
import glob
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from otel_agent import InvalidSetting
from otel_agent.cli.golden.list import bounds_of, task_json
from otel_agent.cli.golden.options import (
    Command,
    as_json_option,
    config_option,
    configured,
    document,
    note,
    say,
)
from otel_agent.cli.prompts.book import read_what_can_be
from otel_agent.cli.runs.options import completed as completed_runs
from otel_agent.cli.runs.options import found_run, history_option, moment_text, opened
from otel_agent.cli.runs.rows import ended
from otel_agent.cli.runs.show import complete_id
from otel_agent.config.values import Config
from otel_agent.golden.observed import NoRun, Observed, observe
from otel_agent.golden.proposals import RECENT, Proposal, TooFewRuns, propose
from otel_agent.golden.tasks import TaskSet, load_tasks, task_files
from otel_agent.golden.writing import CannotAppend, block, with_task, write_task
from otel_agent.prompts import parse_ref
from otel_agent.stores.files import read_text, shown
from otel_agent.stores.run_history import RunHistory, Wanted
from otel_agent.usage import PastRun

__all__ = ["add"]

NEW_FILE = Path("golden") / "incidents.yaml"
NOT_CAUGHT, TOO_FEW = 1, 3
TAG = "incident"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the command was asked for."""

    id: str | None
    input: str | None
    baseline: str | None
    file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Addition:
    """A task, and where it goes."""

    proposal: Proposal
    file: Path
    comments: tuple[str, ...]
    notes: tuple[str, ...]


@click.command(
    cls=Command,
    short_help="Make a task of a run that went wrong.",
    epilog=(
        "Exit codes: 0 added; 1 not added, for the task would not catch that run; 2 wrong usage; "
        "3 the baseline has too few runs."
    ),
)
@click.option(
    "--from-run",
    "run_id",
    required=True,
    metavar="ID",
    shell_complete=complete_id,
    help="The run that went wrong: the beginning of its run id or trace id.",
)
@click.option("--id", metavar="NAME", help="What to call the task; by default incident- and the run's id.")
@click.option(
    "--input",
    metavar="TEXT",
    help="What the agent was asked. The history does not hold it: without this, add it to the file yourself.",
)
@click.option(
    "--baseline",
    metavar="PROMPT",
    shell_complete=completed_runs("prompt_id"),
    help="The good prompt; else the active or the rollback version, else the one with most runs.",
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"The file of tasks to add it to; else the only one of testing.files, else {NEW_FILE}.",
)
@click.option("--force", is_flag=True, help="Add it even if it would not catch that run.")
@click.option("--dry-run", is_flag=True, help="Print the task, and write nothing.")
@history_option
@as_json_option
@config_option
def add(
    run_id: str,
    force: bool,
    dry_run: bool,
    history: Path | None,
    as_json: bool,
    config: Path | None,
    **asked: Any,
) -> None:
    """Make a task of a run that went wrong, so that no prompt brings it back.

    Bounds are what the last runs of a good prompt used at most, and a tenth: of those with the same task where there
    are enough, else of all of the agent. Nothing that stands in the file is changed.
    """
    settings = configured(config)
    with opened(history) as source:
        run = found_run(source, run_id)
        try:
            addition = _addition(source, run, settings, _Asked(**asked))
        except TooFewRuns as few:
            _too_few(str(few), as_json)
    caught = bool(addition.proposal.broken) or force
    if caught and not dry_run:
        _write(addition)
    if as_json:
        document(_json(addition, written=caught and not dry_run))
    else:
        _tell(addition, caught=caught, dry_run=dry_run)
    if not caught:
        raise click.exceptions.Exit(NOT_CAUGHT)


def _too_few(why: str, as_json: bool) -> NoReturn:
    if as_json:
        document({"written": False, "because": why})
    else:
        note(why)
    raise click.exceptions.Exit(TOO_FEW)


def _addition(history: RunHistory, run: PastRun, config: Config, asked: _Asked) -> _Addition:
    file = asked.file or _usual_file(config)
    known = _known(config, file)
    baseline = asked.baseline or _baseline(history, run)
    runs = history.runs(Wanted(agent=run.agent, prompt=baseline), limit=None if run.task else 2 * RECENT)
    same = next((task for task in known.tasks if task.id == run.task), None)
    proposal = propose(
        _observed(history, run),
        runs,
        id=asked.id or f"incident-{run.run_id[:8]}",
        baseline=baseline,
        input=asked.input if asked.input is not None or same is None else same.input,
        tags=(TAG,),
    )
    if proposal.task.id in [task.id for task in known.tasks]:
        allowed = "an id that no task has; --id gives it another"
        raise InvalidSetting(field="id", value=proposal.task.id, allowed=allowed)
    comments = tuple(_comments(proposal))
    # what cannot be written is told before anything is
    _whole(file, proposal, comments)
    return _Addition(proposal=proposal, file=file, comments=comments, notes=tuple(_notes(proposal, config, file)))


def _usual_file(config: Config) -> Path:
    """Gives the file that tasks of incidents go to: the only one there is, else one that is named and not there yet.

    Raises:
        UsageError: there are several, and `NEW_FILE` would be none of them.
    """
    files = task_files(config, all_there=False)
    usual = config.folder / NEW_FILE
    if len(files) > 1 and _named(config, usual):
        return usual
    if len(files) > 1:
        raise click.UsageError(f"there are {len(files)} files of tasks: say --file, such as {shown(files[0])}")
    plain = [Path(name) for name in config.testing.files if not glob.has_magic(name)]
    return files[0] if files else config.folder / plain[0] if plain else usual


def _known(config: Config, file: Path) -> TaskSet:
    """Gives every task that there is, those of the file included."""
    inside = replace(config, testing=replace(config.testing, files=()))
    there = {path.resolve(): path for path in (*task_files(config, all_there=False), file) if path.is_file()}
    rest = load_tasks(list(there.values()), config=inside).tasks if there else ()
    return TaskSet(tasks=(*config.testing.golden_tasks, *rest))


def _baseline(history: RunHistory, run: PastRun) -> str:
    """Gives the good prompt: what is released of the same name, else whatever has most runs of the agent.

    Raises:
        UsageError: there is none.
    """
    for ref in _released(run):
        if history.count(Wanted(agent=run.agent, prompt=ref)):
            return ref
    prompts = Counter(each.prompt_id for each in history.runs(Wanted(agent=run.agent), order=None))
    for prompt_id, _ in prompts.most_common():
        if prompt_id is not None and prompt_id != run.prompt_id:
            return prompt_id
    raise click.UsageError(f"no other prompt has runs of {run.agent}: name the good one with --baseline")


def _released(run: PastRun) -> Iterator[str]:
    """Gives the active and the rollback version of a run's prompt, but for the run's own."""
    if run.prompt_id is None:
        return
    try:
        own = parse_ref("prompt", run.prompt_id)
    except InvalidSetting:  # an id that others gave
        return
    release = read_what_can_be().release(own.name)
    for ref in () if release is None else (release.active, release.rollback):
        if ref is not None and (parsed := parse_ref("prompt", ref)).version != own.version:
            yield f"{parsed.name}:{parsed.version}"


def _observed(history: RunHistory, run: PastRun) -> Observed:
    """Gives what a run did; where its spans are not kept, what its row says."""
    try:
        return replace(observe(history.spans(run.run_id)), run=run)
    except NoRun:
        return Observed(run=run, stop_reason=run.stop_reason)


def _comments(proposal: Proposal) -> Iterator[str]:
    run, today = proposal.incident, datetime.now(UTC).date()
    yield (
        f"From run {run.run_id} of {moment_text(run.ended_ns)[:10]} ({run.agent}, {run.prompt_id or 'no prompt'}): "
        f"{ended(run)}, {run.tool_calls} tool calls, {run.tokens} tokens."
    )
    whose = "of the same task" if proposal.of_task else f"of {run.agent}"
    more = "a tenth" if proposal.task.max_seconds is None else "a tenth, of seconds twice that"
    yield f"Bounds: the highest of the last {proposal.runs} runs {whose} with {proposal.baseline} and {more}; {today}."
    if proposal.task.input is None:
        yield "What the agent was asked is not in the history: add it as `input`."


def _notes(proposal: Proposal, config: Config, file: Path) -> Iterator[str]:
    if proposal.task.input is None:
        yield "the task has no input: the history does not hold what the agent was asked; add it to the file"
    if not _named(config, file):
        yield f"testing.files does not name {shown(file)}: add it there, or no run without FILES has the task"


def _named(config: Config, file: Path) -> bool:
    """Tells whether `testing.files` names a file, which may not be there yet."""
    for pattern in config.testing.files:
        whole = f"{glob.escape(str(config.folder.absolute()))}/{pattern}"
        if file.absolute().match(whole) or ("**" in pattern and fnmatch.fnmatch(str(file.absolute()), whole)):
            return True
    return file.resolve() in [each.resolve() for each in task_files(config, all_there=False)]


def _whole(file: Path, proposal: Proposal, comments: tuple[str, ...]) -> str:
    try:
        return with_task(read_text(file), proposal.task, comments, name=shown(file))
    except CannotAppend as wrong:
        click.echo(block(proposal.task, comments), nl=False)
        raise click.UsageError(f"{shown(file)} was not changed: {wrong}; paste the task above into it") from None


def _write(addition: _Addition) -> None:
    write_task(addition.file, addition.proposal.task, addition.comments)


def _tell(addition: _Addition, *, caught: bool, dry_run: bool) -> None:
    proposal, name = addition.proposal, shown(addition.file)
    if dry_run or not caught:
        click.echo(block(proposal.task, addition.comments), nl=False)
    if not caught:
        note(f"not added: run {proposal.incident.run_id[:12]} keeps to all of this, so that it would not be caught")
        note(f"name another --baseline than {proposal.baseline}, or --force it and lower the bounds by hand")
        return
    has, bounds = "would get" if dry_run else "has", "; ".join(bounds_of(proposal.task))
    say(f"{name} {has} the task {proposal.task.id}: {bounds}")
    for broken in proposal.broken:
        say(f"  the run breaks {broken.field}: {broken.found}, where {broken.allowed} is allowed")
    if not proposal.broken:
        note("the run keeps to all of this: the task would not have caught it")
    for each in addition.notes:
        note(each)


def _json(addition: _Addition, *, written: bool) -> dict[str, Any]:
    proposal = addition.proposal
    return {
        "written": written,
        "file": str(addition.file),
        "run_id": proposal.incident.run_id,
        "baseline": proposal.baseline,
        "baseline_runs": proposal.runs,
        "of_the_same_task": proposal.of_task,
        "task": task_json(proposal.task),
        "broken": [broken._asdict() for broken in proposal.broken],
        "notes": list(addition.notes),
        "text": block(proposal.task, addition.comments),
    }
