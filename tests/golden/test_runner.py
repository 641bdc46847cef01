"""Trials: each in its own trace, several at once, with time-outs, whatever kind of function the agent is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from otel_agent import Budget, InvalidSetting, Prompt, ToolDenied, agent_run, current_run, llm_call, tool_call
from otel_agent.config.values import GoldenTask, OutputCheck
from otel_agent.golden.replay import Recorder, Replayer, read_recording
from otel_agent.golden.reports.facts import about
from otel_agent.golden.results import Trial
from otel_agent.golden.runner import run_tasks, run_trial, trials_planned
from otel_agent.golden.saved import load_result, save_result
from otel_agent.golden.tasks import TaskSet
from otel_agent.stop import StopCode
from otel_agent.stores.run_history import RunHistory, Wanted
from otel_agent.telemetry.spans import kept
from otel_agent.testing import capture

V13, V14 = Prompt("support", "v13", "Answer from the KB."), Prompt("support", "v14", "Be thorough.")


@tool_call("kb.search")
def search(query: str) -> str:
    return query


@tool_call("refund")
def refund() -> None:
    return None


def ask(tokens: int = 10) -> None:
    with llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=tokens, output_tokens=1)


@agent_run("bot", prompt="support", budget=Budget(max_steps=5, max_tool_calls=9))
def bot(question: str) -> str:
    ask()
    search(question)
    return f"re: {question}"


def a_task(name: str = "t", question: Any = "q", **more: Any) -> GoldenTask:
    return GoldenTask(id=name, expect_stop_reason=StopCode.FINISH, input=question, **more)


def a_set(count: int, **more: Any) -> TaskSet:
    return TaskSet(tasks=tuple(a_task(f"t{at}", f"q{at}", **more) for at in range(count)))


def run(agent: Any, tasks: TaskSet, tmp_path: Path, **more: Any) -> Any:
    return run_tasks(agent, tasks, history=tmp_path / "history", **{"prompt": V13, **more})


# judging one


def test_a_trial_is_judged_from_its_spans() -> None:
    trial = run_trial(bot, a_task(max_tool_calls=0), prompt=V13)
    assert trial.run is not None
    assert (trial.run.tool_calls, trial.run.tokens, trial.run.stop_reason, trial.run.task) == (1, 11, "finish", "t")
    assert [violation.field for violation in trial.violations] == ["max_tool_calls"]
    assert trial.limits == ("steps", "tool_calls")
    assert run_trial(bot, a_task(max_tool_calls=1), prompt=V13).passed


def test_a_tool_that_writes_without_leave_is_strict() -> None:
    @agent_run("writer")
    def writer(question: str) -> None:
        refund()

    trial = run_trial(writer, a_task(), writes=["refund"])
    assert [violation.strict for violation in trial.violations] == [True]


def test_a_forbidden_tool_that_was_denied_is_noted(tmp_path: Path) -> None:
    @agent_run("bot", prompt="support", budget=Budget(max_calls_per_tool={"refund": 0}))
    def agent(question: str) -> None:
        ask()
        with contextlib.suppress(ToolDenied):
            refund()

    result = run(agent, TaskSet(tasks=(a_task(must_not_call=("refund",)),)), tmp_path)
    assert result.verdict == "passed"
    assert about(result)[-1] == "note: t: refund, which must not be called, was tried once and denied (3 of 3)"
    save_result(tmp_path / "result.json", result)
    assert load_result(tmp_path / "result.json").trials[0].notes == result.trials[0].notes


def test_calls_with_the_same_arguments_are_counted_without_a_limit_on_them() -> None:
    @agent_run("again")
    def again(question: str) -> None:
        for _ in range(3):
            search(question)

    assert [violation.field for violation in run_trial(again, a_task(max_repeats=2)).violations] == ["max_repeats"]
    assert run_trial(again, a_task(max_repeats=3)).passed


def test_a_stop_and_an_exception_are_stop_reasons_and_no_problems() -> None:
    @agent_run("stopped", budget=Budget(max_tool_calls=0))
    def stopped(question: str) -> None:
        search(question)

    @agent_run("broken")
    def broken(question: str) -> None:
        raise RuntimeError(question)

    for agent, code in ((stopped, "max_tool_calls"), (broken, "error")):
        trial = run_trial(agent, a_task())
        assert trial.problem is None
        assert [violation.found for violation in trial.violations] == [code]


def test_inputs_go_as_an_argument_as_keywords_or_not_at_all() -> None:
    given: list[Any] = []

    @agent_run("any")
    def anything(*args: Any, **kwargs: Any) -> None:
        given.append((args, kwargs))

    for question in ("q", {"question": "q", "limit": 2}, None):
        assert run_trial(anything, a_task(question=question)).passed
    assert given == [(("q",), {}), ((), {"question": "q", "limit": 2}), ((), {})]


# kinds of agents


@agent_run("async", prompt="support")
async def async_bot(question: str) -> str:
    await asyncio.sleep(0)
    ask()
    return question


@agent_run("pieces", prompt="support")
def pieces(question: str) -> Iterator[str]:
    yield from ("a", question)


@agent_run("async pieces", prompt="support")
async def async_pieces(question: str) -> AsyncIterator[str]:
    yield "a"
    yield question


def result_of(question: str) -> Any:
    return bot.run(question)


@pytest.mark.parametrize(
    ("agent", "output"), [(async_bot, "q"), (pieces, "aq"), (async_pieces, "aq"), (result_of, "re: q")]
)
def test_every_kind_of_agent_is_awaited_and_its_answer_checked(agent: Any, output: str) -> None:
    for regex, passed in ((f"^{output}$", True), ("^other$", False)):
        trial = run_trial(agent, a_task(output=OutputCheck(regex=regex)), prompt=V13)
        assert (trial.problem, trial.passed) == (None, passed)


def test_async_agents_share_one_loop() -> None:
    loops: list[object] = []

    @agent_run("loops")
    async def looped(question: str) -> None:
        loops.append(asyncio.get_running_loop())

    for _ in range(3):
        run_trial(looped, a_task())
    assert len(set(map(id, loops))) == 1


def test_an_agent_of_another_framework_is_read_by_the_conventions() -> None:
    tracer = trace.get_tracer("framework")

    def other(question: str) -> None:
        about = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "other"}
        with tracer.start_as_current_span("invoke_agent other", attributes=about):
            said = {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3}
            with tracer.start_as_current_span("chat m", attributes={"gen_ai.request.model": "m", **said}):
                pass
            tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"}
            with tracer.start_as_current_span("execute_tool lookup", attributes=tool):
                pass

    trial = run_trial(other, a_task(must_call=("lookup",), max_tokens=9))
    assert trial.run is not None
    assert (trial.run.agent, trial.run.steps, trial.run.tool_calls, trial.run.tokens) == ("other", 1, 1, 10)
    assert [violation.field for violation in trial.violations] == ["max_tokens"]


# problems


def test_an_agent_that_opens_no_run_has_no_spans() -> None:
    trial = run_trial(lambda question: question, a_task())
    assert trial.run is None
    assert "no spans" in (trial.problem or "")


def test_what_is_raised_before_a_run_is_told_by_class_and_place_and_never_quoted() -> None:
    def early(question: str) -> None:
        raise LookupError("a secret")

    problem = run_trial(early, a_task()).problem or ""
    assert problem.startswith("raised LookupError before any run was done (test_runner.py, line ")
    assert "secret" not in problem


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_agent_that_leaves_takes_nobody_along(kind: type[BaseException]) -> None:
    async def leaves(question: str) -> None:
        raise kind

    for _ in range(2):
        assert f"raised {kind.__name__}" in (run_trial(leaves, a_task()).problem or "")


def test_an_agent_that_never_returns_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    release = threading.Event()

    @agent_run("hangs")
    def hangs(question: str) -> None:
        if question == "q1":
            release.wait(30)

    began = time.monotonic()
    result = run(hangs, a_set(4), tmp_path, prompt=None, repeats=1, concurrency=2, timeout=0.3)
    release.set()
    assert time.monotonic() - began < 10
    assert [task.state for task in result.tasks] == ["passed", "inconclusive", "passed", "passed"]
    assert result.tasks[1].trials[0].problem == "never returned: still under way after 0.3 s"
    assert result.exit_code == 3


def test_a_coroutine_that_never_returns_is_cancelled() -> None:
    ended = threading.Event()

    async def hangs(question: str) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    assert "never returned" in (run_trial(hangs, a_task(), timeout=0.2).problem or "")
    assert ended.wait(5)


def test_a_prompt_that_the_agent_pins_cannot_be_tested() -> None:
    @agent_run("pinned", prompt=V13)
    def pinned(question: str) -> None: ...

    problem = run_trial(pinned, a_task(), prompt=V14).problem or ""
    assert problem.startswith(f"used {V13.id}, not {V14.id}: it pins its prompt")


def test_an_agent_whose_spans_name_no_prompt_cannot_be_tested_with_one() -> None:
    @agent_run("bare")
    def bare(question: str) -> None: ...

    assert "name no prompt" in (run_trial(bare, a_task(), prompt=V14).problem or "")


def test_the_prompt_reaches_runs_in_threads_of_the_agent() -> None:
    seen: list[str | None] = []

    @agent_run("inner", prompt="support")
    def inner() -> None:
        seen.append(there.prompt_id if (there := current_run()) else None)

    @agent_run("outer", prompt="support")
    def outer(question: str) -> None:
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()

    assert run_trial(outer, a_task(), prompt=V14).passed
    assert seen == [V14.id]


@pytest.mark.parametrize("given", [None, {"wrong": 1}])
def test_an_input_that_the_agent_does_not_take_is_refused_before_anything_runs(given: Any, tmp_path: Path) -> None:
    calls: list[str] = []

    def counted(question: str) -> None:
        calls.append(question)

    tasks = TaskSet(tasks=(a_task("good"), a_task("bad", given)))
    with pytest.raises(InvalidSetting, match=r"task 'bad': input .*question"):
        run_tasks(counted, tasks, history=tmp_path)
    assert calls == []


def test_telemetry_that_is_switched_off_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "True")
    with pytest.raises(InvalidSetting, match="OTEL_SDK_DISABLED"):
        run_tasks(bot, a_set(1), history=tmp_path)


def test_a_prompt_without_a_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSetting, match="prompt"):
        run_tasks(bot, a_set(1), prompt="support:v99", history=tmp_path)


# several at once


def test_trials_run_at_once_and_their_spans_are_not_mixed(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    @agent_run("many")
    def many(question: str) -> None:
        together.wait(20)
        for _ in range(int(question[1:])):
            search(question)

    result = run(many, a_set(8), tmp_path, prompt=None, repeats=2, concurrency=4, timeout=30)
    assert [[trial.run.tool_calls for trial in task.trials] for task in result.tasks] == [[n, n] for n in range(8)]
    assert len({trial.run.trace_id for trial in result.trials}) == 16


def test_repeats_are_those_of_the_task_else_those_asked_for_else_three(tmp_path: Path) -> None:
    tasks = TaskSet(tasks=(a_task("own", repeats=1), a_task("asked")))
    assert [len(task.own) for task in run(bot, tasks, tmp_path, repeats=2).tasks] == [1, 2]
    assert trials_planned(tasks) == 4
    assert trials_planned(tasks, repeats=5, sides=2) == 12


@pytest.mark.parametrize(("asked", "runs"), [(None, 5), (1, 5), (7, 7)])
def test_a_task_runs_no_less_often_than_its_quorum(asked: int | None, runs: int, tmp_path: Path) -> None:
    (found,) = run(bot, TaskSet(tasks=(a_task("strict", quorum=5),)), tmp_path, repeats=asked).tasks
    assert (len(found.own), found.repeats, found.quorum) == (runs, runs, 5)


def test_each_trial_is_told_as_it_is_done(tmp_path: Path) -> None:
    told: list[Trial] = []
    result = run(bot, a_set(3), tmp_path, repeats=1, on_trial=told.append)
    assert {trial.task for trial in told} == {"t0", "t1", "t2"}
    assert set(told) == set(result.trials)


def test_an_interrupt_keeps_what_was_judged(tmp_path: Path) -> None:
    def interrupt(trial: Trial) -> None:
        raise KeyboardInterrupt

    result = run(bot, a_set(3), tmp_path, repeats=1, concurrency=1, on_trial=interrupt)
    assert (len(result.trials), result.interrupted, result.verdict) == (1, True, "inconclusive")


@agent_run("searcher", prompt="support")
def searcher(question: str) -> str:
    return search(question)


def test_recorded_answers_are_one_repeat_and_say_nothing_of_rates(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    live = run(searcher, a_set(2, repeats=2), tmp_path, player=Recorder(file))
    assert ([len(task.own) for task in live.tasks], live.verdict, live.replayed) == ([2, 2], "passed", False)
    result = run(searcher, a_set(2, repeats=5), tmp_path, player=Replayer(file))
    assert [len(task.own) for task in result.tasks] == [1, 1]
    assert (result.verdict, result.replayed, result.zero_failures) == ("passed", True, None)


def test_what_was_not_recorded_is_no_verdict_and_the_agent_is_not_called(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    run(searcher, a_set(1), tmp_path, player=Recorder(file))
    called: list[str] = []
    result = run(called.append, a_set(2), tmp_path, player=Replayer(file))
    assert result.verdict == "inconclusive"
    assert [trial.problem for trial in result.trials][1:] == [f"{file} has no trial of t1: record it"]
    assert called == ["q0"]
    changed = agent_run("searcher", prompt="support")(lambda question: search(f"{question}?"))
    (trial,) = run(changed, a_set(1), tmp_path, player=Replayer(file)).trials
    assert trial.problem is not None
    assert trial.problem.startswith(f"request 1, to tool kb.search, is not in {file}, task t0: the prompt or the input")
    assert trial.replayed


def test_only_the_candidate_is_recorded_and_only_what_ended(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"

    @agent_run("slow", prompt="support")
    def slow(question: str) -> str:
        if question == "q1":
            time.sleep(2)
        return search(question)

    run(slow, a_set(2), tmp_path, player=Recorder(file), repeats=1, timeout=0.5, baseline_prompt=V14)
    assert [(trial.task, trial.repeat, len(trial.exchanges)) for trial in read_recording(file)] == [("t0", 1, 1)]


# what is told elsewhere


def test_nothing_goes_to_the_pipeline_of_the_application_or_its_history(tmp_path: Path) -> None:
    taken: list[Any] = []
    with capture() as told:
        kept.take = taken.append
        try:
            run(bot, a_set(1), tmp_path)
            assert kept.take == taken.append
        finally:
            kept.take = None
        bot.using(prompt=V13)("afterwards")
    assert taken == []
    assert [span.name for span in told.spans].count("invoke_agent bot") == 1
    assert told.metrics()["otel_agent.runs"][0].value == 1


def test_runs_are_kept_with_their_task_and_their_spans(tmp_path: Path) -> None:
    result = run(bot, a_set(2), tmp_path, repeats=1)
    with RunHistory.read(tmp_path / "history") as history:
        rows = history.runs(Wanted(prompt="support:v13"))
        assert {row.run_id: row.task for row in rows} == {t.run.run_id: t.task for t in result.trials}
        names = sorted(span.name for span in history.spans(rows[0].run_id))
    assert names == ["chat gpt-5-mini", "execute_tool kb.search", "invoke_agent bot"]


def test_of_spans_of_others_no_text_is_kept(tmp_path: Path) -> None:
    tracer = trace.get_tracer("framework")

    def other(question: str) -> None:
        about = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "other",
            "gen_ai.input.messages": "SECRET",
        }
        with tracer.start_as_current_span("invoke_agent other", attributes=about) as span:
            span.add_event("said", {"text": "SECRET"})
            span.set_status(trace.Status(trace.StatusCode.ERROR, "SECRET"))

    run(other, a_set(1), tmp_path, prompt=None, repeats=1)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"invoke_agent" in written
    assert b"SECRET" not in written


def test_a_row_that_is_read_off_the_spans_again_has_its_task(tmp_path: Path) -> None:
    run(bot, a_set(2), tmp_path, repeats=1)
    with RunHistory.read(tmp_path / "history") as history:
        before = history.runs()
    (tmp_path / "history" / "runs.db").write_bytes(b"no database at all" * 100)
    with RunHistory.read(tmp_path / "history") as history:
        assert history.damage is not None
        assert history.runs() == before
    assert sorted(row.task or "" for row in before) == ["t0", "t1"]


def test_a_history_that_cannot_be_written_costs_no_verdict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "history").write_text("in the way")
    assert run(bot, a_set(1), tmp_path).verdict == "passed"
    assert "runs of golden tasks are not kept" in caplog.text
