"""Puts the files of a stack into a folder: all that is new, and what differs only where that is wanted.

Decides nothing about what stands in them. A folder that takes one file takes all of them: that is tried first.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import read_text, replace_text

__all__ = ["Change", "changes", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What writing a file would do: its path within the folder, and the difference to what is there."""

    path: str
    kind: Literal["new", "changed", "same"]
    diff: str = ""


def changes(folder: Path, files: Mapping[str, str]) -> list[Change]:
    """Says for each file whether it is new, as it is already, or would be changed, and how.

    Raises:
        InvalidSetting: what is there is no folder, or a file in it cannot be read.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise InvalidSetting(field="DIR", value=str(folder), allowed="a folder, or a path where there is nothing yet")
    return [_change(folder, path, text) for path, text in sorted(files.items())]


def _change(folder: Path, path: str, text: str) -> Change:
    there = read_text(folder / path)
    if there is None:
        return Change(path=path, kind="new")
    if there == text:
        return Change(path=path, kind="same")
    lines = difflib.unified_diff(there.splitlines(), text.splitlines(), path, f"{path} (new)", lineterm="", n=1)
    return Change(path=path, kind="changed", diff="\n".join(lines))


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Writes files, each whole or not at all, and folders where they are missing.

    Raises:
        InvalidSetting: the folder cannot be made or written in.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        allowed = f"a folder that can be written in ({failed.strerror})"
        raise InvalidSetting(field="DIR", value=str(folder), allowed=allowed) from None
    for path, text in files.items():
        replace_text(folder / path, text)
