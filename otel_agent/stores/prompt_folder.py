"""The prompt folder: `<name>/<version>.md`, each with a text and maybe a front matter that says whose it is.

    ---
    owner: support-team
    description: Cites its sources.
    ---
    Answer using KB. Cite tool results.

The text is what stands behind the front matter, with CRLF as LF and without its last line break.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from otel_agent import checks
from otel_agent.prompts import Prompt
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import read_text

__all__ = ["PromptFile", "Report", "parse_prompt_file", "read_prompt_folder"]

T = TypeVar("T")

SUFFIX = ".md"
README = "readme.md"  # says what a folder is for
FENCE = "---"
KEYS = ("owner", "description")
_LONGEST_KEY_TEXT = 2_000
_CLOSING = re.compile(rf"\n{FENCE}[ \t]*\n")
_OPENING = re.compile(rf"{FENCE}[ \t]*(?=\n)")
_TEXT = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """One file of the folder.

    Attributes:
        prompt: the prompt.
        path: where it stands.
        owner: whose it is, or None.
        description: what it is for, or None.
    """

    prompt: Prompt
    path: Path
    owner: str | None = None
    description: str | None = None


Report = Callable[[Path, InvalidSetting], object]


def _refuse(_: Path, wrong: InvalidSetting) -> None:
    raise wrong


def read_prompt_folder(folder: Path, *, report: Report = _refuse) -> list[PromptFile]:
    """Reads every `<name>/<version>.md`, sorted by path; what starts with a dot and each README.md is left alone.

    Args:
        folder: the folder.
        report: takes a file, or a folder in it, that is wrong, and why; it is left out then. By default that is raised.

    Raises:
        InvalidSetting: the folder cannot be read; or a file cannot, or holds what it must not, and the field names it.
    """
    inside = (_attempt(Path(name.path), _versions, report) for name in _inside(folder) if name.is_dir())
    files = (_attempt(path, _read, report) for paths in inside for path in paths or ())
    return [file for file in files if file is not None]


def _attempt(path: Path, read: Callable[[Path], T], report: Report) -> T | None:
    try:
        return read(path)
    except InvalidSetting as wrong:
        report(path, wrong)
        return None


def _versions(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _inside(folder) if _is_prompt(entry.name) and not entry.is_dir()]


def _is_prompt(name: str) -> bool:
    return name.endswith(SUFFIX) and name.lower() != README


def _read(path: Path) -> PromptFile | None:
    """Reads a file; what has gone since it was listed, or is a link to nothing, is no prompt."""
    text = read_text(path)
    return None if text is None else parse_prompt_file(path, text)


def _inside(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as failed:
        reason = failed.strerror or type(failed).__name__
        allowed = "a folder that can be read; prompts.folder, or OTEL_AGENT_PROMPTS_FOLDER, says where prompts are"
        raise InvalidSetting(field=str(folder), value=reason, allowed=allowed) from None
    return sorted(found, key=lambda entry: entry.name)


def parse_prompt_file(path: Path, text: str) -> PromptFile:
    """Reads one prompt out of a file's text.

    Args:
        path: `<name>/<version>.md`, which names the prompt.
        text: what stands in it.

    Raises:
        InvalidSetting: it has a front matter that is none, or no text.
    """
    about, body = _split(path, text.removeprefix("\ufeff").replace("\r\n", "\n"))
    try:
        prompt = Prompt(path.parent.name, path.name.removesuffix(SUFFIX), body.removesuffix("\n"))
    except InvalidSetting as wrong:
        raise InvalidSetting(field=f"{path}: {wrong.field}", value=wrong.value, allowed=wrong.allowed) from None
    return PromptFile(prompt=prompt, path=path, **about)


def _split(path: Path, text: str) -> tuple[dict[str, str], str]:
    opening = _OPENING.match(text)
    if opening is None:
        return {}, text
    closing = _CLOSING.search(text, opening.end())
    if closing is None:
        allowed = f"ended by a line {FENCE!r}, as it is begun by one"
        raise InvalidSetting(field=f"{path}: front matter", value=None, allowed=allowed)
    return _about(path, text[opening.end() : closing.start()]), text[closing.end() :]


def _about(path: Path, head: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key_node, node in _pairs(path, head):
        key = _written(key_node, head)
        if key not in KEYS:
            allowed = f"one of the keys {', '.join(KEYS)}{checks.nearest(key, KEYS)}"
            raise InvalidSetting(field=f"{path}: front matter", value=key, allowed=allowed)
        if key in found:
            raise InvalidSetting(field=f"{path}: front matter", value=key, allowed="a key that stands there once")
        if node.tag != _TEXT:
            allowed = "a text, in quotes where YAML takes it for something else"
            raise InvalidSetting(field=f"{path}: {key}", value=_written(node, head), allowed=allowed)
        found[key] = checks.text(f"{path}: {key}", node.value, longest=_LONGEST_KEY_TEXT)
    return found


def _written(node: Any, head: str) -> str:
    return node.value if isinstance(node.value, str) else head[node.start_mark.index : node.end_mark.index]


def _pairs(path: Path, head: str) -> list[tuple[Any, Any]]:
    """Gives keys and values as nodes: nothing is made of them, so that no value can fail."""
    import yaml  # only where there is a front matter

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root: Any = yaml.compose(head, Loader=loader)
    except (yaml.YAMLError, RecursionError) as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = f"line {mark.line + 1}" if mark is not None else "front matter"
        problem = getattr(wrong, "problem", None) or "it is none"
        raise InvalidSetting(field=f"{path}: {line}", value=None, allowed=f"YAML ({problem})") from None
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        allowed = "a mapping of keys to texts"
        raise InvalidSetting(field=f"{path}: front matter", value=_written(root, head), allowed=allowed)
    pairs: list[tuple[Any, Any]] = root.value
    return pairs
