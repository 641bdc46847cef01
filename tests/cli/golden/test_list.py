"""`otel-agent golden list`: tasks, their bounds and places, and how they last went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_agent.cli.app import app
from otel_agent.golden.keeping import golden_history
from otel_agent.stores.golden_ledger import LedgerEntry, append
from otel_agent.stores.run_history import RunHistory
from tests.support.past import START, V13, V14, past_run

TASKS = """\
agent: app:answer
writes: [refund]
tasks:
  - id: refund
    expect_stop_reason: finish
    input: SECRET
    tags: [money]
    max_tool_calls: 6
    max_tokens: 9000
    max_usd: 0.05
    max_seconds: 12.5
    must_call: [kb.search, refund]
    call_order: in_order
    may_call: [mail.send]
    must_not_call: [order.delete]
    output: {contains: SECRET}
  - {id: hello, expect_stop_reason: handoff, max_repeats: 1}
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("tasks.yaml").write_text(TASKS)
    Path("otel-agent.yaml").write_text("testing: {files: tasks.yaml}")


def invoke(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["golden", "list", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def document(*arguments: str) -> Any:
    return json.loads(invoke("--json", *arguments))


def complete(words: str, last: str) -> list[str]:
    environment = {"_OTEL_AGENT_COMPLETE": "zsh_complete", "COMP_WORDS": f"otel-agent {words}", "COMP_CWORD": last}
    done = CliRunner().invoke(app, prog_name="otel-agent", env=environment)
    return [line for line in done.output.split("\n")[1::3] if line]


def test_every_bound_and_every_place() -> None:
    refund, hello = (line for line in invoke().splitlines() if "tasks.yaml:" in line)
    assert "end with finish; at most 6 tool calls, 9,000 tokens, 12.5 s, $0.05" in refund
    assert "; call in this order kb.search refund; not call order.delete; may call mail.send;" in refund
    assert "have the right output" in refund
    assert refund.split()[-4:] == ["tasks.yaml:4", "-", "-", "-"]
    assert "end with handoff; at most 1 call alike" in hello
    assert "2 tasks for app:answer" in invoke()
    assert "SECRET" not in invoke() + invoke("--json")


def test_how_a_task_last_went() -> None:
    folder = golden_history()
    assert folder is not None
    runs = [
        past_run(run_id="a" * 32, task="refund", ended_ns=START),
        past_run(run_id="b" * 32, task="refund", ended_ns=START + 10**9, prompt_id=V14, stop_reason="max_tokens"),
        past_run(run_id="c" * 32, task="refund", ended_ns=START + 2 * 10**9, parent_id="b" * 32),
    ]
    with RunHistory.create(folder) as history:
        history.add(runs)
    (refund,) = (line for line in invoke().splitlines() if "tasks.yaml:4" in line)
    assert refund.split()[-4:] == ["2025-10-09", "08:53:21", V14, "max_tokens"]
    found = document()["tasks"]
    assert found[0]["last_run"]["run_id"] == "b" * 32
    assert found[1]["last_run"] is None


def test_which_prompts_passed_last() -> None:
    ledger = Path("cache/otel-agent/golden/results.jsonl")
    digest = document()["digest"]
    for at, (prompt_id, result, tasks) in enumerate(
        [(V14, "passed", "0" * 12), (V13, "passed", "0" * 12), (V14, "regression", digest)]
    ):
        entry = LedgerEntry(
            prompt_id=prompt_id,
            agent="app:answer",
            at_ns=START + at * 10**9,
            task_set=tasks,
            tasks=2,
            runs=6,
            result=result,  # type: ignore[arg-type]
            who="anna",
        )
        append(ledger, entry)
    assert invoke().splitlines()[-2:] == [
        f"{V14}: regression with these tasks, 2025-10-09 08:53:22 UTC, 6 runs",
        f"{V13}: passed with other tasks or bounds, 2025-10-09 08:53:21 UTC, 6 runs",
    ]
    found = document("--tag", "money")["checks"]
    assert [(each["prompt_id"], each["these_tasks"]) for each in found] == [(V14, True), (V13, False)]
    ledger.write_text("no JSON\n" + ledger.read_text())
    assert "results.jsonl:1: the line = 'no JSON': must be one JSON object" in invoke()
    assert f"{V13}: passed" in invoke()


def test_as_json() -> None:
    found = document("--tag", "money")
    assert (found["agent"], found["writes"], len(found["digest"])) == ("app:answer", ["refund"], 12)
    (task,) = found["tasks"]
    assert (task["id"], task["line"], task["max_usd"], task["has_input"]) == ("refund", 4, "0.05", True)


def test_selections() -> None:
    assert [task["id"] for task in document("--task", "hello")["tasks"]] == ["hello"]
    assert "task = 'helo': must be one of refund, hello (did you mean hello?)" in invoke("--task", "helo", code=2)
    assert "tag = 'mony': must be one of money" in invoke("--tag", "mony", code=2)


def test_files_that_are_named_are_the_only_ones() -> None:
    Path("more.yaml").write_text("- {id: more, expect_stop_reason: finish}")
    assert [task["id"] for task in document("more.yaml")["tasks"]] == ["more"]
    assert "golden tasks = 'nowhere.yaml': must be a file that is there" in invoke("nowhere.yaml", code=2)


def test_what_is_wrong_is_told_with_file_line_and_field() -> None:
    Path("tasks.yaml").write_text(
        "- {expect_stop_reason: finish}\n- {id: a, expect_stop_reason: finish, max_tokens: -1}\n"
    )
    first, second = invoke(code=2).splitlines()
    assert first == "otel-agent golden: tasks.yaml:1:3: tasks[0].id: is missing"
    assert second.startswith("otel-agent golden: tasks.yaml:2:51: tasks[1].max_tokens = -1: must be a whole number")


def test_the_configuration_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_CONFIG", "none.yaml")
    Path("other.yaml").write_text("testing: {golden_tasks: [{id: other, expect_stop_reason: finish}]}")
    assert [task["id"] for task in document("--config", "other.yaml")["tasks"]] == ["other"]


def test_none() -> None:
    Path("otel-agent.yaml").unlink()
    assert invoke().startswith("There are no golden tasks")
    assert document()["tasks"] == []


def test_ids_and_tags_are_completed() -> None:
    assert complete("golden list --task ", "4") == ["refund", "hello"]
    assert complete("golden list --task h", "4") == ["hello"]
    assert complete("golden list --tag ", "4") == ["money"]
    Path("tasks.yaml").write_text("[")
    assert complete("golden list --task ", "4") == []
