"""The registry: one namespace of names and versions, one text under each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting, Prompt
from otel_agent.prompts import Ref, Registry, parse_ref, version_order

V9, V12, V13 = (Prompt("support", version, f"Text of {version}.") for version in ("v9", "v12", "v13"))
TRIAGE = Prompt("triage", "v1", "Sort it.")
REGISTRY = Registry([V13, TRIAGE, V9, V12])


def test_it_is_sorted_by_name_and_by_number() -> None:
    assert list(REGISTRY) == [V9, V12, V13, TRIAGE]
    assert (REGISTRY.names, REGISTRY.versions("support")) == (["support", "triage"], ["v9", "v12", "v13"])
    assert (REGISTRY.versions("nobody"), len(REGISTRY), len(Registry())) == ([], 4, 0)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
def test_any_versions_can_be_sorted(versions: list[str]) -> None:
    backwards = list(reversed(versions))
    assert sorted(versions, key=version_order) == sorted(backwards, key=version_order)


def test_a_prompt_is_found_by_version_and_by_hash() -> None:
    assert REGISTRY.get("support:v13") is V13
    assert REGISTRY.get(V13.id) is V13
    assert "support:v13" in REGISTRY
    assert V13.id in REGISTRY
    assert "support:v13:000000000000" not in REGISTRY
    assert "support:v14" not in REGISTRY


def test_the_hash_must_be_that_of_the_text() -> None:
    with pytest.raises(InvalidSetting, match=rf"must be {V13.id}"):
        REGISTRY.get("support:v13:000000000000")


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("suport:v13", r"registered prompt: support, triage \(did you mean support\?\)"),
        ("support:v14", r"a version that has a text: support:v9, support:v12, support:v13 \(did you mean support:v1"),
        ("support", r"`name:version`"),
        ("support:v13:xyz", r"first 12 hex digits"),
        ("a:b:c:d", r"`name:version`"),
        ("support:", r"prompt = 'support:': must be `name:version`"),
        (":v1", r"prompt = ':v1': must be `name:version`"),
        (5, r"`name:version`"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(ref: object, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        REGISTRY.get(ref)


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(InvalidSetting, match="none is registered"):
        Registry().get("support:v1")


def test_two_texts_under_one_version_are_refused() -> None:
    other = Prompt("support", "v13", "Another text.")
    with pytest.raises(InvalidSetting, match=rf"{V13.id} and {other.id} are two"):
        Registry([V13, other])
    with pytest.raises(InvalidSetting, match="needs a new version"):
        REGISTRY.merged([other])
    with pytest.raises(InvalidSetting, match="prompts"):
        Registry(["text"])  # type: ignore[list-item]


def test_the_same_text_twice_is_one_prompt() -> None:
    again = Prompt("support", "v13", V13.text)
    assert list(Registry([V13, again])) == [V13]
    assert REGISTRY.merged([again, Prompt("new", "v1", "x")]).names == ["new", "support", "triage"]


def test_a_reference_is_written_as_it_is_read() -> None:
    assert str(parse_ref("x", "support:v13")) == "support:v13" == str(Ref("support", "v13"))
    assert str(parse_ref("x", V13.id)) == V13.id
