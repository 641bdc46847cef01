"""`otel-agent golden run` and `compare`: what is printed, kept and recorded, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_agent.bootstrap import prepare
from otel_agent.budget import Budget
from otel_agent.cli.app import app
from otel_agent.config.values import Config
from otel_agent.run.choice import use_prompts
from otel_agent.run.defaults import use_budgets
from otel_agent.stores.golden_ledger import read_ledger
from otel_agent.stores.run_history import RunHistory

AGENT = """
import os
import re
import threading
import time
from otel_agent import agent_run, current_run, llm_call, tool_call

@tool_call("kb.search")
def search(query): return query

@agent_run("bot", prompt="support")
def answer(question, times=2):
    with llm_call("gpt-5-mini", provider="openai", max_output_tokens=50) as call:
        call.record(input_tokens=100, output_tokens=10)
    for at in range(times * (4 if "thorough" in current_run().prompt.text else 1)):
        search(f"{question} {at}")
    return "SECRET answer"

@agent_run("hangs")
def hangs(question):
    if question == "SECRET q1":
        time.sleep(60)

@agent_run("pool")
async def pool(question):
    import asyncio
    await asyncio.to_thread(time.sleep, 60)

def silent(question): return "no run"
def early(question): raise LookupError("SECRET")
"""
CONFIG = """
prompts:
  active: [support:v13]
  texts:
    support: {v13: Answer., v14: Be thorough.}
budgets: {max_steps: 5}
testing:
  agent: a_bot:answer
  results: ledger.jsonl
  golden_tasks:
