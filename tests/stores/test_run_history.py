"""The history: what is asked of it, what goes first, and what is left when its file is damaged."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from otel_agent.stores.run_history import RunHistory, SpansAt, UnreadableHistory, Wanted, new_span_file
from otel_agent.usage import PastRun
from tests.stores.spans import span_line
from tests.support.past import past_run

DAY = 86_400 * 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


def add(folder: Path, *runs: PastRun, spans: bool = True) -> None:
    with RunHistory.create(folder) as history:
        places: list[SpansAt] = []
        if spans:
            target = new_span_file(folder)
            with target.open("wb") as file:
                for run in runs:
                    line = span_line(run)
                    places.append(SpansAt(run.run_id, target.name, file.tell(), len(line)))
                    file.write(line)
        history.add(runs, places)


def ids(folder: Path, wanted: Wanted | None = None, **options: str) -> list[str]:
    with RunHistory.read(folder) as history:
        return [run.run_id.lstrip("0") for run in history.runs(wanted, **options)]  # type: ignore[arg-type]


def run(name: str, **fields: object) -> PastRun:
    return past_run(**{"run_id": name.rjust(32, "0"), "trace_id": name.rjust(32, "0"), **fields})


class TestWhatIsAsked:
    @pytest.fixture(autouse=True)
    def _filled(self, folder: Path) -> None:
        add(
            folder,
            run("a", ended_ns=1 * DAY, prompt_id="support:v1:50af3e26c3af", seconds=3.0),
            run("b", ended_ns=2 * DAY, prompt_id="support:v13:50af3e26c3af", agent="other", seconds=9.0),
            run("c", ended_ns=3 * DAY, prompt_id="supporter:v13:50af3e26c3af", stop_reason="max_usd"),
            run("d", ended_ns=4 * DAY, prompt_id=None, parent_id="a".rjust(32, "0")),
        )

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            (Wanted(), "dcba"),
            (Wanted(agent="other"), "b"),
            (Wanted(prompt="support"), "ba"),
            (Wanted(prompt="support:v1"), "a"),
            (Wanted(prompt="support:v13:50af3e26c3af"), "b"),
            (Wanted(prompt="%"), ""),
            (Wanted(stop_reason="max_usd"), "c"),
            (Wanted(since_ns=2 * DAY), "dcb"),
            (Wanted(until_ns=2 * DAY), "a"),
            (Wanted(since_ns=2 * DAY, until_ns=4 * DAY, roots=True), "cb"),
            (Wanted(roots=True), "cba"),
        ],
    )
    def test_filters_narrow_down(self, folder: Path, wanted: Wanted, found: str) -> None:
        assert "".join(ids(folder, wanted)) == found
        with RunHistory.read(folder) as history:
            assert history.count(wanted) == len(found)

    def test_the_order_may_be_chosen_and_only_of_columns(self, folder: Path) -> None:
        assert ids(folder, Wanted(roots=True), order="seconds DESC")[0] == "b"
        with pytest.raises(ValueError, match="no such order"):
            ids(folder, order="seconds; DROP TABLE runs")

    def test_a_run_is_found_by_the_start_of_an_id(self, folder: Path) -> None:
        with RunHistory.read(folder) as history:
            assert [each.run_id[-1] for each in history.find("0" * 31 + "B")] == ["b"]
            assert history.find("%") == []
            assert history.known("agent") == ["other", "support-bot"]

    def test_spans_are_those_of_the_runs_under_it_too(self, folder: Path) -> None:
        with RunHistory.read(folder) as history:
            assert {span.attributes["otel_agent.run.id"][-1] for span in history.spans("a".rjust(32, "0"))} == {
                "a",
                "d",
            }


def test_a_run_that_is_there_stays_as_it_is(folder: Path) -> None:
    add(folder, run("a", tool_calls=1))
    with RunHistory.create(folder) as history:
        assert history.add([run("a", tool_calls=9), run("b")]) == 1
        assert {each.tool_calls for each in history.runs()} == {1, 4}


class TestPrune:
    def test_what_is_too_old_goes_with_its_spans(self, folder: Path) -> None:
        now = time.time_ns()
        add(folder, run("a", ended_ns=now - 9 * DAY))
        (old,) = (folder / "spans").iterdir()
        os.utime(old, ns=(now - 9 * DAY, now - 9 * DAY))
        add(folder, run("b", ended_ns=now))
        with RunHistory.create(folder) as history:
            told = history.prune(days=7, dry_run=True)
            assert (told.runs, told.files, told.bytes) == (1, 1, old.stat().st_size)
            assert old.exists()
            assert history.count() == 2
            assert history.prune(days=7) == told
        assert not old.exists()
        assert ids(folder) == ["b"]

    def test_spans_go_first_where_it_is_too_large(self, folder: Path) -> None:
        now = time.time_ns()
        for name in "abc":
            add(folder, run(name, ended_ns=now))
            time.sleep(0.01)
        rows = (folder / "runs.db").stat().st_size
        with RunHistory.create(folder) as history:
            assert history.prune(megabytes=(rows + 1_500) / 1e6).files in (1, 2)
            assert history.count() == 3
            assert history.spans(run("c").run_id)
            assert history.spans(run("a").run_id) == []

    def test_then_the_oldest_rows(self, folder: Path) -> None:
        now = time.time_ns()
        add(folder, *(run(f"{at:x}", ended_ns=now + at) for at in range(2_000)), spans=False)
        with RunHistory.create(folder) as history:
            told = history.prune(megabytes=0.3, dry_run=True).runs
            assert 0 < told < 2_000
            assert history.count() == 2_000
            assert history.prune(megabytes=0.3).runs == told
            left = history.runs(order="ended_ns ASC")
            assert len(left) == 2_000 - told
            assert left[-1].ended_ns == now + 1_999


class TestDamage:
    @pytest.fixture(autouse=True)
    def _filled(self, folder: Path) -> None:
        add(folder, *(run(f"{at:x}", ended_ns=at + 1) for at in range(400)))

    def test_rows_are_read_off_the_spans(self, folder: Path) -> None:
        (folder / "runs.db").write_bytes(b"no database at all" * 100)
        with RunHistory.read(folder) as history:
            assert history.damage is not None
            assert str(folder / "runs.db") in history.damage
            assert "\n" not in history.damage
            assert history.count() == 400
            assert history.runs()[0].tool_calls == 4
            assert history.spans(run("7").run_id)
        assert (folder / "runs.db").read_bytes().startswith(b"no database")

    def test_damage_in_the_middle_is_seen_too(self, folder: Path) -> None:
        path = folder / "runs.db"
        data = bytearray(path.read_bytes())
        data[4096 * 2 : 4096 * 8] = os.urandom(4096 * 6)
        path.write_bytes(data)
        with RunHistory.read(folder) as history:
            assert history.damage is not None
            assert history.count() == 400

    def test_no_database_stays_open_behind_a_damaged_one(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[sqlite3.Connection] = []
        connect = sqlite3.connect

        def noted(*args: Any, **options: Any) -> sqlite3.Connection:
            opened.append(connect(*args, **options))
            return opened[-1]

        path = folder / "runs.db"
        data = bytearray(path.read_bytes())
        data[4096 * 2 : 4096 * 8] = b"\xff" * (4096 * 6)
        path.write_bytes(data)
        monkeypatch.setattr(sqlite3, "connect", noted)
        RunHistory.read(folder).close()
        (spans,) = (folder / "spans").iterdir()
        spans.unlink()
        spans.mkdir()
        with pytest.raises(IsADirectoryError):
            RunHistory.read(folder)
        assert len(opened) == 4
        for each in opened:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                each.execute("SELECT 1")

    def test_whoever_writes_sets_it_aside_and_goes_on(self, folder: Path) -> None:
        (folder / "runs.db").write_bytes(b"no database at all" * 100)
        with RunHistory.create(folder) as history:
            assert history.damage is not None
            history.add([run("f00")])
            assert history.count() == 401
        with RunHistory.read(folder) as history:
            assert history.damage is None
        assert [path.read_bytes()[:11] for path in folder.glob("runs.db.damaged-*")] == [b"no database"]

    def test_a_damaged_line_of_spans_costs_only_itself(self, folder: Path) -> None:
        (path,) = (folder / "spans").iterdir()
        lines = path.read_bytes().splitlines(keepends=True)
        lines[3] = b"\x00" * (len(lines[3]) - 1) + b"\n"
        path.write_bytes(b"".join(lines))
        (folder / "runs.db").write_bytes(b"no database at all" * 100)
        with RunHistory.read(folder) as history:
            assert history.count() == 399
            (told,) = history.damaged_lines
            assert told.startswith(f"{path}: line 4: no JSON")

    def test_a_damaged_line_is_told_when_its_run_is_looked_at(self, folder: Path) -> None:
        (path,) = (folder / "spans").iterdir()
        lines = path.read_bytes().splitlines(keepends=True)
        number = next(at for at, line in enumerate(lines) if run("7").run_id.encode() in line)
        lines[number] = re.sub(rb'("traceId": *")0', rb"\1z", lines[number])
        path.write_bytes(b"".join(lines))
        with RunHistory.read(folder) as history:
            assert history.spans(run("7").run_id) == []
            assert history.spans(run("8").run_id)
            (told,) = history.damaged_lines
        assert told.startswith(f"{path}: line {number + 1}: resourceSpans[0].scopeSpans[0].spans[0].traceId: ")


def test_there_is_none(folder: Path) -> None:
    with pytest.raises(UnreadableHistory, match=f"no run history in {folder}"):
        RunHistory.read(folder)


def test_one_of_a_newer_version_is_left_alone(folder: Path) -> None:
    add(folder, run("a"))
    database = sqlite3.connect(folder / "runs.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    for opened in (RunHistory.read, RunHistory.create):
        with pytest.raises(UnreadableHistory, match=r"runs\.db: a newer otel-agent wrote it \(schema 99"):
            opened(folder)
