"""The pytest plugin of otel_agent: golden files are collected, each trial of a task is a test.

Decides when any of it is loaded: not before a golden file, an option or the fixture asks for it, so that test runs
which know nothing of golden tasks pay nothing, and coverage measures the package from its first line on.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from otel_agent.golden.judging import Judge
    from otel_agent.golden.seen import GoldenRun

__all__ = ["golden_run", "pytest_addoption", "pytest_collect_file", "pytest_configure"]

FILES = ["*.golden.yaml", "*.golden.yml"]
OPTIONS = ("golden_prompt", "golden_repeats", "golden_baseline", "golden_replay")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options and the setting."""
    group = parser.getgroup("golden", "golden tasks of otel_agent")
    group.addoption(
        "--golden-prompt", metavar="NAME:VERSION", help="give agents this prompt where they select one by its name"
    )
    group.addoption(
        "--golden-repeats", type=int, metavar="N", help="how often each task runs that does not say so itself (3)"
    )
    group.addoption(
        "--golden-baseline", metavar="FILE", help="compare with a result that `otel-agent golden run --save` wrote"
    )
    group.addoption(
        "--golden-replay", metavar="FILE", help="answer from a recording that `otel-agent golden run --record` wrote"
    )
    parser.addini("golden_files", "patterns of the files that hold golden tasks", type="args", default=FILES)


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker and checks the options that are there."""
    config.addinivalue_line("markers", "golden: a trial of a golden task; it calls an agent")
    config.pluginmanager.register(_Session(config), "otel-agent-golden")
    if any(config.getoption(name) is not None for name in OPTIONS):
        from otel_agent.golden.items import check_options

        check_options(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collects a file that one of the patterns names."""
    if not any(file_path.match(pattern) for pattern in parent.config.getini("golden_files")):
        return None
    from otel_agent.golden.items import GoldenFile

    kind: Any = GoldenFile
    found: pytest.Collector = kind.from_parent(parent, path=file_path)
    return found


@pytest.fixture
def golden_run(request: pytest.FixtureRequest) -> GoldenRun:
    """Calls an agent and gives what it returned, the record of its run, its tools and the tree of its spans.

    `seen = golden_run(agent, "question")`: `seen.output`, `seen.run.tool_calls`, `seen.tools`, `seen.tree`.
    """
    from otel_agent.golden.seen import GoldenRun

    return GoldenRun(prompt=request.config.getoption("golden_prompt"))


class _Session:
    """The hooks that look at what trials came to; each has nothing to do where there was none."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._judge: Judge | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
        report = yield
        tell: Any = getattr(item, "tell_trial", None)
        if call.when == "call" and tell is not None:
            tell(report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "golden") and not hasattr(self._config, "workerinput"):
            self._here().hear(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Any:
        return ("tolerated", "t", ("TOLERATED", {"yellow": True})) if getattr(report, "tolerated", False) else None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._judge is not None:
            session.exitstatus = self._judge.finish(session.exitstatus)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._judge is not None:
            self._judge.summarize(terminalreporter)

    def _here(self) -> Judge:
        if self._judge is None:
            from otel_agent.golden.judging import Judge

            self._judge = Judge(self._config.getoption("golden_baseline"))
        return self._judge
