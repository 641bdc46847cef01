"""The `OTEL_*` variables of this process: which of them hold, and the one warning for each that is wrong.

Decides what a wrong value is replaced by, and what one signal's OTLP exporter is to read. Builds nothing, and imports
neither the SDK nor an exporter: both may raise on what is found here, some of it already while they are imported. So
they are given an environment in which every value can work:

    os.environ  ->  Variables (warns)  ->  with variables.environment(): build
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

__all__ = [
    "PROTOCOLS",
    "SIGNALS",
    "Given",
    "Otlp",
    "Signal",
    "Variables",
    "is_header",
    "is_target",
    "is_url",
    "shown_url",
]

Signal = Literal["traces", "metrics", "logs"]

SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")
PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc", "http/json": "otlp_json_http"}
LARGEST = 2**31 - 1
LONGEST_SHOWN = 120

_log = logging.getLogger("otel_agent")

_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+(%\w+)?")
_GRPC_NAME = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|xds|passthrough|vsock):\S+")


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a variable may say, in words and as a test, and what is used when it says something else."""

    holds: Callable[[str], bool]
    allowed: str
    default: str


def _holds(parse: Callable[[str], float], least: float, most: float, text: str) -> bool:
    try:
        return least <= parse(text) <= most
    except (ValueError, OverflowError):
        return False


def _whole(default: int | None, unit: str, *, least: int = 1) -> _Rule:
    holds = functools.partial(_holds, int, least, LARGEST)
    return _Rule(holds, f"a whole number of {unit} from {least}", "none" if default is None else str(default))


def _number(default: int, unit: str) -> _Rule:
    holds = functools.partial(_holds, float, 1e-9, LARGEST)
    return _Rule(holds, f"a number of {unit} above 0", str(default))


def _word(*words: str, default: str, exact: bool = False) -> _Rule:
    return _Rule(lambda text: (text if exact else text.lower()) in words, f"one of {', '.join(words)}", default)


def _limit(default: int | None) -> _Rule:
    rule = _whole(default, "things", least=0)
    return _Rule(lambda text: not text or rule.holds(text), "a whole number from 0", rule.default)


_BOOL = _word("true", "false", default="false")

_LIMITS: dict[str, _Rule] = {
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _limit(128),
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _limit(None),
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _limit(128),
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _limit(128),
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": _limit(128),
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": _limit(None),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _limit(128),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _limit(None),
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _limit(128),
    "OTEL_SPAN_LINK_COUNT_LIMIT": _limit(128),
}

# What the SDK itself falls back to stands here once more, since it says so only in code.
_RULES: dict[str, _Rule] = {
    **_LIMITS,
    "OTEL_SDK_DISABLED": _BOOL,
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": _BOOL,
    "OTEL_BSP_SCHEDULE_DELAY": _whole(5_000, "milliseconds"),
    "OTEL_BSP_EXPORT_TIMEOUT": _whole(30_000, "milliseconds", least=0),
    "OTEL_BSP_MAX_QUEUE_SIZE": _whole(2_048, "spans"),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": _whole(512, "spans"),
    "OTEL_BLRP_SCHEDULE_DELAY": _whole(1_000, "milliseconds"),
    "OTEL_BLRP_EXPORT_TIMEOUT": _whole(30_000, "milliseconds", least=0),
    "OTEL_BLRP_MAX_QUEUE_SIZE": _whole(2_048, "log records"),
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": _whole(512, "log records"),
    "OTEL_METRIC_EXPORT_INTERVAL": _number(60_000, "milliseconds"),
    "OTEL_METRIC_EXPORT_TIMEOUT": _number(30_000, "milliseconds"),
    "OTEL_METRICS_EXEMPLAR_FILTER": _word("trace_based", "always_on", "always_off", default="trace_based", exact=True),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _word(
        "cumulative", "delta", "lowmemory", default="cumulative"
    ),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _word(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram", default="explicit_bucket_histogram"
    ),
}

# The API and the SDK read these again later, and would fail or warn each time: a wrong one is taken out for good.
_READ_LATER = {
    "OTEL_PYTHON_TRACER_PROVIDER",
    "OTEL_PYTHON_METER_PROVIDER",
    "OTEL_PYTHON_LOGGER_PROVIDER",
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED",
}

