"""Settings: each declared once, with its name in the file, its variable, what it may be, its default, and a line.

Decides what holds: an argument of `configure()`, else the environment, else the file, else the default. Builds nothing
from it. Here are those that have a variable; what only a file can say stands in declared.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from otel_agent.config.scalars import Bytes, Flag, FolderOrFlag, PathText, Word
from otel_agent.config.shapes import Shape

__all__ = [
    "ALERT_ON_TOKEN_SPIKE",
    "CAPTURE_EXCEPTIONS",
    "CONFIG",
    "CONSOLE",
    "HASH_KEY",
    "HISTORY",
    "LOG_PROMPT_ID",
    "MODE",
    "PROMPTS_FOLDER",
    "PROMPTS_OVERRIDE",
    "PROMPTS_SOURCE",
    "REQUIRE_GOLDEN",
    "REQUIRE_PROMPT_ID",
    "THREADS",
    "VARIABLES",
    "Origin",
    "Setting",
    "check_environment",
    "take",
]

T = TypeVar("T")

Origin = Literal["argument", "environment", "file", "default"]

_UNSET: Any = object()


class Setting(Generic[T]):
    """One setting: where it comes from and what it may be.

    Args:
        name: its name in the file, with dots; `<...>` in it stands for names of the user's own. One without a dot is
            not in the file.
        shape: what it may be.
        default: what holds when nobody says anything.
        about: one line of meaning.
        variable: its environment variable; empty for none.
    """

    def __init__(self, name: str, shape: Shape, default: T, about: str, *, variable: str = "") -> None:
        self.name = name
        self.shape = shape
        self.default = default
        self.about = about
        self.variable = variable
        self._chosen: T = _UNSET
        self._written: T = _UNSET

    @property
    def secret(self) -> bool:
        """Whether its value is never to be shown."""
        return bool(getattr(self.shape, "secret", False))

    def choose(self, value: T | None) -> None:
        """Lets an argument win over everything; None leaves it to the rest."""
        self._chosen = _UNSET if value is None else value

    def write(self, value: T) -> None:
        """Takes the value of the file."""
        self._written = value

    def erase(self) -> None:
        """Forgets the value of the file."""
        self._written = _UNSET

    def get(self) -> T:
        """Gives the value that holds now.

        Raises:
            InvalidSetting: the environment's text is none of the allowed values.
        """
        if self._chosen is not _UNSET:
            return self._chosen
        if self.variable and (text := os.environ.get(self.variable)):
            value: T = self.shape.parse(self.variable, text)
            return value
        return self.default if self._written is _UNSET else self._written

    def source(self) -> Origin:
        """Tells where the value that holds now comes from."""
        if self._chosen is not _UNSET:
            return "argument"
        if self.variable and os.environ.get(self.variable):
            return "environment"
        return "default" if self._written is _UNSET else "file"


CONFIG: Setting[Any] = Setting(
    "config",
    PathText("a file"),
    None,
    "the configuration file; else `otel-agent.yaml` in the working directory, where there is one",
    variable="OTEL_AGENT_CONFIG",
)
REQUIRE_PROMPT_ID: Setting[bool] = Setting(
    "prompts.require_prompt_id",
    Flag(),
    False,
    "refuse a run that has no prompt",
    variable="OTEL_AGENT_REQUIRE_PROMPT_ID",
)
REQUIRE_GOLDEN: Setting[bool] = Setting(
    "prompts.require_golden",
    Flag(),
    False,
    "refuse a run whose prompt has not passed its golden tasks",
    variable="OTEL_AGENT_REQUIRE_GOLDEN",
)
PROMPTS_FOLDER: Setting[Path | None] = Setting(
    "prompts.folder",
    PathText("a folder"),
    None,
    "where `<name>/<version>.md` stand; else `prompts` beside the file, where there is one",
    variable="OTEL_AGENT_PROMPTS_FOLDER",
)
PROMPTS_OVERRIDE: Setting[Path | None] = Setting(
    "prompts.override",
    PathText("a file"),
    None,
    "what `otel-agent prompts` writes and every process watches; else `otel-agent.override.json` beside the file",
    variable="OTEL_AGENT_PROMPTS_OVERRIDE",
)
PROMPTS_SOURCE: Setting[str] = Setting(
    "prompts.source",
    Word("configuration", "openfeature"),
    "configuration",
    "`openfeature` asks OpenFeature first which version a run gets",
    variable="OTEL_AGENT_PROMPTS_SOURCE",
)
MODE: Setting[str] = Setting(
    "observability.mode",
    Word("enforce", "observe"),
    "enforce",
    "`observe` counts and reports, and stops nothing, in the whole process",
    variable="OTEL_AGENT_MODE",
)
THREADS: Setting[bool] = Setting(
    "observability.threads",
    Flag(),
    True,
    "carry the run into new threads and thread pools",
    variable="OTEL_AGENT_THREADS",
)
CONSOLE: Setting[bool | None] = Setting(
    "observability.console",
    Flag(auto=True),
    None,
    "print each run as a tree on stderr; `auto` does so where no backend is configured",
    variable="OTEL_AGENT_CONSOLE",
)
CAPTURE_EXCEPTIONS: Setting[str] = Setting(
    "observability.capture_exceptions",
    Word("type", "frames", "full"),
    "frames",
    "what of an exception is on its span; only `full` has the message, which may quote a prompt",
    variable="OTEL_AGENT_CAPTURE_EXCEPTIONS",
)
HASH_KEY: Setting[bytes | None] = Setting(
    "observability.hash_key",
    Bytes(),
    None,
    "the key of the argument hashes on spans; without it each process takes a random one",
    variable="OTEL_AGENT_HASH_KEY",
)
HISTORY: Setting[Path | bool] = Setting(
    "observability.history",
    FolderOrFlag(),
    False,
    "keep finished runs and their spans in this folder; `true` is one in the user's cache folder",
    variable="OTEL_AGENT_HISTORY",
)
LOG_PROMPT_ID: Setting[bool] = Setting(
    "observability.log_prompt_id",
    Flag(),
    False,
    "put prompt id and run id on the records of standard logging that are made inside a run",
    variable="OTEL_AGENT_LOG_PROMPT_ID",
)

ALERT_ON_TOKEN_SPIKE: Setting[bool] = Setting(
    "observability.alert_on_token_spike",
    Flag(),
    True,
    "let `otel-agent stack init` write the rules for spikes of tokens",
    variable="OTEL_AGENT_ALERT_ON_TOKEN_SPIKE",
)

VARIABLES: tuple[Setting[Any], ...] = (
    CONFIG,
    REQUIRE_PROMPT_ID,
    REQUIRE_GOLDEN,
    PROMPTS_FOLDER,
    PROMPTS_OVERRIDE,
    PROMPTS_SOURCE,
    MODE,
    THREADS,
    CONSOLE,
    CAPTURE_EXCEPTIONS,
    HASH_KEY,
    HISTORY,
    LOG_PROMPT_ID,
    ALERT_ON_TOKEN_SPIKE,
)


def check_environment() -> None:
    """Reads every variable once.

    Raises:
        InvalidSetting: one of them can never work.
    """
    for setting in VARIABLES:
        setting.get()


def take(values: Mapping[str, Any]) -> None:
    """Takes what a file says, by name; a setting that it does not name has its default again."""
    for setting in VARIABLES:
        if setting.name in values:
            setting.write(values[setting.name])
        else:
            setting.erase()
