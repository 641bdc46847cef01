"""The page on finished runs: every run is drawn once, names are harmless, and nothing is loaded from anywhere."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime

import pytest

from otel_agent.usage import PastRun
from otel_agent.views.report import dearest, render_report, slowest
from tests.support.past import HOUR, START, V13, V14, past_run, side

NOW = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)


def page(runs: list[PastRun], **trees: list[str]) -> str:
    return render_report(runs, trees, title="Runs", now=NOW)


def drawn(text: str, unit: str) -> int:
    """Sums what the titles of the bars over time say."""
    chart = text.partition("<h2>Runs over time</h2>")[2].partition("</svg>")[0]
    return sum(int(count.replace(",", "")) for count in re.findall(rf"<title>[^<]*?: ([\d,]+) [^<]*{unit}", chart))


@pytest.mark.parametrize("hours", [0, 1, 30, 24 * 400])
def test_every_run_is_in_one_bar(hours: int) -> None:
    chance = random.Random(hours)
    times = [START + int(chance.random() * hours * HOUR) for _ in range(300)]
    runs = side(chance, times[:100]) + side(chance, times[100:], prompt_id=V14)
    text = page(runs)
    assert drawn(text, "support:v13") == 100
    assert drawn(text, "support:v14") == 200
    assert text.partition("<svg")[2].partition("</svg>")[0].count("<rect") <= 140


@pytest.mark.parametrize("bars", range(1, 60, 3))
def test_no_label_of_a_time_is_cut_off(bars: int) -> None:
    text = page([past_run(ended_ns=START + at * 6 * HOUR) for at in range(bars)])
    chart = text.partition("<svg")[2].partition("</svg>")[0]
    width = int(re.findall(r'viewBox="0 0 (\d+)', chart)[0])
    labels = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="middle">([^<]+)', chart)
    assert labels
    assert all(float(x) + 3.5 * len(label) <= width for x, label in labels)


def test_many_prompts_share_the_last_colour_and_none_is_lost() -> None:
    runs = [past_run(prompt_id=f"p{at}:v1:0123456789ab", ended_ns=START + at) for at in range(30)]
    text = page(runs)
    assert "22 more prompts" in text
    assert drawn(text, "p[0-9]") + drawn(text, "more prompts") == 30


def test_the_middle_of_what_runs_took_is_drawn() -> None:
    text = page([past_run(input_tokens=1_000 * at, output_tokens=0, ended_ns=START + at) for at in range(1, 10)])
    assert "9 runs; 5, 25, 50, 75 and 95 of 100 are at most 1,400, 3,000, 5,000, 7,000, 8,600" in text


def test_shares_of_stop_reasons_are_told_in_words() -> None:
    runs = [past_run(ended_ns=START + at, stop_reason="max_usd" if at < 3 else "finish") for at in range(12)]
    text = page(runs)
    assert f"{V13}: max_usd 3 of 12 (25.0%)" in text
    assert f"{V13}: finish 9 of 12 (75.0%)" in text


def test_costs_that_are_not_known_are_counted_apart() -> None:
    text = page([past_run(micro_usd=None), past_run(micro_usd=2_000_000)])
    assert "cost, 1 of unknown cost</dt><dd>$2.00</dd>" in text
    assert "Not known of any run." in page([past_run(micro_usd=None)])
    assert dearest([past_run(micro_usd=None)]) == []


def test_names_and_trees_are_text_and_never_markup() -> None:
    run = past_run(
        run_id="a", agent="<script>alert(1)</script>", prompt_id='"><img src=x>:v1:0123456789ab', stop_reason="<b>"
    )
    text = page([run], a=["support <i>", "└─ tool"])
    assert not re.search(r"<script|<img|<b>|<i>", text)
    assert "support &lt;i&gt;\n└─ tool" in text


def test_the_slowest_and_dearest_are_listed_first() -> None:
    runs = [
        past_run(run_id=f"{at:012d}", seconds=float(at), micro_usd=100 - at, ended_ns=START + at) for at in range(20)
    ]
    assert [run.seconds for run in slowest(runs)] == [float(at) for at in range(19, 9, -1)]
    assert [run.micro_usd for run in dearest(runs)] == list(range(100, 90, -1))
    text = page(runs)
    assert text.index("000000000019") < text.index("000000000018") < text.index("Dearest runs")


def test_without_runs_there_is_a_page_that_says_so() -> None:
    assert "There are no such runs." in page([])
