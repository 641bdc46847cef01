"""`otel-agent golden list`: which tasks there are, their bounds, where they stand, and how they last went."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from otel_agent import InvalidSetting
from otel_agent.cli.golden.options import (
    Command,
    as_json_option,
    config_option,
    configured,
    document,
    files_argument,
    note,
    say,
    selection_options,
)
from otel_agent.cli.runs.options import moment_text
from otel_agent.cli.runs.rows import stop_cell
from otel_agent.config.values import Config, GoldenTask
from otel_agent.golden.keeping import golden_history
from otel_agent.golden.tasks import TaskSet, load_tasks
from otel_agent.stores.files import shown
from otel_agent.stores.golden_ledger import LedgerEntry, ledger_file, read_ledger
from otel_agent.stores.run_history import RunHistory, UnreadableHistory
from otel_agent.usage import PastRun
from otel_agent.views.screen import colored, columns, encodable
from otel_agent.views.text import Cell, clean, glyphs_for, plural, render_table

__all__ = ["bounds_of", "list_", "task_json"]

MOST_CHECKS = 5
HEADERS = ("task", "must", "tags", "stands in", "last run (UTC)", "prompt", "ended")


@click.command("list", cls=Command, short_help="List the tasks, their bounds, and how they last went.")
@files_argument
@selection_options
@as_json_option
@config_option
def list_(
    files: tuple[Path, ...], ids: tuple[str, ...], tags: tuple[str, ...], as_json: bool, config: Path | None
) -> None:
    """List the golden tasks: what each must keep, where it stands, and its last run here.

    FILES are files of tasks; without any, the tasks of otel-agent.yaml and of the files that its testing.files names.
    Exit codes: 0 done, 2 wrong usage, or a task that cannot be.
    """
    found = configured(config)
    every = load_tasks(files, config=found)
    tasks, last, checks = every.select(ids, tags), _last_runs(), _last_checks(found)
    if as_json:
        document({**_json(tasks, last), "checks": [_check_json(check, every) for check in checks]})
        return
    if not tasks.tasks:
        say("There are no golden tasks: none in otel-agent.yaml, and no files. FILES name them, or testing.files.")
        return
    width = columns(sys.stdout) if sys.stdout.isatty() else None
    rows = [_cells(task, last.get(task.id)) for task in tasks.tasks]
    color, glyphs = colored(sys.stdout), glyphs_for(sys.stdout.encoding)
    table = render_table(HEADERS, rows, color=color, width=width, wrapped="must", glyphs=glyphs)
    click.echo(encodable(table, sys.stdout.encoding))
    say(f"{plural(len(rows), 'task')} for {tasks.agent or 'an agent that nobody names (testing.agent)'}")
    for check in checks[:MOST_CHECKS]:
        say(_check_line(check, every))


def _check_line(check: LedgerEntry, tasks: TaskSet) -> str:
    what = "these tasks" if check.task_set == tasks.digest else "other tasks or bounds"
    when = f"{moment_text(check.at_ns)} UTC, {plural(check.runs, 'run')}"
    return f"{check.prompt_id}: {check.result} with {what}, {when}"


def _last_runs() -> Mapping[str, PastRun]:
    """Gives the last run of each task on this machine."""
    folder = golden_history()
    if folder is None:
        return {}
    try:
        with RunHistory.read(folder) as history:
            found = history.runs(order="ended_ns ASC")
    except UnreadableHistory:  # most often there is none yet
        return {}
    return {run.task: run for run in found if run.task is not None and run.parent_id is None}


def _last_checks(config: Config) -> Sequence[LedgerEntry]:
    """Gives the last check of each prompt with all tasks, the latest first; lines that are damaged are told."""
    try:
        ledger = read_ledger(ledger_file(config))
    except InvalidSetting as wrong:
        note(str(wrong))
        return ()
    for damaged in ledger.damaged:
        note(str(damaged))
    found = {check.prompt_id: check for check in sorted(ledger.entries, key=lambda check: check.at_ns)}
    return sorted(found.values(), key=lambda check: -check.at_ns)


def _cells(task: GoldenTask, last: PastRun | None) -> list[Cell]:
    place = None if task.file is None else f"{shown(task.file)}:{task.line or 1}"
    return [
        clean(task.id),
        clean("; ".join(bounds_of(task))),
        clean(", ".join(task.tags)) or None,
        place,
        None if last is None else moment_text(last.ended_ns),
        None if last is None or last.prompt_id is None else clean(last.prompt_id),
        None if last is None else stop_cell(last),
    ]


def bounds_of(task: GoldenTask) -> list[str]:
    """Gives what a task demands, in words."""
    return [f"end with {task.expect_stop_reason}", *_amounts(task), *_tools(task)] + (
        ["have the right output"] if task.output is not None else []
    )


def _amounts(task: GoldenTask) -> list[str]:
    units = {"max_steps": "steps", "max_tool_calls": "tool calls", "max_tokens": "tokens"}
    found = [f"{getattr(task, name):,} {unit}" for name, unit in units.items() if getattr(task, name) is not None]
    found += [] if task.max_seconds is None else [f"{task.max_seconds:g} s"]
    found += [] if task.max_usd is None else [f"${task.max_usd:f}"]
    found += [] if task.max_repeats is None else [f"{plural(task.max_repeats, 'call')} alike"]
    return [f"at most {', '.join(found)}"] if found else []


def _tools(task: GoldenTask) -> list[str]:
    how = {"exact": "call exactly", "in_order": "call in this order", "any": "call"}[task.call_order]
    must = " ".join(task.must_call) or "nothing"
    found = [f"{how} {must}"] if task.must_call or task.call_order == "exact" else []
    found += [f"not call {' '.join(task.must_not_call)}"] if task.must_not_call else []
    return found + ([f"may call {' '.join(task.may_call)}"] if task.may_call else [])


def _json(tasks: TaskSet, last: Mapping[str, PastRun]) -> dict[str, Any]:
    return {
        "agent": tasks.agent,
        "writes": list(tasks.writes),
        "files": [str(file) for file in tasks.files],
        "digest": tasks.digest,
        "tasks": [{**task_json(task), "last_run": _run_json(last.get(task.id))} for task in tasks.tasks],
    }


def task_json(task: GoldenTask) -> dict[str, Any]:
    """Gives a task as JSON has it, without its input, which may be somebody's words."""
    values = {name: getattr(task, name) for name in task.__dataclass_fields__ if name not in ("input", "output")}
    return {
        **values,
        "expect_stop_reason": str(task.expect_stop_reason),
        "max_usd": None if task.max_usd is None else f"{task.max_usd:f}",
        "file": None if task.file is None else str(task.file),
        "has_input": task.input is not None,
        "has_output_check": task.output is not None,
    }


def _check_json(check: LedgerEntry, tasks: TaskSet) -> dict[str, Any]:
    return {
        "prompt_id": check.prompt_id,
        "agent": check.agent,
        "result": check.result,
        "when": check.when,
        "runs": check.runs,
        "these_tasks": check.task_set == tasks.digest,
    }


def _run_json(run: PastRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {"run_id": run.run_id, "prompt_id": run.prompt_id, "stop_reason": run.stop_reason, "ended_ns": run.ended_ns}
