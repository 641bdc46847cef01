"""How long a process stays at its end when the backend is not there, or never answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Generator

from tests.bench.harness import Measured, bench

PROGRAM = """
import atexit, time
def begin():
    global began
    began = time.monotonic()
atexit.register(lambda: print(time.monotonic() - began))
from otel_agent import agent_run, configure, llm_call
configure("bench", endpoint="http://127.0.0.1:{port}")
for _ in range(200):
    with agent_run("bot"), llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=1, output_tokens=1)
atexit.register(begin)
"""


def _seconds(port: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(port=port)], capture_output=True, text=True, check=True, timeout=60
    )
    return float(done.stdout)


@bench("exit, backend not there", yardstick="the bound", at_most=2.0, of="ours")
def dead() -> Measured:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return Measured(ours=_seconds(port), yardstick=2.0, unit="s")


@bench("exit, backend that never answers", yardstick="the bound", at_most=2.0, of="ours")
def hanging() -> Generator[Measured]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []
        threading.Thread(target=_accept, args=(server, kept), daemon=True).start()
        yield Measured(ours=_seconds(server.getsockname()[1]), yardstick=2.0, unit="s")


def _accept(server: socket.socket, kept: list[socket.socket]) -> None:
    while True:
        try:
            kept.append(server.accept()[0])
        except OSError:
            return
