"""`otel-agent golden add`: from a run that went wrong to a task in a file, or why not."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_agent.cli.app import app
from otel_agent.config.values import Config
from otel_agent.golden.tasks import load_tasks
from otel_agent.stores.run_history import RunHistory
from tests.support.past import HOUR, V13, V14, past_run, side

NOW = time.time_ns() // 10**9 * 10**9
INCIDENT = past_run(
    run_id="b" * 32, prompt_id=V14, tool_calls=40, input_tokens=90_000, ended_ns=NOW, trace_id="c" * 32, task="refund"
)
CONFIG = """
prompts: {active: "support:v14", rollback: "support:v13", texts: {support: {v13: Answer., v14: "Be thorough."}}}
testing: {files: ["golden/*.yaml"]}
"""
REFUND = '- {id: refund, expect_stop_reason: finish, input: "Where is my refund?"}\n'


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with a history: 20 runs of v13, 30 of v12, the incident with v14."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(3)
    v13 = side(chance, [NOW - at * HOUR for at in range(1, 21)])
    v12 = side(chance, [NOW - at * HOUR for at in range(50, 80)], prompt_id="support:v12:" + "0" * 12)
    runs = [run._replace(run_id=f"a{at:031x}") for at, run in enumerate([*v13, *v12])]
    alone = past_run(run_id="d" * 32, agent="lonely", prompt_id=None, ended_ns=NOW)
    with RunHistory.create(Path("history")) as kept:
        kept.add([*runs, INCIDENT, alone])


def add(*arguments: str, code: int = 0, run: str = "bbbb") -> str:
    command = ["golden", "add", "--from-run", run, "--history", "history", *arguments]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == code, done.output
    return done.output


def document(*arguments: str, code: int = 0) -> Any:
    command = ["golden", "add", "--from-run", "bbbb", "--history", "history", "--json", *arguments]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_project_without_anything_gets_a_file() -> None:
    out = add("--input", "Where is my refund?")
    text = Path("golden/incidents.yaml").read_text()
    (task,) = load_tasks([Path("golden/incidents.yaml")], config=Config()).tasks
    assert (task.id, task.input, task.tags) == ("incident-bbbbbbbb", "Where is my refund?", ("incident",))
    assert task.max_tool_calls is not None
    assert task.max_tool_calls < 40
    first, second, *_ = text.splitlines()
    assert f"From run {'b' * 32} of " in first
    assert f"(support-bot, {V14}): finish, 40 tool calls" in first
    assert "the highest of the last 30 runs of support-bot with support:v12:" in second
    assert time.strftime("%Y-%m-%d", time.gmtime()) in second
    assert "the run breaks max_tool_calls: 40" in out
    assert "testing.files does not name golden/incidents.yaml" in out


def test_the_baseline_is_what_is_released_of_the_same_prompt() -> None:
    write("otel-agent.yaml", CONFIG)
    assert document("--dry-run")["baseline"] == "support:v13"
    write("otel-agent.yaml", CONFIG.replace('active: "support:v14"', 'active: "support:v12"'))
    assert document("--dry-run")["baseline"] == "support:v12"
    write("otel-agent.yaml", CONFIG.replace('rollback: "support:v13"', 'rollback: "support:v11"'))
    assert document("--dry-run")["baseline"].startswith("support:v12:")  # v11 never ran: the one with most runs
    assert document("--dry-run", "--baseline", V13)["baseline"] == V13


def test_a_dry_run_writes_nothing() -> None:
    out = add("--dry-run")
    assert out.startswith("# From run ")
    assert "- id: incident-bbbbbbbb\n" in out
    assert "golden/incidents.yaml would get the task" in out
    assert not Path("golden").exists()


def test_what_stands_in_the_file_stays_and_the_task_comes_behind_it() -> None:
    write("otel-agent.yaml", CONFIG)
    path = write("golden/support.yaml", "# ours\n" + REFUND)
    found = document("--id", "too-thorough")
    assert path.read_text().startswith("# ours\n" + REFUND + "\n# From run ")
    assert path.read_text().endswith(found["text"])
    assert (found["written"], found["file"], found["notes"]) == (True, str(path.absolute()), [])
    assert [each["field"] for each in found["broken"]][:2] == ["max_tool_calls", "max_tokens"]
    refund, new = load_tasks().tasks
    assert (refund.id, new.id) == ("refund", "too-thorough")
    assert new.input == "Where is my refund?"  # that of the task which the run had


def test_without_an_input_the_file_says_that_it_is_missing() -> None:
    out = add()
    text = Path("golden/incidents.yaml").read_text()
    assert "add it as `input`" in text
    assert "the task has no input" in out


def test_a_task_that_would_not_catch_the_run_is_not_added() -> None:
    with RunHistory.create(Path("history")) as kept:
        kept.add([past_run(run_id="e" * 32, tool_calls=1, input_tokens=900, micro_usd=100, ended_ns=NOW)])
    out = add("--baseline", "support:v12", run="eeee", code=1)
    assert "not added: run eeeeeeeeeeee keeps to all of this" in out
    assert not Path("golden").exists()
    out = add("--baseline", "support:v12", "--force", run="eeee")
    assert "the task would not have caught it" in out
    assert Path("golden/incidents.yaml").exists()


def test_too_few_runs() -> None:
    with RunHistory.create(Path("history")) as kept:
        kept.add([past_run(run_id=f"9{at:031x}", prompt_id="support:v15:" + "1" * 12) for at in range(9)])
    assert "support:v15 has 9 runs of support-bot that ended finish" in add("--baseline", "support:v15", code=3)
    found = document("--baseline", "support:v15", code=3)
    assert (found["written"], "at least 10" in found["because"]) == (False, True)
    assert not Path("golden").exists()


def test_no_other_prompt_at_all() -> None:
    assert "no other prompt has runs of lonely: name the good one with --baseline" in add(run="dddd", code=2)


@pytest.mark.parametrize("run", ["0000", "a00"])
def test_a_run_that_is_not_there_or_not_one(run: str) -> None:
    assert "begin" in add(run=run, code=2)


def test_a_history_that_is_not_there() -> None:
    done = CliRunner().invoke(app, ["golden", "add", "--from-run", "b", "--history", "nowhere"])
    assert done.exit_code == 2
    assert "there is no run history in nowhere" in done.output


def test_an_id_that_is_taken_anywhere() -> None:
    write("otel-agent.yaml", CONFIG)
    write("golden/support.yaml", REFUND)
    assert "id = 'refund': must be an id that no task has" in add("--id", "refund", code=2)
    assert "id = 'refund'" in add("--id", "refund", "--file", "golden/new.yaml", code=2)
    assert "tasks[0].id" in add("--id", "a\n", "--file", "golden/new.yaml", code=2)
    assert not Path("golden/new.yaml").exists()


def test_of_several_files_one_must_be_named() -> None:
    write("otel-agent.yaml", CONFIG.replace("golden/*.yaml", "golden/?.yaml"))
    write("golden/a.yaml", REFUND)
    write("golden/b.yaml", REFUND.replace("id: refund", "id: other"))
    assert "there are 2 files of tasks: say --file" in add(code=2)
    found = document("--file", "golden/b.yaml")
    assert (found["written"], found["notes"]) == (True, [])


def test_of_several_files_the_one_for_incidents_is_meant_where_it_counts() -> None:
    write("otel-agent.yaml", CONFIG)
    write("golden/a.yaml", REFUND)
    write("golden/b.yaml", REFUND.replace("id: refund", "id: other"))
    found = document("--input", "x")
    assert (found["file"], found["notes"]) == (str(Path("golden/incidents.yaml").absolute()), [])
    assert document("--input", "x", "--id", "again")["file"] == found["file"]


def test_the_configuration_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_CONFIG", "none.yaml")
    write("elsewhere.yaml", CONFIG.replace('["golden/*.yaml"]', "tests/golden.yaml"))
    found = document("--input", "x", "--config", "elsewhere.yaml")
    assert found["file"] == str(Path("tests/golden.yaml").absolute())


def test_a_new_file_that_a_pattern_covers_needs_no_word() -> None:
    write("otel-agent.yaml", CONFIG)
    assert document("--input", "x", "--file", "golden/deeper.yaml")["notes"] == []
    assert "does not name other.yaml" in document("--input", "x", "--id", "b", "--file", "other.yaml")["notes"][0]


def test_a_file_that_is_named_and_not_there_yet_is_made() -> None:
    write("otel-agent.yaml", CONFIG.replace('["golden/*.yaml"]', "tests/golden.yaml"))
    assert document("--input", "x")["file"] == str(Path("tests/golden.yaml").absolute())
    assert [task.id for task in load_tasks().tasks] == ["incident-bbbbbbbb"]


def test_a_file_that_cannot_take_it_is_left_and_the_task_is_printed() -> None:
    path = write("tasks.yaml", "[{id: refund, expect_stop_reason: finish}]\n")
    out = add("--file", "tasks.yaml", code=2)
    assert "tasks.yaml was not changed: its list of tasks is written in brackets; paste the task" in out
    assert "- id: incident-bbbbbbbb\n" in out
    assert path.read_text() == "[{id: refund, expect_stop_reason: finish}]\n"


def test_a_file_of_something_else_is_left_alone() -> None:
    write("otel-agent.yaml", CONFIG)
    out = add("--file", "otel-agent.yaml", code=2)
    assert "otel-agent.yaml:2:1: prompts: no such key" in out
    assert Path("otel-agent.yaml").read_text() == CONFIG
