"""The configuration that holds in this process: a given one, or the file that is found, and the environment over it.

Decides which file that is. Reads it by file.py, which is loaded only then: it needs YAML.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from otel_agent import checks
from otel_agent.budget import Budget
from otel_agent.config.settings import CONFIG, VARIABLES
from otel_agent.config.shapes import Checked
from otel_agent.config.values import Config, PromptsSection
from otel_agent.prompts.release import Canary
from otel_agent.stop import InvalidSetting

__all__ = ["FILE_NAME", "checked", "current", "existing", "find", "with_environment", "written"]

FILE_NAME = "otel-agent.yaml"
_DEFAULT = Config()


def checked(field: str, value: object) -> Config | Path | None:
    """Checks what somebody gives as the configuration: a `Config`, a file's name, or None for the one that is found.

    Raises:
        InvalidSetting: it is none of these, or a part of the `Config` can never work.
    """
    if value is None:
        return None
    if isinstance(value, Config):
        _check(value)
        return value
    if isinstance(value, (str, Path)) and str(value):
        return Path(value)
    raise InvalidSetting(field=field, value=value, allowed="a file's name, a Config, or None for otel-agent.yaml here")


def _check(config: Config) -> None:
    for name in ("prompts", "testing", "budgets", "observability", "prices"):
        default: Any = getattr(_DEFAULT, name)
        kind = cast("type[Any]", default.__class__)
        checks.instance_of(f"Config.{name}", getattr(config, name), kind, f"a {kind.__name__}")
    for setting in VARIABLES:
        section, dot, name = setting.name.partition(".")
        value = getattr(getattr(config, section), name) if dot else None
        if value is not None and not setting.secret and isinstance(setting.shape, Checked):
            setting.shape.check(f"Config.{setting.name}", setting.shape.plain(value))
    _check_prompts(config.prompts)
    checks.instance_of("Config.budgets.default", config.budgets.default, Budget, "a Budget")
    for agent, budget in checks.mapping("Config.budgets.agents", config.budgets.agents, "budgets by agent").items():
        checks.instance_of(f"Config.budgets.agents[{agent!r}]", budget, Budget, "a Budget")


def _check_prompts(section: PromptsSection) -> None:
    """Checks what is a container of others; those are checked where they are used."""
    for part, refs in (("active", section.active), ("rollback", section.rollback)):
        if not checks.is_list(refs):
            raise InvalidSetting(field=f"Config.prompts.{part}", value=refs, allowed="a tuple of `name:version`")
    for name, versions in checks.mapping("Config.prompts.texts", section.texts, "texts by name and version").items():
        inside: object = versions
        if not checks.is_mapping(inside):  # what it is may be a prompt
            field = f"Config.prompts.texts[{name!r}]"
            raise InvalidSetting(field=field, value=type(inside), allowed="texts by version")
    for name, canary in checks.mapping("Config.prompts.canary", section.canary, "canaries by name").items():
        checks.instance_of(f"Config.prompts.canary[{name!r}]", canary, Canary, "a Canary")


def current(given: Config | Path | None = None, *, field: str = "config") -> Config:
    """Gives the configuration that holds: the one given or found, and the environment over it.

    Args:
        given: a configuration, a file, or None for the one that `find` finds; where there is none, all is default.
        field: what names the file, for an error.

    Raises:
        InvalidSetting: a file that was named is not there, or cannot be read; or a variable can never work.
        InvalidFile: the file has problems, all of which are told.
    """
    if isinstance(given, Config):
        return with_environment(given)
    file = find() if given is None else existing(given, field)
    if file is None:
        return with_environment(Config(said=frozenset()))
    from otel_agent.config.file import load  # it needs YAML

    return with_environment(load(file))


def find() -> Path | None:
    """Gives the file that holds here: the one of OTEL_AGENT_CONFIG, else `otel-agent.yaml` in the working directory.

    Raises:
        InvalidSetting: the variable names no file, or what has that name is none, such as a link to nothing.
    """
    named: Path | None = CONFIG.get()
    if named is not None:
        return existing(named, CONFIG.variable)
    here = Path.cwd() / FILE_NAME
    return existing(here, FILE_NAME) if os.path.lexists(here) else None


def existing(path: Path, field: str) -> Path:
    """Checks that a file is there and gives its absolute path.

    Raises:
        InvalidSetting: it is not, or is no plain file.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as wrong:
        why = getattr(wrong, "strerror", None) or str(wrong)
        link = ", to which this is a link" if os.path.islink(path) else ""
        raise InvalidSetting(field=field, value=str(path), allowed=f"a file that is there: {why}{link}") from None
    if not stat.S_ISREG(mode):
        raise InvalidSetting(field=field, value=str(path), allowed="a plain file; this is none")
    return path.absolute()


def with_environment(config: Config, *, report: Callable[[InvalidSetting], object] | None = None) -> Config:
    """Gives a configuration with what the environment says in the place of what it says itself.

    Args:
        config: the configuration.
        report: takes what is wrong with a variable, which then says nothing; None raises it.

    Raises:
        InvalidSetting: a variable can never work.
    """
    over: dict[str, dict[str, Any]] = {}
    for setting in VARIABLES:
        section, dot, name = setting.name.partition(".")
        if dot and (text := os.environ.get(setting.variable)):
            try:
                over.setdefault(section, {})[name] = setting.shape.parse(setting.variable, text)
            except InvalidSetting as wrong:
                if report is None:
                    raise
                report(wrong)
    return replace(config, **{section: replace(getattr(config, section), **over[section]) for section in over})


def written(config: Config) -> Mapping[str, Any]:
    """Gives what a configuration says of the settings that have a variable, by name."""
    found: dict[str, Any] = {}
    for setting in VARIABLES:
        section, dot, name = setting.name.partition(".")
        if dot:
            value = getattr(getattr(config, section), name)
            said = value != setting.default if config.said is None else setting.name in config.said
            if said:
                found[setting.name] = value
    return found
