"""What this process runs in, such as production or staging: the resource attribute that OpenTelemetry has for it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from opentelemetry import trace

from otel_agent import semconv
from otel_agent.telemetry.guard import broken

__all__ = ["environment"]

_VARIABLE = "OTEL_RESOURCE_ATTRIBUTES"


def environment() -> str | None:
    """Gives the environment by the tracer provider's resource, else by OTEL_RESOURCE_ATTRIBUTES, else None."""
    try:
        found = _of_provider().get(semconv.ENVIRONMENT) or _of_variable().get(semconv.ENVIRONMENT)
    except Exception as exc:
        broken("the resource", exc)
        return None
    return str(found) if found else None


def _of_provider() -> Mapping[str, object]:
    return getattr(getattr(trace.get_tracer_provider(), "resource", None), "attributes", {})


def _of_variable() -> Mapping[str, object]:
    if semconv.ENVIRONMENT not in os.environ.get(_VARIABLE, ""):
        return {}
    from opentelemetry.sdk.resources import OTELResourceDetector  # only where it has something to read

    return OTELResourceDetector().detect().attributes
