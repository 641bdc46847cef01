"""Log events: OpenTelemetry log records with an event name, which reach the backend also without a sampled span."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context

from otel_agent.telemetry.guard import broken

__all__ = ["emit"]


def emit(
    logger: _logs.Logger | None,
    name: str,
    attributes: Mapping[str, Any],
    *,
    context: Context | None = None,
    warn: bool = False,
) -> None:
    """Emits one event.

    Args:
        logger: where to; None for nobody.
        name: the event's name.
        attributes: its fields; None values are left out.
        context: carries the span it belongs to; the current one by default.
        warn: severity WARN rather than INFO.
    """
    if logger is None:
        return
    severity = SeverityNumber.WARN if warn else SeverityNumber.INFO
    try:
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=context,
                severity_number=severity,
                severity_text=severity.name,
                event_name=name,
                attributes={key: value for key, value in attributes.items() if value is not None},
            )
        )
    except Exception as exc:
        broken("emitting a log event", exc)
