"""A result as JUnit XML, for whatever reads test results: a test case a task, and one for the baseline."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from otel_agent.golden.reports.facts import about, broken, headline
from otel_agent.golden.results import Result, TaskResult

__all__ = ["junit_text"]

SUITE = "golden tasks"
IN_ALL = ("name", "tests", "failures", "errors", "time")
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_text(result: Result) -> str:
    """Gives the document: a task that failed is a failure, one that could not be judged an error."""
    suite = Element("testsuite", name=SUITE, timestamp=_moment(result.at_ns), hostname="-")
    properties = SubElement(suite, "properties")
    named = {"agent": result.agent, "prompt_ids": " ".join(result.prompt_ids), "task_set": result.task_set}
    for name, value in {**named, "verdict": result.verdict}.items():
        SubElement(properties, "property", name=name, value=_text(value))
    for task in result.tasks:
        _case(suite, result, task)
    _baseline(suite, result)
    SubElement(suite, "system-out").text = _text("\n".join([*about(result), headline(result)]))
    _counts(suite)
    whole = Element(
        "testsuites", {name: suite.attrib[name] for name in ("name", "tests", "failures", "errors", "time")}
    )
    whole.append(suite)
    indent(whole)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(whole, encoding="unicode") + "\n"


def _case(suite: Element, result: Result, task: TaskResult) -> None:
    seconds = sum(trial.run.seconds for trial in task.own if trial.run is not None)
    case = SubElement(suite, "testcase", classname=_text(result.agent), name=_text(task.task), time=f"{seconds:.3f}")
    if task.passed:
        return
    said = broken(task) or [f"{len(task.own)} of {task.repeats} trials were run"]
    kind = "failure" if task.state == "failed" else "error"
    found = SubElement(case, kind, message=_text(said[0]), type=_kind(task))
    ids = [trial.run.run_id for trial in task.own if trial.run is not None and not trial.passed]
    found.text = _text("\n".join([*said, *(f"run {run_id}" for run_id in ids)]))


def _kind(task: TaskResult) -> str:
    fields = [violation.field for trial in task.own for violation in trial.violations]
    return _text(fields[0]) if fields and task.state == "failed" else task.state


def _baseline(suite: Element, result: Result) -> None:
    found = result.comparison
    if found is None:
        return
    case = SubElement(suite, "testcase", classname=_text(result.agent), name="baseline", time="0.000")
    if found.state != "no dearer":
        kind = "failure" if found.state == "dearer" else "error"
        SubElement(case, kind, message=_text(found.because), type=found.state).text = _text(found.because)


def _counts(suite: Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", "0")
    suite.set("time", f"{sum(float(case.attrib['time']) for case in cases):.3f}")


def _moment(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _text(text: str) -> str:
    """Leaves out what no XML may hold."""
    return _NOT_IN_XML.sub("?", text)
