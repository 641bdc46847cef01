"""Which OpenTelemetry providers this process gets: the application's own, ours that export, or none; and how ours end.

Decides that per signal. Touches no provider that it did not set, imports the SDK only to set one, and lets neither a
wrong `OTEL_*` value nor a backend that is down reach the caller, delay a call, or hold up the exit for 2 s.

    a provider is set already                          application   used and left alone
    OTEL_SDK_DISABLED=true, OTEL_<SIGNAL>_EXPORTER=none   disabled
    an endpoint or an exporter is named                exporting     provider of ours
    otherwise                                          quiet         traces: a provider with no processor
"""

from __future__ import annotations

import atexit
import contextvars
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

from opentelemetry import _logs, context, metrics, trace

from otel_agent import checks
from otel_agent.stop import InvalidSetting
from otel_agent.telemetry.variables import (
    PROTOCOLS,
    SIGNALS,
    Given,
    Signal,
    Variables,
    is_header,
    is_target,
    is_url,
    shown_url,
)
from otel_agent.telemetry.workers import at_worker_exit

if TYPE_CHECKING:
    from otel_agent.telemetry.exporting import Builder, Exports, Throttle

__all__ = ["Done", "Installed", "flush", "install", "shutdown"]

Done = Literal["application", "exporting", "quiet", "disabled"]

EXIT_SECONDS = 1.8

_log = logging.getLogger("otel_agent")

_ITEMS: dict[Signal, tuple[str, str]] = {
    "traces": ("span", "spans"),
    "metrics": ("export of metrics", "exports of metrics"),
    "logs": ("log record", "log records"),
}


@dataclass(frozen=True, slots=True)
class _Api:
    """What the OpenTelemetry API has for the providers of one signal."""

    kind: str
    get: Callable[[], object]
    set: Callable[[Any], None]


