"""Prompts: an id that every language computes alike, and the system prompt that is sent."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting, Prompt, agent_run, build_system_prompt, prompt_id
from otel_agent.prompts import parse_ref

V12 = Prompt("support", "v12", "Answer using KB. If unsure, ask a clarifying question.")
V13 = Prompt("support", "v13", "Answer using KB. Cite tool results. If unsure, ask a clarifying question.")
GUARD = "You are a production agent. You must follow tool policies and budgets.\nAlways stop with a stop_reason.\n\n"


# further control characters, ends of lines and paragraphs, marks that turn the direction of a line
UNSEEN = [f"a{mark}b" for mark in "\x80\x85\x9f\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069"]


def test_ids_of_known_prompts() -> None:
    assert (V12.id, V13.id) == ("support:v12:5fa80991330d", "support:v13:50af3e26c3af")
    assert prompt_id(V12.text) == "5fa80991330d"


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_an_id_is_the_head_of_the_sha256_of_the_text_as_given(text: str) -> None:
    whole = hashlib.sha256(text.encode("utf-8")).hexdigest()
    prompt = Prompt("p", "v1", text)
    assert (prompt_id(text), prompt.hash, prompt.id) == (whole[:12], whole, f"p:v1:{whole[:12]}")


def test_nothing_is_stripped_or_normalised_for_the_id() -> None:
    variants = ["text", "text ", "text\n", "text\r\n", "\ufefftext", "te\u0301xt", "t\u00e9xt", "Text"]
    assert len({prompt_id(text) for text in variants}) == len(variants)


@pytest.mark.parametrize("text", ["", "\ud800", "a\udfffb", 5, None, b"text", "x" * 10_000_001])
def test_a_text_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(InvalidSetting, match="valid Unicode"):
        prompt_id(text)  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting) as caught:
        Prompt("p", "v1", text)  # type: ignore[arg-type]
    assert caught.value.field == "Prompt.text"


@pytest.mark.parametrize("name", ["a:b", ":", "", " ", "a\nb", "\ud800", 5, None, "x" * 257, *UNSEEN])
def test_a_name_and_a_version_that_would_break_the_id_are_refused(name: object) -> None:
    for field, values in (("name", (name, "v1")), ("version", ("p", name))):
        with pytest.raises(InvalidSetting) as caught:
            Prompt(*values, "text")  # type: ignore[arg-type]
        assert caught.value.field == f"Prompt.{field}"


@pytest.mark.parametrize(
    "name", ["größe", "日本語", "a b", "👩\u200d🚒", *map("a{}b".format, "\xa0\u2027\u202f\u2065")]
)
def test_a_name_may_be_of_any_language(name: str) -> None:
    assert parse_ref("prompt", Prompt(name, name, "text").id)[:2] == (name, name)


@pytest.mark.parametrize("name", UNSEEN)
def test_no_reference_holds_what_no_name_may(name: str) -> None:
    for ref in (f"{name}:v1", f"support:{name}"):
        with pytest.raises(InvalidSetting, match="with no control characters"):
            parse_ref("prompt", ref)


def test_the_system_prompt_has_guard_lines_id_and_stripped_text() -> None:
    prompt = Prompt("p", "v1", "\n\t Be kind. \r\n")
    assert build_system_prompt(prompt) == f"{GUARD}[prompt_id={prompt.id}]\nBe kind."
    assert build_system_prompt(V12) == f"{GUARD}[prompt_id=support:v12:5fa80991330d]\n{V12.text}"


def test_the_system_prompt_may_have_its_id_at_the_end_or_nowhere() -> None:
    assert build_system_prompt(V12, mark="start") == build_system_prompt(V12)
    assert build_system_prompt(V12, mark="end") == f"{GUARD}{V12.text}\n[prompt_id={V12.id}]"
    assert build_system_prompt(V12, mark=None) == f"{GUARD}{V12.text}"


def test_the_system_prompts_of_two_versions_share_their_start_where_the_id_comes_last() -> None:
    first, second = (build_system_prompt(Prompt("p", version, V12.text), mark="end") for version in ("v1", "v2"))
    assert first.rpartition("\n")[0] == second.rpartition("\n")[0]


def test_a_wrong_mark_is_told_all_that_are_right() -> None:
    with pytest.raises(InvalidSetting, match=r"must be one of start, end, or None \(did you mean end\?\)"):
        build_system_prompt(V12, mark="ennd")  # type: ignore[arg-type]


def test_a_wrong_mark_or_no_prompt_is_refused() -> None:
    for arguments in ((V12, "middle"), (V12, ""), ("text", "start"), (None, None)):
        with pytest.raises(InvalidSetting, match=r"build_system_prompt\.(mark|prompt)"):
            build_system_prompt(arguments[0], mark=arguments[1])  # type: ignore[arg-type]


def test_a_prompt_is_a_value() -> None:
    assert pickle.loads(pickle.dumps(V12)) == V12 == Prompt("support", "v12", V12.text)
    assert len({V12, V13, Prompt("support", "v12", V12.text)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        V12.text = "another"  # type: ignore[misc]
    assert V12.text not in repr(V12)


def test_a_run_pins_the_prompt_it_is_given() -> None:
    with agent_run(prompt=V13) as run:
        assert (run.prompt, run.prompt_id) == (V13, "support:v13:50af3e26c3af")
    assert run.result.prompt_id == V13.id
    with agent_run() as run:
        assert (run.prompt, run.prompt_id) == (None, None)


def test_a_run_says_so_where_no_prompt_of_a_name_is_registered() -> None:
    asked = agent_run(prompt="support")  # a decorator may stand above configure()
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'support'.*no prompt is registered"), asked:
        pass
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt"):
        agent_run(prompt="support:v13")
