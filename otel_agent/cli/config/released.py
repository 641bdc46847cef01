"""What the environment and the override file say of releases, as rows beside those of the settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from otel_agent.config.origins import Row, Source
from otel_agent.config.values import Config
from otel_agent.prompts import Release, parse_ref
from otel_agent.stores.release_writer import ReleaseFiles
from otel_agent.stores.sources import sources_of, variable_of

__all__ = ["released_rows"]

PREFIX = variable_of("")


def released_rows(config: Config) -> Iterator[Row]:
    """Gives each value that stands in the place of what the file says of a prompt.

    Raises:
        InvalidSetting: a variable is none, or the override file is broken.
    """
    for variable, value in sorted(os.environ.items()):
        if variable.startswith(PREFIX) and value.strip():
            ref = parse_ref(variable, value.strip())
            yield Row(f"prompts.active.{ref.name}", str(ref), False, "environment", variable)
    # what OpenFeature says concerns runs, and its SDK need not be here
    sources = sources_of(replace(config, prompts=replace(config.prompts, source="configuration")))
    if sources.override is not None:
        for release in ReleaseFiles(sources.override).read().releases.values():
            yield from _rows(release, "override")


def _rows(release: Release, source: Source) -> Iterator[Row]:
    canary = release.canary
    values = {"active": release.active, "rollback": release.rollback}
    if canary is not None:
        values |= {"canary": f"{release.candidate}, {canary.percent} % by {canary.by}"}
    for key, value in values.items():
        if value is not None:
            yield Row(f"prompts.{key}.{release.name}", value, False, source, variable_of(release.name))
