"""The ports of the stack, each with the variable that it stands under in `.env`, and the address that they are on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_agent import checks
from otel_agent.stop import InvalidSetting

__all__ = ["EVERYWHERE", "HOST", "LISTEN", "PORTS", "Port", "settled"]

HOST, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - only where it is chosen
LISTEN = "OTEL_AGENT_LISTEN"
LARGEST = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port: what it is called, its variable, its number by default, what answers there."""

    name: str
    variable: str
    default: int
    about: str


PORTS = (
    Port(name="grpc", variable="OTEL_AGENT_GRPC_PORT", default=4317, about="collector: OTLP over gRPC"),
    Port(name="http", variable="OTEL_AGENT_HTTP_PORT", default=4318, about="collector: OTLP over HTTP"),
    Port(name="scrape", variable="OTEL_AGENT_SCRAPE_PORT", default=8889, about="collector: metrics of live processes"),
    Port(name="sums", variable="OTEL_AGENT_SUMS_PORT", default=8890, about="collector: metrics added up from deltas"),
    Port(name="own-metrics", variable="OTEL_AGENT_OWN_METRICS_PORT", default=8888, about="collector: its own metrics"),
    Port(name="health", variable="OTEL_AGENT_HEALTH_PORT", default=13133, about="collector: health"),
    Port(name="jaeger", variable="JAEGER_QUERY_PORT", default=16686, about="Jaeger: page and query API"),
    Port(name="jaeger-otlp", variable="JAEGER_OTLP_PORT", default=14317, about="Jaeger: OTLP from the collector"),
    Port(name="jaeger-health", variable="JAEGER_HEALTH_PORT", default=13134, about="Jaeger: health"),
    Port(name="prometheus", variable="PROMETHEUS_PORT", default=9090, about="Prometheus: page and API"),
    Port(name="alertmanager", variable="ALERTMANAGER_PORT", default=9093, about="Alertmanager: page and API"),
    Port(name="grafana", variable="GRAFANA_PORT", default=3000, about="Grafana: page, with the compose file"),
)


def settled(given: Mapping[str, int]) -> dict[str, int]:
    """Gives every port its number, by its variable: the one given by its name, else its default.

    Raises:
        InvalidSetting: there is no such port (the nearest is named), a number can be none, or two are the same.
    """
    names = [port.name for port in PORTS]
    for name, number in given.items():
        checks.count(f"port.{checks.choice('port', name, names)}", number, least=1, most=LARGEST)
    numbers = {port.variable: given.get(port.name, port.default) for port in PORTS}
    for port in PORTS:
        other = next(
            (each for each in PORTS if each is not port and numbers[each.variable] == numbers[port.variable]), None
        )
        if other is not None:
            allowed = f"a port of its own: {other.name} has it"
            raise InvalidSetting(field=f"port.{port.name}", value=numbers[port.variable], allowed=allowed)
    return numbers
