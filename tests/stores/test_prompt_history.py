"""The history: what is read back, in spite of lines that are none, and what a writer that died has left to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_agent import InvalidSetting
from otel_agent.prompts import Change
from otel_agent.stores.prompt_history import History, add_changes, read_history


def change(second: int, why: str | None = None) -> Change:
    return Change(
        what="activated",
        prompt="support",
        before="support:v12",
        after="support:v13",
        when=f"2026-11-27T09:30:{second:02}Z",
        who="anna",
        why=why,
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = [change(1, "why: ü\u2028{"), change(2)]
    add_changes(tmp_path / "h", given)
    assert read_history(tmp_path / "h") == History(changes=tuple(given))
    assert len((tmp_path / "h").read_text("utf-8").split("\n")) == 3


def test_no_file_is_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path / "h") == History()


def test_a_line_that_is_none_is_counted_and_hides_no_other(tmp_path: Path) -> None:
    add_changes(tmp_path / "h", [change(1)])
    with (tmp_path / "h").open("a") as file:
        file.write('{"what": "activa')
    add_changes(tmp_path / "h", [change(2)])
    assert read_history(tmp_path / "h") == History(changes=(change(1), change(2)), unreadable=(2,))


def test_a_character_that_was_cut_off_spoils_its_own_line_alone(tmp_path: Path) -> None:
    add_changes(tmp_path / "h", [change(1), change(2, "für alle")])
    whole = (tmp_path / "h").read_bytes()
    (tmp_path / "h").write_bytes(whole[: whole.index("ü".encode()) + 1])
    assert read_history(tmp_path / "h") == History(changes=(change(1),), unreadable=(2,))
    add_changes(tmp_path / "h", [change(3)])
    assert read_history(tmp_path / "h") == History(changes=(change(1), change(3)), unreadable=(2,))


def test_what_is_missing_comes_in_its_order() -> None:
    history = History(changes=(change(1), change(3)))
    assert history.missing([change(5), change(3), change(4)]) == [change(4), change(5)]
    assert history.with_missing([change(2)]).changes == (change(1), change(2), change(3))


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="must be a file that can be written"):
        add_changes(tmp_path, [change(1)])
