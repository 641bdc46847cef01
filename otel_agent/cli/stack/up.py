"""`otel-agent stack up DIR`: the servers of a stack as processes of this machine, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from otel_agent import InvalidSetting
from otel_agent.deploy.stack.running import START_SECONDS, Stack, StackFailed
from otel_agent.deploy.stack.servers import Server

__all__ = ["up"]

FAILED, WRONG_USAGE = 1, 2
PROGRAMS = click.Path(exists=True, file_okay=False, path_type=Path)
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@click.command(short_help="Start the servers, until Ctrl-C.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--bin", "programs", type=PROGRAMS, help="Look for programs here before the PATH.")
@click.option(
    "--timeout",
    default=START_SECONDS,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds that each server may take to come up.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, once all are up; progress stays on stderr."
)
@click.pass_context
def up(context: click.Context, folder: Path, programs: Path | None, timeout: float, as_json: bool) -> None:
    """Start whichever of collector, Jaeger, Prometheus and Alertmanager are installed.

    All listen on the loopback address, the collector where OTEL_AGENT_LISTEN in DIR/.env says. Ctrl-C stops them.
    When one does not come up, or goes away, all are stopped. Exit codes: 0 when it was told to stop, 1 when a server
    failed, 2 when it cannot be started so: no stack, a port in use, nothing installed.
    """
    try:
        with _until_told() as stop, Stack(folder, programs=programs, told=_tell, stop=stop, seconds=timeout) as running:
            if not stop.is_set():
                _addresses(running, as_json)
            running.wait()
    except InvalidSetting as wrong:
        click.echo(f"otel-agent stack up: {wrong}", err=True)
        context.exit(WRONG_USAGE)
    except StackFailed as failed:
        click.echo(f"otel-agent stack up: {failed}; all is stopped", err=True)
        context.exit(FAILED)


def _tell(what: str, server: Server, said: str) -> None:
    text = {"absent": f"{server.name}: not installed, goes without: {said}"}.get(what, f"{server.name}: {what}")
    click.echo(f"{text} {said}".rstrip() if what == "ready" else text, err=True)


def _addresses(running: Stack, as_json: bool) -> None:
    shown = {each.server.name: each.server.shown(running.settings) for each in running.running}
    if as_json:
        logs = {each.server.name: str(each.log) for each in running.running}
        click.echo(json.dumps({"addresses": shown, "logs": logs}))
        return
    for what, url in (item for each in shown.values() for item in each.items()):
        click.echo(f"{what:<15} {url}")
    click.echo("Ctrl-C stops all of them.")


@contextmanager
def _until_told() -> Generator[threading.Event]:
    """Gives an event that a signal sets in place of ending the process."""
    stop = threading.Event()

    def told(number: int, frame: Any) -> None:
        stop.set()

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, told) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