_APIS: dict[Signal, _Api] = {
    "traces": _Api("tracer", trace.get_tracer_provider, trace.set_tracer_provider),
    "metrics": _Api("meter", metrics.get_meter_provider, metrics.set_meter_provider),
    "logs": _Api("logger", _logs.get_logger_provider, _logs.set_logger_provider),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What was done for each signal.

    Attributes:
        traces: `application` (a provider was there already, or OTEL_CONFIG_FILE set one), `exporting` (ours exports),
            `quiet` (nothing says where to export to) or `disabled`.
        metrics: the same.
        logs: the same.
    """

    traces: Done
    metrics: Done
    logs: Done

    @property
    def backend(self) -> bool:
        """Whether anything exports, or an application's provider is there."""
        return any(done in ("application", "exporting") for done in (self.traces, self.metrics, self.logs))


class _State:
    """What this process has installed; the lock is held while that is decided."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.installed: Installed | None = None
        self.exports: list[Exports] = []
        self.throttle: Throttle | None = None
        self.reports = itertools.count()
        self.outside: contextvars.Token[context.Context] | None = None


_state = _State()


def install(
    *,
    service_name: str | None = None,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Installed:
    """Sets the providers that this process lacks; called again, it changes nothing.

    Args:
        service_name: goes before OTEL_SERVICE_NAME; None leaves it to that, or to the SDK.
        endpoint: where all signals go, before any variable: for HTTP a base URL, to which `/v1/traces` and the like are
            appended, for gRPC `host:port` or a URL; None leaves it to the variables.
        protocol: `http/protobuf`, `grpc` or `http/json`; None leaves it to the variables, and to `http/protobuf`.
        headers: sent with each export, added to those of the variables; None adds none.

    Returns:
        What was done for each signal.

    Raises:
        InvalidSetting: an argument can never work; nothing was set.
    """
    given = _checked(service_name, endpoint, protocol, headers)
    with _state.lock:
        if _state.installed is None:
            # An empty context: no thread that starts here may belong to the run that called.
            _state.installed = contextvars.Context().run(_install, given)
        return _state.installed


def flush(timeout_seconds: float) -> bool:
    """Sends what waits in the providers that `install` set.

    Args:
        timeout_seconds: how long to wait at most, in seconds.

    Returns:
        Whether everything that was waiting was delivered in time; True where there is nothing to deliver to.
    """
    end = time.monotonic() + timeout_seconds
    open_ones = [each for each in _state.exports if not each.closed]
    failures = [each.failures for each in open_ones]
    jobs = [each.flush(timeout_seconds) for each in open_ones]
    in_time = [job.wait(end - time.monotonic()) for job in jobs]
    return all(in_time) and failures == [each.failures for each in open_ones]


def shutdown(timeout_seconds: float) -> None:
    """Sends what waits in the providers that `install` set, ends them, and says in one log line what was lost.

    Called again, it only waits for the first call to be done.

    Args:
        timeout_seconds: how long to wait at most, in seconds. What is not delivered by then is given up.
    """
    end = time.monotonic() + timeout_seconds
    exports = list(_state.exports)
    jobs = [each.close() for each in exports]
    for each, job in zip(exports, jobs, strict=True):
        if not job.wait(end - time.monotonic()):
            each.give_up()
    if next(_state.reports) == 0:
        _report(exports)


def _report(exports: list[Exports]) -> None:
    lost = [(each.lost, _ITEMS[each.signal]) for each in exports]
    texts = [f"{count:,} {one if count == 1 else many}" for count, (one, many) in lost if count]
    if texts:
        _log.warning("not delivered when telemetry was shut down: %s", ", ".join(texts))


def _checked(service_name: object, endpoint: object, protocol: object, headers: object) -> Given:
    """Checks what can be checked of the arguments alone."""
    return Given(
        service_name=None if service_name is None else checks.text("configure.service_name", service_name),
        endpoint=None if endpoint is None else _checked_endpoint(endpoint, is_target, "http://127.0.0.1:4318"),
        protocol=None if protocol is None else checks.choice("configure.protocol", protocol, PROTOCOLS),
        headers={} if headers is None else _checked_headers(headers),
    )


def _checked_endpoint(endpoint: object, holds: Callable[[str], bool], example: str) -> str:
    if isinstance(endpoint, str) and holds(endpoint):
        return endpoint
    shown = shown_url(endpoint) if isinstance(endpoint, str) else endpoint
    raise InvalidSetting(field="configure.endpoint", value=shown, allowed=f"an address such as {example}")


def _checked_headers(headers: object) -> dict[str, str]:
    """Checks headers; no error shows a value, which may be a secret."""
    allowed = "a mapping of header names to ASCII texts in one line"
    if not isinstance(headers, Mapping):
        raise InvalidSetting(field="configure.headers", value=type(headers), allowed=allowed)
    pairs = cast("Mapping[object, object]", headers)
    for name, value in pairs.items():
        if not (isinstance(name, str) and isinstance(value, str) and is_header(name, value)):
            raise InvalidSetting(field="configure.headers", value=name, allowed=allowed)
    return {str(name): str(value) for name, value in pairs.items()}


def _install(given: Given) -> Installed:
    variables = Variables()
    if given.endpoint and any(variables.protocol(signal, given) != "grpc" for signal in SIGNALS):
        _checked_endpoint(given.endpoint, is_url, "http://127.0.0.1:4318")
    with variables.environment():
        for signal in SIGNALS:
            _set_named(signal, variables)
    with variables.environment():
        done = _from_file(variables) or _from_variables(variables, given)
    if _state.throttle is not None:
        _follow_process()
    return Installed(**done)


def _is_set(signal: Signal) -> bool:
    kind = type(_APIS[signal].get())
    return not (kind.__module__.startswith("opentelemetry.") and "Proxy" in kind.__name__)


def _set_named(signal: Signal, variables: Variables) -> None:
    """Lets the API set the provider that OTEL_PYTHON_<KIND>_PROVIDER names, before it is asked for anywhere else."""
    kind = _APIS[signal].kind
    name = f"OTEL_PYTHON_{kind.upper()}_PROVIDER"
    if variables.component(name, f"opentelemetry_{kind}_provider", "it is not used") is not None:
        try:
            _APIS[signal].get()
        except Exception as exc:
            variables.wrong(name, f"a provider that can be built ({type(exc).__name__}: {exc})", "it is not used")


def _from_file(variables: Variables) -> dict[Signal, Done] | None:
    """Leaves it all to the SDK's configuration file, where there is one and no application was first."""
    path = variables.get("OTEL_CONFIG_FILE")
    if not path or any(_is_set(signal) for signal in SIGNALS):
        return None
    try:
        configuration = import_module("opentelemetry.configuration")
        configuration.configure_sdk(configuration.load_config_file(path))
    except Exception as exc:
        needed = f"a file that opentelemetry-configuration can read ({type(exc).__name__}: {exc})"
        variables.wrong("OTEL_CONFIG_FILE", needed, "the other variables are used")
        return None
    return _as_they_are()


def _as_they_are() -> dict[Signal, Done]:
    return {signal: "application" if _is_set(signal) else "disabled" for signal in SIGNALS}


def _from_variables(variables: Variables, given: Given) -> dict[Signal, Done]:
    done = _as_they_are()
    missing: list[Signal] = [signal for signal in SIGNALS if done[signal] != "application"]
    if not missing or variables.get("OTEL_SDK_DISABLED").lower() == "true":
        return done
    if hasattr(os, "register_at_fork"):
        # Before the SDK's own hooks, which start threads: those belong to no run, even where one forks.
        os.register_at_fork(after_in_child=_step_out)
    exporting = import_module("otel_agent.telemetry.exporting")
    builder: Builder = exporting.Builder(variables, given)
    _state.throttle = builder.throttle
    for signal in missing:
        done[signal] = _set(signal, builder, switched_off=variables.exporters(signal, given) is None)
    return done


def _set(signal: Signal, builder: Builder, *, switched_off: bool) -> Done:
    try:
        exports = builder.build(signal)
    except Exception as exc:
        _log.warning("the provider of %s cannot be built (%s: %s)", signal, type(exc).__name__, exc)
        return "quiet"
    if exports is not None:
        _APIS[signal].set(exports.provider)
        _state.exports.append(exports)
    if switched_off:
        return "disabled"
    return "exporting" if exports is not None and exports.exporting else "quiet"


def _follow_process() -> None:
    """Ends our providers where this process ends, and starts them anew where it forks."""
    # Finalizers close the connections that our last export opens: the first one has their exit run after ours.
    weakref.finalize(_state, bool)
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    at_worker_exit(_at_exit)


def _at_exit() -> None:
    shutdown(EXIT_SECONDS)


def _step_out() -> None:
    _state.outside = context.attach(context.Context())


def _after_fork() -> None:
    _state.lock = threading.Lock()
    if _state.throttle is not None:
        _state.throttle.renew()
    for each in _state.exports:
        each.renew()
    if _state.outside is not None:
        context.detach(_state.outside)
        _state.outside = None
