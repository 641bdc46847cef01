"""Sums, the table, the JSON document and the complaints, on results made up for them."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from otel_agent import StopCode
from otel_agent.demo.report import Outcome, Totals
from otel_agent.demo.scenarios import SCENARIOS
from tests.demo.made import BATCH, USAGE, ledger, outcome, report


def test_totals_add_up() -> None:
    totals = Totals.of([outcome(), outcome(StopCode.MAX_USD, asked=3)])
    assert (totals.runs, totals.done, totals.stops) == (2, 1, {"finish": 1, "max_usd": 1})
    assert (totals.steps, totals.tokens, totals.tool_calls, totals.tool_calls_asked) == (4, 2_100, 2, 4)
    assert totals.cost_usd == Decimal("0.0202")


def test_totals_of_nothing() -> None:
    assert (Totals.of([]).runs, Totals.of([]).cost_usd) == (0, Decimal(0))


def test_one_unknown_price_makes_the_cost_unknown() -> None:
    assert Totals.of([outcome(), outcome(usage=replace(USAGE, cost_usd=None))]).cost_usd is None


class TestComplaints:
    def test_are_none_when_all_is_well(self) -> None:
        assert report(outcome(), ledger=ledger()).complaints == []

    @pytest.mark.parametrize(
        "more", [{"input_tokens": 601}, {"output_tokens": 31}, {"tool_calls": 1}, {"completed": False}]
    )
    def test_name_what_the_server_counted_otherwise(self, more: dict[str, Any]) -> None:
        (line,) = report(outcome(), ledger=ledger(**more)).complaints
        assert "in the runs" in line
        assert "served" in line

    def test_name_tool_calls_that_were_not_made(self) -> None:
        assert report(outcome(used=0), ledger=ledger()).complaints == ["tool calls made: 1 in the runs, 0 served"]

    def test_name_runs_that_ended_otherwise(self) -> None:
        (line,) = report(outcome(StopCode.MAX_USD)).complaints
        assert line == "answer: a run ended as max_usd, not as finish"

    def test_end_with_what_ended_the_showing_and_compare_nothing_then(self) -> None:
        assert report(ledger=ledger(), problem="gone").complaints == ["gone"]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (outcome(), True),
        (outcome(StopCode.LLM_ERROR), False),
        (outcome(scenario=BATCH), False),
        (outcome(scenario=BATCH, denials={"max_calls_per_tool": 1}), True),
        (outcome(denials={"max_calls_per_tool": 1}), False),
        (outcome(scenario=BATCH, scripted=False), True),
        (outcome(StopCode.FINISH, scenario=SCENARIOS[-1]), False),
        (outcome(StopCode.FINISH, scenario=SCENARIOS[-1], scripted=False), True),
        (outcome(StopCode.LLM_ERROR, scripted=False), False),
    ],
)
def test_what_is_expected_of_a_run(made: Outcome, expected: bool) -> None:
    assert made.as_expected is expected


def test_table_has_a_row_a_prompt_and_the_totals() -> None:
    lines = report(outcome(), outcome(StopCode.MAX_USD), outcome(prompt_id="support:v14:2")).table().splitlines()
    shown = [" ".join(line.split()) for line in lines]
    assert shown[0] == "prompt runs stops steps tokens tool calls cost"
    assert shown[2] == "support:v13:1 2 finish 1, max_usd 1 4 2,100 2 $0.0202"
    assert shown[3] == "support:v14:2 1 finish 1 2 1,050 1 $0.0101"
    assert shown[-1] == "total 3 2 done 6 3,150 3 $0.0303"


def test_document_is_plain_json_and_keeps_every_digit_of_money() -> None:
    document = json.loads(json.dumps(report(outcome(), ledger=ledger(), exports_to="http://x").document()))
    assert document["exports_to"] == "http://x"
    assert document["totals"]["cost_usd"] == "0.0101"
    assert document["ledger"] == {
        "requests": 2,
        "answered": 2,
        "input_tokens": 1_000,
        "output_tokens": 50,
        "tool_calls": 1,
    }
    (run,) = document["runs"]
    assert (run["answer"], run["stop_reason"], run["usage"]["cost_usd"]) == ("Yes.", "finish", "0.0101")
    assert {"run_id", "trace_id", "prompt_id", "scenario", "question", "denials", "as_expected"} <= set(run)


def test_document_of_a_showing_that_never_began() -> None:
    document = report(problem="gone").document()
    assert (document["runs"], document["ledger"], document["complaints"]) == ([], None, ["gone"])
