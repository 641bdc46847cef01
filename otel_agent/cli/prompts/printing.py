"""How the commands look: lines, tables and JSON, colour only on a terminal.

Decides nothing of what they say. Text from files is made harmless before a terminal gets it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from otel_agent.prompts import Change, Release
from otel_agent.views.screen import colored, columns, encodable
from otel_agent.views.text import Cell, Line, clean, glyphs_for, paint, render_table

__all__ = ["change_json", "complain", "document", "note", "release_json", "say", "say_lines", "table", "warn"]


def say(text: str) -> None:
    """Prints a line on stdout."""
    print(encodable(clean(text), sys.stdout.encoding))


def say_lines(lines: Sequence[Line]) -> None:
    """Prints lines of styled pieces on stdout; their texts are clean."""
    for line in lines:
        print(encodable(paint(line, color=colored(sys.stdout)), sys.stdout.encoding))


def complain(text: str) -> None:
    """Prints on stderr why something is not done."""
    print(encodable(f"otel-agent prompts: {text}", sys.stderr.encoding), file=sys.stderr)


def note(text: str) -> None:
    """Prints a line on stderr that is good to know."""
    print(encodable(clean(f"note: {text}"), sys.stderr.encoding), file=sys.stderr)


def warn(text: str) -> None:
    """Prints on stderr what is wrong, and does not stop the command."""
    for line in text.splitlines():
        print(encodable(clean(f"warning: {line}"), sys.stderr.encoding), file=sys.stderr)


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Prints a table on stdout, cut to the width of a terminal."""
    stream = sys.stdout
    width = columns(stream) if stream.isatty() else None
    glyphs = glyphs_for(stream.encoding)
    print(encodable(render_table(headers, rows, color=colored(stream), width=width, glyphs=glyphs), stream.encoding))


def document(value: Any) -> None:
    """Prints a JSON document on stdout."""
    print(json.dumps(value, indent=2))


def release_json(release: Release | None) -> dict[str, Any] | None:
    """Gives a release as JSON has it."""
    if release is None:
        return None
    canary = release.canary
    return {
        "name": release.name,
        "active": release.active,
        "rollback": release.rollback,
        "canary": None
        if canary is None
        else {
            "version": canary.version,
            "percent": canary.percent,
            "by": canary.by,
            "salt": release.salt,
            "tenants": list(canary.tenants),
            "environments": list(canary.environments),
        },
    }


def change_json(change: Change) -> dict[str, Any]:
    """Gives a change as JSON has it."""
    keys = ("what", "prompt", "before", "after", "percent", "when", "who", "why", "id")
    return {**{key: getattr(change, key) for key in keys}, "overridden": list(change.overridden)}
