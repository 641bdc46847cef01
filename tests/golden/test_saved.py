"""A result that is saved is read again as it was; a damaged one is one line with file and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting
from otel_agent.golden.saved import load_result, result_json, save_result
from tests.golden.told import MANY, a_result, a_trial, compared_result


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    for result in (compared_result(), a_result({"t": [a_trial("t", 1, MANY), a_trial("t", 2, problem="no spans")]})):
        save_result(tmp_path / "r.json", result)
        assert load_result(tmp_path / "r.json") == result
    save_result(tmp_path / "r.json", a_result())
    document = json.loads((tmp_path / "r.json").read_text())
    assert (document["verdict"], document["exit_code"], document["states"]["refund"]) == ("regression", 1, "failed")


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.text(min_size=1), max_size=3),
    st.none() | st.integers(0, 10**15),
    st.floats(0, 1e9),
)
def test_whatever_a_run_used_survives(
    tmp_path_factory: pytest.TempPathFactory, count: int, limits: list[str], cost: int | None, seconds: float
) -> None:
    trial = a_trial("t", 1, limits=tuple(limits), input_tokens=count, micro_usd=cost, seconds=seconds)
    result = a_result({"t": [trial]})
    path = tmp_path_factory.mktemp("saved") / "r.json"
    save_result(path, result)
    assert load_result(path) == result


def test_what_a_task_or_a_run_says_in_words_is_not_saved() -> None:
    said = json.dumps(result_json(a_result()))
    assert "SECRET" not in said
    assert "output.contains" in said


BREAK: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a text in the place of a count": (
        lambda d: d["tasks"][0]["trials"][0]["run"].update(steps="many"),
        r"r\.json: tasks\.0\.trials\.0\.run\.steps",
    ),
    "a field is missing": (lambda d: d["tasks"][1].pop("quorum"), r"r\.json: tasks\.1\.quorum"),
    "a state that is none": (lambda d: d["tasks"][0]["trials"][0].update(side="both"), r"tasks\.0\.trials\.0\.side"),
    "a quorum above the repeats": (
        lambda d: d["tasks"][0].update(quorum=10**9),
        r"r\.json: tasks\.0\.quorum = 1000000000: must be ",
    ),
    "no repeats": (lambda d: d["tasks"][0].update(repeats=0), r"r\.json: tasks\.0\.repeats"),
    "another schema": (lambda d: d.update(schema=99), r"r\.json: schema"),
}


@pytest.mark.parametrize("name", BREAK)
def test_what_is_damaged_is_told_by_file_and_field(name: str, tmp_path: Path) -> None:
    document = result_json(a_result())
    change, said = BREAK[name]
    change(document)
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(InvalidSetting, match=said) as raised:
        load_result(tmp_path / "r.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1"),
        ("{", "line 1"),
        ("[]", "schema"),
        ("null", "schema"),
        ("[" * 5_000, r"r\.json"),
        ('{"a": 1}', "schema"),
    ],
)
def test_what_is_no_result_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InvalidSetting, match=said):
        load_result(tmp_path / "r.json")


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InvalidSetting, match=path.name):
            load_result(path)
