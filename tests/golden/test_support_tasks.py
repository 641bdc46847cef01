"""The twenty golden tasks of the example: v13 passes, v14 fails on tool calls and tokens and is stopped, v15 passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from otel_agent.demo.prompts import V12, V13, V14
from otel_agent.stores.golden_ledger import read_ledger
from otel_agent.stores.prompt_folder import read_prompt_folder
from tests.support.offline import ROOT, run

PROJECT = ROOT / "examples" / "golden"
CANARY = ("prompts", "canary", "--percent", "10", "--json")


class Checked(NamedTuple):
    """What `golden run` came to, and what the gate says then."""

    code: int
    result: Mapping[str, Any]
    gate: int
    missing: list[str]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checked]:
    """Runs the tasks with each version, and asks the gate for a canary of each."""
    folder = tmp_path_factory.mktemp("example") / "golden"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    found: dict[str, Checked] = {}
    for version in ("v13", "v14", "v15"):
        done = run(["otel-agent", "golden", "run", "--prompt", f"support:{version}", "--json"], folder)
        assert done.stdout, done.stderr
        gate = run(["otel-agent", *CANARY, f"support:{version}"], folder)
        missing = json.loads(gate.stdout or "{}").get("missing", [])
        found[version] = Checked(done.returncode, json.loads(done.stdout), gate.returncode, missing)
    entries = read_ledger(folder / ".offline" / "cache" / "otel-agent" / "golden" / "results.jsonl").entries
    assert [(each.result, each.tasks, each.runs) for each in entries] == [
        ("passed", 20, 60),
        ("regression", 20, 60),
        ("passed", 20, 60),
    ]
    return found


def trials(each: Checked) -> list[Any]:
    return [trial for task in each.result["tasks"] for trial in task["trials"]]


def mean(each: Checked, *names: str) -> float:
    return sum(trial["run"][name] for trial in trials(each) for name in names) / len(trials(each))


@pytest.mark.parametrize("version", ["v13", "v15"])
def test_these_pass(version: str, checked: dict[str, Checked]) -> None:
    each = checked[version]
    assert (each.code, each.result["verdict"], len(trials(each))) == (0, "passed", 60)
    assert all(not trial["violations"] for trial in trials(each))


def test_v14_fails_on_tool_calls_and_tokens_and_on_nothing_else(checked: dict[str, Checked]) -> None:
    each = checked["v14"]
    assert (each.code, each.result["verdict"]) == (1, "regression")
    broken = {
        task["task"]: {v["field"] for t in task["trials"] for v in t["violations"]} for task in each.result["tasks"]
    }
    others = {task: fields for task, fields in broken.items() if fields != {"max_tool_calls", "max_tokens"}}
    assert others == {"mothballed": set(), "meetups": set(), "kiosk": set()}


def test_the_gate_stops_v14_and_lets_v15_out(checked: dict[str, Checked]) -> None:
    assert checked["v14"].gate == 1
    (missing,) = checked["v14"].missing
    assert missing.startswith(f"golden tasks: the last check of {V14.id} came to regression: 20 tasks in 60 runs of ")
    assert (checked["v15"].gate, checked["v15"].missing) == (0, [])


def test_what_thoroughness_costs(checked: dict[str, Checked]) -> None:
    """The figures of docs/golden.md, whose page says how they were measured."""
    page = (ROOT / "docs" / "golden.md").read_text("utf-8")
    for version, each in checked.items():
        tokens, calls = mean(each, "input_tokens", "output_tokens"), mean(each, "tool_calls")
        assert f"| {version} | {tokens:,.0f} | {calls:.1f} |" in page


def test_the_texts_are_those_of_the_demo() -> None:
    texts = {file.prompt.version: file.prompt for file in read_prompt_folder(Path(PROJECT / "prompts"))}
    assert {version: texts[version] for version in ("v12", "v13", "v14")} == {"v12": V12, "v13": V13, "v14": V14}
