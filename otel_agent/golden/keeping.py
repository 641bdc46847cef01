"""The runs of golden tasks, kept in a history of their own in the user's cache folder, for `otel-agent runs --history`.

Decides what of a span is kept: of this package's all, of others' no texts but names, since they may hold content. A
history that cannot be written costs no verdict: it is one warning.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from otel_agent import semconv
from otel_agent.stores.cache import cache_folder
from otel_agent.stores.otlp_json import PastSpan, line_of, spans_of, written
from otel_agent.stores.past_spans import by_run, is_run, runs_of
from otel_agent.stores.run_history import RunHistory, SpansAt, UnreadableHistory, new_span_file
from otel_agent.telemetry.guard import warn_once

__all__ = ["Keeper", "golden_history", "past_spans"]

Written: TypeAlias = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]

NAMES = frozenset(
    {
        semconv.AGENT_NAME,
        semconv.ERROR_TYPE,
        semconv.OPERATION,
        semconv.PROVIDER,
        semconv.REQUEST_MODEL,
        semconv.RESPONSE_MODEL,
        semconv.TOOL_CALL_ID,
        semconv.TOOL_NAME,
    }
)
"""The attributes of others whose texts are names and ids."""


def golden_history() -> Path | None:
    """Gives the folder that runs of golden tasks are kept in; None for a user without a home."""
    folder = cache_folder()
    return None if folder is None else folder / "golden" / "history"


def past_spans(spans: Iterable[Any]) -> list[PastSpan]:
    """Gives ended spans as a history would read them."""
    found = [each for span in spans if (each := written(span)) is not None]
    return spans_of(line_of(found)) if found else []


class Keeper:
    """Writes the runs of trials, from one thread.

    Args:
        folder: the history's folder; it is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: Path | None = None

    def keep(self, spans: Sequence[PastSpan], task: str | None) -> None:
        """Keeps the runs of one trial, and their spans; `task` is the golden task, or None for a call beside any."""
        try:
            with RunHistory.create(self.folder) as history:
                if self._file is None:
                    history.prune()
                    self._file = new_span_file(self.folder)
                rows = [row._replace(task=task) for row in runs_of(spans)]
                history.add(rows, self._placed(self._file, by_run(spans), task))
        except (OSError, sqlite3.Error, UnreadableHistory) as failed:
            warn_once(f"golden history:{self.folder}", "runs of golden tasks are not kept: %s", failed)

    def _placed(self, path: Path, runs: Mapping[str, Sequence[PastSpan]], task: str | None) -> list[SpansAt]:
        places: list[SpansAt] = []
        with open(path, "ab", opener=partial(os.open, mode=0o600)) as file:
            for run_id, own in runs.items():
                line = line_of([_of_task(_harmless(span), task) if is_run(span) else _harmless(span) for span in own])
                places.append(SpansAt(run_id, path.name, file.tell(), len(line)))
                file.write(line)
        return places


def _of_task(written: Written, task: str | None) -> Written:
    """Says on the span of a run which task it was given, so that a row can be read off it."""
    resource, scope, own = written
    pairs = [pair for pair in own.get("attributes", ()) if pair["key"] != semconv.TASK_ID]
    if task is not None:
        pairs.append({"key": semconv.TASK_ID, "value": {"stringValue": task}})
    return resource, scope, {**own, "attributes": pairs}


def _harmless(span: PastSpan) -> Written:
    """Gives a span as it is written, without what another instrumentation may have put into it."""
    resource, scope, own = span.written
    if scope.get("name") == semconv.SCOPE:
        return span.written
    pairs = [pair for pair in own.get("attributes", ()) if pair["key"] in NAMES or _counts(pair["value"])]
    status = {name: value for name, value in own.get("status", {}).items() if name == "code"}
    return resource, scope, {**own, "attributes": pairs, "status": status, "events": [], "links": []}


def _counts(value: Mapping[str, Any]) -> bool:
    return not value.keys().isdisjoint(("intValue", "doubleValue", "boolValue"))
