"""What was good the last time: prompts and override as they were read, kept for the day when they cannot be read.

One file for each configuration, in the user's cache folder, for the user's eyes only. A cache: whatever is wrong with
it means that nothing is known.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_agent.prompts import Override, Prompt, dump_override, parse_override
from otel_agent.stop import InvalidSetting
from otel_agent.stores.cache import cache_folder
from otel_agent.stores.files import read_text, replace_text

__all__ = ["LastGood", "last_good_file", "recall", "remember"]

_log = logging.getLogger("otel_agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGood:
    """What was read the last time that all could be read.

    Attributes:
        prompts: those of the prompt folder.
        override: what the override file said.
        flags: the last version that OpenFeature gave, by prompt name.
    """

    prompts: tuple[Prompt, ...] = ()
    override: Override = field(default_factory=Override)
    flags: Mapping[str, str] = field(default_factory=dict[str, str])


def last_good_file(key: Path) -> Path | None:
    """Gives the file that keeps what was good under a configuration, or None where nothing can be kept.

    Args:
        key: the configuration file, or the folder that stands for it.
    """
    folder = cache_folder()
    name = hashlib.sha256(os.fsencode(key.absolute())).hexdigest()[:32]
    return None if folder is None else folder / f"{name}.json"


def remember(key: Path, good: LastGood) -> None:
    """Keeps what is good now, if it is news; where it cannot be kept, the log says so at level INFO."""
    path, text = last_good_file(key), _dumped(good)
    try:
        known = None if path is None else _own_text(path)
        if path is None or known == text or (known is None and good == LastGood()):
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_text(path, text, mode=0o600)
    except (OSError, InvalidSetting) as failed:
        _log.info("the prompts in use are not kept for a day without their files: %s", failed)


def recall(key: Path) -> LastGood | None:
    """Gives what was good the last time, or None where nothing is known."""
    path = last_good_file(key)
    try:
        text = None if path is None else _own_text(path)
        return None if text is None else _parsed(json.loads(text))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as failed:
        _log.info("what is kept of the prompts cannot be used: %s", type(failed).__name__)
        return None


def _own_text(path: Path) -> str | None:
    """Reads a file that nobody else can have written."""
    if hasattr(os, "geteuid") and path.exists():
        found = path.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            _log.info("%s is left alone: others may write it", path)
            return None
    return read_text(path)


def _dumped(good: LastGood) -> str:
    return json.dumps(
        {
            "prompts": [[prompt.name, prompt.version, prompt.text] for prompt in good.prompts],
            "override": dump_override(good.override),
            "flags": dict(good.flags),
        },
        ensure_ascii=False,
    )


def _parsed(kept: Any) -> LastGood:
    return LastGood(
        prompts=tuple(Prompt(*parts) for parts in kept["prompts"]),
        override=parse_override(kept["override"]),
        flags={str(name): str(ref) for name, ref in kept["flags"].items()},
    )
