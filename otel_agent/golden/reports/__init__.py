"""A result for those who read it: a terminal, JSON, JUnit XML, Markdown, one HTML page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from otel_agent import checks
from otel_agent.golden.reports.html import html_text
from otel_agent.golden.reports.junit import junit_text
from otel_agent.golden.reports.markdown import markdown_text
from otel_agent.golden.reports.terminal import terminal_text
from otel_agent.golden.results import Result
from otel_agent.golden.saved import result_json
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import replace_text

__all__ = ["FORMATS", "SUFFIXES", "Report", "report_to", "terminal_text", "write_report"]


def _json(result: Result) -> str:
    return json.dumps(result_json(result), indent=2) + "\n"


FORMATS: Mapping[str, Callable[[Result], str]] = {
    "json": _json,
    "junit": junit_text,
    "markdown": markdown_text,
    "html": html_text,
}
SUFFIXES = {".json": "json", ".xml": "junit", ".md": "markdown", ".html": "html"}


class Report(NamedTuple):
    """A report that is asked for: its form and its file."""

    form: str
    file: Path


def report_to(text: str) -> Report:
    """Reads `FORMAT:FILE`, or a file whose suffix says the form.

    Raises:
        InvalidSetting: it says no form, or the file's folder is not there.
    """
    form, colon, name = text.partition(":")
    known = form in FORMATS and bool(colon)
    file = Path(name if known else text)
    a_form = bool(colon) and len(form) > 1 and form.isalpha()  # one letter is a drive
    found = form if known else None if a_form else SUFFIXES.get(file.suffix.lower())
    if found is None or not file.name:
        allowed = f"a file that ends in {', '.join(SUFFIXES)}, or FORMAT:FILE with one of {', '.join(FORMATS)}"
        raise InvalidSetting(field="--report", value=text, allowed=allowed + checks.nearest(form, FORMATS))
    if not file.absolute().parent.is_dir():
        raise InvalidSetting(field="--report", value=text, allowed="in a folder that is there")
    return Report(found, file)


def write_report(report: Report, result: Result) -> None:
    """Writes a report, whole or not at all.

    Raises:
        InvalidSetting: the file cannot be written.
    """
    replace_text(report.file, FORMATS[report.form](result))
