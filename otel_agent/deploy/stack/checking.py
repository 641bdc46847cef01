"""What is missing in a stack's folder, and what is wrong with it, by the servers' own tools.

Decides nothing itself about a configuration: the collector, promtool and amtool do, where they are installed.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from otel_agent.deploy.stack.contents import COLLECTOR_CONFIG, RULES, SETTINGS, Choice, contents, targets
from otel_agent.deploy.stack.ports import PORTS
from otel_agent.deploy.stack.servers import SERVERS, TOOLS, Program, settings
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import read_text

__all__ = ["Finding", "check"]

TOOL_SECONDS = 60.0
MOST_COMPLAINTS = 3
NUMBERS = {"OTEL_AGENT_SAMPLING_PERCENT": 100.0, "OTEL_AGENT_EXPENSIVE_USD": math.inf, "OTEL_AGENT_SLOW_MS": math.inf}
"""Settings that the collector validates only when it starts, or never: each from 0 to so much."""
NO_COMPLAINT = re.compile(r"Checking \S+$|SUCCESS")
State = Literal["ok", "wrong", "missing", "unchecked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: its state, and what is to be said about it."""

    what: str
    state: State
    said: str = ""


def check(folder: Path, *, programs: Path | None = None) -> list[Finding]:
    """Looks at every file of a stack, and at the programs that read them.

    Args:
        folder: what `stack init` wrote.
        programs: where programs are looked for before the PATH; None is nowhere else.

    Raises:
        InvalidSetting: the folder holds no stack.
    """
    values = settings(folder)
    expected = targets({port.variable: int(values[port.variable]) for port in PORTS})
    files = [_file(folder, path, expected.get(path, [])) for path in sorted(contents(Choice()))]
    return [*files, *_numbers(values), *_by_tools(folder, programs, values), *_programs(programs)]


def _file(folder: Path, path: str, addresses: list[str]) -> Finding:
    try:
        text = read_text(folder / path)
    except InvalidSetting as wrong:
        return Finding(what=path, state="wrong", said=f"{wrong.value}: must be {wrong.allowed}")
    if text is None:
        return Finding(what=path, state="missing", said="`otel-agent stack init` writes it")
    absent = [address for address in addresses if f'"{address}"' not in text.replace("'", '"')]
    problem = _problem(path, text) or (
        f"has no {', '.join(absent)}, as the ports in {SETTINGS} want it" if absent else ""
    )
    return Finding(what=path, state="wrong" if problem else "ok", said=problem)


def _numbers(values: dict[str, str]) -> Iterator[Finding]:
    for name, most in NUMBERS.items():
        given = values.get(name, os.environ.get(name, ""))
        if given and not _is_number(given, most):
            allowed = "a number that is 0 or more" if math.isinf(most) else f"a number from 0 to {most:g}"
            yield Finding(what=f"{SETTINGS}, {name}", state="wrong", said=f"{given}: must be {allowed}")


def _is_number(text: str, most: float) -> bool:
    try:
        return 0 <= float(text) <= most
    except ValueError:
        return False


def _problem(path: str, text: str) -> str:
    try:
        if path.endswith(".json"):
            json.loads(text)
        elif path.endswith((".yaml", ".yml")):
            return "" if any(yaml.compose_all(text, Loader=yaml.SafeLoader)) else "is empty"
    except yaml.MarkedYAMLError as wrong:
        mark: Any = wrong.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {wrong.problem}" if mark else str(wrong.problem)
    except ValueError as wrong:
        return str(wrong)
    return ""


def _by_tools(folder: Path, programs: Path | None, values: dict[str, str]) -> Iterator[Finding]:
    tools = (
        ("collector", COLLECTOR_CONFIG, ["validate", "--config", COLLECTOR_CONFIG]),
        ("promtool", "prometheus/prometheus.yml", ["check", "config", "prometheus/prometheus.yml"]),
        ("promtool", RULES, ["check", "rules", RULES]),
        ("amtool", "alertmanager/alertmanager.yml", ["check-config", "alertmanager/alertmanager.yml"]),
    )
    for name, path, arguments in tools:
        if (folder / path).exists():
            yield _asked(TOOLS[name], path, arguments, folder, programs, values)


def _asked(
    tool: Program, path: str, arguments: list[str], folder: Path, programs: Path | None, values: dict[str, str]
) -> Finding:
    what, found = f"{path}, by {tool.name}", tool.find(programs)
    if found is None:
        return Finding(what=what, state="unchecked", said=f"{tool.name} is not installed: {tool.hint}")
    try:
        done = subprocess.run(  # noqa: S603 - a tool by its path, no shell
            [found, *arguments],
            cwd=folder,
            env=dict(os.environ) | values,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TOOL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        return Finding(what=what, state="wrong", said=f"{tool.name} could not be asked: {failed}")
    if done.returncode == 0:
        return Finding(what=what, state="ok")
    return Finding(what=what, state="wrong", said=_short(done.stdout + done.stderr))


def _short(said: str) -> str:
    """Gives what a tool complains of first; after a colon a complaint goes on in the next line."""
    complaints: list[str] = []
    for line in filter(None, (line.strip() for line in said.splitlines())):
        if complaints and complaints[-1].endswith(":"):
            complaints[-1] += f" {line}"
        elif not NO_COMPLAINT.match(line):
            complaints.append(line)
    more = len(complaints) - MOST_COMPLAINTS
    return "; ".join([*complaints[:MOST_COMPLAINTS], *([f"and {more} more"] if more > 0 else [])])


def _programs(programs: Path | None) -> Iterator[Finding]:
    for server in SERVERS:
        found = server.program.find(programs)
        hint = f"`stack up` goes without it: {server.program.hint}"
        what = f"program {server.name}"
        yield Finding(what=what, state="ok", said=found) if found else Finding(what=what, state="unchecked", said=hint)
