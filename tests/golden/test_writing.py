"""A task as text that is read as the same task, and a file that keeps every byte it had."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent import InvalidSetting
from otel_agent.config.problems import InvalidFile
from otel_agent.config.values import Config, GoldenTask, OutputCheck
from otel_agent.golden.tasks import load_tasks
from otel_agent.golden.writing import CannotAppend, block, with_task, write_task
from otel_agent.stop import StopCode


def task(id: str = "b", **fields: Any) -> GoldenTask:
    return GoldenTask(id=id, expect_stop_reason=StopCode.FINISH, **fields)


def read(path: Path) -> tuple[GoldenTask, ...]:
    return load_tasks([path], config=Config()).tasks


def test_a_task_is_written_as_people_write_it() -> None:
    found = block(
        task("incident-1", input="Why?\nHow?", tags=("incident",), max_usd=Decimal("0.50"), must_call=("kb.search",)),
        ["From run 1 of\n2026-11-27"],
        indent=2,
    )
    assert found == (
        "  # From run 1 of\\n2026-11-27\n"
        "  - id: incident-1\n"
        "    expect_stop_reason: finish\n"
        '    input: "Why?\\nHow?"\n'
        "    tags: [incident]\n"
        '    max_usd: "0.50"\n'
        "    must_call: [kb.search]\n"
    )


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
NAME = TEXT.filter(lambda text: text.strip() and not any(c < " " or c == "\x7f" for c in text))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT.filter(lambda key: key != "<<"), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(deadline=None)
@given(
    id=NAME | st.sampled_from(["null", "True", "0o7", "1e3", "2026-11-27", "yes", "~", "- a", "#", "a: b"]),
    input=TEXT | st.dictionaries(TEXT.filter(lambda key: key != "<<"), PLAIN, max_size=3),
    tags=st.lists(NAME, max_size=2).map(tuple),
    contains=TEXT,
    tokens=st.none() | st.integers(0, 10**12),
)
def test_whatever_it_says_it_is_read_as_the_same(
    tmp_path_factory: pytest.TempPathFactory, id: str, input: Any, tags: Any, contains: str, tokens: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.unlink(missing_ok=True)
    wanted = task(id, input=input, tags=tags, max_tokens=tokens, output=OutputCheck(contains=(contains,)))
    write_task(path, wanted, [contains])
    assert read(path) == (wanted,)


@pytest.mark.parametrize(
    "before",
    [
        "- {id: a, expect_stop_reason: finish}\n",
        "# ours\n-   id: a  # the first\n    expect_stop_reason: finish",
        "agent: app:answer\ntasks:\n  - {id: a, expect_stop_reason: finish}\n",
        "tasks:\n- id: a\n  expect_stop_reason: finish\n\n# the end\n",
        "\ufefftasks:\n      -\n        id: a\n        expect_stop_reason: finish\n",
        "writes: [refund]\r\ntasks:\r\n  - {id: a, expect_stop_reason: finish}\r\n",
        "---\n- {id: a, expect_stop_reason: finish}\n",
    ],
)
def test_what_stood_there_stands_there_still(tmp_path: Path, before: str) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_bytes(before.encode())
    write_task(path, task(tags=("x",)), ["From run 1"])
    after = path.read_bytes().decode()
    assert after.startswith(before)
    assert after.count("\r\n") == (after.count("\n") if "\r" in before else 0)
    assert read(path) == (task("a"), task(tags=("x",)))
    write_task(path, task("c"), [])
    assert [each.id for each in read(path)] == ["a", "b", "c"]


@pytest.mark.parametrize("before", [None, "", "# tasks of incidents\n", "\n\n"])
def test_a_new_file_or_one_of_comments(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "golden" / "incidents.yaml"
    if before is not None:
        path.parent.mkdir()
        path.write_text(before)
    write_task(path, task(), ["From run 1"])
    assert read(path) == (task(),)
    assert path.read_text().startswith(before or "# From run 1\n- id: b\n")


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("[{id: a, expect_stop_reason: finish}]\n", "in brackets"),
        ("{tasks: [{id: a, expect_stop_reason: finish}]}\n", "in brackets"),
    ],
)
def test_a_list_in_brackets_is_left_alone(tmp_path: Path, before: str, why: str) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(before)
    with pytest.raises(CannotAppend, match=why):
        write_task(path, task(), [])
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("tasks:\n  - {id: a, expect_stop_reason: finish}\nagent: app:answer\n", None),
        ("tasks: []\n", None),
        ("- {id: a, expect_stop_reason: finish}\n...\n", None),
        ("- {id: b, expect_stop_reason: finish}\n", r"tasks\[1\].id = 'b': must be an id that no task before it has"),
        ("- {id: a, expect_stop_reason: finish, input: SECRET, quorum: 0}\n", r"tasks\[0\].quorum = 0: must be"),
        ("prompts: {}\n", "prompts: no such key"),
    ],
)
def test_a_file_that_would_not_say_the_same_and_the_task_is_left_alone(
    tmp_path: Path, before: str, why: str | None
) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(before)
    kind = CannotAppend if why is None else InvalidFile
    with pytest.raises(kind, match=why or "its list of tasks is not what stands at its end") as caught:
        write_task(path, task(), [])
    assert path.read_text() == before
    assert "SECRET" not in str(caught.value)


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSetting, match="in a folder that can be made"):
        write_task(tmp_path / "file" / "tasks.yaml", task(), [])


def test_an_input_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(InvalidFile, match=r"tasks\[0\].input: must be a text of 1 to 100,000 characters"):
        with_task(None, task(input="x" * 100_001), [])
