"""What `import otel_agent` costs a program that uses OpenTelemetry anyway."""

from __future__ import annotations

from tests.bench.harness import Processes, bench


@bench("import otel_agent", yardstick="import opentelemetry.sdk.trace, wrapt", at_most=1.3)
def import_package() -> Processes:
    return Processes(ours="import otel_agent", yardstick="import opentelemetry.sdk.trace, wrapt")
