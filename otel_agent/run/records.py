"""Prompt id and run id on the records of standard logging that are made inside a run.

Decides nothing: it reads the run that is open. It stands behind `Logger.makeRecord`, so that an application's own
record factory, set before or after, makes the record as ever, and its `extra` fields win over these.

A record outside a run has no such field, and OpenTelemetry's handler exports every field that a record has. So that a
line of text can show the ids all the same, `RunFormatter` gives them short names, on a copy that nothing exports.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import wrapt

from otel_agent import semconv
from otel_agent.run.state import current_run
from otel_agent.telemetry.guard import broken

__all__ = ["RunFormatter", "mark_records", "stop_marking"]

NONE = "-"
_SHORT = {"run_id": semconv.RUN_ID, "prompt_id": semconv.PROMPT_ID}


class _State:
    wrapped = False
    on = False


def mark_records() -> None:
    """Puts the ids on every record from now on."""
    _State.on = True
    if not _State.wrapped:
        _State.wrapped = True
        wrapt.wrap_function_wrapper(logging.Logger, "makeRecord", _make)


def stop_marking() -> None:
    """Leaves records as they are from now on."""
    _State.on = False


def _make(make: Callable[..., Any], logger: logging.Logger, args: Any, kwargs: Any) -> Any:
    record = make(*args, **kwargs)
    if _State.on:
        try:
            _mark(record)
        except Exception as exc:
            broken("marking a log record", exc)
    return record


def _mark(record: Any) -> None:
    run = current_run()
    if run is None:
        return
    record.__dict__.setdefault(semconv.RUN_ID, run.id)
    if run.prompt_id is not None:
        record.__dict__.setdefault(semconv.PROMPT_ID, run.prompt_id)


class RunFormatter(logging.Formatter):
    """A formatter that also knows `run_id` and `prompt_id`, in each style: `%(run_id)s`, `{run_id}`, `$run_id`.

    Both are `-` on a record that has none, such as one outside a run. The dotted names of the fields may stand beside
    another field in the style `%`. Everything else is as in `logging.Formatter`.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Gives the line of a record; the record stays as it is."""
        seen = copy.copy(record)
        for short, field in _SHORT.items():
            value = seen.__dict__.setdefault(field, NONE)
            seen.__dict__.setdefault(short, value)
        return super().formatMessage(seen)
