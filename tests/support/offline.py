"""Runs what a user would type, as on a fresh machine: no `OTEL_*` variable, no API key, no network but loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROOT", "environment", "execute", "run"]

ROOT = Path(__file__).parent.parent.parent

_LOOPBACK_ONLY = """
import socket

connect = socket.socket.connect

def connect_on_loopback(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"a test wanted to reach {address}")
    return connect(self, address)

socket.socket.connect = connect_on_loopback
"""


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Gives the environment of such a machine, with more variables on top; its guard is written into the folder."""
    guard = folder / ".offline"
    guard.mkdir(exist_ok=True)
    (guard / "sitecustomize.py").write_text(_LOOPBACK_ONLY)
    private = ("OTEL_", "OPENAI_", "ANTHROPIC_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    env["XDG_CACHE_HOME"] = env["LOCALAPPDATA"] = str(guard / "cache")
    env["PYTHONPATH"] = os.pathsep.join([str(guard), str(ROOT)])
    return env | more


def run(command: Sequence[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, with more environment variables, and gives what came of it."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def execute(command: Sequence[str], folder: Path) -> str:
    """Runs a command in a folder and gives what it printed; fails when the command does."""
    done = run(command, folder)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
