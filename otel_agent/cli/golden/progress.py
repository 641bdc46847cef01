"""How far golden tasks are, on stderr: a bar on a terminal, else a line a trial."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import click

from otel_agent.golden.results import Trial
from otel_agent.views.text import clean

__all__ = ["shown_progress"]


@contextmanager
def shown_progress(total: int) -> Generator[Callable[[Trial], None]]:
    """Gives what is to be told of each trial that is done.

    Args:
        total: how many trials there will be.
    """
    if not sys.stderr.isatty():
        yield _Lines(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("golden"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("golden", total=total, last="")
        yield lambda trial: bar.update(shown, advance=1, last=_said(trial))


class _Lines:
    """Prints a line a trial."""

    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total

    def __call__(self, trial: Trial) -> None:
        self._done += 1
        click.echo(f"{self._done}/{self._total}  {_said(trial)}", err=True)


def _said(trial: Trial) -> str:
    fields = ", ".join(dict.fromkeys(violation.field for violation in trial.violations))
    state = trial.problem or (f"broke {fields}" if fields else "ok")
    side = " (baseline)" if trial.side == "baseline" else ""
    return clean(f"{trial.task} #{trial.repeat}{side}: {state}")
