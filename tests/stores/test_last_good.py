"""What is kept of the last good state: for its owner's eyes, one file a configuration, worthless when it is broken."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from otel_agent import Prompt
from otel_agent.prompts import Canary, Change, Override, Release
from otel_agent.stores.last_good import LastGood, last_good_file, recall, remember

GOOD = LastGood(
    prompts=(Prompt("support", "v13", "Answer.\r\n\U0001f600"),),
    override=Override(
        releases={"support": Release(name="support", active="support:v13", canary=Canary(version="v14", percent=0.5))},
        changes={
            "support": Change(
                what="activated", prompt="support", before=None, after="support:v13", when="now", who="ann", why="try"
            )
        },
    ),
    flags={"triage": "triage:v1"},
)
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")


def test_what_was_remembered_is_recalled(tmp_path: Path) -> None:
    assert recall(tmp_path / "otel-agent.yaml") is None
    remember(tmp_path / "otel-agent.yaml", GOOD)
    assert recall(tmp_path / "otel-agent.yaml") == GOOD
    assert recall(tmp_path / "other.yaml") is None


@POSIX
def test_only_its_owner_can_read_it(tmp_path: Path, cache: Path) -> None:
    remember(tmp_path, GOOD)
    path = last_good_file(tmp_path)
    assert path is not None
    assert path.is_relative_to(cache)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@POSIX
def test_what_others_may_write_is_left_alone(tmp_path: Path) -> None:
    remember(tmp_path, GOOD)
    path = last_good_file(tmp_path)
    assert path is not None
    path.chmod(0o666)
    assert recall(tmp_path) is None


def test_what_is_no_news_is_not_written_again(tmp_path: Path) -> None:
    remember(tmp_path, GOOD)
    path = last_good_file(tmp_path)
    assert path is not None
    os.utime(path, ns=(1, 1))
    remember(tmp_path, GOOD)
    assert path.stat().st_mtime_ns == 1
    remember(tmp_path, LastGood())
    assert path.stat().st_mtime_ns != 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"prompts": 5}', '{"prompts": [["a"]], "override": "{}", "flags": {}}', "\ud83d"]
)
def test_a_broken_one_means_that_nothing_is_known(text: str, tmp_path: Path) -> None:
    remember(tmp_path, GOOD)
    path = last_good_file(tmp_path)
    assert path is not None
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert recall(tmp_path) is None


def test_a_folder_that_takes_nothing_is_no_error(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    (cache / "otel-agent").write_text("a file")
    with caplog.at_level("INFO", "otel_agent"):
        remember(tmp_path, GOOD)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert recall(tmp_path) is None
