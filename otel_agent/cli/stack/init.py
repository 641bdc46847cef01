"""`otel-agent stack init DIR`: writes every file of a stack."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from otel_agent import InvalidSetting
from otel_agent.config.current import current
from otel_agent.deploy.alertmanager import DEFAULT_WEBHOOK
from otel_agent.deploy.rules import RUNBOOK
from otel_agent.deploy.stack.contents import Choice, contents
from otel_agent.deploy.stack.ports import PORTS
from otel_agent.deploy.stack.writing import Change, changes, write
from otel_agent.deploy.thresholds import thresholds

__all__ = ["init"]

REFUSED, WRONG_USAGE = 1, 2
SIGNS = {"new": "+", "changed": "~", "same": "="}


class Named(click.ParamType[tuple[str, float]]):
    """A number with one of a few names, as `name=number`; a wrong name is answered with the nearest right one."""

    name = "name=number"

    def __init__(self, known: Mapping[str, tuple[str, float]], kind: type[int] | type[float]) -> None:
        self.known = known
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Gives name and number."""
        word, sign, text = str(value).partition("=")
        if word not in self.known:
            near = difflib.get_close_matches(word, self.known, n=1, cutoff=0.0)[0]
            self.fail(f"there is no {word!r}; did you mean {near!r}? There are: {', '.join(self.known)}", param, ctx)
        try:
            return word, self.kind(text)
        except ValueError:
            what = "a whole number" if self.kind is int else "a number"
            example = f"{word}={self.known[word][1]:g}"
            self.fail(f"{text!r} must be {what}, as in {example}" if sign else f"say {word}=NUMBER", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Gives the names that begin so."""
        begun = [word for word in self.known if word.startswith(incomplete)]
        return [CompletionItem(f"{word}=", help=self.known[word][0]) for word in begun]


THRESHOLD = Named({each.name: (each.about, each.default) for each in thresholds()}, float)
PORT = Named({port.name: (port.about, port.default) for port in PORTS}, int)


def _folder(context: click.Context, parameter: click.Parameter, value: str | None) -> Path:
    """Refuses an empty name, which a shell makes of an unset variable; `.` is the folder that one is in."""
    if value is None and not context.params["listed"]:
        raise click.MissingParameter(ctx=context, param=parameter)
    if value == "":
        raise click.BadParameter("it is empty; say . for this folder")
    return Path(value or ".")


def _list_thresholds(*, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(each) for each in thresholds()], indent=2))
        return
    for each in thresholds():
        click.echo(f"{each.name}={each.default:g}  {each.unit}: {each.about}")


@click.command(short_help="Write every file of a stack.")
@click.argument("folder", metavar="DIR", type=click.Path(), required=False, callback=_folder)
@click.option("--set", "given", type=THRESHOLD, multiple=True, help="A threshold of the alerts. May be repeated.")
@click.option("--port", "ports", type=PORT, multiple=True, help="Another port. May be repeated.")
@click.option("--webhook", default=DEFAULT_WEBHOOK, show_default=True, metavar="URL", help="Who is sent alerts.")
@click.option(
    "--runbook", default=RUNBOOK, show_default=True, metavar="URL", help="Where alerts say that their page is."
)
@click.option("--no-sampler", is_flag=True, help="Take tail sampling out: keep every trace.")
@click.option("--config", type=click.Path(path_type=Path), help="Read alerts from this otel-agent.yaml.")
@click.option("--force", is_flag=True, help="Overwrite files that differ; the difference is shown.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--list", "listed", is_flag=True, is_eager=True, help="List thresholds, and write nothing.")
@click.pass_context
def init(
    context: click.Context,
    folder: Path,
    given: Sequence[tuple[str, float]],
    ports: Sequence[tuple[str, int]],
    webhook: str,
    runbook: str,
    no_sampler: bool,
    config: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    listed: bool,
) -> None:
    """Write a stack into DIR: collector, rules, dashboards, compose file, Kubernetes manifests.

    Thresholds come from --set, else from `alerts:` in otel-agent.yaml, else from the defaults that --list shows.
    Nothing that is there and differs is overwritten without --force, which writes all of it anew: an option of before
    that is not given again goes back to its default.
    """
    if listed:
        _list_thresholds(as_json=as_json)
        return
    try:
        held = current(config)
        choice = Choice(
            thresholds={**held.alerts, **dict(given)},
            token_spike=held.observability.alert_on_token_spike,
            sampler=not no_sampler,
            ports=dict(ports),
            webhook=webhook,
            runbook=runbook,
        )
        files = contents(choice)
        found = changes(folder, files)
        refused = not force and any(change.kind == "changed" for change in found)
        if not refused and not dry_run:
            write(folder, files)
    except InvalidSetting as wrong:
        click.echo(f"otel-agent stack init: {wrong}", err=True)
        context.exit(WRONG_USAGE)
    written = not refused and not dry_run
    if as_json:
        click.echo(json.dumps(_document(folder, found, written), indent=2))
    else:
        _show(folder, found, written)
    if refused:
        changed = sum(change.kind == "changed" for change in found)
        click.echo(
            f"otel-agent stack init: {changed} file(s) in {folder} differ; nothing was written; --force overwrites",
            err=True,
        )
        context.exit(REFUSED)


def _document(folder: Path, found: Sequence[Change], written: bool) -> dict[str, Any]:
    files = [{"path": change.path, "kind": change.kind, "diff": change.diff} for change in found]
    return {"folder": str(folder), "written": written, "files": files}


def _show(folder: Path, found: Sequence[Change], written: bool) -> None:
    for change in found:
        click.echo(f"{SIGNS[change.kind]} {folder / change.path}")
        if change.diff:
            click.echo(change.diff)
    counts = {kind: sum(change.kind == kind for change in found) for kind in SIGNS}
    said = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    click.echo(f"{'Written' if written else 'Not written'}: {said}")
    if written:
        click.echo(f"Next: otel-agent stack check {folder}; otel-agent stack up {folder}")
