"""Which tracer, instruments and logger hold now: those of the providers that are set, looked up once per provider.

Sets no provider. Knows of each signal whether anybody is behind it, so that nothing is built for nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import _logs, metrics, trace

from otel_agent import semconv
from otel_agent.telemetry.guard import broken
from otel_agent.telemetry.instruments import Instruments
from otel_agent.telemetry.version import VERSION

__all__ = ["Pipeline", "current_pipeline", "use_pipeline"]


class Pipeline:
    """Tracer, instruments and logger of one set of providers; None for a signal that nobody is behind.

    Args:
        tracer_provider: of spans.
        meter_provider: of metrics.
        logger_provider: of log events.
    """

    __slots__ = ("instruments", "logger", "providers", "tracer")

    def __init__(self, tracer_provider: Any, meter_provider: Any, logger_provider: Any) -> None:
        self.providers = (tracer_provider, meter_provider, logger_provider)
        self.tracer: trace.Tracer | None = _real(
            tracer_provider, lambda: tracer_provider.get_tracer(semconv.SCOPE, VERSION)
        )
        meter = _real(meter_provider, lambda: meter_provider.get_meter(semconv.SCOPE, VERSION))
        self.instruments = None if meter is None else _tried("creating instruments", lambda: Instruments(meter))
        self.logger: _logs.Logger | None = _real(
            logger_provider, lambda: logger_provider.get_logger(semconv.SCOPE, VERSION)
        )


def _real(provider: object, get: Callable[[], Any]) -> Any:
    """Gives what a provider gives, or None where it stands for no provider, is switched off, or fails."""
    found = None if provider is None or _stand_in(provider) else _tried("a provider", get)
    return None if _stand_in(found) else found


def _tried(what: str, get: Callable[[], Any]) -> Any:
    try:
        return get()
    except Exception as exc:
        broken(what, exc)
        return None


def _stand_in(thing: object) -> bool:
    return type(thing).__name__.lstrip("_").startswith(("Proxy", "NoOp"))


class _Held:
    chosen: Pipeline | None = None
    latest: Pipeline | None = None


def use_pipeline(pipeline: Pipeline | None) -> Pipeline | None:
    """Puts a pipeline in the place of the global providers', or takes it back with None.

    Returns:
        The one that was put there before.
    """
    before, _Held.chosen = _Held.chosen, pipeline
    return before


def current_pipeline() -> Pipeline:
    """Gives the pipeline of the providers that are set at this moment."""
    if _Held.chosen is not None:
        return _Held.chosen
    traces = _tried("the tracer provider", trace.get_tracer_provider)
    meters = _tried("the meter provider", metrics.get_meter_provider)
    logs = _tried("the logger provider", _logs.get_logger_provider)
    latest = _Held.latest
    if latest is not None:
        known = latest.providers
        if known[0] is traces and known[1] is meters and known[2] is logs:
            return latest
    latest = _Held.latest = Pipeline(traces, meters, logs)
    return latest
