"""Where a process of this environment would send its telemetry, as far as the variables of OpenTelemetry say.

Decides nothing and sets nothing up: what an application names in its code cannot be seen from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from otel_agent.telemetry.variables import SIGNALS, Given, Signal, Variables, shown_url

__all__ = ["destinations", "target_of"]


def destinations() -> tuple[str, ...]:
    """Gives each place that a signal would go to, once; a variable that is wrong is told as where it is used."""
    return tuple(dict.fromkeys(_targets(Variables())))


def _targets(variables: Variables) -> Iterator[str]:
    if variables.get("OTEL_SDK_DISABLED").lower() == "true":
        return
    if file := variables.get("OTEL_CONFIG_FILE"):
        yield file
        return
    for signal in SIGNALS:
        if variables.exporters(signal, Given()):
            yield target_of(signal)


def target_of(signal: Signal) -> str:
    """Gives the endpoint of a signal that is exported, as it may be shown, or the name of its exporter."""
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    endpoints = [shown_url(os.environ[name]) for name in names if os.environ.get(name)]
    return endpoints[0] if endpoints else f"exporter {os.environ.get(f'OTEL_{signal.upper()}_EXPORTER')}"
