"""`otel-agent golden run`: the golden tasks, each several times, and the verdict."""

from __future__ import annotations

import atexit
import getpass
import os
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import thread as futures
from functools import partial
from pathlib import Path
from typing import Any

import click

from otel_agent import InvalidSetting
from otel_agent.bootstrap import prepare
from otel_agent.cli.golden.options import (
    as_json_option,
    config_option,
    configured,
    files_argument,
    note,
    selection_options,
)
from otel_agent.cli.golden.printing import JudgingCommand, finish, report_option
from otel_agent.cli.golden.progress import shown_progress
from otel_agent.cli.prompts.targets import VERSION
from otel_agent.config import CONSOLE
from otel_agent.config.values import Config
from otel_agent.golden.agents import Agent, load_agent
from otel_agent.golden.keeping import golden_history
from otel_agent.golden.replay import Player, Recorder, Replayer
from otel_agent.golden.reports import Report
from otel_agent.golden.reports.facts import SHORT_ID
from otel_agent.golden.results import Result
from otel_agent.golden.runner import (
    ACTIVE,
    CONCURRENCY,
    NEVER_RETURNED,
    REPEATS,
    TIMEOUT_SECONDS,
    check_baseline,
    check_telemetry,
    repeats_of,
    run_tasks,
    trials_planned,
)
from otel_agent.golden.saved import load_result
from otel_agent.golden.tasks import TaskSet, load_tasks
from otel_agent.stores.golden_ledger import LedgerEntry, append, ledger_file

__all__ = ["run"]

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("run", cls=JudgingCommand, short_help="Run the tasks, and judge them from their spans.")
@files_argument
@click.option("--agent", metavar="MODULE:FUNCTION", help="The agent to call; else the one that the tasks name.")
@click.option(
    "--prompt",
    type=VERSION,
    metavar="NAME:VERSION",
    help="Give the agent this prompt where it selects one by its name.",
)
@click.option("--baseline", metavar="FILE|active", help="Compare with a saved result, or with the active prompt.")
@click.option(
    "--baseline-prompt", type=VERSION, metavar="NAME:VERSION", help="Compare with this prompt, run side by side."
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 1000),
    metavar="N",
    help=f"How often each task runs that does not say so itself; {REPEATS} by default.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=CONCURRENCY,
    show_default=True,
    metavar="N",
    help="How many runs may be under way at once.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=TIMEOUT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for one run.",
)
@selection_options
@click.option("--record", type=FILE, metavar="FILE", help="Record what models and tools say, to replay it later.")
@click.option("--replay", type=FILE, metavar="FILE", help="Ask no model and no tool: answer once from a recording.")
@click.option("--save", type=FILE, metavar="FILE", help="Save the result, as a baseline for later.")
@report_option
@as_json_option
@config_option
@click.option("--traceback", "with_traceback", is_flag=True, help="Show where an agent failed that cannot be imported.")
@click.pass_context
def run(
    context: click.Context,
    files: tuple[Path, ...],
    agent: str | None,
    prompt: str | None,
    baseline: str | None,
    baseline_prompt: str | None,
    repeats: int | None,
    concurrency: int,
    timeout: float,
    ids: tuple[str, ...],
    tags: tuple[str, ...],
    record: Path | None,
    replay: Path | None,
    save: Path | None,
    reports: Sequence[Report],
    as_json: bool,
    config: Path | None,
    with_traceback: bool,
) -> None:
    """Run golden tasks: call the agent with each of them several times, and judge every run from its spans.

    FILES are files of tasks; without any, the tasks of otel-agent.yaml and of the files that its testing.files names.
    A task passes where most of its runs (2 of 3) keep every bound, and none breaks one that allows no exception.
    """
    if baseline is not None and baseline_prompt is not None:
        raise click.UsageError("--baseline and --baseline-prompt are two baselines: give one of them")
    if replay is not None and (record or baseline or baseline_prompt or repeats):
        raise click.UsageError("--replay goes without --record, --repeats and a baseline: it says once what was said")
    player = _player(record, replay)
    threads = frozenset(threading.enumerate())
    found = configured(config)
    os.environ.setdefault(CONSOLE.variable, "false")  # the trees of its runs stay off the terminal
    every = load_tasks(files, config=found)
    tasks = every.select(ids, tags)
    whole = tasks == every
    before = None if baseline in (None, ACTIVE) else load_result(Path(str(baseline)))
    _check(tasks, before, str(baseline), save, whole=whole)
    name = agent or tasks.agent
    if name is None:
        raise click.UsageError("no agent: say --agent MODULE:FUNCTION, or testing.agent in otel-agent.yaml")
    called = _loaded(name, with_traceback)
    prepare(found)
    beside = ACTIVE if baseline == ACTIVE else baseline_prompt
    planned = trials_planned(tasks, repeats=repeats, sides=1 if beside is None else 2, player=player)
    with shown_progress(planned) as told:
        result = run_tasks(
            called,
            tasks,
            name=name,
            prompt=prompt,
            baseline_prompt=beside,
            baseline=before,
            baseline_name=str(baseline),
            repeats=repeats,
            concurrency=concurrency,
            timeout=timeout,
            on_trial=told,
            player=player,
            whole=whole,
            config=found,
        )
    for line in player.notes if isinstance(player, Recorder) else ():
        note(line)
    code = finish(result, reports, as_json=as_json, save=save, record=partial(_recorded, result, tasks, found, files))
    if (look := _look(result)) is not None:
        note(look)
    _leave(result, code, threads)
    context.exit(code)


