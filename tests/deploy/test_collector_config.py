"""The collector's configuration as a file: its copies, its components, its names, and what the collector says to it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_agent import semconv
from tests.deploy.servers import CONFIG, binary, needs
from tests.support.offline import ROOT

DEPLOY = ROOT / "otel_agent" / "deploy"
MANIFEST = DEPLOY / "collector" / "builder.yaml"
VERSIONS = DEPLOY / "versions.env"
PAGE = ROOT / "docs" / "collector.md"
VARIABLE = re.compile(r"\$\{env:(?P<name>\w+):-(?P<default>[^}]*)\}")

# What a component is called in the configuration, where that is not its module's name without its kind.
MODULES = {
    "otlp_grpc": "otlpexporter",
    "otlp_http": "otlphttpexporter",
    "memory_limiter": "memorylimiterprocessor",
    "tail_sampling": "tailsamplingprocessor",
    "delta_to_cumulative": "deltatocumulativeprocessor",
    "prometheus_remote_write": "prometheusremotewriteexporter",
    "span_metrics": "spanmetricsconnector",
    "signal_to_metrics": "signaltometricsconnector",
    "health_check": "healthcheckextension",
    "file_storage": "filestorage",
}

# What serves HTTP with the core's own means, and what that asks for.
SERVING = {"prometheusexporter", "healthcheckextension", "deltatocumulativeprocessor"}


def configuration() -> dict[str, Any]:
    return yaml.safe_load(CONFIG.read_text("utf-8"))


def versions() -> dict[str, str]:
    lines = [line for line in VERSIONS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_copy_that_ships_is_the_one_at_the_top() -> None:
    assert (DEPLOY / "collector-config.yaml").read_bytes() == CONFIG.read_bytes()


def test_the_manifest_has_each_component_and_no_other() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text("utf-8"))
    kinds = ("receiver", "processor", "exporter", "connector", "extension")
    built = {entry["gomod"].split()[0].rpartition("/")[2] for kind in kinds for entry in manifest[f"{kind}s"]}
    used = set[str]()
    for kind in kinds:
        names = {name.partition("/")[0] for name in configuration().get(f"{kind}s", {})}
        used |= {MODULES.get(name, f"{name}{kind}") for name in names}
    # For the second file that docs/collector.md shows.
    assert built == used | {"otlphttpexporter"}


def test_the_manifest_has_the_pinned_versions() -> None:
    pinned = versions()
    manifest = yaml.safe_load(MANIFEST.read_text("utf-8"))
    assert manifest["dist"]["version"] == pinned["COLLECTOR_VERSION"]
    for kind in ("receivers", "processors", "exporters", "connectors", "extensions", "providers"):
        for entry in manifest[kind]:
            module, version = entry["gomod"].split()
            assert version == f"v{pinned[version_of(kind, module)]}", module


def version_of(kind: str, module: str) -> str:
    """Gives the variable with the version of a module."""
    if module.rpartition("/")[2] in SERVING:
        return "COLLECTOR_SERVING_VERSION"
    if module.startswith("go.opentelemetry.io/"):
        return "COLLECTOR_PROVIDERS_VERSION" if kind == "providers" else "COLLECTOR_CORE_VERSION"
    return "COLLECTOR_VERSION"


def test_it_spells_no_name_of_ours_that_the_package_does_not_know() -> None:
    known = {value for value in vars(semconv).values() if isinstance(value, str)}
    known |= {value.name for value in vars(semconv).values() if isinstance(value, semconv.Metric)}
    known |= {key for keys in semconv.BUDGET.values() for key in keys}
    spelled = set(re.findall(r"\botel_agent\.[a-z_]+(?:\.[a-z_]+)*\b", CONFIG.read_text("utf-8")))
    assert spelled
    assert spelled <= known, spelled - known


def test_memory_is_limited_before_anything_else() -> None:
    pipelines = configuration()["service"]["pipelines"]
    entries = [each for each in pipelines.values() if "otlp" in each["receivers"]]
    assert len(entries) == 3
    assert {each["processors"][0] for each in entries} == {"memory_limiter"}


def test_contents_go_before_anything_is_counted_or_kept() -> None:
    for name, pipeline in configuration()["service"]["pipelines"].items():
        if "otlp" in pipeline["receivers"]:
            assert pipeline["processors"][1] == "transform/content", name
            assert "redaction" in pipeline["processors"], name


def test_it_listens_on_loopback_unless_it_is_told_otherwise() -> None:
    for line in CONFIG.read_text("utf-8").splitlines():
        if re.search(r"(endpoint|host): .*OTEL_AGENT_LISTEN", line):
            assert "${env:OTEL_AGENT_LISTEN:-127.0.0.1}" in line
        assert "0.0.0.0" not in line


def test_the_page_names_every_variable_with_its_default() -> None:
    found = {match["name"]: match["default"] for match in VARIABLE.finditer(CONFIG.read_text("utf-8"))}
    page = PAGE.read_text("utf-8")
    rows = dict(re.findall(r"^\| `(OTEL_AGENT_\w+)` \| (?:`([^`]*)`|empty) \|", page, re.MULTILINE))
    assert rows == found


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_AGENT_SAMPLER": "[]"},
        {"OTEL_AGENT_METRICS": "prometheus_remote_write"},
        {"OTEL_AGENT_LOGS": "otlp_grpc/logs"},
        {"OTEL_AGENT_LISTEN": "0.0.0.0", "OTEL_AGENT_SAMPLING_PERCENT": "2.5", "OTEL_AGENT_CONTENT": "keep"},
    ],
    ids=str,
)
def test_the_collector_finds_nothing_wrong_with_it(tmp_path: Path, variables: dict[str, str]) -> None:
    needs("collector")
    status, said = validated(tmp_path, CONFIG, variables)
    assert (status, said) == (0, "")


@pytest.mark.parametrize(
    ("key", "slip"),
    [
        ("max_recv_msg_size_mib", "max_recv_msg_size_mb"),
        ("check_interval", "check_intervall"),
        ("decision_wait", "decision_weight"),
        ("error_mode", "errors_mode"),
        ("max_stale", "max_stall"),
        ("metrics_flush_interval", "metrics_flash_interval"),
        ("include_resource_attributes", "include_resource_attribute"),
        ("min_size", "minimum_size"),
        ("enable_open_metrics", "enabled_open_metrics"),
        ("metric_expiration", "metrics_expiry"),
        ("external_labels", "eternal_labels"),
        ("create_directory", "create_folder"),
    ],
)
def test_the_collector_finds_a_slip_of_the_pen_in_each_section(tmp_path: Path, key: str, slip: str) -> None:
    needs("collector")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(CONFIG.read_text("utf-8").replace(f"  {key}:", f"  {slip}:", 1))
    status, said = validated(tmp_path, wrong, {})
    assert status != 0
    assert slip in said


def validated(folder: Path, config: Path, variables: dict[str, str]) -> tuple[int, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | variables
    command = [binary("collector") or "", "validate", "--config", str(config)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr
