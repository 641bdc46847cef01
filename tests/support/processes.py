"""Programs of a few lines, run in interpreters of their own, with no OpenTelemetry settings but those given."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

__all__ = ["ended", "send", "start"]

START = """
import os, signal, sys, threading, time
from otel_agent import Budget, agent_run, configure, current_run, llm_call, tool_call
def ready():
    print("ready", flush=True)
"""


def start(source: str, *, file: Path | None = None, listens: bool = False, **environment: str) -> subprocess.Popen[str]:
    """Starts a program.

    `file` is where it is to stand, for programs that spawn others from themselves; one that `listens` reads its stdin.
    """
    text = START + textwrap.dedent(source)
    if file is not None:
        file.write_text(text)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    return subprocess.Popen(
        [sys.executable, str(file)] if file is not None else [sys.executable, "-c", text],
        env={**clean, **environment},
        stdin=subprocess.PIPE if listens else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def send(process: subprocess.Popen[str], number: int) -> None:
    """Waits until a program says `ready()` and sends it a signal."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", (line, process.communicate(timeout=10))
    process.send_signal(number)


def ended(process: subprocess.Popen[str], seconds: float = 100.0) -> tuple[int, str, str]:
    """Waits for a program's end and gives its status, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()  # its pipes are closed here, not in whichever test a collection comes by
        raise
    return process.returncode, out, err
