"""The servers of the stack: which programs they are, how each is started, and how one sees that it is up.

Decides nothing about when. A server is looked for in the user's folder first, then on the PATH.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_agent import checks
from otel_agent.deploy.stack.contents import COLLECTOR_CONFIG, SETTINGS
from otel_agent.deploy.stack.ports import EVERYWHERE, HOST, LISTEN, PORTS, settled
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import read_text

__all__ = ["SERVERS", "TOOLS", "Program", "Server", "Settings", "settings"]

Settings = Mapping[str, str]
LINE = re.compile(r"""\s*(?P<name>[A-Za-z_]\w*)\s*=\s*((?P<quote>["'])(?P<quoted>.*)(?P=quote)|(?P<value>.*?))\s*""")
"""What sets a variable; quotes around a value are no part of it, for a shell and the compose file no more than here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program: the names that it goes by, and where to get it."""

    name: str
    called: tuple[str, ...]
    hint: str

    def find(self, folder: Path | None = None) -> str | None:
        """Gives its path: in a folder, else on the PATH; None where it is not installed."""
        places = [*([str(folder)] if folder else []), os.environ.get("PATH", os.defpath)]
        found = (shutil.which(name, path=place) for place in places for name in self.called)
        return next((os.path.abspath(each) for each in found if each), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of the stack.

    Attributes:
        program: what is started.
        arguments: its arguments, from the settings; it is started in the stack's folder.
        ready: the variable of the port that says whether it is up, and the path there.
        ports: the variables of the ports that it opens.
        shown: what it offers: a word and the address.
        listen: the variable that names its address in the settings; None is loopback, whatever they say.
    """

    program: Program
    arguments: Callable[[Settings], list[str]]
    ready: tuple[str, str]
    ports: tuple[str, ...]
    shown: Callable[[Settings], dict[str, str]]
    listen: str | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.program.name

    def ready_url(self, values: Settings) -> str:
        """Gives the address that answers 200 while it is up."""
        return f"http://{HOST}:{values[self.ready[0]]}{self.ready[1]}"

    def address(self, values: Settings) -> str:
        """Gives the address that its ports are on."""
        return values[self.listen] if self.listen else HOST


def _at(values: Settings, variable: str, path: str = "") -> str:
    return f"http://{HOST}:{values[variable]}{path}"


COLLECTOR = Program(
    name="collector",
    called=("otelcol-agent", "otelcol-contrib"),
    hint="otelcol-contrib of github.com/open-telemetry/opentelemetry-collector-releases, 0.154 or newer, or build it "
    "as docs/collector.md says",
)
JAEGER = Program(name="jaeger", called=("jaeger",), hint="Jaeger 2, from jaegertracing.io/download")
PROMETHEUS = Program(
    name="prometheus", called=("prometheus",), hint="2.42 or newer: `apt install prometheus`, or prometheus.io/download"
)
ALERTMANAGER = Program(
    name="alertmanager",
    called=("alertmanager", "prometheus-alertmanager"),
    hint="`apt install prometheus-alertmanager`, or prometheus.io/download",
)
PROMTOOL = Program(name="promtool", called=("promtool",), hint="it comes with Prometheus")
AMTOOL = Program(name="amtool", called=("amtool",), hint="it comes with Alertmanager")
TOOLS = {program.name: program for program in (COLLECTOR, PROMTOOL, AMTOOL)}


def _collector(values: Settings) -> list[str]:
    return ["--config", COLLECTOR_CONFIG]


def _jaeger(values: Settings) -> list[str]:
    return ["--config", "jaeger.yaml"]


def _prometheus(values: Settings) -> list[str]:
    return [
        "--config.file=prometheus/prometheus.yml",
        "--storage.tsdb.path=data/prometheus",
        "--storage.tsdb.retention.time=35d",
        f"--web.listen-address={HOST}:{values['PROMETHEUS_PORT']}",
        f"--web.external-url={_at(values, 'PROMETHEUS_PORT', '/')}",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
    ]


def _alertmanager(values: Settings) -> list[str]:
    return [
        "--config.file=alertmanager/alertmanager.yml",
        "--storage.path=data/alertmanager",
        f"--web.listen-address={HOST}:{values['ALERTMANAGER_PORT']}",
        f"--web.external-url={_at(values, 'ALERTMANAGER_PORT', '/')}",
        "--cluster.listen-address=",
    ]


SERVERS = (
    Server(
        program=JAEGER,
        arguments=_jaeger,
        ready=("JAEGER_HEALTH_PORT", "/status"),
        ports=("JAEGER_QUERY_PORT", "JAEGER_OTLP_PORT", "JAEGER_HEALTH_PORT"),
        shown=lambda values: {"traces": _at(values, "JAEGER_QUERY_PORT")},
    ),
    Server(
        program=COLLECTOR,
        arguments=_collector,
        ready=("OTEL_AGENT_HEALTH_PORT", "/"),
        ports=tuple(port.variable for port in PORTS if port.variable.startswith("OTEL_AGENT_")),
        shown=lambda values: {
            "OTLP over HTTP": _at(values, "OTEL_AGENT_HTTP_PORT"),
            "OTLP over gRPC": _at(values, "OTEL_AGENT_GRPC_PORT"),
        },
        listen=LISTEN,
    ),
    Server(
        program=ALERTMANAGER,
        arguments=_alertmanager,
        ready=("ALERTMANAGER_PORT", "/-/ready"),
        ports=("ALERTMANAGER_PORT",),
        shown=lambda values: {"alerts": _at(values, "ALERTMANAGER_PORT")},
    ),
    Server(
        program=PROMETHEUS,
        arguments=_prometheus,
        ready=("PROMETHEUS_PORT", "/-/ready"),
        ports=("PROMETHEUS_PORT",),
        shown=lambda values: {"metrics": _at(values, "PROMETHEUS_PORT")},
    ),
)
"""In the order in which they are started: what is sent to comes before what sends."""


def settings(folder: Path) -> dict[str, str]:
    """Gives the variables that stand in a stack's folder, with every port.

    Raises:
        InvalidSetting: the folder holds no stack, a line sets nothing, a port is none, or an address is not one to
            listen on.
    """
    text = read_text(folder / SETTINGS)
    if text is None:
        allowed = f"a folder with {SETTINGS}, which `otel-agent stack init` writes"
        raise InvalidSetting(field="DIR", value=str(folder), allowed=allowed)
    values = dict(_variables(text))
    numbers = settled(
        {port.name: _number(port.variable, values[port.variable]) for port in PORTS if port.variable in values}
    )
    listen = checks.choice(f"{SETTINGS}: {LISTEN}", values.get(LISTEN, HOST), (HOST, EVERYWHERE))
    return values | {variable: str(number) for variable, number in numbers.items()} | {LISTEN: listen}


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        found = LINE.fullmatch(line)
        if found:
            yield found["name"], found["quoted"] if found["quote"] else found["value"]
        elif line.strip() and not line.lstrip().startswith("#"):
            # not the line itself: it may hold a key
            raise InvalidSetting(field=SETTINGS, value=f"line {number}", allowed="NAME=VALUE, or # and a comment")


def _number(variable: str, text: str) -> int:
    if not text.isdecimal():
        raise InvalidSetting(field=f"{SETTINGS}: {variable}", value=text, allowed="the number of a port")
    return int(text)