"""
TASKS = "".join(
    f"    - {{id: t{at}, expect_stop_reason: finish, input: SECRET q{at}, max_tool_calls: 3, tags: [{tag}]}}\n"
    for at, tag in enumerate(["even", "odd"] * 3)
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A project with an agent, two prompts and six tasks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OTEL_AGENT_CONSOLE", "false")
    monkeypatch.delenv("OTEL_AGENT_CONFIG", raising=False)
    Path("a_bot.py").write_text(AGENT)
    Path("otel-agent.yaml").write_text(CONFIG + TASKS)
    yield tmp_path
    sys.modules.pop("a_bot", None)
    os.environ.pop("OTEL_AGENT_CONFIG", None)
    prepare(Config())
    use_prompts(None)
    use_budgets(Budget(), {})


def golden(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["golden", *arguments])
    assert done.exit_code == code, done.output
    assert "SECRET" not in done.output
    return done


def test_tasks_of_the_configuration_are_run_and_recorded_for_the_gate() -> None:
    done = golden("run")
    assert done.stdout.splitlines()[-1] == "passed: 6 of 6 tasks passed (18 runs)"
    assert "0 failures in 18 runs still allow a failure rate of up to 15.3% (95 %)." in done.stdout
    assert re.fullmatch(r"1/18  t\d #1: ok", done.stderr.splitlines()[0])
    (entry,) = read_ledger(Path("ledger.jsonl")).entries
    assert entry.prompt_id.startswith("support:v13:")
    assert (entry.agent, entry.result, entry.tasks, entry.runs) == ("a_bot:answer", "passed", 6, 18)
    assert entry.limits == ("steps",)


def test_a_prompt_that_is_not_active_is_tested_and_fails() -> None:
    done = golden("run", "--prompt", "support:v14", code=1)
    assert "max_tool_calls: at most 3, found 8 (3 of 3)" in done.stdout
    (entry,) = read_ledger(Path("ledger.jsonl")).entries
    assert (entry.prompt_id.rpartition(":")[0], entry.result) == ("support:v14", "regression")


def test_runs_are_kept_under_the_id_that_the_table_names(project: Path) -> None:
    row = next(line for line in golden("run", "--repeats", "1").stdout.splitlines() if line.startswith("t3"))
    with RunHistory.read(project / "cache" / "otel-agent" / "golden" / "history") as history:
        (found,) = history.find(row.split()[-1])
        assert found.task == "t3"


def test_json_is_one_document_on_stdout() -> None:
    document = json.loads(golden("run", "--json", "--task", "t1", "--task", "t2").stdout)
    assert (document["verdict"], document["states"]) == ("passed", {"t1": "passed", "t2": "passed"})


def test_a_selection_is_not_recorded_for_the_gate() -> None:
    for selection in (["--tag", "even"], ["--task", "t1"]):
        assert "not recorded for the gate: these are not all tasks" in golden("run", *selection).stderr
    assert not Path("ledger.jsonl").exists()


def test_fewer_runs_than_a_verdict_takes_are_not_recorded_for_the_gate() -> None:
    for prompt, code in (("support:v13", 0), ("support:v14", 1)):
        done = golden("run", "--repeats", "2", "--prompt", prompt, code=code)
        assert "not recorded for the gate: --repeats asked for fewer runs of a task than 3" in done.stderr
    assert not Path("ledger.jsonl").exists()
    Path("otel-agent.yaml").write_text(CONFIG + TASKS.replace("input", "repeats: 1, input"))
    assert "recorded for the gate: support:v13:" in golden("run", "--repeats", "2").stderr  # the tasks say themselves


def test_an_inconclusive_comparison_takes_no_pass_back() -> None:
    Path("otel-agent.yaml").write_text(CONFIG + TASKS.splitlines()[0])
    golden("run", "--save", "v13.json")
    done = golden("run", "--baseline", "v13.json", code=3)
    assert "not recorded for the gate: the tasks passed, and the comparison with the baseline" in done.stderr
    assert [entry.result for entry in read_ledger(Path("ledger.jsonl")).entries] == ["passed"]


def test_files_of_other_tasks_are_not_recorded_for_the_gate() -> None:
    Path("other.yaml").write_text("- {id: other, expect_stop_reason: finish, input: q}\n")
    done = golden("run", "other.yaml")
    assert "1 of 1 task passed (3 runs)" in done.stdout
    assert "not recorded" in done.stderr


def test_reports_and_the_result_are_written() -> None:
    arguments = [word for name in ("r.json", "r.xml", "r.md", "junit:r.txt", "r.html") for word in ("--report", name)]
    golden("run", "--repeats", "1", "--save", "saved.json", *arguments)
    for name in ("saved.json", "r.json", "r.xml", "r.md", "r.txt", "r.html"):
        assert "SECRET" not in Path(name).read_text()
        assert "t5" in Path(name).read_text()


def test_a_file_that_cannot_be_written_costs_nothing_else() -> None:
    Path("locked.html").mkdir()
    Path("locked.html", "full").touch()
    done = golden("run", "--report", "locked.html", "--report", "r.md", "--save", "r.json", code=2)
    assert "passed: 6 of 6 tasks passed (18 runs)" in done.stdout
    assert "otel-agent golden: locked.html" in done.stderr
    assert Path("r.md").is_file()
    assert Path("r.json").is_file()
    assert len(read_ledger(Path("ledger.jsonl")).entries) == 1


def test_a_run_that_broke_a_bound_is_shown_by_the_command_that_is_named() -> None:
    done = golden("run", "--prompt", "support:v14", "--repeats", "1", code=1)
    command = next(line for line in done.stderr.splitlines() if "otel-agent runs tree" in line)
    tree = CliRunner().invoke(app, shlex.split(command.partition(": otel-agent ")[2]))
    assert tree.exit_code == 0
    assert "support:v14" in tree.stdout
    assert "otel-agent runs tree" not in golden("run", "--repeats", "1").stderr


def test_a_saved_result_is_a_baseline() -> None:
    golden("run", "--save", "v13.json")
    done = golden("run", "--prompt", "support:v14", "--baseline", "v13.json", "--save", "v14.json", code=1)
    assert "dearer than v13.json: tool calls x" in done.stdout
    assert "dearer than v13.json: tool calls x" in golden("compare", "v13.json", "v14.json", code=1).stdout
    back = golden("compare", "v14.json", "v13.json")
    assert "no dearer than v14.json, over 6 tasks" in back.stdout
    assert json.loads(golden("compare", "v14.json", "v13.json", "--json").stdout)["comparison"]["tasks"] == 6


def test_the_active_prompt_or_another_one_is_a_baseline_side_by_side() -> None:
    for baseline in (["--baseline", "active"], ["--baseline-prompt", "support:v13"]):
        done = golden("run", "--prompt", "support:v14", "--repeats", "1", *baseline, code=1)
        assert "dearer than" in done.stdout
        assert re.search(r"/12  t\d #1 \(baseline\): ok", done.stderr)
    done = golden("run", "--repeats", "1", "--prompt", "support:v13", "--baseline-prompt", "support:v14")
    assert "passed: 6 of 6 tasks passed (6 runs)" in done.stdout


def test_too_few_tasks_to_compare_are_inconclusive() -> None:
    golden("run", "--save", "v13.json", "--repeats", "1")
    done = golden("run", "--task", "t1", "--baseline", "v13.json", "--repeats", "1", code=3)
    assert "too few tasks to compare" in done.stdout


WRONG: dict[str, tuple[list[str], str]] = {
    "an agent that is not there": (["--agent", "a_bott:answer"], "No module named 'a_bott'"),
    "a function that is not there": (["--agent", "a_bot:anser"], "did you mean answer?"),
    "no agent's name": (["--agent", "a_bot"], "module:function"),
    "a prompt without a text": (["--prompt", "support:v99"], "--prompt"),
    "a prompt that is none": (["--prompt", "support"], "--prompt"),
    "a baseline that is not there": (["--baseline", "gone.json"], "gone.json = 'no such file'"),
    "the active prompt against itself": (["--baseline", "active"], "--baseline-prompt"),
    "two baselines": (["--baseline", "active", "--baseline-prompt", "support:v13"], "give one of them"),
    "a task that is not there": (["--task", "t9"], "t9"),
    "a tag that is not there": (["--tag", "non"], "non"),
    "no repeats": (["--repeats", "0"], "--repeats"),
    "no time": (["--timeout", "0"], "--timeout"),
    "a report in no form": (["--report", "r.pdf"], "--report"),
    "a report in a form that there is not": (["--report", "htm:r.html"], "did you mean html?"),
    "a folder that is not there": (["--save", "none/r.json"], "--save"),
    "a file that is not there": (["none.yaml"], "none.yaml"),
    "a configuration that is not there": (["--config", "none.yaml"], "none.yaml"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_never_work_is_one_line_and_exit_code_2_before_anything_runs(name: str) -> None:
    arguments, said = WRONG[name]
    done = golden("run", *arguments, code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not Path("ledger.jsonl").exists()


def test_a_baseline_of_other_tasks_names_the_first_that_differs() -> None:
    golden("run", "--save", "v13.json", "--repeats", "1")
    changed = (CONFIG + TASKS).replace("SECRET q4", "SECRET other").replace("id: t2", "id: new")
    Path("otel-agent.yaml").write_text(changed)
    done = golden("run", "--baseline", "v13.json", code=2)
    assert "v13.json: task = 'new'" in done.stderr
    assert "there is no such task in the baseline" in done.stderr
    Path("otel-agent.yaml").write_text((CONFIG + TASKS).replace("SECRET q4", "SECRET other"))
    assert "t4" in golden("run", "--baseline", "v13.json", code=2).stderr


def test_a_damaged_result_is_one_line_with_file_and_field() -> None:
    golden("run", "--save", "a.json", "--repeats", "1")
    document = json.loads(Path("a.json").read_text())
    document["tasks"][2]["trials"][0]["run"]["tool_calls"] = "some"
    Path("b.json").write_text(json.dumps(document))
    done = golden("compare", "a.json", "b.json", code=2)
    assert "b.json: tasks.2.trials.0.run.tool_calls = 'damaged': must be a valid integer" in done.stderr


def test_telemetry_that_is_switched_off_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert "OTEL_SDK_DISABLED" in golden("run", code=2).stderr


def test_no_tasks_and_no_agent_are_told() -> None:
    Path("otel-agent.yaml").write_text("prompts: {active: []}\n")
    assert "no golden tasks" in golden("run", code=2).stderr
    Path("one.yaml").write_text("- {id: a, expect_stop_reason: finish}\n")
    assert "--agent" in golden("run", "one.yaml", code=2).stderr


def test_an_input_that_the_agent_does_not_take_is_told_before_anything_runs() -> None:
    Path("one.yaml").write_text("- {id: a, expect_stop_reason: finish, input: {query: q}}\n")
    assert "query" in golden("run", "one.yaml", code=2).stderr


def test_a_task_without_the_input_that_the_agent_needs_is_named_by_its_place() -> None:
    Path("one.yaml").write_text("# from an incident\n- {id: a, expect_stop_reason: finish}\n")
    assert (
        "one.yaml:2: task 'a': input = 'nothing': must be what answer takes" in golden("run", "one.yaml", code=2).stderr
    )


def test_a_schema_without_its_library_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    schema = "output: {json_schema: {type: object}}"
    Path("one.yaml").write_text(f"- {{id: a, input: q, expect_stop_reason: finish, {schema}}}\n")
    done = golden("run", "one.yaml", code=2)
    assert "one.yaml:1: task 'a': output.json_schema" in done.stderr
    assert "pip install 'otel-agent[golden]'" in done.stderr
    assert done.stdout == ""


def test_the_traceback_of_an_import_is_shown_on_demand() -> None:
    Path("broken_bot.py").write_text("def inner():\n    raise RuntimeError('reason')\ninner()\n")
    plain = golden("run", "--agent", "broken_bot:answer", code=2).stderr
    assert "RuntimeError: reason (broken_bot.py, line 2)" in plain
    assert "Traceback" not in plain
    assert "in inner" in golden("run", "--agent", "broken_bot:answer", "--traceback", code=2).stderr


@pytest.mark.parametrize(
    ("agent", "said"),
    [("silent", "no spans"), ("early", "raised LookupError before any run was done (a_bot.py, line")],
)
def test_an_agent_that_opens_no_run_is_inconclusive(agent: str, said: str) -> None:
    done = golden("run", "--agent", f"a_bot:{agent}", "--repeats", "1", code=3)
    assert said in done.stdout
    assert "not recorded for the gate: its runs name no prompt" in done.stderr


# a process of its own


def process(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "otel_agent", "golden", "run", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.parametrize("agent", ["hangs", "pool"])
def test_an_agent_that_never_returns_does_not_hold_the_process(agent: str) -> None:
    began = time.monotonic()
    done = process("--agent", f"a_bot:{agent}", "--timeout", "1.5", "--repeats", "1", "--task", "t1", "--task", "t2")
    out, _ = done.communicate(timeout=50)
    assert time.monotonic() - began < 40
    assert done.returncode == 3
    assert "never returned: still under way after 1.5 s" in out
    assert ("1 of 2 tasks passed" in out) == (agent == "hangs")


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process")
def test_an_interrupt_prints_and_keeps_what_was_judged(project: Path) -> None:
    done = process("--agent", "a_bot:hangs", "--repeats", "1", "--concurrency", "2")
    lines = [done.stderr.readline() for _ in range(5)] if done.stderr is not None else []
    done.send_signal(signal.SIGINT)
    out, rest = done.communicate(timeout=30)
    assert done.returncode == 130, (lines, rest)
    assert "(5 runs, interrupted)" in out
    assert "Traceback" not in rest
    with RunHistory.read(project / "cache" / "otel-agent" / "golden" / "history") as history:
        assert len(history.runs()) == 5
    assert not Path("ledger.jsonl").exists()


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["compare", "--help"]])
def test_help_helps(command: list[str]) -> None:
    text = golden(*command).stdout
    assert "Usage: " in text
    assert command == ["--help"] or "Exit codes: 0 all passed; 1 a regression" in " ".join(text.split())


def test_tasks_and_tags_are_completed() -> None:
    environment = {
        "_OTEL_AGENT_COMPLETE": "bash_complete",
        "COMP_WORDS": "otel-agent golden run --tag o",
        "COMP_CWORD": "4",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from otel_agent.cli.app import app; app(prog_name='otel-agent')"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert "odd" in done.stdout


@pytest.mark.parametrize("option", ["--prompt", "--baseline-prompt"])
def test_versions_of_prompts_are_completed(option: str) -> None:
    environment = {"COMP_WORDS": f"otel-agent golden run {option} support", "COMP_CWORD": "4"}
    done = CliRunner().invoke(app, env={**environment, "_OTEL_AGENT_COMPLETE": "bash_complete"}, prog_name="otel-agent")
    assert [line.partition(",")[2] for line in done.output.split()] == ["support:v13", "support:v14"]
