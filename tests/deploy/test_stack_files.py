"""The files of a stack fit together: compose file, manifests, targets; the real tools and servers take them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_agent.deploy.stack.checking import check
from otel_agent.deploy.stack.contents import Choice, contents
from otel_agent.deploy.stack.ports import HOST, PORTS
from otel_agent.deploy.stack.running import Stack
from otel_agent.deploy.stack.servers import SERVERS
from otel_agent.deploy.stack.writing import write
from tests.deploy.manifests import parsed, problems
from tests.deploy.servers import binary, free_port, needs, until

FILES = contents(Choice())
COMPOSE = yaml.safe_load(FILES["compose.yaml"])
VARIABLES = dict(line.split("=", 1) for line in FILES[".env"].splitlines() if not line.startswith("#"))
VARIABLE = re.compile(r"\$\{(\w+):\?\}")


def filled(text: str) -> str:
    """Gives a text of the compose file with its variables, all of which `.env` has."""
    return VARIABLE.sub(lambda found: VARIABLES[found[1]], text)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_has_a_pinned_image_and_ports_of_this_machine_only(name: str) -> None:
    service = COMPOSE["services"][name]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", filled(service["image"]))
    assert service["ports"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", filled(port)) for port in service["ports"])


def test_only_otlp_opens_with_the_variable_that_opens_it() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    opened = [port for port in ports if not port.startswith("127.0.0.1:")]
    assert [port.partition(":${OTEL_AGENT_")[2][:4] for port in opened] == ["GRPC", "HTTP"]
    assert all(port.startswith("${OTEL_AGENT_LISTEN:?}:") for port in opened)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_what_a_service_mounts_is_written(name: str) -> None:
    for volume in COMPOSE["services"][name]["volumes"]:
        source = volume.split(":")[0]
        if source.startswith("./"):
            assert volume.endswith(":ro")
            assert any(path == source[2:] or path.startswith(f"{source[2:]}/") for path in FILES), source
        else:
            assert source in COMPOSE["volumes"]


def test_whom_prometheus_asks_is_a_service_of_the_compose_file() -> None:
    for path in ("agents", "collector", "alertmanager"):
        targets = yaml.safe_load(FILES[f"prometheus/compose-targets/{path}.yml"])[0]["targets"]
        local = yaml.safe_load(FILES[f"prometheus/targets/{path}.yml"])[0]["targets"]
        assert {target.split(":")[0] for target in targets} <= set(COMPOSE["services"])
        assert [target.split(":")[1] for target in targets] == [target.split(":")[1] for target in local]
        assert {target.split(":")[0] for target in local} == {HOST}


def test_data_sources_are_services_and_the_dashboards_are_where_they_are_looked_for() -> None:
    sources = yaml.safe_load(FILES["grafana/provisioning/datasources/otel-agent.yaml"])["datasources"]
    assert [source["url"].split("/")[2].split(":")[0] for source in sources] == ["prometheus", "jaeger"]
    provider = yaml.safe_load(FILES["grafana/provisioning/dashboards/otel-agent.yaml"])["providers"][0]
    mounts = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]


def test_nothing_is_wrong_with_the_manifests() -> None:
    assert problems(parsed(FILES), FILES) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("kind: Deployment", "kind: Deplyoment", "Deplyoment entry: is of an unknown kind"),
        ("apiVersion: policy/v1", "apiVersion: policy/v1beta1", "apiVersion is not policy/v1"),
        ("replicas: 2", "replicas: two", "replicas is no number"),
        ("replicas: 2", "replicsa: 2", "spec has an unknown replicsa"),
        ("\nspec:\n  minAvailable", "\nstatus: {}\nspec:\n  minAvailable", "it has an unknown status"),
        ("  serviceName: gateway\n", "", "StatefulSet gateway: spec lacks serviceName"),
        ("serviceName: gateway", "serviceName: gatewya", "there is no service gatewya"),
        ("volumeMounts:", "volumeMount:", "container has an unknown volumeMount"),
        ("      containers:", "      initContainers:", "pod lacks containers"),
        ("name: queue, mountPath", "name: queeu, mountPath", "mounts queeu, which is no volume"),
        ("name: gateway-config}", "name: gateway-confgi}", "no config map gateway-confgi is made"),
        ("name: gateway-settings}", "name: settings}", "no config map settings is made"),
        ("mountPath: /etc/otel-agent", "mountPath: /etc/otel", "/etc/otel-agent/collector-config.yaml is not mounted"),
        ("containerPort: 8890", "containerPort: 8891", "nothing listens on sums, 8891"),
        ("path: /, port: health", "path: /, port: ready", "readinessProbe asks a port that has no such name"),
        ("targetPort: otlp-http", "targetPort: http", "Service collector: no pod has the port http"),
        ("{port: 8889}", "{port: 8887}", "NetworkPolicy gateway: no pod has the port 8887"),
        ("component: gateway}", "component: gate}", "selects"),
    ],
)
def test_a_manifest_that_is_wrong_is_found(before: str, after: str, said: str) -> None:
    listed = yaml.safe_load(FILES["kubernetes/kustomization.yaml"])["resources"]
    paths = [f"kubernetes/{path}" for path in listed if before in FILES[f"kubernetes/{path}"]]
    changed = {path: FILES[path].replace(before, after, 1) for path in paths}
    assert changed
    found = problems(parsed(FILES | changed), FILES | changed)
    assert any(said in line for line in found), found


def test_a_gateway_that_listens_to_its_own_pod_only_is_found() -> None:
    path = "kubernetes/gateway.env"
    alone = FILES | {path: FILES[path].replace("OTEL_AGENT_LISTEN=0.0.0.0\n", "")}
    assert "StatefulSet gateway: nothing listens on otlp-grpc, 4317" in problems(parsed(alone), alone)


def test_every_manifest_is_applied() -> None:
    kustomization = yaml.safe_load(FILES["kubernetes/kustomization.yaml"])
    named = {*kustomization["resources"], "kustomization.yaml"}
    for each in kustomization["configMapGenerator"]:
        named |= {path.rpartition("=")[2] for path in each.get("files", [])} | {*each.get("envs", [])}
    assert {f"kubernetes/{path}" for path in named} == {path for path in FILES if path.startswith("kubernetes/")}


def test_the_first_tier_sends_each_trace_whole_and_reaches_the_second() -> None:
    config = yaml.safe_load(FILES["kubernetes/entry-config.yaml"])
    exporters = config["exporters"]
    assert exporters["load_balancing/traces"]["routing_key"] == "traceID"
    assert exporters["load_balancing/metrics"]["routing_key"] == "service"
    service = next(
        each for each in parsed(FILES) if each["kind"] == "Service" and each["metadata"]["name"] == "gateway"
    )
    assert service["spec"]["clusterIP"] == "None"
    assert (
        exporters["load_balancing/traces"]["resolver"]["dns"]["hostname"].split(".")[0] == service["metadata"]["name"]
    )
    used = {name for each in config["service"]["pipelines"].values() for name in each["exporters"]}
    assert used == set(exporters)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_the_manifests(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    built = subprocess.run(
        ["kubectl", "kustomize", tmp_path / "kubernetes"], capture_output=True, text=True, check=True
    )
    images = re.findall(r"image: (\S+)", built.stdout)
    assert images == [f"otel/opentelemetry-collector-contrib:{VARIABLES['COLLECTOR_VERSION']}"] * 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "s", contents(Choice(ports={port.name: free_port() for port in PORTS})))
    return tmp_path / "s"


def place() -> Path:
    return Path(binary("collector") or "").parent


def test_the_real_tools_find_nothing_wrong(folder: Path) -> None:
    needs("collector", "promtool", "amtool")
    found = {finding.what: finding for finding in check(folder, programs=place())}
    asked = {what: finding for what, finding in found.items() if ", by " in what}
    assert len(asked) == 4
    assert {finding.state for finding in asked.values()} == {"ok"}, asked


def test_the_real_tools_find_what_is_wrong(folder: Path) -> None:
    needs("collector", "promtool", "amtool")
    for path, right, wrong in (
        ("collector-config.yaml", "memory_limiter:", "memory_limitre:"),
        ("prometheus/rules.yml", "sum by", "sum bye"),
        ("alertmanager/alertmanager.yml", "group_wait:", "group_weight:"),
    ):
        (folder / path).write_text((folder / path).read_text().replace(right, wrong, 1))
    wrong_ones = {finding.what for finding in check(folder, programs=place()) if finding.state == "wrong"}
    assert {"collector-config.yaml, by collector", "prometheus/rules.yml, by promtool"} <= wrong_ones
    assert "alertmanager/alertmanager.yml, by amtool" in wrong_ones


def test_the_real_servers_come_up_find_each_other_and_go(folder: Path) -> None:
    needs("collector", "jaeger", "prometheus", "alertmanager")
    told: list[tuple[str, str]] = []
    with Stack(folder, programs=place(), told=lambda what, server, said: told.append((what, server.name))) as running:
        prometheus = f"http://{HOST}:{running.settings['PROMETHEUS_PORT']}/api/v1"
        until(lambda: healthy(prometheus) == ["otel-agents", "otel-agents", "otel-collector"], 90)
        assert len(ask(f"{prometheus}/alertmanagers")["activeAlertmanagers"]) == 1
        assert ask(f"{prometheus}/rules")["groups"]
        processes = [each.process for each in running.running]
    assert [name for what, name in told if what == "ready"] == [server.name for server in SERVERS]
    assert [process.poll() is not None for process in processes] == [True] * 4


def test_the_collector_can_write_to_prometheus_in_place_of_being_scraped(folder: Path) -> None:
    needs("collector", "prometheus")
    with (folder / ".env").open("a") as settings:
        settings.write("OTEL_AGENT_METRICS=prometheus_remote_write\n")
    with Stack(folder, programs=place(), told=lambda what, server, said: None) as running:
        send_one(f"http://{HOST}:{running.settings['OTEL_AGENT_HTTP_PORT']}/v1/metrics")
        prometheus = f"http://{HOST}:{running.settings['PROMETHEUS_PORT']}/api/v1"
        until(lambda: ask(f"{prometheus}/query?query=written_total")["result"], 90)
        (series,) = ask(f"{prometheus}/query?query=written_total")["result"]
    assert series["metric"]["job"] == "somebody"
    assert series["metric"]["collector"] == "collector"
    assert series["value"][1] == "3"


def send_one(url: str) -> None:
    """Sends a delta of 3, as OTLP in JSON."""
    point = {"asInt": "3", "timeUnixNano": str(time.time_ns())}
    metric = {"name": "written", "sum": {"dataPoints": [point], "aggregationTemporality": 1, "isMonotonic": True}}
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "somebody"}}]}
    body = {"resourceMetrics": [{"resource": service, "scopeMetrics": [{"metrics": [metric]}]}]}
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=10) as answer:
        assert answer.status == 200


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())["data"]


def healthy(prometheus: str) -> list[str]:
    targets = ask(f"{prometheus}/targets")["activeTargets"]
    return sorted(target["labels"]["job"] for target in targets if target["health"] == "up")
