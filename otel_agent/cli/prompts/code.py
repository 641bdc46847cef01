"""Prompts that live in code alone: imported, where a command is told where they stand."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from otel_agent import Prompt
from otel_agent.checks import is_list
from otel_agent.cli.prompts.book import Book, Text
from otel_agent.prompts import Registry

__all__ = ["from_option", "prompts_in_code", "with_code"]

F = TypeVar("F", bound=Callable[..., Any])

OPTION = "'--from'"


def from_option(command: F) -> F:
    """Adds the option that says where prompts stand in code, as `places`."""
    return click.option(
        "--from",
        "places",
        multiple=True,
        metavar="MODULE:ATTRIBUTE",
        help="Also the Prompt or the list of them that stands there in your code; may be repeated. "
        "The module is imported.",
    )(command)


def with_code(book: Book, places: Iterable[str]) -> Book:
    """Gives what is known with the prompts of code in one namespace; each stands in the file of its module.

    Raises:
        BadParameter: they cannot be imported.
        InvalidSetting: two texts stand under one name and version.
    """
    texts: dict[str, Text] = {}
    for place in places:
        for prompt in prompts_in_code(place):
            texts[f"{prompt.name}:{prompt.version}"] = Text(prompt=prompt, place=_file_of(place), code=place)
    registry = Registry((*book.registry, *(text.prompt for text in texts.values())))
    return replace(book, registry=registry, texts={**texts, **book.texts})


def _file_of(place: str) -> Path:
    module = place.partition(":")[0]
    return Path(getattr(sys.modules[module], "__file__", None) or module)


def prompts_in_code(place: str) -> list[Prompt]:
    """Imports the prompts that stand at `module:attribute`; modules of the working directory are found too.

    Raises:
        BadParameter: it cannot be imported, or is neither a Prompt nor a list of them.
    """
    name, colon, attribute = place.partition(":")
    if not (name and colon and attribute):
        raise click.BadParameter(
            f"{place!r} is no module and attribute, such as app.prompts:PROMPTS", param_hint=OPTION
        )
    found: Any = _imported(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise click.BadParameter(f"{name} has no attribute {attribute!r}", param_hint=OPTION)
        found = getattr(found, part)
    prompts = [found] if isinstance(found, Prompt) else list(found) if is_list(found) else []
    if not prompts or not all(isinstance(each, Prompt) for each in prompts):
        raise click.BadParameter(
            f"{place} must be a Prompt or a list of them, not {type(found).__name__}", param_hint=OPTION
        )
    return prompts


def _imported(name: str) -> object:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as failed:  # whatever a module of somebody's own raises
        raise click.BadParameter(
            f"{name} cannot be imported: {type(failed).__name__}: {failed}", param_hint=OPTION
        ) from None
