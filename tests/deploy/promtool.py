"""Runs the real `promtool` on the rules as they are shipped."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from otel_agent.deploy.rules import render_rules
from tests.deploy.servers import every


def promtools() -> list[str]:
    """Gives the promtools of this machine: that of Prometheus 2, and that of 3 where it was built."""
    return every("promtool") or ["promtool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An expression, and the minute at which it is asked."""

    expression: str
    minute: int


def some_rules(folder: Path, alerts: Sequence[str], thresholds: Mapping[str, float]) -> Path:
    """Writes the rules as shipped; with `alerts`, only these and what they read, so that a long test ends soon."""
    file = folder / "rules.yml"
    content: dict[str, Any] = yaml.safe_load(render_rules(thresholds))
    if alerts:
        recorded, alerting = (group["rules"] for group in content["groups"])
        alerting[:] = [each for each in alerting if each["alert"] in alerts]
        recorded[:] = _read_by(alerting, recorded)
    file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return file


def _read_by(alerting: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    needed, wanted = list[dict[str, Any]](), " ".join(map(str, alerting))
    for rule in reversed(recorded):
        if re.search(rf"(?<![\w:]){rule['record']}(?![\w:])", wanted):
            needed.append(rule)
            wanted += " " + rule["expr"]
    return needed[::-1]


def unit_tests(
    folder: Path,
    tests: list[dict[str, Any]],
    *,
    alerts: Sequence[str],
    minutes: int,
    promtool: str | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> str:
    """Runs unit tests and gives what promtool says; an empty text means that all passed."""
    rules, file = some_rules(folder, alerts, thresholds or {}), folder / "tests.yml"
    order = [group["name"] for group in yaml.safe_load(rules.read_text("utf-8"))["groups"]]  # promtool's own is random
    whole = {
        "rule_files": [rules.name],
        "evaluation_interval": f"{minutes}m",
        "group_eval_order": order,
        "tests": tests,
    }
    file.write_text(yaml.dump(whole, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), width=1 << 30), "utf-8")
    done = subprocess.run(
        [promtool or promtools()[0], "test", "rules", str(file)], capture_output=True, text=True, timeout=900
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def ask(
    folder: Path,
    series: Iterable[dict[str, str]],
    questions: Sequence[Question],
    *,
    step: int,
    alerts: Sequence[str],
    thresholds: Mapping[str, float] | None = None,
) -> list[list[dict[str, str]]]:
    """Gives the labels of what each question finds, after the rules were evaluated on the series every `step` minutes.

    Each is asked as a test that expects nothing, whose failure shows what there was.
    """
    asked = [{"expr": each.expression, "eval_time": f"{each.minute}m", "exp_samples": []} for each in questions]
    test = {"interval": f"{step}m", "input_series": list(series), "promql_expr_test": asked}
    said = unit_tests(folder, [test], alerts=alerts, minutes=step, thresholds=thresholds)
    assert not said or "got:" in said, said
    found = {
        (json.loads(expression), _minutes(time)): got
        for expression, time, got in re.findall(r"expr: (\".*\"), time: (\w+),\s+exp: .*\s+got: (.*)", said)
    }
    return [
        [dict(re.findall(r'(\w+)="([^"]*)"', labels)) for labels in re.findall(r"{(.*?)}", found.get(key, ""))]
        for key in ((each.expression, each.minute) for each in questions)
    ]


def _minutes(time: str) -> int:
    units = {"d": 1440, "h": 60, "m": 1, "w": 10080, "s": 0}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([wdhms])", time))
