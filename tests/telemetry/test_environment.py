"""The environment of a process, by the standard attribute, with and without an SDK provider."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_agent.telemetry.environment import environment


@pytest.mark.parametrize(
    ("variable", "wanted"),
    [
        ("deployment.environment.name=staging", "staging"),
        ("a=b, deployment.environment.name=pro%20d ,c=d", "pro d"),
        ("deployment.environment.name=", None),
        ("a=deployment.environment.name", None),
        ("", None),
    ],
)
def test_it_is_in_the_variable(variable: str, wanted: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", variable)
    assert environment() == wanted


def test_the_providers_resource_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    provider = TracerProvider(resource=Resource({"deployment.environment.name": "production"}), shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    assert environment() == "production"


def test_a_provider_that_fails_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> object:
        raise OSError

    monkeypatch.setattr(trace, "get_tracer_provider", fail)
    assert environment() is None
