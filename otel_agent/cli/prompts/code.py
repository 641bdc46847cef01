"""Prompts that live in code alone: imported, where a command is told where they stand."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from otel_agent import Prompt
from otel_agent.checks import is_list

__all__ = ["prompts_in_code"]

OPTION = "'--from'"


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
