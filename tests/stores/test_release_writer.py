"""The override file is changed by one writer at a time, and a writer that dies at any moment leaves old or new.

The last part runs writers in processes of their own and stops them at every single thing that they do to the folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from otel_agent import InvalidSetting
from otel_agent.prompts import Canary, Override, Release, dump_override
from otel_agent.prompts.changes import Author, Changed, activate
from otel_agent.stores import release_writer
from otel_agent.stores.files import locked, replace_text
from otel_agent.stores.release_writer import ReleaseFiles, now
from tests.support.offline import environment

CONFIGURED = Release(name="support", active="support:v12")


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    return ReleaseFiles(tmp_path / "otel-agent.override.json")


def to(version: str) -> Any:
    return lambda release, author: activate(release, f"support:{version}", author)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


class TestChange:
    def test_starts_from_the_configuration_and_then_from_the_file(self, files: ReleaseFiles) -> None:
        files.change("support", CONFIGURED, to("v13"), who="anna")
        files.change("support", CONFIGURED, to("v14"), who="ben", why="because")
        assert files.read().releases == {
            "support": Release(name="support", active="support:v14", rollback="support:v13")
        }
        first, second = files.read_history().changes
        assert (first.before, first.after, first.who, first.why) == ("support:v12", "support:v13", "anna", None)
        assert (second.before, second.after, second.who, second.why) == ("support:v13", "support:v14", "ben", "because")
        assert files.read().changes == {"support": second}
        assert first.when < second.when

    def test_leaves_other_prompts_alone(self, files: ReleaseFiles) -> None:
        other = Release(name="sales", active="sales:v1", canary=Canary(version="v2", percent=5))
        files.override.write_text(dump_override(Override(releases={"sales": other})))
        files.change("support", CONFIGURED, to("v13"), who="anna")
        assert files.read().releases["sales"] == other

    def test_nothing_new_writes_nothing(self, files: ReleaseFiles, tmp_path: Path) -> None:
        assert files.change("support", CONFIGURED, to("v12"), who="anna") == Changed(CONFIGURED, None)
        assert names(tmp_path) == []

    def test_a_dry_run_tells_and_touches_nothing(self, files: ReleaseFiles, tmp_path: Path) -> None:
        release, change = files.change("support", CONFIGURED, to("v13"), who="anna", dry_run=True)
        assert release.active == "support:v13"
        assert change is not None
        assert list(tmp_path.iterdir()) == []

    def test_what_is_refused_changes_nothing(self, files: ReleaseFiles, tmp_path: Path) -> None:
        def refuse(release: Release | None, author: Author) -> Changed:
            raise InvalidSetting(field="canary", value=1, allowed="2")

        with pytest.raises(InvalidSetting):
            files.change("support", CONFIGURED, refuse, who="anna")
        assert names(tmp_path) == []

    def test_a_file_that_is_broken_is_left_as_it_is_and_the_error_says_what_to_do(self, files: ReleaseFiles) -> None:
        files.override.write_text('{"prompts": {"support": {"actve": "support:v1"}}}')
        with pytest.raises(InvalidSetting, match="take it away to go back to the configuration") as caught:
            files.change("support", CONFIGURED, to("v13"), who="anna")
        assert str(files.override) in caught.value.field
        assert "actve" in files.override.read_text()

    def test_waits_for_another_writer_no_longer_than_it_is_told(self, files: ReleaseFiles) -> None:
        with locked(files.override), pytest.raises(InvalidSetting, match="another process has held"):
            files.change("support", CONFIGURED, to("v13"), who="anna", seconds=0.05)

    def test_a_history_that_cannot_be_written_is_told_before_anything_changes(self, files: ReleaseFiles) -> None:
        files.history.mkdir()
        with pytest.raises(InvalidSetting, match="history"):
            files.change("support", CONFIGURED, to("v13"), who="anna")
        assert not files.override.exists()

    def test_what_a_dead_writer_left_is_written_by_the_next(
        self, files: ReleaseFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(path: Path, text: str) -> None:
            replace_text(path, text)
            raise KeyboardInterrupt

        files.change("support", CONFIGURED, to("v13"), who="anna")
        monkeypatch.setattr(release_writer, "replace_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            files.change("support", CONFIGURED, to("v14"), who="ben")
        monkeypatch.undo()
        assert len(files.history.read_text().splitlines()) == 1
        assert [each.who for each in files.read_history().changes] == ["anna", "ben"]
        files.change("support", CONFIGURED, to("v15"), who="eva")
        assert [json.loads(line)["who"] for line in files.history.read_text().splitlines()] == ["anna", "ben", "eva"]


def test_now_is_utc_to_the_microsecond() -> None:
    first, second = now(), now()
    assert len(first) == len("2026-11-27T09:30:00.000000Z")
    assert first.endswith("Z")
    assert first <= second


WRITER = """
import json, os, signal, sys, time
from pathlib import Path
from otel_agent.prompts import Release
from otel_agent.prompts.changes import activate
from otel_agent.stores.release_writer import ReleaseFiles

