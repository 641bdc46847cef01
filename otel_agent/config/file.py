"""`otel-agent.yaml`: what it says, and everything that is wrong with it at once.

Decides nothing about a single value: shapes do that. A file with a problem gives no configuration at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from otel_agent import checks
from otel_agent.config.build import build, clashes, sound_prompts
from otel_agent.config.current import FILE_NAME, existing
from otel_agent.config.declared import SECTIONS, SETTINGS
from otel_agent.config.items import BROKEN, Item, Place
from otel_agent.config.nodes import MOST_BYTES, compose
from otel_agent.config.problems import InvalidFile, Problem
from otel_agent.config.scalars import Text
from otel_agent.config.shapes import WRONG, Key, Section
from otel_agent.config.tasks import Clash
from otel_agent.config.values import Config
from otel_agent.stop import InvalidSetting

__all__ = ["ROOT", "bytes_of", "load", "load_prompts", "loads", "read", "read_as", "read_file"]

LATER = ("policy", "kill_switch", "stores")


def _sections() -> dict[str, Key]:
    keys: dict[str, dict[str, Key]] = {}
    others: dict[str, Key] = {}
    listed: dict[str, list[str]] = {}
    for setting in SETTINGS:
        section, dot, name = setting.name.partition(".")
        listed.setdefault(section, []).append(name)
        if name.startswith("<"):
            others[section] = Key(setting.shape, setting.about)
            keys.setdefault(section, {})
        elif dot:
            keys.setdefault(section, {})[name] = Key(setting.shape, setting.about)
    names = Text("a name")
    return {
        section: Key(
            Section(known, others=others.get(section), names=names, words=", ".join(listed[section])), SECTIONS[section]
        )
        for section, known in keys.items()
    }


def _elsewhere(key: str) -> str:
    """Tells where a key belongs that stands at the top."""
    full = next((setting.name for setting in SETTINGS if setting.name.partition(".")[2] == key), None)
    return f" (did you mean {full}?)" if full else ""


ROOT = Section(
    _sections(),
    reserved=dict.fromkeys(LATER, "this section comes with a later version; leave it out"),
    elsewhere=_elsewhere,
    words="sections such as prompts and budgets",
)
"""The shape of a whole file."""


def load(path: str | os.PathLike[str], *, field: str = "config") -> Config:
    """Reads a file.

    Args:
        path: the file.
        field: what named it, for an error.

    Raises:
        InvalidSetting: there is no such file, or it cannot be read.
        InvalidFile: it has problems, all of which are told.
    """
    file = existing(Path(path), field)
    return loads(bytes_of(file, field), file=file, shown=str(path))


def load_prompts(path: Path, *, field: str = "config") -> tuple[Config, InvalidFile | None]:
    """Reads a file for its prompts: where something is wrong, what else it says of them still is read.

    Args:
        path: the file.
        field: what named it, for an error.

    Returns:
        The configuration, in which a file with problems has but its prompts; and the problems, or None.

    Raises:
        InvalidSetting: there is no such file, or it cannot be read.
    """
    file = existing(path, field)
    try:
        values, problems = read(bytes_of(file, field), str(path))
    except InvalidFile as wrong:
        return Config(file=file, said=frozenset()), wrong
    if not problems:
        return build(values, file, frozenset(_names(values))), None
    return build({"prompts": sound_prompts(values)}, file, frozenset()), InvalidFile(file=str(path), problems=problems)


def read_file(file: Path, *, field: str = "config") -> tuple[dict[str, Any], list[Problem]]:
    """Gives the values of a file by section, and its problems, in their order in the file.

    Raises:
        InvalidSetting: there is no such file, or it cannot be read.
        InvalidFile: it is not YAML, or too much of it.
    """
    return read(bytes_of(existing(file, field), field), str(file))


def bytes_of(file: Path, field: str) -> bytes:
    """Gives what stands in a file, cut behind what is too much.

    Raises:
        InvalidSetting: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(MOST_BYTES + 1)
    except OSError as wrong:
        raise InvalidSetting(field=field, value=str(file), allowed=f"a readable file: {wrong.strerror}") from None


def loads(data: bytes, *, file: Path | None = None, shown: str = FILE_NAME) -> Config:
    """Reads the text of a file.

    Args:
        data: the text, as UTF-8.
        file: where it stands, which relative names in it start from.
        shown: what to call it in errors.

    Raises:
        InvalidFile: it has problems, all of which are told.
    """
    values, problems = read(data, shown)
    if problems:
        raise InvalidFile(file=shown, problems=problems)
    return build(values, file, frozenset(_names(values)))


def _names(values: Mapping[str, Any]) -> Iterator[str]:
    for section, inside in values.items():
        yield from (f"{section}.{name}" for name in inside or ())


def read(data: bytes, shown: str) -> tuple[dict[str, Any], list[Problem]]:
    """Gives the values of a file by section, and its problems, in their order in the file.

    Raises:
        InvalidFile: it is not YAML, or too much of it.
    """
    return read_as(ROOT, clashes, data, shown)


def read_as(
    shape: Section, clashing: Callable[[dict[str, Any]], Iterable[Clash]], data: bytes, shown: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Gives the values of a file of any shape, and its problems, in their order in the file.

    Args:
        shape: what the whole file may be.
        clashing: gives what cannot stand together in its values.
        data: its bytes.
        shown: what to call it in errors.

    Raises:
        InvalidFile: it is not YAML, or too much of it.
    """
    root, problems = compose(data, shown)
    found: Any = shape.read(root, "", _Reports(problems))
    values: dict[str, Any] = {} if found is WRONG else found
    for clash in clashing(values):
        place, field, item = _found(root, clash.path)
        problems.append(
            Problem(
                line=place[0], column=place[1], field=field, value=_shown(item), allowed=clash.allowed, kind="together"
            )
        )
    return values, sorted(set(problems), key=lambda each: (each.line, each.column, each.field))


class _Reports:
    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def __call__(self, item: Item, field: str, allowed: str, *, shown: bool = True, key: str | None = None) -> None:
        line, column = item.keys.get(key, item.place) if key is not None else item.place
        value = _shown(item) if shown and key is None else None
        kind: Any = "value" if key is None else "key"
        self._problems.append(Problem(line=line, column=column, field=field, value=value, allowed=allowed, kind=kind))


def _shown(item: Item) -> str | None:
    value = item.value
    if value is BROKEN or isinstance(value, (list, dict)):
        return None
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(InvalidSetting(field="", value=value, allowed="").value)


def _found(root: Item, path: tuple[str | int, ...]) -> tuple[Place, str, Item]:
    """Gives where a path leads, its name, and what stands there; a part that is not there is left out."""
    item, place, field = root, root.place, ""
    for part in path:
        below: Any = item.value
        if isinstance(part, str) and checks.is_mapping(below) and part in below:
            field, item = f"{field}.{part}" if field else part, below[part]
        elif isinstance(part, int) and checks.is_list(below):
            field, item = f"{field}[{part}]", below[part]
        else:
            field = (f"{field}.{part}" if field else part) if isinstance(part, str) else field
            continue
        place = item.place
    return place, field, item
