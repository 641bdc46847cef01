"""The pytest plugin in a project of its users: what is collected, what passes, what is shown, on one worker or more."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from otel_agent.golden.results import Result, TaskResult, Trial
from otel_agent.golden.saved import save_result
from otel_agent.golden.tasks import load_tasks, task_digest
from tests.support.past import past_run

pytest_plugins = ("pytester",)

AGENT = """
import os
from otel_agent import Budget, Prompt, agent_run, llm_call, tool_call

V13, V14 = Prompt("support", "v13", "Answer."), Prompt("support", "v14", "Be thorough.")

@tool_call("kb.search")
def search(query: str) -> str:
    with open("asked.txt", "a") as file:
        file.write(query + "\\n")
    return "found " + query

@tool_call("refund")
def refund() -> None:
    pass

def first() -> bool:
    try:
        os.close(os.open("first.lock", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False

@agent_run("support-bot", prompt="support", budget=Budget(max_steps=9))
def answer(question: str) -> str:
    if question == "explode":
        raise ValueError("PRIVATE")
    if question == "write":
        refund()
    often = 5 if question == "dear" or (question == "flaky" and first()) else 1
    return " ".join(search(f"{question} {number}") for number in range(often))

@agent_run
async def later(question):
    return search(question)
"""
CONFIG = """
prompts:
  active: "support:v13"
  texts: {support: {v13: "Answer.", v14: "Be thorough."}}
"""
TASKS = """
agent: support:answer
writes: [refund]
tasks:
  - {id: kb_lookup, input: "What?", expect_stop_reason: finish, max_tool_calls: 2, tags: [kb]}
  - {id: order, input: "Where?", expect_stop_reason: finish, max_tool_calls: 2, must_call: [kb.search]}
"""
DEAR = """
  - {id: dear, input: dear, expect_stop_reason: finish, max_tool_calls: 2}
"""
FLAKY = """
  - {id: flaky, input: flaky, expect_stop_reason: finish, max_tool_calls: 2}
"""

ON = pytest.mark.parametrize("workers", ["0", "2"], ids=["here", "xdist"])


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(support=AGENT)
    pytester.path.joinpath("otel-agent.yaml").write_text(CONFIG)
    return pytester


def tasks(project: pytest.Pytester, text: str, name: str = "support.golden.yaml") -> Path:
    path = project.path / name
    path.write_text(text)
    return path


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    slow = ("cacheprovider", "asyncio", "hypothesispytest", "anyio", "cov", "timeout")
    return project.runpytest_subprocess(*(f"-pno:{name}" for name in slow), "-W", "error", *arguments)


def asked(project: pytest.Pytester) -> int:
    file = project.path / "asked.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


# what is collected


def test_an_item_for_each_task_and_repeat(project: pytest.Pytester) -> None:
    tasks(project, TASKS + "  - {id: once, input: x, expect_stop_reason: finish, repeats: 1}\n")
    found = run(project, "--collect-only", "-q", "--golden-repeats", "2")
    assert [line for line in found.outlines if "::" in line] == [
        "support.golden.yaml::kb_lookup[1]",
        "support.golden.yaml::kb_lookup[2]",
        "support.golden.yaml::order[1]",
        "support.golden.yaml::order[2]",
        "support.golden.yaml::once[1]",
    ]
    assert asked(project) == 0


def test_items_are_selected_by_marker_tag_and_id(project: pytest.Pytester) -> None:
    tasks(project, TASKS)
    project.makepyfile(test_else="def test_else(): pass")
    for arguments, count in (
        (["-m", "golden"], 6),
        (["-m", "not golden"], 1),
        (["-k", "kb"], 3),
        (["support.golden.yaml::order[2]"], 1),
    ):
        found = run(project, "--collect-only", "-q", "--strict-markers", *arguments)
        assert len([line for line in found.outlines if "::" in line]) == count, arguments


def test_other_files_are_named_in_the_settings(project: pytest.Pytester) -> None:
    tasks(project, TASKS, "tasks.yaml")
    entry = "{id: own, input: x, expect_stop_reason: finish, repeats: 1}"
    tasks(project, f"{CONFIG}\ntesting: {{agent: 'support:answer', golden_tasks: [{entry}]}}\n", "otel-agent.yaml")
    assert run(project).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    project.makeini("[pytest]\ngolden_files = tasks.yaml otel-agent.yaml\n")
    found = run(project, "-v")
    found.assert_outcomes(passed=7)
    found.stdout.fnmatch_lines(["otel-agent.yaml::own?1? PASSED*"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks: [{id: a}]", "support.golden.yaml:1:9: tasks[0].expect_stop_reason: is missing"),
        (
            "agent: nowhere:answer\ntasks: [{id: a, expect_stop_reason: finish}]",
            "agent = 'nowhere:answer': must be an agent",
        ),
        ("tasks: [{id: a, expect_stop_reason: finish}]", "support.golden.yaml: agent = None: must be module:function"),
        ("tasks: [", "support.golden.yaml"),
    ],
    ids=["field", "import", "none", "yaml"],
)
def test_a_file_that_cannot_work_is_one_line_and_no_traceback(project: pytest.Pytester, text: str, says: str) -> None:
    tasks(project, text)
    found = run(project)
    assert found.ret == pytest.ExitCode.INTERRUPTED
    assert says in found.stdout.str()
    assert "Traceback" not in found.stdout.str()
    assert "otel_agent/" not in found.stdout.str()


# what passes


def test_tasks_that_keep_their_bounds_pass(project: pytest.Pytester) -> None:
    tasks(project, TASKS)
    found = run(project)
    found.assert_outcomes(passed=6)
    assert found.ret == 0
    assert asked(project) == 6


@ON
def test_a_trial_within_the_quorum_passes_the_session_and_is_shown(project: pytest.Pytester, workers: str) -> None:
    tasks(project, TASKS + FLAKY)
    found = run(project, "-n", workers, "-v", "--junitxml=report.xml")
    assert found.ret == 0
    found.stdout.fnmatch_lines(
        [
            "*= golden tasks =*",
            "support.golden.yaml::flaky?*?",
            "flaky, trial * broke 1 of its bounds",
            "  max_tool_calls: at most 2, found 5",
            "  run *, prompt support:v13:*",
            "*8 passed, 1 tolerated*",
        ]
    )
    assert "TOLERATED" in found.stdout.str()
    cases = list(ElementTree.parse(project.path / "report.xml").iter("testcase"))
    assert len(cases) == 9
    assert sum(case.find("skipped") is not None for case in cases) == 1
    assert not any(case.find("failure") is not None for case in cases)
    names = [[each.get("name") for each in case.iter("property")] for case in cases]
    assert names == [["golden_run_id", "golden_tool_calls", "golden_tokens"]] * 9


@ON
def test_one_trial_too_many_fails_its_task_alone(project: pytest.Pytester, workers: str) -> None:
    write = "  - {id: write, input: write, expect_stop_reason: finish, quorum: 1}\n"
    tasks(project, TASKS + DEAR + write)
    found = run(project, "-n", workers, "--junitxml=report.xml")
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    for block in (
        [
            "dear, trial * broke 1 of its bounds",
            "  max_tool_calls: at most 2, found 5",
            "  run *, prompt support:v13:*",
            "  otel-agent runs show * --history *golden*history",
            "2 of 3 trials broke a bound, 1 may",
        ],
        ["  may_call: no call of refund, which writes, without may_call or must_call, found called once"],
        ["*5 failed, 6 passed, 1 tolerated*"],  # of dear one is tolerated; a write no quorum forgives
    ):
        found.stdout.fnmatch_lines(block)
    assert "Traceback" not in found.stdout.str()
    assert "otel_agent/" not in found.stdout.str()
    cases = list(ElementTree.parse(project.path / "report.xml").iter("testcase"))
    assert sum(case.find("failure") is not None for case in cases) == 5


def test_an_agent_that_fails_is_told_without_its_words(project: pytest.Pytester) -> None:
    tasks(project, TASKS + "  - {id: explode, input: explode, expect_stop_reason: finish, repeats: 1}\n")
    found = run(project)
    found.assert_outcomes(passed=6, failed=1)
    found.stdout.fnmatch_lines(["  expect_stop_reason: finish, found error"])
    assert "PRIVATE" not in found.stdout.str()


def test_a_stop_after_the_first_failure_counts_failures_alone(project: pytest.Pytester) -> None:
    tasks(project, TASKS + FLAKY + DEAR)
    found = run(project, "-x")
    text = found.stdout.str()
    assert "1 failed" in text
    assert "2 tolerated" in text  # one of flaky, the first of dear


def test_too_few_selected_trials_are_no_verdict(project: pytest.Pytester) -> None:
    tasks(project, TASKS + DEAR)
    found = run(project, "support.golden.yaml::dear[1]")
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.stdout.fnmatch_lines(
        ["support.golden.yaml::dear cannot be told: 0 of the 1 trials that ran were clean, 2 must be"]
    )
    assert run(project, "support.golden.yaml::order[1]").ret == 0


# the options


def test_a_prompt_is_given_to_the_agent(project: pytest.Pytester) -> None:
    tasks(project, TASKS + DEAR)
    found = run(project, "--golden-prompt", "support:v14", "--golden-repeats", "1")
    found.stdout.fnmatch_lines(["  run *, prompt support:v14:*"])
    found = run(project, "--golden-prompt", "support:v99")
    assert "--golden-prompt = 'support:v99'" in found.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--golden-repeats", "0"], "--golden-repeats = 0: must be a number from 1 to 1000"),
        (["--golden-baseline", "none.json"], "none.json = 'no such file': must be a result that"),
        (["--golden-replay", "none.jsonl"], "none.jsonl = 'no such file': must be a recording"),
        (
            ["--golden-replay", "a", "--golden-baseline", "b"],
            "--golden-baseline: recorded answers are compared with nothing",
        ),
    ],
)
def test_an_option_that_cannot_work_is_a_usage_error(project: pytest.Pytester, arguments: list[str], says: str) -> None:
    tasks(project, TASKS)
    found = run(project, "-n", "2", *arguments)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert says in found.stderr.str()
    assert asked(project) == 0


def baseline(project: pytest.Pytester, file: Path, tool_calls: int) -> None:
    """Writes a result of the same tasks, with so many tool calls a run."""
    found = load_tasks([file])
    results = [
        TaskResult(
            task=task.id,
            repeats=1,
            quorum=1,
            trials=(
                Trial(
                    task=task.id,
                    repeat=1,
                    run=past_run(tool_calls=tool_calls, input_tokens=100, output_tokens=0),
                ),
            ),
        )
        for task in found.tasks
    ]
    save_result(
        project.path / "v13.json",
        Result(
            agent="support:answer",
            prompt_ids=(),
            tasks=tuple(results),
            task_set=found.digest,
            task_digests={task.id: task_digest(task) for task in found.tasks},
            at_ns=1,
        ),
    )


MANY = "agent: support:answer\ntasks:\n" + "\n".join(
    f"  - {{id: t{number}, input: dear, expect_stop_reason: finish}}" for number in range(8)
)


@ON
def test_a_baseline_is_compared_at_the_end(project: pytest.Pytester, workers: str) -> None:
    file = tasks(project, MANY)
    baseline(project, file, tool_calls=1)
    found = run(project, "-n", workers, "--golden-baseline", "v13.json", "--golden-repeats", "1")
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.assert_outcomes(passed=8)
    found.stdout.fnmatch_lines(["dearer than v13.json: tool calls x * over 8 tasks"])
    baseline(project, file, tool_calls=5)
    found = run(project, "-n", workers, "--golden-baseline", "v13.json", "--golden-repeats", "1")
    assert found.ret == 0
    found.stdout.fnmatch_lines(["no dearer than v13.json, over 8 tasks"])


def test_a_baseline_of_other_tasks_is_told_before_any_runs(project: pytest.Pytester) -> None:
    baseline(project, tasks(project, MANY), tool_calls=1)
    tasks(project, MANY.replace("t3, input: dear", "t3, input: other"))
    found = run(project, "--golden-baseline", "v13.json")
    assert found.ret == pytest.ExitCode.INTERRUPTED
    said = "v13.json: task = 't3': must be the same tasks on both sides: its input has changed since"
    assert said in found.stdout.str()
    assert asked(project) == 0


def test_a_recording_answers_without_the_tools(project: pytest.Pytester) -> None:
    tasks(project, TASKS)
    recorded = project.run(
        sys.executable, "-m", "otel_agent", "golden", "run", "support.golden.yaml", "--record", "recording.jsonl"
    )
    assert recorded.ret == 0
    before = asked(project)
    found = run(project, "-n", "2", "--golden-replay", "recording.jsonl")
    found.assert_outcomes(passed=2)
    assert asked(project) == before
    tasks(project, TASKS.replace("Where?", "When?"))
    found = run(project, "-n", "2", "--golden-replay", "recording.jsonl")
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(
        ["order, trial 1 could not be judged: order asks something else than when recording.jsonl was recorded*"]
    )


# the fixture


def test_a_test_of_ones_own_sees_the_run(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_own="""
        import asyncio
        import pytest
        from otel_agent import Budget, Prompt, agent_run, current_run, llm_call
        from otel_agent.golden.observed import NoRun
        from support import V13, answer, later, search

        def test_sees(golden_run):
            seen = golden_run(answer.using(prompt=V13), "dear")
            assert seen.output == "found dear 0 found dear 1 found dear 2 found dear 3 found dear 4"
            assert seen.run.tool_calls == 5
            assert seen.stop_reason == "finish"
            assert seen.error is None
            assert [tool.name for tool in seen.tools] == ["kb.search"] * 5
            assert seen.tools[0].arguments != seen.tools[1].arguments
            assert seen.tree.name == "invoke_agent support-bot"
            assert len(seen.tree.find("execute_tool kb.search")) == 5
            assert str(seen.tree).splitlines()[1] == "  execute_tool kb.search"
            assert seen.tree.children[0].attributes["gen_ai.tool.name"] == "kb.search"

        def test_the_configuration_holds(golden_run):
            assert golden_run("support:answer", "q").run.prompt_id.startswith("support:v13:")

        def test_by_name_and_async(golden_run):
            assert golden_run("support:later", question="q").output == "found q"

        async def inside(golden_run):
            return golden_run(later, "q")

        def test_inside_a_loop(golden_run):
            assert asyncio.run(inside(golden_run)).run.tool_calls == 1

        def test_a_stop_is_seen(golden_run):
            seen = golden_run(answer.using(prompt=V13, budget=Budget(max_tool_calls=2)), "dear")
            assert (seen.stop_reason, type(seen.error).__name__) == ("max_tool_calls", "BudgetExceeded")
            assert seen.output is None

        def test_what_an_agent_raises_is_raised(golden_run):
            with pytest.raises(ValueError, match="PRIVATE"):
                golden_run(answer.using(prompt=V13), "explode")

        def test_no_run(golden_run):
            with pytest.raises(NoRun, match="there are no spans"):
                golden_run(lambda: 1)

        def test_two_calls_are_apart(golden_run):
            first, second = (golden_run(later, text) for text in "ab")
            assert first.run.run_id != second.run.run_id
            assert len(second.tools) == 1
            assert current_run() is None
        """
    )
    found = run(project)
    found.assert_outcomes(passed=8)


# what it costs those who do not use it


def test_nothing_is_loaded_where_nothing_is_golden(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_not_loaded():
            assert "pytest_otel_agent" in sys.modules
            assert not {"otel_agent", "opentelemetry", "yaml"} & {name.partition(".")[0] for name in sys.modules}
        """
    )
    pytester.path.joinpath("values.yaml").write_text("a: 1")
    run(pytester).assert_outcomes(passed=1)


def test_it_can_be_left_out(project: pytest.Pytester) -> None:
    tasks(project, TASKS)
    assert run(project, "-p", "no:otel_agent").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_help_names_the_options(pytester: pytest.Pytester) -> None:
    text = run(pytester, "--help").stdout.str()
    for name in ("--golden-prompt", "--golden-repeats", "--golden-baseline", "--golden-replay", "golden_files"):
        assert name in text
    assert "@pytest.mark.golden" in run(pytester, "--markers").stdout.str()
