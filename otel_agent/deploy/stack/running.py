"""Starts the servers of a stack as processes of this machine, waits until each is up, and stops them all.

Decides the order, and what happens when one does not come up or goes away: then none of them stays.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from otel_agent.deploy.stack.ports import PORTS
from otel_agent.deploy.stack.servers import SERVERS, Server, Settings, settings
from otel_agent.stop import InvalidSetting

__all__ = ["Running", "Stack", "StackFailed"]

START_SECONDS = 60.0
STOP_SECONDS = 15.0
LOOK_SECONDS = 0.1
LAST_BYTES = 4000

Told = Callable[[Literal["starting", "ready", "absent", "stopped"], Server, str], None]


class StackFailed(Exception):
    """A server did not come up, or went away; all that was started is stopped again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One server that was started."""

    server: Server
    process: subprocess.Popen[bytes]
    log: Path


class Stack:
    """The servers of one folder; `with` starts those that are installed, and stops them at its end.

    Args:
        folder: what `stack init` wrote.
        programs: where programs are looked for before the PATH; None is nowhere else.
        told: is told what happens: "starting", "ready", "absent" or "stopped", the server, and a word on it.
        stop: set from elsewhere, it ends the wait.
        seconds: how long a server may take to come up.

    Raises:
        InvalidSetting: the folder holds no stack or cannot be written, a port is in use, or no server is installed.
        StackFailed: a server did not come up.
    """

    def __init__(
        self,
        folder: Path,
        *,
        programs: Path | None = None,
        told: Told,
        stop: threading.Event | None = None,
        seconds: float = START_SECONDS,
    ) -> None:
        self.folder = folder.resolve()
        self.settings: Settings = settings(folder)
        self._found = {server.name: server.program.find(programs) for server in SERVERS}
        self._told = told
        self._stop = stop or threading.Event()
        self._seconds = seconds
        self.running: list[Running] = []

    def __enter__(self) -> Self:
        servers = [server for server in SERVERS if self._found[server.name]]
        for server in SERVERS:
            if server not in servers:
                self._told("absent", server, server.program.hint)
        self._check(servers)
        try:
            self._start(servers)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check(self, servers: Sequence[Server]) -> None:
        if not servers:
            raise InvalidSetting(field="PATH", value="no server", allowed="at least one of the servers named above")
        for server in servers:
            for variable in server.ports:
                _check_free(self.folder, variable, server.address(self.settings), int(self.settings[variable]))
        try:
            (self.folder / "data" / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as failed:
            allowed = f"a folder that can be written in ({failed.strerror})"
            raise InvalidSetting(field="DIR", value=str(self.folder), allowed=allowed) from None

    def _start(self, servers: Sequence[Server]) -> None:
        for server in servers:
            if self._stop.is_set():
                return
            self._told("starting", server, "")
            running = self._started(server)
            self.running.append(running)
            self._wait_for(running)
            self._told("ready", server, ", ".join(f"{what} {url}" for what, url in server.shown(self.settings).items()))

    def _started(self, server: Server) -> Running:
        log = self.folder / "data" / "logs" / f"{server.name}.log"
        try:
            with log.open("wb") as said:
                process = subprocess.Popen(  # noqa: S603 - a server by its path, no shell
                    [*_with_us(), str(self._found[server.name]), *server.arguments(self.settings)],
                    cwd=self.folder,
                    env=_environment() | dict(self.settings),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,  # a terminal's Ctrl-C is for us: they are stopped in order
                )
        except OSError as failed:
            raise StackFailed(f"{server.name} could not be started: {failed}") from None
        return Running(server=server, process=process, log=log)

    def _wait_for(self, running: Running) -> None:
        url, end = running.server.ready_url(self.settings), time.monotonic() + self._seconds
        while not _answers(url):
            if running.process.poll() is not None:
                raise StackFailed(f"{running.server.name} did not come up: {_last_words(running)}")
            if time.monotonic() > end:
                raise StackFailed(
                    f"{running.server.name} was not up after {self._seconds:g} seconds; see {running.log}"
                )
            if self._stop.wait(LOOK_SECONDS):
                return

    def wait(self) -> None:
        """Waits until it shall stop.

        Raises:
            StackFailed: a server went away by itself.
        """
        while not self._stop.wait(LOOK_SECONDS):
            for running in self.running:
                if running.process.poll() is not None:
                    raise StackFailed(f"{running.server.name} went away: {_last_words(running)}")

    def close(self) -> None:
        """Stops what was started, the last first; what does not end in time is killed."""
        while self.running:
            running = self.running[-1]
            running.process.terminate()
            try:
                running.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
            self.running.pop()
            self._told("stopped", running.server, "")


def _environment() -> dict[str, str]:
    """Leaves out what is meant for agents, by which a collector would export its own telemetry, and opens no port."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "JAEGER_"))}


def _with_us() -> list[str]:
    """Gives what stands before a server's command so that the kernel ends it when this process is killed."""
    found = shutil.which("setpriv")
    # busybox has one that cannot
    able = found is not None and Path(found).resolve().name == "setpriv"
    return [found, "--pdeathsig", "TERM"] if found is not None and able else []


def _check_free(folder: Path, variable: str, address: str, number: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, number))
        except OSError as failed:
            name = next(port.name for port in PORTS if port.variable == variable)
            allowed = (
                f"a free port ({failed.strerror}); another one: otel-agent stack init {folder} --force --port "
                f"{name}=NUMBER, beside the options that the folder was written with"
            )
            raise InvalidSetting(field=f"port {name}", value=number, allowed=allowed) from None


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(urllib.error.URLError, OSError), direct.open(url, timeout=2):
        return True
    return False


def _last_words(running: Running) -> str:
    lines = running.log.read_bytes()[-LAST_BYTES:].decode("utf-8", "replace").strip().splitlines()
    code = running.process.returncode
    if code < 0:  # what it said last is no reason then
        return f"{signal.Signals(-code).name} ended it (more in {running.log})"
    return f"{lines[-1].strip() if lines else f'exit status {code}'} (status {code}; more in {running.log})"
