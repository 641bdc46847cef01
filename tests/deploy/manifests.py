"""What is wrong with Kubernetes manifests: fields by kind, and whether what refers to something else finds it.

A stand-in for the API server's own look, without its schemas: of each object only the fields that ours have are known,
so that a slip of the pen is found, and a new field is to be added here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

__all__ = ["parsed", "problems"]

Manifest = dict[str, Any]

# By kind: the API, what must stand in the specification, and what may stand beside that.
KINDS: dict[str, tuple[str, set[str], set[str]]] = {
    "Namespace": ("v1", set(), set()),
    "Service": ("v1", {"selector", "ports"}, {"clusterIP"}),
    "Deployment": ("apps/v1", {"selector", "template"}, {"replicas"}),
    "StatefulSet": ("apps/v1", {"selector", "template", "serviceName"}, {"replicas", "volumeClaimTemplates"}),
    "PodDisruptionBudget": ("policy/v1", {"selector", "minAvailable"}, set()),
    "NetworkPolicy": ("networking.k8s.io/v1", {"podSelector", "policyTypes", "ingress"}, set()),
}
WORKLOADS = {"Deployment", "StatefulSet"}
POD = (
    {"containers", "volumes"},
    {"automountServiceAccountToken", "securityContext", "terminationGracePeriodSeconds"},
)
CONTAINER = (
    {"name", "image", "args", "ports", "readinessProbe", "livenessProbe", "resources", "volumeMounts"},
    {"env", "envFrom", "securityContext"},
)
NUMBERS = ("replicas", "minAvailable")
VARIABLE = re.compile(r"\$\{env:(\w+):-([^}]*)\}")


def parsed(files: Mapping[str, str]) -> list[Manifest]:
    """Gives the manifests that the kustomization names."""
    resources = yaml.safe_load(files["kubernetes/kustomization.yaml"])["resources"]
    return [each for path in resources for each in yaml.safe_load_all(files[f"kubernetes/{path}"])]


def problems(manifests: list[Manifest], files: Mapping[str, str]) -> list[str]:
    """Gives one line for each thing that is wrong; none when nothing is found."""
    made = {each["name"]: each for each in yaml.safe_load(files["kubernetes/kustomization.yaml"])["configMapGenerator"]}
    found = [f"{_title(each)}: {said}" for each in manifests for said in _fields(each)]
    if found:
        return found
    pods = [each for each in manifests if each["kind"] in WORKLOADS]
    found += [f"{_title(each)}: {said}" for each in pods for said in _pod(each, made, files)]
    return found + [f"{_title(each)}: {said}" for each in manifests for said in _referred(each, manifests, pods)]


def _title(manifest: Manifest) -> str:
    return f"{manifest.get('kind')} {manifest.get('metadata', {}).get('name')}"


def _keys(what: str, value: Mapping[str, Any], must: set[str], may: set[str]) -> Iterator[str]:
    yield from (f"{what} lacks {key}" for key in sorted(must - value.keys()))
    yield from (f"{what} has an unknown {key}" for key in sorted(value.keys() - must - may))


def _fields(manifest: Manifest) -> Iterator[str]:
    if manifest.get("kind") not in KINDS:
        yield "is of an unknown kind"
        return
    version, must, may = KINDS[manifest["kind"]]
    spec = manifest.get("spec", {})
    yield from _keys("it", manifest, {"apiVersion", "kind", "metadata"} | ({"spec"} if must else set()), set())
    yield from _keys("metadata", manifest.get("metadata", {}), {"name"}, {"labels", "annotations"})
    yield from _keys("spec", spec, must, may)
    if manifest.get("apiVersion") != version:
        yield f"apiVersion is not {version}"
    yield from (f"{key} is no number" for key in NUMBERS if not isinstance(spec.get(key, 0), int))
    if manifest["kind"] in WORKLOADS:
        pod = spec.get("template", {}).get("spec", {})
        yield from _keys("pod", pod, *POD)
        yield from (line for each in pod.get("containers", []) for line in _keys("container", each, *CONTAINER))


def _pod(manifest: Manifest, made: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[str]:
    template = manifest["spec"]["template"]
    pod = template["spec"]
    if not _selects(manifest["spec"]["selector"]["matchLabels"], template):
        yield "selects other pods than its own"
    volumes = {each["name"]: each for each in pod["volumes"]}
    claims = {each["metadata"]["name"] for each in manifest["spec"].get("volumeClaimTemplates", [])}
    for container in pod["containers"]:
        yield from _container(container, volumes, claims, made, files)


def _container(
    container: Manifest,
    volumes: Mapping[str, Any],
    claims: set[str],
    made: Mapping[str, Any],
    files: Mapping[str, str],
) -> Iterator[str]:
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    yield from (f"mounts {name}, which is no volume" for name in sorted(mounts.keys() - volumes.keys() - claims))
    maps = {name: volume["configMap"]["name"] for name, volume in volumes.items()}
    settings = [each["configMapRef"]["name"] for each in container.get("envFrom", [])]
    unmade = sorted({*maps.values(), *settings} - made.keys())
    yield from (f"no config map {name} is made" for name in unmade)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    for probe in ("readinessProbe", "livenessProbe"):
        if container[probe]["httpGet"]["port"] not in ports:
            yield f"{probe} asks a port that has no such name"
    if unmade:
        return
    (config,) = [argument.removeprefix("--config=") for argument in container["args"]]
    mounted = {
        f"{mounts.get(volume)}/{key}": path for volume, name in maps.items() for key, path in _files(made[name]).items()
    }
    if config not in mounted:
        yield f"{config} is not mounted"
        return
    env = "\n".join(files[f"kubernetes/{path}"] for name in settings for path in made[name]["envs"])
    heard = set(_heard(files[f"kubernetes/{mounted[config]}"], env))
    yield from (f"nothing listens on {name}, {port}" for name, port in ports.items() if port not in heard)


def _files(config_map: Mapping[str, Any]) -> dict[str, str]:
    """Gives the path of each file of a config map, by its key."""
    pairs = (each.partition("=") for each in config_map.get("files", []))
    return {key: path or key for key, _, path in pairs}


def _heard(config: str, env: str) -> Iterator[int]:
    """Gives the ports that a collector of this configuration listens on, with these variables."""
    given = dict(line.split("=", 1) for line in env.splitlines() if line and not line.startswith("#"))
    read = yaml.safe_load(VARIABLE.sub(lambda found: given.get(found[1], found[2]), config))
    exporters = [each for name, each in read["exporters"].items() if name.split("/")[0] == "prometheus"]
    listening = [*read["receivers"]["otlp"]["protocols"].values(), *exporters, *read["extensions"].values()]
    for endpoint in (each["endpoint"] for each in listening if "endpoint" in each):
        address, _, port = endpoint.rpartition(":")
        if address == "0.0.0.0":
            yield int(port)
    for reader in read["service"]["telemetry"]["metrics"]["readers"]:
        yield reader["pull"]["exporter"]["prometheus"]["port"]


def _selects(labels: Mapping[str, str], template: Manifest) -> bool:
    return bool(labels) and labels.items() <= template["metadata"]["labels"].items()


def _referred(manifest: Manifest, manifests: list[Manifest], pods: list[Manifest]) -> Iterator[str]:
    kind, spec = manifest["kind"], manifest.get("spec", {})
    services = {each["metadata"]["name"] for each in manifests if each["kind"] == "Service"}
    if kind == "StatefulSet" and spec["serviceName"] not in services:
        yield f"there is no service {spec['serviceName']}"
    labels = {
        "Service": lambda: spec["selector"],
        "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
    }.get(kind)
    if labels is None:
        return
    chosen = [each["spec"]["template"] for each in pods if _selects(labels(), each["spec"]["template"])]
    if not chosen:
        yield "selects no pod"
    open_ports = [port for each in chosen for container in each["spec"]["containers"] for port in container["ports"]]
    known = {port["name"] for port in open_ports} | {port["containerPort"] for port in open_ports}
    rules = spec["ports"] if kind == "Service" else [port for rule in spec.get("ingress", []) for port in rule["ports"]]
    asked = [each.get("targetPort", each["port"]) for each in rules]
    yield from (f"no pod has the port {port}" for port in asked if port not in known)
