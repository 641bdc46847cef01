"""`otel-agent config check`: everything that is wrong with a file and the environment, at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from otel_agent import InvalidSetting
from otel_agent.cli.config.printing import WRONG, file_argument, out
from otel_agent.config import VARIABLES
from otel_agent.config.current import find, with_environment
from otel_agent.config.file import load
from otel_agent.config.problems import InvalidFile, Problem
from otel_agent.config.values import Config
from otel_agent.prompts import Registry
from otel_agent.stores.prompt_lock import read_lock
from otel_agent.stores.sources import Sources, sources_of
from otel_agent.views.text import plural

__all__ = ["check"]

NO_TEXT = "it has no text in the folder or the file; unless code has it, a run that asks for it is refused"


@click.command(epilog="Exit codes: 0 nothing is wrong, there may be notes; 1 there are errors; 2 wrong usage.")
@file_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def check(context: click.Context, file: Path | None, as_json: bool) -> None:
    """Find everything that is wrong, at once: in the file, with line and column, in the environment, in the prompts.

    FILE is the file to check in place of the one that is found. A version that is released and has no text anywhere
    is a note, for the text may come from code.
    """
    report = _Report(file)
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else "\n".join(map(out, report.lines())))
    if report.problems or report.errors:
        context.exit(WRONG)


class _Report:
    """What was found: `problems` in the file, `errors` elsewhere, and `notes`."""

    def __init__(self, file: Path | None) -> None:
        self.file: Path | None = None
        self.problems: tuple[Problem, ...] = ()
        self.errors: list[str] = []
        self.notes: list[str] = []
        try:
            self.file = file if file is not None else find()
            config = Config(said=frozenset()) if self.file is None else load(self.file)
        except InvalidFile as wrong:
            self.problems = wrong.problems
            config = None
        except InvalidSetting as wrong:
            self.errors.append(str(wrong))
            config = None
        wrong_variables = list(_wrong_variables())
        self.errors += [each for each in wrong_variables if each not in self.errors]
        if config is not None and not self.errors:
            self._prompts(with_environment(config))

    def _prompts(self, config: Config) -> None:
        try:
            sources = sources_of(config)
            registry = sources.registry()
            self.notes += [*_without_text(config, registry), *_unrecorded(sources, registry)]
        except InvalidSetting as wrong:
            self.errors.append(str(wrong))

    def lines(self) -> Iterator[str]:
        name = str(self.file) if self.file is not None else "no otel-agent.yaml"
        yield from (f"{name}:{problem}" for problem in self.problems)
        yield from (f"error: {error}" for error in self.errors)
        yield from (f"note: {note}" for note in self.notes)
        count = len(self.problems) + len(self.errors)
        yield f"{name}: {plural(count, 'error') if count else 'no errors'}"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": None if self.file is None else str(self.file),
            "ok": not self.problems and not self.errors,
            "problems": [problem.as_json() for problem in self.problems],
            "errors": self.errors,
            "notes": self.notes,
        }


def _wrong_variables() -> Iterator[str]:
    for setting in VARIABLES:
        try:
            setting.get()
        except InvalidSetting as wrong:
            yield str(wrong)


def _without_text(config: Config, registry: Registry) -> Iterator[str]:
    section = config.prompts
    canary = [f"{name}:{canary.version}" for name, canary in section.canary.items()]
    for key, refs in (("active", section.active), ("rollback", section.rollback), ("canary", canary)):
        for ref in refs:
            if ref not in registry:
                yield f"prompts.{key} = {ref}: {NO_TEXT}"


def _unrecorded(sources: Sources, registry: Registry) -> Iterator[str]:
    lock = None if sources.lock is None else read_lock(sources.lock)
    if lock is not None:
        for prompt in lock.missing(registry):
            yield f"{prompt.name}:{prompt.version} is not in {sources.lock}; record it: otel-agent prompts lock"