_CREDENTIALS = "opentelemetry_otlp_credential_provider"
_PROTOCOL = _word(*PROTOCOLS, default="http/protobuf")
_FILE = _Rule(lambda path: os.access(path, os.R_OK), "a file that can be read", "none")
_OTLP: dict[str, _Rule] = {
    "TIMEOUT": _number(10, "seconds"),
    "INSECURE": _BOOL,
    "CERTIFICATE": _FILE,
    "CLIENT_KEY": _FILE,
    "CLIENT_CERTIFICATE": _FILE,
}
_COMPRESSION = {
    "grpc": _word("none", "gzip", default="none"),
    "http/protobuf": _word("none", "gzip", "deflate", default="none"),
    "http/json": _word("none", "gzip", "deflate", default="none"),
}


def is_url(text: str) -> bool:
    """Tells whether a text is an http or https URL with a host, and a port that can be if there is one."""
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(_HOST.fullmatch(host)) and port != 0 and not re.search(r"\s", text)


def is_target(text: str) -> bool:
    """Tells whether a text names a gRPC server: `host:port`, an http or https URL, or one of gRPC's own names."""
    if _GRPC_NAME.fullmatch(text):
        return True
    return is_url(text) if "://" in text else "/" not in text and is_url(f"http://{text}")


def is_header(name: str, value: str) -> bool:
    """Tells whether a header can be sent, over HTTP and gRPC alike: ASCII, nothing that starts another line."""
    return bool(_HEADER_NAME.fullmatch(name.lower()) and _HEADER_VALUE.fullmatch(value))


