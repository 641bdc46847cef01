"""The ledger of golden tasks: what is read back, which check is the newest, and what a damaged line leaves readable."""

from __future__ import annotations

import json
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting
from otel_agent.config.values import Config, TestingSection
from otel_agent.stores.golden_ledger import Ledger, LedgerEntry, append, latest, ledger_file, read_ledger

ID = "support:v13:0123456789ab"
OTHER = "support:v14:0123456789ab"
ENTRY = LedgerEntry(
    prompt_id=ID,
    agent="app:answer",
    at_ns=1_795_771_800_123_456_000,
    task_set="0f3a9c11b2d4",
    tasks=20,
    runs=60,
    result="passed",
    limits=("steps", "tokens"),
    who="anna",
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a" / "folder" / "results.jsonl"
    entries = [ENTRY, replace(ENTRY, prompt_id=OTHER, result="regression", who="ü\u2028")]
    for entry in entries:
        append(file, entry)
    assert read_ledger(file) == Ledger(entries=tuple(entries))
    assert json.loads(file.read_text("utf-8").split("\n")[0])["when"] == "2026-11-27T09:30:00.123456Z"


@given(at_ns=st.integers(0, 2**62), limits=st.lists(st.sampled_from(["steps", "usd"])).map(tuple))
def test_any_entry_comes_back(tmp_path_factory: pytest.TempPathFactory, at_ns: int, limits: tuple[str, ...]) -> None:
    file = tmp_path_factory.mktemp("ledger") / "results.jsonl"
    entry = replace(ENTRY, at_ns=at_ns, limits=limits)
    append(file, entry)
    assert read_ledger(file).entries == (entry,)


def test_no_file_has_no_entry(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "none") == Ledger()
    assert latest(tmp_path / "none", ID) is None


def test_the_newest_check_counts_also_where_a_merge_has_put_it_first(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    failed = replace(ENTRY, result="regression", at_ns=ENTRY.at_ns + 1000)
    for entry in (failed, ENTRY, replace(ENTRY, prompt_id=OTHER, at_ns=ENTRY.at_ns + 9000)):
        append(file, entry)
    assert latest(file, ID) == failed
    assert read_ledger(file).passed() == {ID, OTHER}


def test_of_two_checks_of_one_moment_the_later_line_counts(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    for result in ("passed", "inconclusive"):
        append(file, replace(ENTRY, result=result))
    found = latest(file, ID)
    assert found is not None
    assert found.result == "inconclusive"


def test_an_agent_may_be_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append(file, ENTRY)
    append(file, replace(ENTRY, agent="app:other", at_ns=ENTRY.at_ns + 1000, result="regression"))
    assert latest(file, ID, agent="app:answer") == ENTRY
    assert latest(file, ID, agent="app:none") is None


@pytest.mark.parametrize(
    ("line", "field", "says"),
    [
        ('{"prompt_id": "supp', "the line", "must be one JSON object"),
        ("[1]", "the line", "must be an object of prompt_id, agent, when"),
        ("{}", "the line", "must be an object of prompt_id, agent, when"),
        ({"prompt_id": "support:v13"}, "prompt_id", "must be a whole prompt id"),
        ({"when": "yesterday"}, "when", "must be a time as"),
        ({"when": "2026-11-27T09:30:00"}, "when", "must be a time as"),
        ({"when": 3}, "when", "must be a time as"),
        ({"when": "1900-01-01T00:00:00Z"}, "at_ns", "must be a whole number from 0"),
        ({"tasks": -1}, "tasks", "must be a whole number from 0"),
        ({"runs": True}, "runs", "must be a whole number from 0"),
        ({"result": "pased"}, "result", "did you mean passed"),
        ({"limits": "steps"}, "limits", "must be a list of names"),
        ({"limits": [3]}, "limits", "must be a text"),
    ],
)
def test_a_damaged_line_is_named_and_hides_no_other(tmp_path: Path, line: object, field: str, says: str) -> None:
    file = tmp_path / "results.jsonl"
    append(file, ENTRY)
    good = json.loads(file.read_text())
    with file.open("a") as out:
        out.write(line if isinstance(line, str) else json.dumps({**good, **line}))  # type: ignore[dict-item]
    append(file, ENTRY)
    found = read_ledger(file)
    assert found.entries == (ENTRY, ENTRY)
    (damage,) = found.damaged
    assert str(damage).startswith(f"{file}:2: {field} = ")
    assert says in str(damage)
    assert "\n" not in str(damage)


def test_a_byte_that_is_no_text_costs_its_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append(file, ENTRY)
    with file.open("ab") as out:
        out.write(file.read_bytes().replace(b"anna", b"\xff") + b"\xfe\n")
    append(file, ENTRY)
    found = read_ledger(file)
    assert found.entries == (ENTRY, ENTRY)
    assert [str(damage).split(": ")[0] for damage in found.damaged] == [f"{file}:2", f"{file}:3"]


def _append_many(file: Path) -> None:
    for _ in range(20):
        append(file, ENTRY)


def test_several_processes_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.jsonl"
    processes = [get_context("spawn").Process(target=_append_many, args=(file,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert read_ledger(file) == Ledger(entries=(ENTRY,) * 60)


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSetting, match="must be in a folder that can be made"):
        append(tmp_path / "file" / "results.jsonl", ENTRY)
    with pytest.raises(InvalidSetting, match="must be a file that can be"):
        append(tmp_path, ENTRY)


def test_the_setting_says_where_it_is_and_else_it_is_among_the_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert ledger_file(Config()) == tmp_path / "otel-agent" / "golden" / "results.jsonl"
    set_ = Config(testing=TestingSection(results=tmp_path / "here.jsonl"))
    assert ledger_file(set_) == tmp_path / "here.jsonl"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_agent.stores.golden_ledger.cache_folder", lambda: None)
    with pytest.raises(InvalidSetting, match=r"testing\.results = None: must be given"):
        ledger_file(Config())
