"""`prompts.lock`: what it looks like, what it refuses, and that no order of lines and no merge changes what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting, Prompt
from otel_agent.prompts import version_order
from otel_agent.stores.prompt_lock import Locked, PromptLock, check_lock, lock_prompts, read_lock

WHEN = "2026-11-27T09:30:00Z"
V12, V13 = Prompt("support", "v12", "Answer."), Prompt("support", "v13", "Answer using KB.")

words = st.text('av19- ü\u2028\U0001f600\\"{', min_size=1, max_size=4).filter(str.strip)
names = st.text('av19- ü\U0001f600\\"{', min_size=1, max_size=4).filter(str.strip)
hashes = st.integers(0, 16**12 - 1).map("{:012x}".format)


@st.composite
def entries(draw: st.DrawFn, most: int = 12) -> list[Locked]:
    refs = draw(st.lists(st.tuples(names, names), unique=True, max_size=most))
    return [
        Locked(
            id=f"{name}:{version}:{draw(hashes)}", who=draw(words), when=draw(st.sampled_from([WHEN, "2027", "2028"]))
        )
        for name, version in refs
    ]


@given(entries())
def test_what_is_written_is_read(given: list[Locked]) -> None:
    lock = PromptLock.of(given)
    assert PromptLock.parse(lock.dump()) == lock
    assert len(lock) == len(given)


@given(entries(), st.randoms(use_true_random=False))
def test_no_order_of_lines_changes_it(given: list[Locked], random: Random) -> None:
    text = PromptLock.of(given).dump()
    lines = text.split("\n")
    random.shuffle(lines)
    assert PromptLock.parse("\r\n".join(lines)).dump() == text


@given(entries())
def test_lines_are_sorted_by_name_and_version(given: list[Locked]) -> None:
    ids = [json.loads(line)["id"].split(":") for line in PromptLock.of(given).dump().split("\n") if line]
    keys = [(name, version_order(version)) for name, version, _ in ids]
    assert keys == sorted(keys)


@given(entries(), st.data())
def test_a_merge_of_two_branches_says_what_both_say_in_either_order(given: list[Locked], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(given)))
    both = data.draw(st.integers(0, len(given)))
    ours, theirs = PromptLock.of(given[: max(cut, both)]), PromptLock.of(given[cut:])
    assert ours.merged(theirs) == theirs.merged(ours) == PromptLock.of(given)
    assert PromptLock.parse(ours.dump() + theirs.dump()) == PromptLock.of(given)  # what git's union merge makes


@given(entries(most=6), hashes)
def test_branches_that_contradict_each_other_are_refused(given: list[Locked], other: str) -> None:
    for entry in given:
        if entry.ref.hash != other:
            lock = PromptLock.of([Locked(id=f"{entry.ref.name}:{entry.ref.version}:{other}", who="x", when=WHEN)])
            with pytest.raises(InvalidSetting, match="must be one id"):
                PromptLock.of(given).merged(lock)


def test_of_two_records_of_one_text_the_earlier_counts() -> None:
    early, late = (Locked(id=V12.id, who=who, when=when) for who, when in (("b", "2026"), ("a", "2027")))
    assert list(PromptLock.of([late, early])) == [early]


def test_v9_comes_before_v10() -> None:
    lock = PromptLock.of(Locked(id=f"a:v{n}:{'0' * 12}", who="x", when=WHEN) for n in (10, 9))
    assert [entry.ref.version for entry in lock] == ["v9", "v10"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("<<<<<<< ours", "prompts.lock:2 = '<<<<<<< ours': must be one JSON object"),
        ("[]", "prompts.lock:2 = '[]': must be an object of id, who and when"),
        (
            '{"id": "a:v1:000000000000", "who": "x", "when": "t", "id": "a:v2:000000000000"}',
            "prompts.lock:2 = 'id': must be a key that stands there once",
        ),
        ('{"id": "a:v1:000000000000", "who": "x"}', "must be an object of id, who and when"),
        ('{"id": "a:v1", "who": "x", "when": "y"}', "prompts.lock:2: id = 'a:v1': must be a whole prompt id"),
        ('{"id": "a:v1:XYZ", "who": "x", "when": "y"}', "prompts.lock:2: id = 'a:v1:XYZ': must be `name:version`"),
        ('{"id": 5, "who": "x", "when": "y"}', "prompts.lock:2: id = 5"),
        ('{"id": "a:v1:000000000000", "who": "", "when": "y"}', "prompts.lock:2: who = ''"),
        (
            '{"id": "b:v1:000000000000", "who": "x", "when": "y"}',
            "prompts.lock: b:v1 = 'b:v1:000000000000': must be one",
        ),
        ("[" * 100_000, "prompts.lock:2 = "),
    ],
)
def test_a_line_that_is_none_is_named_with_its_number(line: str, said: str) -> None:
    good = json.dumps({"id": "b:v1:111111111111", "who": "x", "when": WHEN})
    with pytest.raises(InvalidSetting) as caught:
        PromptLock.parse(f"{good}\n{line}\n")
    assert said in str(caught.value)


class TestFile:
    def test_records_what_is_new_and_keeps_what_is_there(self, tmp_path: Path) -> None:
        path = tmp_path / "prompts.lock"
        assert lock_prompts(path, [V13], who="anna", when=WHEN) == [Locked(id=V13.id, who="anna", when=WHEN)]
        assert lock_prompts(path, [V12, V13], who="ben", when="2027") == [Locked(id=V12.id, who="ben", when="2027")]
        assert path.read_text().splitlines() == [
            f'{{"id": "{V12.id}", "who": "ben", "when": "2027"}}',
            f'{{"id": "{V13.id}", "who": "anna", "when": "{WHEN}"}}',
        ]

    def test_nothing_new_writes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "prompts.lock"
        lock_prompts(path, [V13], who="anna", when=WHEN)
        before = path.stat().st_mtime_ns, path.stat().st_ino
        assert lock_prompts(path, [V13], who="ben", when="2027") == []
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == before

    def test_a_dry_run_writes_nothing(self, tmp_path: Path) -> None:
        assert lock_prompts(tmp_path / "prompts.lock", [V13], who="anna", when=WHEN, dry_run=True)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_a_changed_text_is_refused_and_nothing_is_recorded(self, dry_run: bool, tmp_path: Path) -> None:
        path = tmp_path / "prompts.lock"
        lock_prompts(path, [V13], who="anna", when=WHEN)
        before = path.read_text()
        changed = Prompt("support", "v13", "Answer using the KB.")
        with pytest.raises(InvalidSetting, match=r"see what changed with `otel-agent prompts diff support:v13`"):
            lock_prompts(path, [V12, changed], who="ben", when=WHEN, dry_run=dry_run)
        assert path.read_text() == before

    def test_a_changed_text_is_refused_at_load_with_both_ids(self, tmp_path: Path) -> None:
        path = tmp_path / "prompts.lock"
        lock_prompts(path, [V12, V13], who="anna", when=WHEN)
        lock = read_lock(path)
        assert lock is not None
        check_lock(lock, [V12, V13, Prompt("support", "v14", "New.")])
        changed = Prompt("support", "v13", "Answer using KB")
        with pytest.raises(InvalidSetting) as caught:
            check_lock(lock, [V12, changed])
        assert V13.id in str(caught.value)
        assert changed.id in str(caught.value)

    def test_no_file_is_none(self, tmp_path: Path) -> None:
        assert read_lock(tmp_path / "prompts.lock") is None


WRITER = """
import sys
from pathlib import Path
from otel_agent import Prompt
from otel_agent.stores.prompt_lock import lock_prompts

who, path, each = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for number in range(each):
    lock_prompts(path, [Prompt(who, f"v{number}", "Text."), Prompt("all", f"v{number}", "Text.")], who=who, when="t")
"""


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    count, each = 4, 20
    command = [sys.executable, "-c", WRITER]
    arguments = [[f"w{number}", str(tmp_path / "prompts.lock"), str(each)] for number in range(count)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen([*command, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for given in arguments
        ]
        assert [writer.stdout.readline() for writer in writers if writer.stdout] == ["ready\n"] * count
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.close()
        assert [writer.wait(120) for writer in writers] == [0] * count
    lock = read_lock(tmp_path / "prompts.lock")
    assert lock is not None
    found = {entry.ref[:2] for entry in lock}
    assert found == {(name, f"v{number}") for name in ("all", "w0", "w1", "w2", "w3") for number in range(each)}
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]