def shown_url(text: str) -> str:
    """Gives an endpoint as it may be shown: without user, password and query, which may be secrets."""
    rest = text.split("?", 1)[0]
    return f"***@{rest.rsplit('@', 1)[1]}" if "@" in rest else rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was passed to `install` and goes before the variables; None, or empty, is left to them."""

    service_name: str | None = None
    endpoint: str | None = None
    protocol: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Otlp:
    """How one signal goes out over OTLP.

    Attributes:
        headers: name to value, lower-cased names.
        environment: what the exporter is to find in its environment; None is a variable that it must not find.
    """

    headers: Mapping[str, str] = field(repr=False)
    environment: Mapping[str, str | None] = field(repr=False)


class Variables:
    """The `OTEL_*` variables as they can be used; what is wrong is said once, when it is met."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._changes: dict[str, str | None] = {
            name: None
            for name, value in os.environ.items()
            if name.startswith("OTEL_") and not value.strip() and name not in _LIMITS
        }
        for name, rule in _RULES.items():
            self._check(name, rule)
        self._fit_batch("OTEL_BSP", queue=2_048, batch=512)
        self._fit_batch("OTEL_BLRP", queue=2_048, batch=512)
        self._check_lists()

    def _check_lists(self) -> None:
        self._keep_good(
            "OTEL_RESOURCE_ATTRIBUTES",
            lambda pair: "=" in pair and bool(pair.partition("=")[0].strip()),
            "key=value pairs with commas between them",
        )
        detectors = "opentelemetry_resource_detector"
        self._keep_good(
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
            lambda name: name.strip() == "*" or bool(self._entry(detectors, name.strip())),
            "names of installed resource detectors with commas between them",
        )
        self._keep_good(
            "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES",
            lambda code: code.strip().upper() in import_module("grpc").StatusCode.__members__,
            "names of gRPC status codes with commas between them",
        )
        for name in [name for name in os.environ if name.endswith("_CREDENTIAL_PROVIDER")]:
            self._keep_good(
                name, lambda item: bool(self._entry(_CREDENTIALS, item.strip())), "an installed credential provider"
            )

    def get(self, name: str) -> str:
        """Gives a variable's value without the blanks around it, or an empty text."""
        value = self._changes[name] if name in self._changes else os.environ.get(name)
        return (value or "").strip()

    def wrong(self, name: str, allowed: str, instead: str, *, shown: str | None = None) -> None:
        """Warns once that a variable is wrong, and leaves it out of the environment from now on.

        Args:
            name: the variable.
            allowed: what it must be.
            instead: what happens now.
            shown: its value as it may be shown; None shows it as it stands.
        """
        self._say(name, allowed, instead, self.get(name) if shown is None else shown)
        self._changes[name] = None

    def component(self, name: str, group: str, instead: str) -> Any:
        """Loads the component that a variable names by its entry point.

        Args:
            name: the variable.
            group: the group of entry points.
            instead: what happens when there is no such component, for the warning.

        Returns:
            The component, or None: the variable is not set, or wrong.
        """
        if not (wanted := self.get(name)):
            return None
        if entry := self._entry(group, wanted):
            try:
                return entry.load()
            except Exception as exc:
                self.wrong(name, f"a component that can be loaded ({type(exc).__name__}: {exc})", instead)
                return None
        self.wrong(name, self._one_of(group), instead)
        return None

    def protocol(self, signal: Signal, given: Given) -> str:
        """Gives the OTLP protocol of a signal: one of `PROTOCOLS` for which an exporter is installed."""
        name, value = "configure.protocol", given.protocol or ""
        if not value:
            name, value = self._scoped(signal, "PROTOCOL", _PROTOCOL)
        value = value.lower() or _PROTOCOL.default
        if value == "http/json" and not self._entry(f"opentelemetry_{signal}_exporter", PROTOCOLS[value]):
            needed = "http/protobuf or grpc, unless opentelemetry-exporter-otlp-json-http is installed"
            self._say(name, needed, "http/protobuf is used", value)
            return _PROTOCOL.default
        return value

    def exporters(self, signal: Signal, given: Given) -> dict[str, EntryPoint] | None:
        """Gives the exporters of a signal: name as written to entry point, none without a backend.

        Returns:
            The entry points, or None where the signal is switched off.
        """
        group, variable = f"opentelemetry_{signal}_exporter", f"OTEL_{signal.upper()}_EXPORTER"
        names = [name.strip() for name in self.get(variable).split(",") if name.strip()]
        wanted = [name for name in names if name.lower() != "none"]
        if names and not wanted:
            return None
        otlp = PROTOCOLS[self.protocol(signal, given)]
        found = {name: self._entry(group, otlp if name == "otlp" else name) for name in wanted}
        usable = {name: entry for name, entry in found.items() if entry}
        if not usable and (entry := self._entry(group, otlp)) and self._has_endpoint(signal, given):
            usable = {"otlp": entry}
        if any(entry is None for entry in found.values()):
            instead = f"{', '.join(usable)} is used" if usable else "nothing is exported"
            self.wrong(variable, f"{self._one_of(group)}, or none", instead)
        return usable

    def otlp(self, signal: Signal, given: Given, protocol: str) -> Otlp:
        """Gives what an OTLP exporter of a signal is to be built with, each value checked for its protocol."""
        values = {suffix: self._scoped(signal, suffix, rule)[1] for suffix, rule in _OTLP.items()}
        compression = self._scoped(signal, "COMPRESSION", _COMPRESSION[protocol])[1].lower()
        values["COMPRESSION"] = "" if compression == "none" else compression
        name, values["ENDPOINT"] = self._endpoint(signal, given, protocol)
        if protocol != "grpc":
            general = not name.endswith(f"{signal.upper()}_ENDPOINT")
            values["ENDPOINT"] = _with_path(values["ENDPOINT"], signal) if general else values["ENDPOINT"]
        elif values["ENDPOINT"].startswith("http://"):
            values["INSECURE"] = "true"
        environment: dict[str, str | None] = {}
        for suffix, value in values.items():
            environment |= {f"OTEL_EXPORTER_OTLP_{suffix}": None, _specific(signal, suffix): value or None}
        for hidden in ("OTEL_EXPORTER_OTLP_HEADERS", _specific(signal, "HEADERS")):
            environment[hidden] = None
        return Otlp(headers={**self._headers(signal), **_lowered(given.headers)}, environment=environment)

    @contextmanager
    def environment(self, more: Mapping[str, str | None] | None = None) -> Generator[None]:
        """Holds the process's environment free of wrong values, and puts it back as it was.

        Args:
            more: further values to hold; None is a variable to hide.
        """
        changes = {**self._changes, **(more or {})}
        before = {name: os.environ.get(name) for name in changes if name not in _READ_LATER}
        _write(changes)
        try:
            yield
        finally:
            _write(before)

    def _say(self, name: str, allowed: str, instead: str, shown: str) -> None:
        if name not in self._said:
            self._said.add(name)
            text = shown if len(shown) <= LONGEST_SHOWN else shown[: LONGEST_SHOWN - 3] + "..."
            _log.warning("%s = %r: must be %s; %s", name, text, allowed, instead)

    def _check(self, name: str, rule: _Rule) -> None:
        if (value := self.get(name)) and not rule.holds(value):
            self.wrong(name, rule.allowed, f"{rule.default} is used")

    def _fit_batch(self, prefix: str, *, queue: int, batch: int) -> None:
        """Keeps a batch no larger than its queue: the SDK refuses to start otherwise."""
        name = f"{prefix}_MAX_EXPORT_BATCH_SIZE"
        most = int(self.get(f"{prefix}_MAX_QUEUE_SIZE") or queue)
        if int(self.get(name) or batch) <= most:
            return
        if self.get(name):
            self.wrong(name, f"at most {prefix}_MAX_QUEUE_SIZE, which is {most}", f"{most} is used")
        self._changes[name] = str(most)

    def _keep_good(self, name: str, holds: Callable[[str], bool], allowed: str) -> None:
        items = [item for item in self.get(name).split(",") if item.strip()]
        good = [item for item in items if holds(item)]
        if len(good) < len(items):
            self.wrong(name, allowed, "only those that are such are used")
        if self.get(name) != ",".join(good):
            self._changes[name] = ",".join(good) or None

    @functools.cached_property
    def _installed(self) -> Any:
        return entry_points()  # once: it reads the metadata of every installed package

    def _entries(self, group: str, **name: str) -> EntryPoints:
        found: EntryPoints = self._installed.select(group=group, **name)
        return found

    def _entry(self, group: str, name: str) -> EntryPoint | None:
        return next((entry for key in (name, name.lower()) for entry in self._entries(group, name=key)), None)

    def _one_of(self, group: str) -> str:
        return f"one of {', '.join(sorted(self._entries(group).names)) or 'none installed'}"

    def _scoped(self, signal: Signal, suffix: str, rule: _Rule, show: Callable[[str], str] = str) -> tuple[str, str]:
        """Gives name and value of the signal's own variable, or else the general one, whichever first holds."""
        wrong: list[str] = []
        for name in (_specific(signal, suffix), f"OTEL_EXPORTER_OTLP_{suffix}"):
            if (value := self.get(name)) and rule.holds(value):
                break
            wrong += [name] if value else []
        else:
            name = value = ""
        for each in wrong:
            self._say(each, rule.allowed, f"{show(value) or rule.default} is used", show(self.get(each)))
        return name, value

    def _endpoint(self, signal: Signal, given: Given, protocol: str) -> tuple[str, str]:
        if given.endpoint:
            return "configure.endpoint", given.endpoint
        url = _Rule(is_url, "a URL such as http://127.0.0.1:4318", "none")
        target = _Rule(is_target, "host:port or a URL such as http://127.0.0.1:4317", "none")
        return self._scoped(signal, "ENDPOINT", target if protocol == "grpc" else url, shown_url)

    def _has_endpoint(self, signal: Signal, given: Given) -> bool:
        return bool(self._endpoint(signal, given, self.protocol(signal, given))[1])

    def _headers(self, signal: Signal) -> dict[str, str]:
        """Reads the headers, the signal's own in place of the general ones, without ever showing a value."""
        name = _specific(signal, "HEADERS")
        name = name if self.get(name) else "OTEL_EXPORTER_OTLP_HEADERS"
        pairs = [pair.partition("=") for pair in self.get(name).split(",") if pair.strip()]
        read = [(key.strip(), sign, unquote(value).strip()) for key, sign, value in pairs]
        good = {unquote(key).lower(): value for key, sign, value in read if sign and is_header(unquote(key), value)}
        if len(good) < len(pairs):
            self._say(
                name, "name=value pairs with commas between them", "only those that are such pairs are used", "***"
            )
        return good


def _specific(signal: Signal, suffix: str) -> str:
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_{suffix}"


def _with_path(base: str, signal: Signal) -> str:
    return f"{base.removesuffix('/')}/v1/{signal}" if base else ""


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _write(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
