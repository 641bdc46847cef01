"""`otel-agent runs`: what each command prints, in which form, and with which exit code."""

from __future__ import annotations

import gzip
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from otel_agent.cli.app import app
from otel_agent.cli.runs.options import Moment, Span
from otel_agent.stores.run_history import RunHistory, SpansAt, new_span_file
from tests.stores.spans import line, span, span_line
from tests.support.past import HOUR, V14, side

NOW = time.time_ns() // 1_000_000_000 * 1_000_000_000
V13_AGO, V14_AGO = 48 * HOUR, 24 * HOUR


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with a day of v13 and a day of v14 in it."""
    folder = tmp_path_factory.mktemp("runs") / "history"
    chance = random.Random(1)
    a = side(chance, [NOW - V13_AGO + at * HOUR // 2 for at in range(40)])
    b = side(chance, [NOW - V14_AGO + at * HOUR // 2 for at in range(40)], prompt_id=V14, p95=14_200, tool_calls=11)
    runs = [run._replace(run_id=f"a{at:031x}") for at, run in enumerate(a)]
    runs += [run._replace(run_id=f"b{at:031x}", agent="other") for at, run in enumerate(b)]
    runs[-1] = runs[-1]._replace(stop_reason="max_usd", stop_detail="at the \x1b[31mend", trace_id="c" * 32)
    with RunHistory.create(folder) as history:
        target = new_span_file(folder)
        own = span_line(runs[-1])
        tool = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "kb.search"}
        calls = line(span("c" * 32, "1", **tool, otel_agent__run__id=runs[-1].run_id))
        target.write_bytes(own + calls)
        places = [
            SpansAt(runs[-1].run_id, target.name, 0, len(own)),
            SpansAt(runs[-1].run_id, target.name, len(own), len(calls)),
        ]
        history.add(runs, places)
    return folder


def runs(folder: Path | None, *arguments: str, code: int = 0) -> str:
    where = [] if folder is None else ["--history", str(folder)]
    done = CliRunner().invoke(app, ["runs", *arguments, *where])
    assert done.exit_code == code, done.output
    return done.output if code else done.stdout


def document(folder: Path, *arguments: str, code: int = 0) -> Any:
    return json.loads(runs(folder, *arguments, "--json", code=code))


class TestList:
    def test_shows_the_latest_first_and_how_many_there_are(self, folder: Path) -> None:
        out = runs(folder, "list", "--limit", "3")
        rows = [row.split()[0] for row in out.splitlines()[2:5]]
        assert rows == ["b00000000000"] * 3
        assert "80 runs in all" in out
        assert "max_usd:at the \\x1b[31mend" in out

    def test_filters_and_orders_as_json(self, folder: Path) -> None:
        found = document(folder, "list", "--prompt", "support:v14", "--sort", "dearest", "--limit", "5")
        assert found["total"] == 40
        costs = [float(run["cost_usd"]) for run in found["runs"]]
        assert costs == sorted(costs, reverse=True)
        assert {run["prompt_id"] for run in found["runs"]} == {V14}
        assert document(folder, "list", "--agent", "other", "--stop-reason", "max_usd")["total"] == 1
        assert document(folder, "list", "--since", "25h")["total"] == 40
        assert document(folder, "list", "--until", "25h")["total"] == 40

    def test_of_none_it_says_so(self, folder: Path) -> None:
        assert runs(folder, "list", "--agent", "nobody") == "no such runs\n"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--since", "yesterday"], "'yesterday' is no time"),
            (["--stop-reason", "maximum"], "max_usd"),
            (["--limit", "0"], "--limit"),
        ],
    )
    def test_wrong_usage_is_2(self, folder: Path, arguments: list[str], says: str) -> None:
        assert says in runs(folder, "list", *arguments, code=2)


class TestShowAndTree:
    def test_a_run_by_the_start_of_its_id(self, folder: Path) -> None:
        out = runs(folder, "show", f"b{39:031x}")
        assert re.search(r"stop reason +max_usd:at the \\x1b", out)
        assert re.search(r"spans +2\n", out)
        assert document(folder, "show", "c" * 8)["run_id"] == f"b{39:031x}"

    def test_the_latest_without_an_id(self, folder: Path) -> None:
        assert document(folder, "show")["run_id"] == f"b{39:031x}"

    def test_what_is_no_run_or_several_is_2(self, folder: Path) -> None:
        assert "no run id or trace id begins with 'ff'" in runs(folder, "show", "ff", code=2)
        assert "'b0' is the beginning of several" in runs(folder, "show", "b0", code=2)

    def test_the_tree_is_drawn(self, folder: Path) -> None:
        out = runs(folder, "tree", "cccc")
        assert out.startswith("other · support:v14")
        assert "tool  kb.search" in out
        (root,) = document(folder, "tree", "cccc")
        assert [item["name"] for item in root["items"]] == ["kb.search"]

    def test_without_spans_it_says_why(self, folder: Path) -> None:
        assert "no spans can be read: it was not sampled, or they were pruned or are damaged" in runs(
            folder, "tree", f"b{1:031x}", code=1
        )


class TestCompare:
    def test_two_prompts(self, folder: Path) -> None:
        out = runs(folder, "compare", "support:v13", "support:v14")
        assert out.splitlines()[-1].startswith("prompt: a run of support:v14 takes ")
        assert re.search(r"tool calls per run +\d", out)
        assert re.search(r"ended max_usd +0% \[0%, 9%\] +2% \[0%, 13%\]", out)
        assert "Spend a day: $" in out

    def test_two_windows(self, folder: Path) -> None:
        found = document(folder, "compare", "--window", "49h..25h", "--window", "25h..")
        assert found["verdict"] == "prompt"
        assert found["a"]["runs"] == found["b"]["runs"] == 40
        assert found["spend"]["traffic"] + found["spend"]["prompt"] == pytest.approx(
            found["spend"]["b"] - found["spend"]["a"]
        )
        assert [gauge["name"] for gauge in found["gauges"]][:2] == ["tokens", "tokens_per_request"]

    def test_the_exit_code_says_it_where_asked_to(self, folder: Path) -> None:
        runs(folder, "compare", "support:v13", "support:v14", "--exit-code", code=1)
        few = ["--window", "25h..20h", "--window", "20h..15h"]
        assert "not enough runs" in runs(folder, "compare", *few, "--exit-code", code=3)
        assert "not enough runs" in runs(folder, "compare", *few)

    def test_a_side_without_runs_is_3(self, folder: Path) -> None:
        out = runs(folder, "compare", "support:v13", "support:v14", "--agent", "nobody", code=3)
        assert out == "not enough runs: support:v13 and support:v14 have none\n"

    def test_an_unknown_prompt_is_2_with_the_nearest(self, folder: Path) -> None:
        assert "did you mean support:v14?" in runs(folder, "compare", "support:v13", "suport:v14", code=2)

    @pytest.mark.parametrize(
        "arguments",
        [[], ["support:v13"], ["--window", "2d.."], ["--window", "now..2d", "--window", "2d.."], ["a", "b", "c"]],
    )
    def test_half_a_question_is_2(self, folder: Path, arguments: list[str]) -> None:
        runs(folder, "compare", *arguments, code=2)


class TestReport:
    def test_one_page_that_needs_nothing_else(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        assert runs(folder, "report", "-o", str(out), "--title", "<b>Runs</b>") == f"{out}: 80 runs\n"
        page = out.read_text("utf-8")
        assert "<h1>&lt;b&gt;Runs&lt;/b&gt;</h1>" in page
        assert not re.search(r"<script|<link|<img|https?://|url\(|@import", page)
        assert "default-src 'none'" in page
        assert "prefers-color-scheme: dark" in page
        assert page.count("<svg") == 5
        assert "kb.search" in page
        assert "\x1b" not in page

    def test_a_page_without_runs(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        assert runs(folder, "report", "-o", str(out), "--agent", "nobody") == f"{out}: 0 runs\n"
        assert "There are no such runs." in out.read_text("utf-8")

    def test_a_folder_that_is_not_there_is_one_line(self, folder: Path, tmp_path: Path) -> None:
        out = runs(folder, "report", "-o", str(tmp_path / "no" / "report.html"), code=1)
        assert out.count("\n") == 1


class TestImport:
    def test_what_came_in_is_said(self, tmp_path: Path) -> None:
        given = tmp_path / "traces.json.gz"
        given.write_bytes(gzip.compress(span_line(side(random.Random(1), [NOW])[0])))
        assert runs(tmp_path / "h", "import", str(given)) == f"{given}: 1 run imported, of 1 span\n"
        assert "0 runs imported, 1 run there already" in runs(tmp_path / "h", "import", str(given))
        assert document(tmp_path / "h", "list")["total"] == 1

    def test_damaged_lines_are_named_and_the_code_is_1(self, tmp_path: Path) -> None:
        given = tmp_path / "traces.json"
        given.write_bytes(b"{\n" * 9)
        out = runs(tmp_path / "h", "import", str(given), code=1)
        assert f"{given}: line 1: no JSON" in out
        assert "4 damaged lines more" in out

    def test_a_file_that_is_not_there_is_2(self, tmp_path: Path) -> None:
        runs(tmp_path / "h", "import", str(tmp_path / "nowhere"), code=2)


class TestPrune:
    def test_a_dry_run_tells_and_deletes_nothing(self, folder: Path) -> None:
        out = runs(folder, "prune", "--days", "1.04", "--dry-run")
        assert out.startswith("40 runs and 0 span files (0.0 MB) would be deleted")
        assert document(folder, "list")["total"] == 80

    def test_it_deletes(self, tmp_path: Path) -> None:
        with RunHistory.create(tmp_path / "h") as history:
            history.add(side(random.Random(1), [1, 2, NOW]))
        assert document(tmp_path / "h", "prune") == {"dry_run": False, "runs": 2, "files": 0, "bytes": 0}
        assert document(tmp_path / "h", "list")["total"] == 1


@pytest.mark.parametrize("command", [["list"], ["show"], ["tree"], ["compare", "a", "b"], ["report"], ["prune"]])
def test_without_a_history_there_is_one_line(command: list[str], tmp_path: Path) -> None:
    out = runs(tmp_path / "none", *command, code=1)
    assert "there is no run history in" in out
    assert "configure(history=True) keeps one" in out


def test_a_damaged_history_is_one_line_and_its_runs_are_read(tmp_path: Path) -> None:
    with RunHistory.create(tmp_path) as history:
        (run,) = side(random.Random(1), [NOW])
        target = new_span_file(tmp_path)
        target.write_bytes(span_line(run))
        history.add([run], [SpansAt(run.run_id, target.name, 0, target.stat().st_size)])
    (tmp_path / "runs.db").write_bytes(b"damaged" * 1_000)
    done = CliRunner().invoke(app, ["runs", "list", "--json", "--history", str(tmp_path)])
    assert done.exit_code == 0
    assert f"{tmp_path / 'runs.db'} is damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert json.loads(done.stdout)["total"] == 1


def test_the_variable_says_where(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_HISTORY", str(folder))
    assert "80 runs in all" in runs(None, "list")


def test_else_it_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_HISTORY", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert "otel-agent" in runs(None, "list", code=1)


def completed(words: list[str], incomplete: str) -> list[str]:
    from click.shell_completion import ShellComplete

    found = ShellComplete(app, {}, "otel-agent", "_OTEL_AGENT_COMPLETE").get_completions(words, incomplete)
    return [item.value for item in found]


def test_a_shell_completes_agents_prompts_ids_and_codes(folder: Path) -> None:
    where = ["--history", str(folder)]
    assert completed(["runs", "list", *where, "--agent"], "o") == ["other"]
    assert completed(["runs", "compare", *where], "support:v14") == [V14]
    assert completed(["runs", "show", *where], "cc") == [f"b{39:031x}"]
    assert "max_usd" in completed(["runs", "list", "--stop-reason"], "max")
    assert completed(["runs", "list", "--history", "/nowhere", "--agent"], "") == []
    assert completed(["runs"], "com") == ["compare"]


@pytest.mark.parametrize("command", ["list", "show", "tree", "compare", "report", "import", "prune"])
def test_every_command_helps(command: str) -> None:
    out = runs(None, command, "--help")
    assert "--history DIR" in out


def test_times_are_read_as_they_are_written() -> None:
    def moment(text: str) -> int:
        return Moment().convert(text, None, None)

    assert moment("2026-11-20") == moment("2026-11-20T00:00:00+00:00") == moment("2026-11-20T01:00:00+01:00")
    assert moment("now") - moment("2h") == pytest.approx(2 * HOUR, abs=HOUR / 100)
    start, end = Span().convert("2026-11-01..2026-11-08", None, None)
    assert end - start == 7 * 24 * HOUR
    with pytest.raises(click.BadParameter, match="ends before it begins"):
        Span().convert("7d..14d", None, None)
