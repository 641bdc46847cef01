"""The recorder: all that ends is kept, nothing of others, in whatever way a process leaves."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_agent import Budget, Prompt, agent_run, llm_call, tool_call
from otel_agent.stores.past_spans import events_of, runs_of
from otel_agent.stores.recorder import Recorder
from otel_agent.stores.run_history import RunHistory, Wanted
from otel_agent.telemetry.pipeline import Pipeline, use_pipeline
from otel_agent.usage import CallRecord
from tests.support.offline import environment

PROMPT = Prompt("support", "v13", "Answer using KB.")
SECRET = "a very private question"


@tool_call("kb.search")
def search(query: str) -> str:
    return query


@agent_run("child")
def child() -> None:
    with llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=50, output_tokens=5, cost_usd="0.01")


@agent_run("support-bot", prompt=PROMPT, budget=Budget(max_tool_calls=3))
def answer(question: str, searches: int = 1) -> None:
    for _ in range(searches):
        search(question)
    with llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=100, output_tokens=10, cost_usd="0.02")
    child()


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """An application's own provider, which nothing of ours is added to."""
    made = TracerProvider()
    before = use_pipeline(Pipeline(made, None, None))
    yield made
    use_pipeline(before)


@pytest.fixture
def recorder(tmp_path: Path, provider: TracerProvider) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "history")
    made.start()
    yield made
    made.close(10)


def kept(recorder: Recorder) -> RunHistory:
    assert recorder.flush(20)
    return RunHistory.read(recorder.folder)


def test_a_run_is_kept_with_all_that_it_used(recorder: Recorder) -> None:
    result = answer.run(SECRET)
    with kept(recorder) as history:
        below, run = sorted(history.runs(), key=lambda each: each.agent)
    assert (run.run_id, run.trace_id, run.prompt_id) == (result.run_id, result.trace_id, PROMPT.id)
    assert (run.agent, run.stop_reason, run.mode, run.parent_id) == ("support-bot", "finish", "enforce", None)
    assert (run.steps, run.tool_calls, run.input_tokens, run.output_tokens) == (2, 1, 150, 15)
    assert run.micro_usd == 30_000
    assert below.parent_id == run.run_id
    assert below.micro_usd == 10_000


def test_a_stop_is_kept_with_its_reason(recorder: Recorder) -> None:
    answer.run(SECRET, searches=4)
    with kept(recorder) as history:
        (run,) = history.runs(Wanted(agent="support-bot"))
    assert (run.stop_reason, run.error_type, run.tool_calls) == ("max_tool_calls", "max_tool_calls", 3)


def test_spans_say_the_same_as_rows(recorder: Recorder) -> None:
    for searches in range(5):
        answer.run(SECRET, searches=searches)
    with kept(recorder) as history:
        for run in history.runs(Wanted(roots=True)):
            found = {each.run_id: each for each in runs_of(history.spans(run.run_id))}
            for row in [run, *(each for each in history.runs() if each.parent_id == run.run_id)]:
                read = found[row.run_id]
                assert abs(read.ended_ns - row.ended_ns) < 5e9
                same = {"ended_ns": 0, "seconds": 0.0}
                assert read._replace(**same) == row._replace(**same)


def test_what_happened_can_be_told_again(recorder: Recorder) -> None:
    result = answer.run(SECRET, searches=4)
    with kept(recorder) as history:
        events = [event for _, event in events_of(history.spans(result.run_id))]
    calls = [event for event in events if isinstance(event, CallRecord)]
    assert [(call.name, call.decision) for call in calls] == [("kb.search", "allow")] * 3 + [("kb.search", "deny")]
    assert events[-1].stop_reason == "max_tool_calls"  # type: ignore[union-attr]


def test_no_question_and_no_span_of_others_is_kept(recorder: Recorder, provider: TracerProvider) -> None:
    with provider.get_tracer("application").start_as_current_span("their own span"):
        answer(SECRET)
    with kept(recorder) as history:
        names = {span.name for span in history.spans(history.runs(Wanted(roots=True))[0].run_id)}
    assert names == {"invoke_agent support-bot", "execute_tool kb.search", "chat gpt-5-mini", "invoke_agent child"}
    everything = b"".join(path.read_bytes() for path in recorder.folder.rglob("*") if path.is_file())
    assert b"private" not in everything
    assert b"their own" not in everything


