"""The gate of a process: what it lets through when it begins, and what files say later."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_agent import InvalidSetting, Prompt
from otel_agent.prompts import Change, Override, Release, dump_override
from otel_agent.stores.golden_gate import GoldenGate
from otel_agent.stores.golden_ledger import LedgerEntry, append
from otel_agent.stores.prompt_history import add_changes
from otel_agent.stores.release_writer import ReleaseFiles
from otel_agent.testing import fake_clock
from otel_agent.testing.clock import FakeClock

V13, V14 = Prompt("support", "v13", "Answer."), Prompt("support", "v14", "Search and answer.")


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with fake_clock() as clock:
        yield clock


@pytest.fixture
def files(tmp_path: Path, clock: FakeClock) -> ReleaseFiles:
    return ReleaseFiles(tmp_path / "otel-agent.override.json")


def ledger(files: ReleaseFiles) -> Path:
    return files.override.with_name("results.jsonl")


def passed(files: ReleaseFiles, prompt: Prompt, result: Any = "passed", at_ns: int = 10**9) -> None:
    entry = LedgerEntry(
        prompt_id=prompt.id, agent="a:b", at_ns=at_ns, task_set="0" * 12, tasks=1, runs=3, result=result, who="anna"
    )
    append(ledger(files), entry)


def change(**more: Any) -> Change:
    fields: dict[str, Any] = {"prompt": "support", "before": "support:v13", "after": "support:v14"}
    fields |= {"what": "activated", "when": "2026-11-27T09:30:00Z", "who": "anna", "id": V14.id}
    return Change(**{**fields, **more})


FORCED = change(overridden=("no golden tasks",), why="an emergency")


def test_only_what_has_passed_goes_through(files: ReleaseFiles) -> None:
    passed(files, V13)
    passed(files, V14, "regression")
    gate = GoldenGate(ledger(files), files)
    assert gate.lets_through(V13)
    assert not gate.lets_through(V14)


def test_the_same_version_with_another_text_does_not(files: ReleaseFiles) -> None:
    passed(files, V13)
    assert not GoldenGate(ledger(files), files).lets_through(Prompt("support", "v13", "Answer!"))


def test_a_check_that_fails_later_takes_nothing_out_of_production(files: ReleaseFiles) -> None:
    passed(files, V13)
    passed(files, V13, "regression", at_ns=2 * 10**9)
    assert GoldenGate(ledger(files), files).lets_through(V13)


def test_without_files_nothing_does(files: ReleaseFiles) -> None:
    assert not GoldenGate(ledger(files), files).lets_through(V13)


def test_what_passes_later_goes_through_at_once(files: ReleaseFiles) -> None:
    gate = GoldenGate(ledger(files), files)
    assert not gate.lets_through(V14)
    passed(files, V14)
    assert gate.lets_through(V14)


def test_what_is_forced_goes_through_at_once_and_what_is_rolled_back_no_more(
    files: ReleaseFiles, clock: FakeClock
) -> None:
    gate = GoldenGate(ledger(files), files)
    add_changes(files.history, [FORCED])
    assert gate.lets_through(V14)
    add_changes(files.history, [change(what="rolled_back", before="support:v14", after="support:v13", id=V13.id)])
    clock.advance(0.6)
    assert not gate.lets_through(V14)
    assert gate.lets_through(V13), "a rollback is never stopped"


def test_what_only_the_override_file_says_counts_as_well(files: ReleaseFiles) -> None:
    override = Override(
        releases={"support": Release(name="support", active="support:v14")}, changes={"support": FORCED}
    )
    files.override.write_text(dump_override(override))
    assert GoldenGate(ledger(files), files).lets_through(V14)


def test_files_are_looked_at_once_in_half_a_second(files: ReleaseFiles, clock: FakeClock) -> None:
    passed(files, V13)
    gate = GoldenGate(ledger(files), files)
    ledger(files).unlink()
    assert gate.lets_through(V13)
    clock.advance(0.6)
    assert not gate.lets_through(V13)


def test_a_broken_override_file_hides_no_line_of_the_history(files: ReleaseFiles) -> None:
    add_changes(files.history, [FORCED])
    files.override.write_text("{")
    assert GoldenGate(ledger(files), files).lets_through(V14)


def test_a_damaged_line_is_told_and_the_others_hold(files: ReleaseFiles, caplog: pytest.LogCaptureFixture) -> None:
    passed(files, V13)
    with ledger(files).open("a") as file:
        file.write('{"prompt_id"')
    with caplog.at_level(logging.WARNING, "otel_agent"):
        assert GoldenGate(ledger(files), files).lets_through(V13)
    assert f"{ledger(files)}:2: the line = " in caplog.text


def test_a_ledger_that_cannot_be_read_is_an_error_at_first_and_later_what_was_good_holds(
    files: ReleaseFiles, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    passed(files, V13)
    gate = GoldenGate(ledger(files), files)
    ledger(files).unlink()
    ledger(files).mkdir()
    clock.advance(0.6)
    with caplog.at_level(logging.WARNING, "otel_agent"):
        assert gate.lets_through(V13)
    assert "must be a file that can be read; what had passed before holds" in caplog.text
    with pytest.raises(InvalidSetting, match="must be a file that can be read"):
        GoldenGate(ledger(files), files)


def test_a_line_that_is_damaged_later_takes_no_pass_back_and_says_so(
    files: ReleaseFiles, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    passed(files, V13)
    gate = GoldenGate(ledger(files), files)
    ledger(files).write_bytes(b"\xff\n")
    clock.advance(0.6)
    with caplog.at_level(logging.WARNING, "otel_agent"):
        assert gate.lets_through(V13)
    assert "results.jsonl:1: the line" in caplog.text
    assert not GoldenGate(ledger(files), files).lets_through(V13)
