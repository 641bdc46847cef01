"""`otel-agent demo --actions` and `--limit`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_agent.cli import main
from otel_agent.demo.script import scripted_model
from otel_agent.testing import ScriptedModelServer
from tests.support.offline import run

DEMO = ["otel-agent", "demo", "--json", "--actions", "json", "--scenario", "answer"]


def test_json_actions_and_a_limit(tmp_path: Path) -> None:
    done = run([*DEMO, "--limit", "max_steps=1"], tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["actions"], document["complaints"]) == (0, "json", [])
    assert document["totals"]["stops"] == {"max_steps": 3}
    assert document["totals"]["steps"] == document["ledger"]["answered"] == 3


def test_a_model_without_a_price_is_refused_under_a_limit_of_money(tmp_path: Path) -> None:
    done = run([*DEMO, "--model", "smollm2"], tmp_path)
    assert done.returncode == 1
    assert "answer: a run ended as unpriced_model, not as finish" in done.stderr
    assert json.loads(done.stdout)["ledger"]["requests"] == 0


def test_the_cost_of_a_model_without_a_price_is_unknown(tmp_path: Path) -> None:
    with ScriptedModelServer(scripted_model) as server:
        command = [*DEMO, "--model", "smollm2", "--limit", "max_usd=none"]
        done = run(command, tmp_path, OPENAI_BASE_URL=server.base_url)
    totals = json.loads(done.stdout)["totals"]
    assert (done.returncode, totals["stops"], totals["cost_usd"]) == (0, {"finish": 3}, None)
    assert totals["input_tokens"] == server.ledger.input_tokens


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "steps=1"], "must be NAME=VALUE, where NAME is one of max_steps, "),
        (["--limit", "max_steps=x"], "must be a number, or none"),
        (["--limit", "max_steps=-1"], "Budget.max_steps = -1"),
        (["--actions", "xml"], "'xml' is not one of 'tools', 'json'"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *arguments]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")