def test_runs_that_are_not_sampled_have_a_row_and_no_spans(recorder: Recorder) -> None:
    before = use_pipeline(Pipeline(TracerProvider(sampler=ALWAYS_OFF), None, None))
    result = answer.run(SECRET)
    use_pipeline(before)
    with kept(recorder) as history:
        assert history.find(result.run_id)[0].steps == 2
        assert history.spans(result.run_id) == []


def test_a_task_is_kept(recorder: Recorder) -> None:
    answer.using(attributes={"otel_agent.task.id": "refund-1"}).run(SECRET)
    with kept(recorder) as history:
        assert [run.task for run in history.runs(Wanted(agent="support-bot"))] == ["refund-1"]


def test_files_are_for_their_owner_alone(recorder: Recorder) -> None:
    answer(SECRET)
    kept(recorder).close()
    assert {path.stat().st_mode & 0o077 for path in [recorder.folder, *recorder.folder.rglob("*")]} == {0}


def test_many_threads_lose_nothing(recorder: Recorder) -> None:
    def work() -> None:
        for _ in range(25):
            answer.run(SECRET)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with kept(recorder) as history:
        assert history.count(Wanted(roots=True)) == 200
        assert sum(run.micro_usd or 0 for run in history.runs(Wanted(roots=True))) == 200 * 30_000


def test_a_history_that_cannot_be_written_is_one_warning_and_comes_back(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    database = sqlite3.connect(recorder.folder / "runs.db")
    database.execute("ALTER TABLE runs RENAME TO away")
    with caplog.at_level(logging.WARNING):
        answer.run(SECRET)
        assert not recorder.flush(20)
        answer.run(SECRET)
        assert not recorder.flush(20)
    assert sum("the run history is not written for now" in record.message for record in caplog.records) == 1
    database.execute("ALTER TABLE away RENAME TO runs")
    database.close()
    with kept(recorder) as history:
        assert history.count(Wanted(roots=True)) == 2


PROGRAM = """
import multiprocessing, os, signal, sys, time
from otel_agent import agent_run, configure, tool_call
configure(history="history", console=False)

@tool_call("kb.search")
def search(): ...

@agent_run("bot")
def bot():
    search()

{body}
"""

WAYS = {
    "a return": "for _ in range(200): bot()",
    "an exception": "for _ in range(200): bot()\nraise SystemExit(3)",
    "SIGTERM": "for _ in range(200): bot()\nos.kill(os.getpid(), signal.SIGTERM); time.sleep(30)",
    "workers": (
        "context = multiprocessing.get_context('fork')\n"
        "def work():\n    for _ in range(50): bot()\n"
        "workers = [context.Process(target=work) for _ in range(4)]\n"
        "[worker.start() for worker in workers]; [worker.join() for worker in workers]"
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_in_whatever_way_a_process_leaves(way: str, tmp_path: Path) -> None:
    source = PROGRAM.format(body=textwrap.dedent(WAYS[way]))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source],
        cwd=tmp_path,
        env=environment(tmp_path),
        timeout=100,
        check=False,
    )
    with RunHistory.read(tmp_path / "history") as history:
        runs = history.runs()
        assert len(runs) == 200
        assert all(len(history.spans(run.run_id)) == 2 for run in runs)


def test_a_run_that_is_open_at_the_end_is_kept_as_cancelled(tmp_path: Path) -> None:
    source = PROGRAM.format(body="run = agent_run('late')\nrun.__enter__()\nsearch()")
    subprocess.run([sys.executable, "-c", source], cwd=tmp_path, env=environment(tmp_path), timeout=100, check=True)
    with RunHistory.read(tmp_path / "history") as history:
        assert [(run.agent, run.stop_reason, run.stop_detail) for run in history.runs()] == [
            ("late", "cancelled", "exit")
        ]


def test_several_processes_write_one_history(tmp_path: Path) -> None:
    source = PROGRAM.format(body="for _ in range(100): bot()")
    env: dict[str, Any] = environment(tmp_path)
    running = [subprocess.Popen([sys.executable, "-c", source], cwd=tmp_path, env=env) for _ in range(4)]
    assert [process.wait(100) for process in running] == [0] * 4
    with RunHistory.read(tmp_path / "history") as history:
        assert history.count() == 400
    assert len(list((tmp_path / "history" / "spans").iterdir())) == 4
