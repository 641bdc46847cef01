"""What stands on stdout and stderr."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from otel_agent import BudgetExceeded, StopCode
from otel_agent.demo.scenarios import SCENARIOS
from otel_agent.demo.show import Show, complain
from tests.demo.made import ledger, outcome, report

LONG = "A hyphenated-word and many more of them, so that it has to be wrapped. " * 3


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_a_scenario_and_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    Show().scenario(SCENARIOS[0])
    Show().question(LONG)
    heading, *lines = capsys.readouterr().out.strip("\n").split("\n")
    assert heading == "answer  v13 answers within its budget"
    assert [line[:3] for line in lines] == ["Q  ", "   ", "   "]
    assert all(len(line) <= 100 for line in lines)
    assert " ".join(line[3:] for line in lines) == LONG.strip()


def test_an_outcome_is_its_answer_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Show().outcome(outcome(pieces=3), traced=False)
    assert (
        capsys.readouterr().out
        == "A  Yes.\n   finish · 2 steps · 1 tool call · 1,050 tokens · $0.0101 · came in 3 pieces\n"
    )


def test_an_outcome_names_the_limit_and_the_denials(capsys: pytest.CaptureFixture[str]) -> None:
    made = outcome(StopCode.MAX_STEPS, denials={"max_calls_per_tool": 2})
    stop = BudgetExceeded(reason=StopCode.MAX_STEPS, limit=2, used=2)
    Show().outcome(replace(made, result=replace(made.result, error=stop, output=None)), traced=False)
    answer, line = capsys.readouterr().out.splitlines()
    assert answer == "A  -"
    assert line.startswith("   max_steps (used 2 of 2), denied 2 · ")


def test_a_trace_is_named_where_it_can_be_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    made = outcome()
    traced = replace(made, result=replace(made.result, trace_id="a" * 32))
    Show().outcome(traced, traced=False)
    assert "aaaa" not in capsys.readouterr().out
    Show().outcome(traced, traced=True)
    assert capsys.readouterr().out.endswith(f" · trace {'a' * 32}\n")


def test_an_answer_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    made = outcome()
    Show().outcome(replace(made, result=replace(made.result, output="\x1b[2Jgone\r\nnext")), traced=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.startswith("A  \\x1b[2Jgone\n   next\n")


def test_colour_is_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    Show().scenario(SCENARIOS[0])
    assert capsys.readouterr().out == "\n\x1b[1manswer\x1b[0m  v13 answers within its budget\n"


def test_a_report_is_the_table_and_the_servers_count(capsys: pytest.CaptureFixture[str]) -> None:
    Show().report(report(outcome(), ledger=ledger()))
    out, err = capsys.readouterr()
    assert out.startswith("\nprompt ")
    assert out.endswith(
        "\n\nThe model server's own count agrees: 2 answers, 1,050 tokens, 1 tool call asked for, 1 of them made.\n"
    )
    assert err == ""


def test_complaints_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Show().report(report(outcome(), ledger=ledger(tool_calls=5)))
    out, err = capsys.readouterr()
    assert "agrees" not in out
    assert err == "otel-agent demo: tool calls asked for: 1 in the runs, 6 served\n"
    complain("\u2603")
    assert capsys.readouterr().err == "otel-agent demo: \u2603\n"


def test_quiet_prints_the_document_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show(quiet=True)
    show.scenario(SCENARIOS[0])
    show.question("Why?")
    show.outcome(outcome(), traced=True)
    made = report(outcome(), ledger=ledger())
    show.report(made)
    assert json.loads(capsys.readouterr().out) == made.document()


def test_nothing_played_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    Show().report(report(problem="gone"))
    assert capsys.readouterr() == ("", "otel-agent demo: gone\n")
