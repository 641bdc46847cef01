"""What the commands of the configuration have in common: the file they are about, and text that a terminal may get."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from otel_agent.views.screen import encodable
from otel_agent.views.text import clean

__all__ = ["WRONG", "file_argument", "out"]

WRONG = 1

F = TypeVar("F", bound=Callable[..., Any])


def file_argument(command: F) -> F:
    """Adds the argument FILE."""
    kind = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
    return click.argument("file", type=kind, required=False)(command)


def out(text: str) -> str:
    """Gives lines that a terminal can show, whatever stands in the file."""
    return "\n".join(encodable(clean(line), sys.stdout.encoding) for line in text.splitlines())
