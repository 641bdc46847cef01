"""`otel-agent config check`: everything that is wrong with a file and the environment, at once."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from otel_agent import InvalidSetting
from otel_agent.cli.config.printing import WRONG, file_argument, out
from otel_agent.config import VARIABLES
from otel_agent.config.current import find, with_environment
from otel_agent.config.file import load_prompts
from otel_agent.config.problems import Problem
from otel_agent.config.values import Config
from otel_agent.deploy.thresholds import settled
from otel_agent.prompts import Override, Ref, Registry, parse_ref
from otel_agent.stores.override import OverrideFile
from otel_agent.stores.sources import LEFT_OUT, Sources, forced_releases, sources_of
from otel_agent.stores.survey import Survey, changed_texts, survey
from otel_agent.views.text import plural

__all__ = ["check"]

NO_TEXT = "it has no text in the folder or the file; unless code has it, a run that asks for it is refused"


@click.command(
    short_help="Find everything that is wrong, at once.",
    epilog="Exit codes: 0 nothing is wrong, there may be notes; 1 there are errors; 2 wrong usage.",
)
@file_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def check(context: click.Context, file: Path | None, as_json: bool) -> None:
    """Find everything that is wrong, at once: in the file, with line and column, in the environment, in the prompts.

    That is all that configure() would refuse. FILE is the file to check in place of the one that is found. A version
    that is released, or set by a variable, and has no text here is a note, for the text may come from code; so is what
    the override file releases in place of the file.
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
            config, wrong = (Config(said=frozenset()), None) if self.file is None else load_prompts(self.file)
            self.problems = () if wrong is None else wrong.problems
        except InvalidSetting as wrong:
            self._error(wrong)
            config = None
        for mistake in _wrong_variables():
            self._error(mistake)
        if config is not None:
            for mistake in _wrong_thresholds(config):
                self._error(mistake)
            self._prompts(with_environment(config, report=self._error))

    def _error(self, wrong: InvalidSetting) -> None:
        if str(wrong) not in self.errors:
            self.errors.append(str(wrong))

    def _prompts(self, config: Config) -> None:
        try:
            sources = sources_of(config)
        except InvalidSetting as wrong:  # no OpenFeature: everything else can be checked
            self._error(wrong)
            sources = sources_of(replace(config, prompts=replace(config.prompts, source="configuration")))
        found = survey(sources)
        for mistake in (*found.problems, *changed_texts(found)):
            self._error(mistake)
        self.notes += [f"{wrong}; {LEFT_OUT}" for wrong in found.left_out]
        self._forced(found.registry)
        self.notes += [*_without_text(config, found.registry), *_unrecorded(sources, found)]
        try:
            self.notes += _overridden(sources, found.registry)
        except InvalidSetting as wrong:
            self._error(wrong)

    def _forced(self, registry: Registry) -> None:
        """Looks at OTEL_AGENT_PROMPT_SUPPORT and the like."""
        for variable, value in os.environ.items():
            try:
                for release in forced_releases({variable: value}).values():
                    self._has_text(variable, parse_ref(variable, release.active), registry)
            except InvalidSetting as wrong:
                self._error(wrong)

    def _has_text(self, variable: str, ref: Ref, registry: Registry) -> None:
        """Notes that a version has no text here, for code may have it; that it has another one is an error."""
        try:
            registry.get(ref, field=variable)
        except InvalidSetting as wrong:
            if ref.version in registry.versions(ref.name):
                raise
            self.notes.append(f"{wrong}; unless code has its text, configure() refuses to start")

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


def _wrong_variables() -> Iterator[InvalidSetting]:
    for setting in VARIABLES:
        try:
            setting.get()
        except InvalidSetting as wrong:
            yield wrong


def _wrong_thresholds(config: Config) -> Iterator[InvalidSetting]:
    """Gives what `stack init` would refuse: no alert has such a threshold, or it cannot have this value."""
    for name, value in config.alerts.items():
        try:
            settled({name: value})
        except InvalidSetting as wrong:
            field = wrong.field.replace("thresholds", "alerts")
            yield InvalidSetting(field=field, value=wrong.value, allowed=wrong.allowed)


def _overridden(sources: Sources, registry: Registry) -> Iterator[str]:
    override = Override() if sources.override is None else OverrideFile(sources.override).read()
    for name, release in override.releases.items():
        configured = sources.releases.get(name)
        instead = f" in place of prompts.active = {configured.active}" if configured is not None else ""
        undo = f"`otel-agent prompts reset {shlex.quote(name)}` takes that away"
        yield f"{sources.override} releases {release.active}{instead}; {undo}"
        for ref in (release.active, release.candidate):
            if ref is not None and ref not in registry:
                yield f"{sources.override}: {ref}: {NO_TEXT}"


def _without_text(config: Config, registry: Registry) -> Iterator[str]:
    section = config.prompts
    canary = [f"{name}:{canary.version}" for name, canary in section.canary.items()]
    for key, refs in (("active", section.active), ("rollback", section.rollback), ("canary", canary)):
        for ref in refs:
            if ref not in registry:
                yield f"prompts.{key} = {ref}: {NO_TEXT}"


def _unrecorded(sources: Sources, found: Survey) -> Iterator[str]:
    if found.lock is not None:
        for prompt in found.lock.missing(found.registry):
            yield f"{prompt.name}:{prompt.version} is not in {sources.lock}; record it: otel-agent prompts lock"
