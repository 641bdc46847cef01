"""The prompt folder: names out of paths, the text behind the front matter, and errors that name the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting, Prompt
from otel_agent.stores.prompt_folder import parse_prompt_file, read_prompt_folder

PATH = Path("prompts/support/v13.md")


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def body(text: str) -> str:
    return parse_prompt_file(PATH, text).prompt.text


def test_name_and_version_are_the_path(tmp_path: Path) -> None:
    for name in ("triage/v1.md", "support/v13.md", "support/v2.0.1.md"):
        put(tmp_path, name, f"Text of {name}\n")
    found = read_prompt_folder(tmp_path)
    assert [(file.prompt.name, file.prompt.version) for file in found] == [
        ("support", "v13"),
        ("support", "v2.0.1"),
        ("triage", "v1"),
    ]
    assert found[0].prompt == Prompt("support", "v13", "Text of support/v13.md")
    assert found[0].path == tmp_path / "support" / "v13.md"


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    others = ("README.md", "support/.draft.md", "support/notes.txt", ".git/a.md", "support/old/v1.md")
    for name in (*others, "support/README.md", "sales/readme.md"):
        put(tmp_path, name, "---\nbroken")
    assert read_prompt_folder(tmp_path) == []


def test_the_front_matter_is_not_the_text() -> None:
    file = parse_prompt_file(PATH, "---\nowner: support-team\ndescription: 'Cites: sources.'\n---\nAnswer.\n")
    assert (file.prompt.text, file.owner, file.description) == ("Answer.", "support-team", "Cites: sources.")


@pytest.mark.parametrize("fence", ["---", "--- ", "---\t "])
def test_blanks_behind_a_fence_are_none_of_it(fence: str) -> None:
    file = parse_prompt_file(PATH, f"{fence}\nowner: a\n{fence}\nAnswer.\n--- \n")
    assert (file.prompt.text, file.owner) == ("Answer.\n--- ", "a")
    assert body(f"{fence}\n{fence}\nAnswer.") == "Answer."


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Answer.", "Answer."),
        ("Answer.\n", "Answer."),
        ("Answer.\n\n", "Answer.\n"),
        (" a\r\nb\r\n", " a\nb"),
        ("a\rb\n", "a\rb"),
        ("\ufeffAnswer.\n", "Answer."),
        ("---\r\nowner: a\r\n---\r\nAnswer.\r\n", "Answer."),
        ("---\n---\nAnswer.\n", "Answer."),
        ("--- \t\nowner: a\n---\nAnswer.\n", "Answer."),
        ("---\n# nothing said\n---\n\nAnswer.\n", "\nAnswer."),
        ("----\nAnswer.", "----\nAnswer."),
        ("Answer.\n---\nowner: a\n---\n", "Answer.\n---\nowner: a\n---"),
        ("---\nowner: a\n---\n---\nAnswer.\n", "---\nAnswer."),
    ],
)
def test_the_text_is_the_body(text: str, wanted: str) -> None:
    assert body(text) == wanted


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff"), min_size=1))
def test_any_text_can_stand_behind_a_front_matter(text: str) -> None:
    assert body(f"---\nowner: a\n---\n{text}\n") == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")))
def test_any_front_matter_is_one_or_one_error(head: str) -> None:
    try:
        found, field = body(f"---\n{head}\n---\nAnswer.\n"), str(PATH)
    except InvalidSetting as wrong:
        found, field = "none", wrong.field
    assert found
    assert str(PATH) in field


@given(st.text())
def test_any_file_is_a_prompt_or_one_error(text: str) -> None:
    try:
        found, field = body(text), str(PATH)
    except InvalidSetting as wrong:
        found, field = "none", wrong.field
    assert found
    assert str(PATH) in field


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"v13\.md: Prompt\.text = ''"),
        ("---\nowner: a\n---\n", r"v13\.md: Prompt\.text = ''"),
        ("---\nowner: a\n", r"v13\.md: front matter.*ended by a line '---'"),
        ("---\nowner: a\n---x\nAnswer.", r"ended by a line"),
        ("---\nownr: a\n---\nAnswer.", r"front matter = 'ownr': must be one of the keys owner, .*did you mean owner"),
        ("---\nowner: [a]\n---\nAnswer.", r"v13\.md: owner = '\[a\]': must be a text"),
        ("---\nowner: 2026-13-45\n---\nAnswer.", r"v13\.md: owner = '2026-13-45': must be a text, in quotes"),
        ("---\nowner: 0x_\n---\nAnswer.", r"v13\.md: owner = '0x_'"),
        ("---\nowner: !!timestamp soon\n---\nAnswer.", r"v13\.md: owner = 'soon'"),
        ("---\nowner: a\nowner: b\n---\nAnswer.", r"front matter = 'owner': must be a key that stands there once"),
        ("---\n[owner]: a\n---\nAnswer.", r"front matter = '\[owner\]'"),
        ("--- \nownr: a\n---\nAnswer.", r"front matter = 'ownr'"),
        ("---\nowner: a: b\n---\nAnswer.", r"v13\.md: line 2"),
        ("---\n- owner\n---\nAnswer.", r"a mapping of keys"),
        ("---\nowner: !!python/object/apply:os.getcwd []\n---\nAnswer.", r"v13\.md: owner = "),
    ],
)
def test_an_error_names_the_file(text: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        parse_prompt_file(PATH, text)


def test_a_file_and_a_folder_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"nothing-here.*must be a folder that can be read; prompts\.folder,"):
        read_prompt_folder(tmp_path / "nothing-here")
    (tmp_path / "support").mkdir()
    (tmp_path / "support" / "v1.md").write_bytes(b"\xff")
    with pytest.raises(InvalidSetting, match=r"v1\.md.*UTF-8"):
        read_prompt_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "support/v1.md", "Answer.")
    os.mkfifo(tmp_path / "support" / "v2.md")
    with pytest.raises(InvalidSetting, match=r"v2\.md = 'prw.*must be a regular file"):
        read_prompt_folder(tmp_path)


def test_a_link_to_nothing_is_no_prompt(tmp_path: Path) -> None:
    (tmp_path / "support").mkdir()
    (tmp_path / "support" / "v1.md").symlink_to(tmp_path / "nowhere.md")
    (tmp_path / "support" / "v2.md").mkdir()
    assert read_prompt_folder(tmp_path) == []


def test_a_name_that_breaks_the_id_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"Prompt\.version = 'v:1'"):
        parse_prompt_file(Path("prompts/support/v:1.md"), "Answer.")
