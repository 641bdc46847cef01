"""`otel-agent golden run --record` and `--replay`: what is written, what is told, what goes together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_agent.cli.app import app
from otel_agent.golden.replay import read_recording

AGENT = """
from otel_agent import agent_run, llm_call, tool_call

@tool_call("kb.search")
def search(query):
    with open("asked.txt", "a") as file:
        print(query, file=file)
    return {"found": query, "token": "Bearer abcdefghijklmnop"}

@agent_run
def answer(question):
    return search(question)["found"]

@agent_run
def unseen(question):
    with llm_call("gpt-5-mini") as call:
        call.record(input_tokens=1, output_tokens=1)
"""
TASKS = """
agent: recorded_bot:answer
tasks:
  - {id: first, input: one, expect_stop_reason: finish, repeats: 2}
  - {id: second, input: two, expect_stop_reason: finish, repeats: 2}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "recorded_bot", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OTEL_AGENT_CONSOLE", "false")
    Path("recorded_bot.py").write_text(AGENT)
    Path("tasks.yaml").write_text(TASKS)
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["golden", "run", "tasks.yaml", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_what_was_recorded_is_said_again_once() -> None:
    told = run("--record", "recording.jsonl")
    assert "first, trial 2, request 1: what looks like a secret was taken out of the answer of tool kb.search" in told
    assert [(trial.task, trial.repeat) for trial in read_recording(Path("recording.jsonl"))] == [
        ("first", 1),
        ("first", 2),
        ("second", 1),
        ("second", 2),
    ]
    asked = Path("asked.txt").read_text()
    told = run("--replay", "recording.jsonl")
    assert "passed: 2 of 2 tasks passed (2 runs)" in told
    assert "not recorded for the gate: answers were recorded ones" in told
    assert Path("asked.txt").read_text() == asked


def test_a_task_that_was_not_recorded_is_inconclusive() -> None:
    run("--record", "recording.jsonl", "--task", "first")
    told = run("--replay", "recording.jsonl", code=3)
    assert "recording.jsonl has no trial of second: record it" in told
    Path("tasks.yaml").write_text(TASKS.replace("input: one", "input: three"))
    assert "first asks something else than when recording.jsonl was recorded" in run(
        "--replay", "recording.jsonl", code=3
    )


def test_what_cannot_be_replayed_is_told() -> None:
    told = run("--agent", "recorded_bot:unseen", "--record", "recording.jsonl", "--task", "first")
    assert told.count("first cannot be replayed: of its LLM calls 1 made no request through httpx") == 1


@pytest.mark.parametrize(
    "more",
    [["--record", "b.jsonl"], ["--repeats", "2"], ["--baseline", "active"], ["--baseline-prompt", "support:v13"]],
    ids=lambda more: more[0],
)
def test_a_replay_goes_without_what_it_cannot_serve(more: list[str]) -> None:
    assert "--replay goes without" in run("--replay", "a.jsonl", *more, code=2)


def test_a_file_that_cannot_work_is_told_before_anything_runs() -> None:
    assert "none.jsonl = 'no such file': must be a recording" in run("--replay", "none.jsonl", code=2)
    assert "must be in a folder that is there" in run("--record", "no/such.jsonl", code=2)
    Path("bad.jsonl").write_text('{"otel_agent_recording": 1}\n{"task"')
    for option in ("--replay", "--record"):
        assert "bad.jsonl:2 = '7 characters': must be a JSON object" in run(option, "bad.jsonl", code=2)
    assert not Path("asked.txt").exists()
    assert Path("bad.jsonl").read_text().endswith('{"task"')
