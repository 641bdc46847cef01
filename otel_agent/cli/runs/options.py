"""What the commands on runs share: where the history is, which runs are meant, and how times are written."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from otel_agent import InvalidSetting, StopCode
from otel_agent.config.current import current
from otel_agent.stores.run_history import RunHistory, UnreadableHistory, Wanted, default_history
from otel_agent.usage import PastRun

__all__ = [
    "Moment",
    "Span",
    "as_json_option",
    "complain",
    "complain_of_lines",
    "filters",
    "found_run",
    "history_option",
    "moment_text",
    "opened",
    "place",
    "wanted",
]

F = TypeVar("F", bound=Callable[..., Any])

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d{1,6})([smhdw])")
NANO = 1_000_000_000
MOST_PROBLEMS = 5


class Moment(click.ParamType[int]):
    """A time: `2h` or `7d` ago, `now`, or a date and perhaps a time, UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: int | str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Gives nanoseconds since 1970."""
        if isinstance(value, int):
            return value
        found = _moment(value.strip())
        if found is None:
            self.fail(f"{value!r} is no time: write 2h, 7d, now, 2026-11-20 or 2026-11-20T09:30", param, ctx)
        return found


def _moment(text: str) -> int | None:
    if text == "now":
        return time.time_ns()
    if ago := _AGO.fullmatch(text):
        return time.time_ns() - int(ago[1]) * UNITS[ago[2]] * NANO
    try:
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * NANO
    except (ValueError, OverflowError):
        return None


class Span(click.ParamType[tuple[int, int]]):
    """A window of time: two moments with `..` between, such as `14d..7d` or `2026-11-01..2026-11-08`."""

    name = "start..end"

    def convert(
        self, value: tuple[int, int] | str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Gives the two moments; an end that is left out is now."""
        if not isinstance(value, str):
            return value
        start, dots, end = value.partition("..")
        if not dots:
            self.fail(f"{value!r} is no window: write START..END, such as 14d..7d", param, ctx)
        found = Moment().convert(start, param, ctx), Moment().convert(end or "now", param, ctx)
        if found[0] >= found[1]:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return found


def moment_text(at_ns: int) -> str:
    """Writes a time as people read it, in UTC."""
    return datetime.fromtimestamp(at_ns / NANO, UTC).strftime("%Y-%m-%d %H:%M:%S")


def place(history: Path | None) -> Path:
    """Gives the folder of the history that is meant."""
    try:
        found = False if history else current().observability.history
        return history or (found if isinstance(found, Path) else default_history())
    except InvalidSetting as wrong:
        raise click.UsageError(str(wrong)) from None


@contextmanager
def opened(history: Path | None) -> Generator[RunHistory]:
    """Opens the history to read from; what stands in its way is one line and exit code 1."""
    try:
        with RunHistory.read(place(history)) as found:
            if found.damage is not None:
                complain(found.damage)
            yield found
            complain_of_lines(found.damaged_lines)
    except UnreadableHistory as wrong:
        hint = "; configure(history=True) keeps one" if str(wrong).startswith("there is no") else ""
        raise click.ClickException(f"{wrong}{hint}") from None


def complain(text: str) -> None:
    """Prints a line on stderr."""
    click.echo(f"otel-agent runs: {text}", err=True)


def complain_of_lines(problems: Sequence[str]) -> None:
    """Prints a line for each damaged line, and of many how many more there are."""
    for problem in problems[:MOST_PROBLEMS]:
        complain(problem)
    if len(problems) > MOST_PROBLEMS:
        complain(f"... and {len(problems) - MOST_PROBLEMS:,} damaged lines more")


def found_run(history: RunHistory, start: str | None) -> PastRun:
    """Gives the one run whose run id or trace id begins so; None means the latest."""
    if start is None:
        latest = history.runs(Wanted(roots=True), limit=1)
        if not latest:
            raise click.ClickException("the history has no runs yet")
        return latest[0]
    found = history.find(start)
    roots = [run for run in found if run.parent_id is None]
    if len(found) > 1 and len(roots) == 1 and roots[0].trace_id is not None:
        found = roots if all(run.trace_id == roots[0].trace_id for run in found) else found
    if not found:
        raise click.UsageError(f"no run id or trace id begins with {start!r}; `otel-agent runs list` shows them")
    if len(found) > 1:
        ids = ", ".join(run.run_id[:16] for run in found[:3])
        raise click.UsageError(f"{start!r} is the beginning of several: {ids}, ...")
    return found[0]


def history_option(command: F) -> F:
    """Adds `--history`."""
    return click.option(
        "--history",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="The folder of the history; else that of OTEL_AGENT_HISTORY or the configuration, else the user's own.",
    )(command)


def as_json_option(command: F) -> F:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def completed(column: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes from what the history has in a column; a history that cannot be read has nothing."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            with RunHistory.read(place(ctx.params.get("history"))) as history:
                known = history.known(column)
        except (UnreadableHistory, OSError, click.UsageError):
            return []
        return [CompletionItem(value) for value in known if value.startswith(incomplete)]

    return complete


def filters(*, prompt: bool = True) -> Callable[[F], F]:
    """Adds the options that narrow down which runs are meant."""
    added = [
        click.option("--agent", metavar="NAME", shell_complete=completed("agent"), help="Only runs of this agent."),
        click.option(
            "--stop-reason",
            type=click.Choice(sorted(map(str, StopCode))),
            metavar="CODE",
            help="Only runs that ended so, such as finish or max_tool_calls.",
        ),
        click.option("--since", type=Moment(), metavar="TIME", help="Ended at or after: 2h, 7d, or 2026-11-20T09:30."),
        click.option("--until", type=Moment(), metavar="TIME", help="Ended before; written the same way."),
    ]
    if prompt:
        added.insert(
            1,
            click.option(
                "--prompt",
                metavar="ID",
                shell_complete=completed("prompt_id"),
                help="Only runs of this prompt: support, support:v13, or a whole id.",
            ),
        )

    def add(command: F) -> F:
        return functools.reduce(lambda given, option: option(given), reversed(added), command)

    return add


def wanted(options: dict[str, Any], **more: Any) -> Wanted:
    """Gives what the filter options ask for."""
    return Wanted(
        agent=options.get("agent"),
        prompt=options.get("prompt"),
        stop_reason=options.get("stop_reason"),
        since_ns=options.get("since"),
        until_ns=options.get("until"),
        **more,
    )
