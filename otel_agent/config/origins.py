"""Every setting as it holds now, and where its value comes from: for people, so that nothing secret is in it.

Decides nothing: the order is that of the settings, environment before file before default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from otel_agent.config.declared import SETTINGS
from otel_agent.config.settings import Origin, Setting
from otel_agent.config.shapes import ListOf, Nullable, Section, Shape

__all__ = ["Row", "Source", "rows"]

Source = Origin | Literal["override"]


class Row(NamedTuple):
    """One value.

    Attributes:
        name: its name in the file, with those of the user's own in it.
        value: as JSON has it; None where it is hidden.
        hidden: whether it is a secret or a prompt.
        source: who says so.
        variable: the variable that may say something else; empty for none.
    """

    name: str
    value: Any
    hidden: bool
    source: Source
    variable: str


def rows(values: Mapping[str, Any]) -> Iterator[Row]:
    """Gives every setting, in the order of the documentation.

    Args:
        values: what the file says, by section; empty without one.

    Raises:
        InvalidSetting: a variable can never work.
    """
    for setting in SETTINGS:
        section, dot, name = setting.name.partition(".")
        written: Mapping[str, Any] = (values.get(section) or {}) if dot else {}
        if name.startswith("<"):
            known = {each.name.partition(".")[2] for each in SETTINGS if each.name.startswith(f"{section}.")}
            for own in [own for own in written if own not in known]:
                yield from _leaves(setting, setting.shape, f"{section}.{own}", written[own], "file")
        elif dot:
            yield from _row(setting, written, name)


def _row(setting: Setting[Any], written: Mapping[str, Any], name: str) -> Iterator[Row]:
    if setting.variable and (text := os.environ.get(setting.variable)):
        value = setting.shape.parse(setting.variable, text)
        yield from _leaves(setting, setting.shape, setting.name, value, "environment")
    elif name in written:
        yield from _leaves(setting, setting.shape, setting.name, written[name], "file")
    else:
        yield from _leaves(setting, setting.shape, setting.name, setting.default, "default")


def _leaves(setting: Setting[Any], shape: Shape, name: str, value: Any, source: Origin) -> Iterator[Row]:
    inner = shape.shape if isinstance(shape, Nullable) else shape
    if isinstance(inner, Section) and value:
        for key, each in value.items():
            below = inner.keys.get(key) or inner.others
            if below is not None:
                yield from _leaves(setting, below.shape, f"{name}.{key}", each, source)
    elif isinstance(inner, ListOf) and isinstance(inner.shape, Section) and value:
        for number, each in enumerate(value):
            yield from _leaves(setting, inner.shape, f"{name}[{number}]", each, source)
    else:
        hidden = bool(getattr(inner, "secret", False)) and value is not None
        plain = None if hidden else shape.plain((value or None) if isinstance(inner, Section) else value)
        yield Row(name, plain, hidden, source, setting.variable)