def _player(record: Path | None, replay: Path | None) -> Player | None:
    if replay is not None:
        return Replayer(replay)
    return None if record is None else Recorder(record)


def _check(tasks: TaskSet, baseline: Result | None, name: str, save: Path | None, *, whole: bool) -> None:
    """Finds what can never work before a run is paid for."""
    check_telemetry()
    if not tasks.tasks:
        raise click.UsageError("there are no golden tasks: FILES name them, or testing.golden_tasks or testing.files")
    if baseline is not None:
        check_baseline(tasks, baseline, whole=whole, name=name)
    if save is not None and not save.absolute().parent.is_dir():
        raise InvalidSetting(field="--save", value=str(save), allowed="in a folder that is there")


def _loaded(name: str, with_traceback: bool) -> Agent:
    try:
        return load_agent(name)
    except InvalidSetting as wrong:
        if with_traceback and wrong.__cause__ is not None:
            click.echo("".join(traceback.format_exception(wrong.__cause__)), err=True, nl=False)
        raise


def _recorded(result: Result, tasks: TaskSet, config: Config, files: Sequence[Path]) -> str:
    """Adds a line to the ledger, where all tasks of the configuration were run live with one prompt; says so."""
    why = _not_recorded(result, tasks, config, files)
    if why is not None:
        return f"not recorded for the gate: {why}"
    entry = LedgerEntry(
        prompt_id=result.prompt_ids[0],
        agent=result.agent,
        at_ns=result.at_ns,
        task_set=result.task_set,
        tasks=len(result.tasks),
        runs=len([trial for trial in result.trials if trial.run is not None]),
        result=result.verdict,
        limits=result.limits,
        who=_who(),
    )
    place = ledger_file(config)
    append(place, entry)
    return f"recorded for the gate: {entry.prompt_id} {entry.result} ({place})"


def _not_recorded(result: Result, tasks: TaskSet, config: Config, files: Sequence[Path]) -> str | None:
    if result.interrupted:
        return "it was interrupted"
    if result.replayed:
        return "answers were recorded ones"
    if not result.whole or (files and result.task_set != load_tasks(config=config).digest):
        return "these are not all tasks of the configuration"
    if len(result.prompt_ids) != 1:
        return "its runs name no prompt" if not result.prompt_ids else "its runs used several prompts"
    if any(ran.repeats < repeats_of(task, None) for ran, task in zip(result.tasks, tasks.tasks, strict=True)):
        return f"--repeats asked for fewer runs of a task than {REPEATS}, or than its quorum"
    if result.verdict == "inconclusive" and all(task.passed for task in result.tasks):
        return "the tasks passed, and the comparison with the baseline is inconclusive"
    return None


def _look(result: Result) -> str | None:
    """Gives the command that shows the first run that broke a bound."""
    folder = golden_history()
    broken = (trial.run for trial in result.trials if trial.run is not None and not trial.passed)
    if folder is None or (run := next(broken, None)) is None:
        return None
    return f"a run that did not pass: otel-agent runs tree {run.run_id[:SHORT_ID]} --history {shlex.quote(str(folder))}"


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _leave(result: Result, code: int, before: frozenset[threading.Thread]) -> None:
    """Ends the process where a trial that was given up has left a thread that Python would wait for, as pools do."""
    given_up = result.interrupted or any((trial.problem or "").startswith(NEVER_RETURNED) for trial in result.trials)
    pools: Any = getattr(futures, "_threads_queues", {})
    held = [thread for thread in threading.enumerate() if not thread.daemon or thread in pools]
    if given_up and not before.issuperset(held):
        sys.stdout.flush()
        sys.stderr.flush()
        run_exits: Callable[[], None] = getattr(atexit, "_run_exitfuncs")  # noqa: B009 - it has no public name
        run_exits()
        os._exit(code)
