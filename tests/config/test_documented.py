"""The tables of README.md and docs/configuration.md say what the declarations say, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from otel_agent.config import VARIABLES, Setting
from otel_agent.config.declared import SECTIONS, SETTINGS
from otel_agent.config.shapes import Key, ListOf, Nullable, Section, Shape
from tests.support.offline import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")


def default(setting: Setting[Any]) -> str:
    plain = setting.shape.plain(setting.default) if setting.default else setting.default
    if plain in (None, [], (), {}):
        plain = setting.shape.plain(None) if setting.default is None and setting.variable else ""
    text = str(plain).lower() if isinstance(plain, bool) else str(plain or "")
    return f"`{text}`" if text else ""


def variable_row(setting: Setting[Any]) -> str:
    return f"| `{setting.variable}` | {setting.shape.words} | {default(setting)} | {setting.about} |"


def setting_row(setting: Setting[Any]) -> str:
    variable = f"`{setting.variable}`" if setting.variable else ""
    return f"| `{setting.name}` | {setting.shape.words} | {default(setting)} | {variable} | {setting.about} |"


def key_row(name: str, key: Key) -> str:
    about = f"{key.about}; required" if key.required else key.about
    return f"| `{name}` | {key.shape.words} | {about} |"


def inner(shape: Shape) -> Section | None:
    """The mapping with keys of its own that a shape is, or is a list, a mapping or null of."""
    if isinstance(shape, Nullable | ListOf):
        return inner(shape.shape)
    if isinstance(shape, Section):
        return shape if shape.keys else shape.others and inner(shape.others.shape)
    return None


def inner_rows(name: str) -> Iterator[str]:
    setting = next(each for each in SETTINGS if each.name == name)
    section = inner(setting.shape)
    assert section is not None
    yield from (key_row(key, section.keys[key]) for key in section.keys)


@pytest.mark.parametrize("setting", VARIABLES, ids=lambda each: each.variable)
def test_the_readme_has_every_variable_as_it_is_declared(setting: Setting[Any]) -> None:
    assert variable_row(setting) in README.splitlines()


@pytest.mark.parametrize("setting", [each for each in SETTINGS if "." in each.name], ids=lambda each: each.name)
def test_the_page_has_every_setting_as_it_is_declared(setting: Setting[Any]) -> None:
    assert setting_row(setting) in PAGE.splitlines()


@pytest.mark.parametrize("name", ["prompts.canary", "testing.golden_tasks", "budgets.final_call", "prices.<model>"])
def test_and_every_key_inside_one(name: str) -> None:
    missing = [row for row in inner_rows(name) if row not in PAGE.splitlines()]
    assert not missing


def test_the_page_has_no_setting_that_is_not_declared() -> None:
    named = re.findall(r"^\| `([a-z_]+\.[a-z_<>]+)` \|", PAGE, re.MULTILINE)
    assert named == [each.name for each in SETTINGS if "." in each.name]
    assert set(SECTIONS) == {name.partition(".")[0] for name in named}
