"""Files that are put in place whole: what a reader sees, what is left behind, and who has to wait."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from otel_agent import InvalidSetting
from otel_agent.stores import files
from otel_agent.stores.files import append_line, lock_file_of, locked, read_text, replace_text

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes and links of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestRead:
    def test_no_file_is_none(self, tmp_path: Path) -> None:
        assert read_text(tmp_path / "none") is None

    def test_line_ends_stay(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"x\r\ny\n")
        assert read_text(tmp_path / "a") == "x\r\ny\n"

    def test_what_is_no_utf8_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"x\xff")
        with pytest.raises(InvalidSetting, match=r"a = 'byte 1': must be UTF-8"):
            read_text(tmp_path / "a")

    def test_a_folder_is_an_error_of_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSetting, match=r"must be a file that can be read"):
            read_text(tmp_path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a")
        with pytest.raises(InvalidSetting, match=r"a = 'prw.*must be a regular file"):
            read_text(tmp_path / "a")


class TestReplace:
    def test_puts_the_text_there_and_nothing_else(self, tmp_path: Path) -> None:
        replace_text(tmp_path / "a", "one\n")
        replace_text(tmp_path / "a", "zwei ü\n")
        assert read_text(tmp_path / "a") == "zwei ü\n"
        assert names(tmp_path) == ["a"]

    @POSIX
    def test_keeps_the_mode_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        (tmp_path / "a").chmod(0o640)
        replace_text(tmp_path / "a", "one")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640

    @POSIX
    def test_a_new_file_may_be_for_its_owner_only(self, tmp_path: Path) -> None:
        replace_text(tmp_path / "a", "one", mode=0o600)
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600

    @POSIX
    def test_a_link_stays_one(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "a").symlink_to(tmp_path / "elsewhere" / "a")
        replace_text(tmp_path / "a", "one")
        assert (tmp_path / "a").is_symlink()
        assert (tmp_path / "elsewhere" / "a").read_text() == "one"

    @pytest.mark.parametrize("failing", ["fsync", "replace"])
    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "^C"])
    def test_half_way_leaves_the_old_text_and_no_other_file(
        self, failing: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").write_text("old")

        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(files.os, failing, fail)
        with pytest.raises((InvalidSetting, KeyboardInterrupt)) as caught:
            replace_text(tmp_path / "a", "new")
        monkeypatch.undo()
        assert (tmp_path / "a").read_text() == "old"
        assert names(tmp_path) == ["a"]
        if isinstance(error, OSError):
            assert "'No space left on device': must be a file that can be written" in str(caught.value)

    def test_without_its_folder_it_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSetting, match="No such file or directory"):
            replace_text(tmp_path / "none" / "a", "new")

    def test_a_reader_never_sees_half(self, tmp_path: Path) -> None:
        texts = {"a" * 200_000, "b" * 100_000}
        path = tmp_path / "a"
        replace_text(path, min(texts))
        done = threading.Event()

        def write() -> None:
            for _ in range(20):
                for text in texts:
                    replace_text(path, text)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = set()
        while not done.is_set():
            seen.add(read_text(path))
        writer.join()
        assert seen <= texts


class TestAppend:
    def test_adds_lines(self, tmp_path: Path) -> None:
        append_line(tmp_path / "a", "one")
        append_line(tmp_path / "a", "zwei ü")
        assert (tmp_path / "a").read_bytes() == "one\nzwei ü\n".encode()

    def test_a_torn_line_does_not_swallow_the_next(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("one\ntw")
        append_line(tmp_path / "a", "three")
        assert (tmp_path / "a").read_text() == "one\ntw\nthree\n"

    def test_that_fails_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSetting, match="must be a file that can be written"):
            append_line(tmp_path, "one")


class TestLocked:
    def test_another_writer_waits_and_is_told_whose_file_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        with (
            locked(path),
            pytest.raises(InvalidSetting, match=r"another process has held .*\.a\.lock for 0\.05 sec") as caught,
            locked(path, seconds=0.05),
        ):
            pytest.fail("two writers are in")
        assert caught.value.field == str(path)

    def test_the_next_one_gets_in(self, tmp_path: Path) -> None:
        for _ in range(2):
            with locked(tmp_path / "a", seconds=0.05):
                replace_text(tmp_path / "a", "x")
        assert names(tmp_path) == [lock_file_of(tmp_path / "a").name, "a"]

    def test_an_error_inside_lets_go(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), locked(tmp_path / "a"):
            1 / 0
        with locked(tmp_path / "a", seconds=0.05):
            pass

    def test_takes_away_what_a_killed_writer_left_and_nothing_else(self, tmp_path: Path) -> None:
        others = [".b.0a0b0c0d.new", "a.new", "a[b].new"]
        for name in [".a.0a0b0c0d.new", *others]:
            (tmp_path / name).touch()
        with locked(tmp_path / "a"):
            assert names(tmp_path) == sorted([".a.lock", *others])

    def test_without_its_folder_it_is_one_line(self, tmp_path: Path) -> None:
        with (
            pytest.raises(InvalidSetting, match="must be in a folder that is there"),
            locked(tmp_path / "b" / "a"),
        ):
            pytest.fail("there is no such folder")

    @POSIX
    @pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_takes_no_file_is_one_line(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(InvalidSetting, match="must be in a folder that can be written"), locked(tmp_path / "a"):
            pytest.fail("the folder is not writable")
