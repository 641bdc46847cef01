"""What each report says of a result, and that none says what a task asks or an agent answers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from otel_agent import InvalidSetting
from otel_agent.golden.reports import FORMATS, Report, report_to, terminal_text, write_report
from otel_agent.golden.results import Result, TaskResult
from otel_agent.golden.saved import load_result
from tests.golden.told import a_result, a_trial, compared_result
from tests.support.past import V14


def test_the_table_has_a_row_a_task_with_what_broke_and_the_run_to_look_at() -> None:
    lines = terminal_text(a_result()).splitlines()
    refund = next(line for line in lines if line.startswith("refund"))
    assert re.search(r"failed +1/3 +finish +4-11 +3,600 +max_tool_calls: at most 4, found 11 \(2 of 3\)", refund)
    assert refund.rstrip().endswith(a_trial("refund", 1).run.run_id[:12])  # type: ignore[union-attr]
    hangs = next(line for line in lines if line.startswith("hangs"))
    assert "inconclusive" in hangs
    assert "never returned: still under way after 5 s" in hangs
    assert lines[-1] == "regression: 1 of 3 tasks passed, 1 failed, 1 inconclusive (7 runs)"
    assert f"agent bot:answer, {V14}, tasks ffffffffffff" in lines


def test_no_failure_says_what_chance_still_allows_and_a_failure_does_not() -> None:
    good = a_result({"t": [a_trial("t", at) for at in (1, 2, 3)]})
    assert "0 failures in 3 runs still allow a failure rate of up to 63.2% (95 %)." in terminal_text(good)
    assert "still allow" not in terminal_text(a_result())


def test_the_baseline_is_a_table_of_its_own() -> None:
    text = terminal_text(compared_result())
    assert re.search(r"tokens per run +500\.0 +1,520\.0 +3\.04 \[", text)
    assert "dearer than v13.json: tokens x 3.04 over 6 tasks" in text
    assert text.splitlines()[-1].startswith("regression: 6 of 6 tasks passed")


def test_an_interrupted_result_says_so() -> None:
    assert "(3 runs, interrupted)" in terminal_text(
        a_result({"t": [a_trial("t", at) for at in (1, 2, 3)]}, interrupted=True)
    )


@pytest.mark.parametrize("form", FORMATS)
def test_no_report_says_what_is_asked_or_answered(form: str) -> None:
    assert "SECRET" not in FORMATS[form](a_result())
    assert "SECRET" not in terminal_text(a_result())


def cases(result: Result) -> list[str]:
    whole = ElementTree.fromstring(FORMATS["junit"](result))
    return [case.attrib["name"] for case in whole.iter("testcase")]


def test_junit_has_a_case_a_task_and_one_for_the_baseline() -> None:
    whole = ElementTree.fromstring(FORMATS["junit"](a_result()))
    suite = whole[0]
    assert {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    assert cases(a_result()) == ["greet", "refund", "hangs | <b>&"]
    failure = suite.find("testcase[@name='refund']/failure")
    assert failure is not None
    assert failure.attrib == {"message": "max_tool_calls: at most 4, found 11 (2 of 3)", "type": "max_tool_calls"}
    assert f"run {a_trial('refund', 1).run.run_id}" in (failure.text or "")  # type: ignore[union-attr]
    assert [
        case.attrib["name"] for case in ElementTree.fromstring(FORMATS["junit"](compared_result())).iter("testcase")
    ][-1] == "baseline"


ORDER = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase", "system-out"],
    "properties": ["property"],
    "testcase": ["failure", "error"],
}
NEEDED = {
    "testsuites": {"name", "tests", "failures", "errors", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
    "testcase": {"classname", "name", "time"},
    "property": {"name", "value"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "properties": set(),
    "system-out": set(),
}


@pytest.mark.parametrize("result", [a_result(), compared_result()], ids=["tasks", "baseline"])
def test_junit_keeps_to_the_elements_attributes_and_order_that_readers_know(result: object) -> None:
    whole = ElementTree.fromstring(FORMATS["junit"](result))  # type: ignore[arg-type]
    for element in whole.iter():
        assert set(element.attrib) == NEEDED[element.tag]
        places = [ORDER[element.tag].index(child.tag) for child in element]
        assert places == sorted(places)
    for case in whole.iter("testcase"):
        assert float(case.attrib["time"]) >= 0


def test_junit_holds_no_character_that_xml_forbids() -> None:
    result = a_result({"bell\x07 \x1b[31m": [a_trial("bell\x07 \x1b[31m", 1, problem="a\x00b")]})
    assert "bell? ?[31m" in [
        case.attrib["name"] for case in ElementTree.fromstring(FORMATS["junit"](result)).iter("testcase")
    ]


def test_markdown_is_a_table_that_no_name_can_leave() -> None:
    text = FORMATS["markdown"](a_result())
    assert text.startswith("### Golden tasks: regression: 1 of 3 tasks passed")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 5
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}
    assert r"hangs \| \<b\>&" in text


def test_json_is_what_is_saved(tmp_path: Path) -> None:
    write_report(Report("json", tmp_path / "r.json"), compared_result())
    assert load_result(tmp_path / "r.json") == compared_result()
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "regression"


class Page(HTMLParser):
    """What a page asks of others, and whether its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asks: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.asks += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "line", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "rect"):
            assert self.open.pop() == tag


@pytest.mark.parametrize("result", [a_result(), compared_result()], ids=["tasks", "baseline"])
def test_the_page_is_whole_and_asks_nobody_for_anything(result: object) -> None:
    page = Page()
    text = FORMATS["html"](result)  # type: ignore[arg-type]
    page.feed(text)
    assert (page.open, page.asks) == ([], [])
    assert "script" not in page.tags
    assert "prefers-color-scheme: dark" in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("text", "form", "file"),
    [
        ("r.json", "json", "r.json"),
        ("R.XML", "junit", "R.XML"),
        ("a.md", "markdown", "a.md"),
        ("a.html", "html", "a.html"),
        ("junit:report.txt", "junit", "report.txt"),
        ("html:a:b", "html", "a:b"),
    ],
)
def test_a_report_says_its_form_before_a_colon_or_by_its_suffix(
    text: str, form: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report_to(text) == (form, Path(file))


@pytest.mark.parametrize("text", ["", "report", "r.txt", "xml:", "pdf:r.pdf", "none/r.json"])
def test_a_report_in_no_form_or_no_folder_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSetting, match="--report"):
        report_to(text)


def test_a_task_without_any_trial_is_told() -> None:
    lost = TaskResult(task="t", trials=(), repeats=3, quorum=2)
    result = Result(agent="a:b", prompt_ids=(), tasks=(lost,), task_set="0" * 12, at_ns=1, interrupted=True)
    assert re.search(r"t +inconclusive +0/3 +- +- +- +- +-", terminal_text(result))