CONFIGURED = Release(name="support", active="support:v0")
folder = Path(sys.argv[1])
files = ReleaseFiles(folder / "otel-agent.override.json")

def change(version, who):
    files.change("support", CONFIGURED, lambda old, author: activate(old, f"support:{version}", author), who=who)
"""

MANY = (
    WRITER
    + """
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    change(f"v{sys.argv[2]}-{number}", sys.argv[2])
"""
)

STOPPED = (
    WRITER
    + """
number = int(sys.argv[2])
change("v1", "before")  # also loads all that is loaded on the way

def stopped_at(stage):
    # does a change in a process of its own, and stops it before the stage-th thing it does to the folder
    reached, tell = os.pipe()
    child = os.fork()
    if child == 0:
        left = stage
        def hook(event, args):
            nonlocal left
            if event == "fcntl.flock" or any(str(folder) in str(arg) for arg in args):
                left -= 1
                if left == 0:
                    os.write(tell, event.encode())
                    time.sleep(60)
        sys.addaudithook(hook)
        status = 1
        try:
            change("v2", "stopped")
            status = 0
        except KeyboardInterrupt:
            status = 130
        finally:
            os.write(tell, b"end")
            os._exit(status)
    event = os.read(reached, 100).decode()
    if event != "end":
        os.kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(reached), os.close(tell)
    return event, status

for stage in range(1, 100):
    for path in folder.glob("otel-agent.*"):
        path.unlink()
    change("v1", "before")
    event, status = stopped_at(stage)
    active = files.read().releases["support"].active
    lines = files.history.read_text().splitlines()
    told = [each.who for each in files.read_history().changes]
    change("v3", "after")
    print(json.dumps(dict(
        event=event, status=status, active=active, lines=len(lines), told=told,
        then=[json.loads(line)["after"] for line in files.history.read_text().splitlines()],
        names=sorted(os.listdir(folder)),
    )), flush=True)
    if event == "end":
        break
"""
)


def program(source: str, folder: Path, *arguments: object) -> subprocess.Popen[str]:
    (folder.parent / "env").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), str(folder), *map(str, arguments)],
        env=environment(folder.parent / "env"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(2, 130), (9, -9)], ids=["SIGINT", "SIGKILL"])
def test_a_writer_stopped_at_any_moment_leaves_old_or_new(number: int, status: int, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    out, err = program(STOPPED, folder, number).communicate(timeout=100)
    seen = [json.loads(line) for line in out.splitlines()]
    assert seen, err
    *stages, whole = seen
    assert whole["event"] == "end", err
    assert (whole["status"], whole["active"]) == (0, "support:v2")
    assert {"fcntl.flock", "open", "os.rename"} <= {each["event"] for each in stages}
    before = [each["active"] for each in stages].index("support:v2")
    for at, each in enumerate(stages):
        changed = at >= before
        assert each["status"] == status, each
        assert each["active"] == ("support:v2" if changed else "support:v1"), each
        assert each["told"] == ["before", *["stopped"] * changed], each
        assert each["then"] == ["support:v1", *["support:v2"] * changed, "support:v3"], each
        assert each["names"] == [
            ".otel-agent.override.json.lock",
            "otel-agent.history.jsonl",
            "otel-agent.override.json",
        ]
    assert stages[before - 1]["event"] == "os.rename"
    assert any(each["lines"] < len(each["told"]) for each in stages[before:]), "no stage left a line to the next writer"


def test_eight_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    folder, each = tmp_path / "work", 12
    folder.mkdir()
    writers = [program(MANY, folder, number, each) for number in range(8)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, err = writer.communicate(timeout=100)
        assert (writer.returncode, err) == (0, "")
    files = ReleaseFiles(folder / "otel-agent.override.json")
    changes = files.read_history().changes
    assert sorted(str(change.after) for change in changes) == sorted(
        f"support:v{number}-{turn}" for number in range(8) for turn in range(each)
    )
    assert [change.before for change in changes] == ["support:v0", *[change.after for change in changes[:-1]]]
    assert len(files.history.read_text().splitlines()) == 8 * each
    assert files.read().releases["support"].active == changes[-1].after
