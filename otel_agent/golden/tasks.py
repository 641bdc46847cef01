"""Which tasks there are: those of `otel-agent.yaml` and of files of their own, put together into one set.

Decides that an id stands once, wherever, and which agent a set is for. Runs nothing.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from otel_agent import checks, hashing
from otel_agent.config.current import current, existing
from otel_agent.config.file import bytes_of, read_as
from otel_agent.config.problems import InvalidFile
from otel_agent.config.tasks import TASK_FILE, Clash, file_clashes, task_of
from otel_agent.config.values import Config, GoldenTask
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import shown

__all__ = ["TaskSet", "load_tasks", "task_digest", "task_files"]

DIGITS = 12
_NOT_DECIDING = ("tags", "file", "line")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSet:
    """Tasks that are run and judged together.

    Attributes:
        tasks: the tasks, in the order in which they were found.
        agent: the agent that does them, as `module:function`, or None where nobody says so.
        writes: tools that change something outside.
        files: the files that they stand in, without `otel-agent.yaml`.
    """

    tasks: tuple[GoldenTask, ...] = ()
    agent: str | None = None
    writes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """What decides, as 12 hex digits: ids, inputs and bounds, and the tools that write; in any order of tasks."""
        tasks = sorted((_deciding(task) for task in self.tasks), key=lambda each: str(each["id"]))
        return hashing.digest([tasks, sorted(set(self.writes))])[:DIGITS]

    def select(self, ids: Collection[str] = (), tags: Collection[str] = ()) -> TaskSet:
        """Gives the tasks with one of these ids, or one of these tags; without either, all.

        Raises:
            InvalidSetting: an id or a tag is that of no task.
        """
        for field, asked, known in (
            ("task", ids, [task.id for task in self.tasks]),
            ("tag", tags, sorted({tag for task in self.tasks for tag in task.tags})),
        ):
            if unknown := [each for each in asked if each not in known]:
                allowed = (f"one of {', '.join(known[:20])}" if known else "left out: there are none") + (
                    checks.nearest(unknown[0], known)
                )
                raise InvalidSetting(field=field, value=unknown[0], allowed=allowed)
        if not ids and not tags:
            return self
        return replace(self, tasks=tuple(task for task in self.tasks if task.id in ids or {*tags} & {*task.tags}))


def _deciding(task: GoldenTask) -> dict[str, Any]:
    found = {name: getattr(task, name) for name in task.__dataclass_fields__ if name not in _NOT_DECIDING}
    return {**found, "max_usd": _same(task.max_usd)}


def _same(usd: Decimal | None) -> str | None:
    """Writes 0.5 and 0.50 alike."""
    return None if usd is None else f"{usd.normalize():f}"


def task_digest(task: GoldenTask) -> str:
    """Gives what a task asks, its id and its input, as 12 hex digits; its bounds may change under it."""
    return hashing.digest([task.id, task.input])[:DIGITS]


def load_tasks(paths: Sequence[Path] = (), *, config: Config | None = None) -> TaskSet:
    """Reads golden tasks.

    Args:
        paths: files of tasks, and only these are read; without any, the tasks of the configuration and of the files
            that its `testing.files` names.
        config: the configuration; None is the one that holds here. Its agent and its tools that write hold for the
            tasks of all files.

    Raises:
        InvalidSetting: a file is not there or cannot be read.
        InvalidFile: a file has problems, all of which are told, each with its line and field; an id that stands in
            another file, or another agent, is one.
    """
    testing = (found := current(config)).testing
    files = _alone(existing(path, "golden tasks") for path in paths) if paths else task_files(found)
    tasks = [] if paths else list(testing.golden_tasks)
    _ids_stand_once(tasks)
    agent = (testing.agent, "testing.agent") if testing.agent else None
    writes = list(testing.writes)
    for file in files:
        values = _read(file, file_clashes({task.id: _where(task) for task in tasks}, agent))
        tasks += [task_of(task, file) for task in values["tasks"]]
        writes += values.get("writes", ())
        if agent is None and "agent" in values:
            agent = (values["agent"], shown(file))
    return TaskSet(tasks=tuple(tasks), agent=agent and agent[0], writes=tuple(dict.fromkeys(writes)), files=files)


def _read(file: Path, clashing: Callable[[Mapping[str, Any]], Iterable[Clash]]) -> dict[str, Any]:
    values, problems = read_as(TASK_FILE, clashing, bytes_of(file, "golden tasks"), shown(file))
    if problems:
        raise InvalidFile(file=shown(file), problems=problems)
    return values


def _where(task: GoldenTask) -> str:
    return f"{shown(task.file)}:{task.line or 1}" if task.file is not None else "the configuration"


def _ids_stand_once(tasks: Sequence[GoldenTask]) -> None:
    """Refuses twins in a configuration that was built in code; a file was checked where it was read."""
    ids = [task.id for task in tasks]
    for number, each in enumerate(ids):
        if ids.index(each) < number:
            field = f"testing.golden_tasks[{number}].id"
            raise InvalidSetting(field=field, value=each, allowed="an id that no task before it has")


def task_files(config: Config, *, all_there: bool = True) -> tuple[Path, ...]:
    """Gives the files that `testing.files` names, each once, in order.

    Args:
        config: the configuration.
        all_there: whether a name or pattern of no file is an error.

    Raises:
        InvalidSetting: a name or pattern is that of no file.
    """
    found = {pattern: _matching(pattern, config.folder) for pattern in config.testing.files}
    for pattern, files in found.items():
        if all_there and not files:
            allowed = f"files that are there, in {shown(config.folder)}"
            raise InvalidSetting(field="testing.files", value=pattern, allowed=allowed)
    return _alone(file for files in found.values() for file in files)


def _matching(pattern: str, folder: Path) -> list[Path]:
    named = sorted(folder / name for name in glob.glob(pattern, root_dir=folder, recursive=True))
    return [path for path in named if path.is_file()]


def _alone(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Leaves out a file that was named before, by whatever name."""
    found: dict[Path, Path] = {}
    for path in paths:
        found.setdefault(path.resolve(), path)
    return tuple(found.values())
