"""Runs what a user would type, as on a fresh machine: no `OTEL_*` variable, no API key, no network but loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROOT", "execute"]

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


def execute(command: Sequence[str], folder: Path) -> str:
    """Runs a command in a folder and gives what it printed; fails when the command does."""
    guard = folder / ".offline"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(_LOOPBACK_ONLY)
    private = ("OTEL_", "OPENAI_", "ANTHROPIC_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    env["PYTHONPATH"] = os.pathsep.join([str(guard), str(ROOT)])
    done = subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
