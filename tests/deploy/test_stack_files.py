"""The files of a stack fit together: compose file, manifests, targets; the real tools and servers take them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from otel_agent.deploy.stack.checking import check
from otel_agent.deploy.stack.contents import Choice, contents
from otel_agent.deploy.stack.ports import HOST, PORTS
from otel_agent.deploy.stack.running import Stack
from otel_agent.deploy.stack.servers import SERVERS
from otel_agent.deploy.stack.writing import write
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


def manifests() -> Iterator[Any]:
    for path, text in FILES.items():
        if path.startswith("kubernetes/") and path.endswith(".yaml") and "config" not in path and "kustom" not in path:
            yield from (each for each in yaml.safe_load_all(text))


@pytest.mark.parametrize("manifest", list(manifests()), ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_a_manifest_keeps_to_its_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_a_manifest_that_is_wrong_is_found() -> None:
    wrong = next(each for each in manifests() if each["kind"] == "StatefulSet") | {"spec": {"replicas": "two"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_the_first_tier_sends_each_trace_whole_and_reaches_the_second() -> None:
    config = yaml.safe_load(FILES["kubernetes/entry-config.yaml"])
    exporters = config["exporters"]
    assert exporters["load_balancing/traces"]["routing_key"] == "traceID"
    assert exporters["load_balancing/metrics"]["routing_key"] == "service"
    service = next(each for each in manifests() if each["kind"] == "Service" and each["metadata"]["name"] == "gateway")
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


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())["data"]


def healthy(prometheus: str) -> list[str]:
    targets = ask(f"{prometheus}/targets")["activeTargets"]
    return sorted(target["labels"]["job"] for target in targets if target["health"] == "up")
