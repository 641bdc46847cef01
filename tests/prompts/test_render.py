"""Variables of a prompt: each must be given, none other may be, and what a value says stays text."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting, Prompt, build_system_prompt

GREETING = Prompt("greeting", "v1", "Hello {{ name }}, you are {{role}}. {{name}}!")

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"))


def test_every_place_gets_its_value() -> None:
    assert GREETING.variables == {"name", "role"}
    assert GREETING.render({"name": "Ann"}, role="a pilot") == "Hello Ann, you are a pilot. Ann!"


def test_numbers_stand_as_they_are_written() -> None:
    prompt = Prompt("p", "v1", "{{a}} {{b}} {{c}}")
    assert prompt.render(a=3, b=0.5, c=Decimal("1.50")) == "3 0.5 1.50"


def test_a_keyword_wins_over_the_mapping() -> None:
    assert Prompt("p", "v1", "{{a}}").render({"a": "mapping"}, a="keyword") == "keyword"


@pytest.mark.parametrize("value", ["{{role}}", "{{ name }}", "{{", "\\1 \\g<0>", "{0}", "%s", "$name"])
def test_what_a_value_says_is_never_rendered(value: str) -> None:
    assert GREETING.render(name=value, role="r") == f"Hello {value}, you are r. {value}!"


@given(values=st.dictionaries(names, texts, min_size=1, max_size=5), parts=st.lists(texts, min_size=6, max_size=6))
def test_a_rendered_text_is_its_parts_with_the_values_between(values: dict[str, str], parts: list[str]) -> None:
    parts = [part.replace("{", "(") for part in parts]
    text = parts[0] + "".join(f"{{{{{name}}}}}{part}" for name, part in zip(values, parts[1:], strict=False))
    wanted = parts[0] + "".join(value + part for value, part in zip(values.values(), parts[1:], strict=False))
    assert Prompt("p", "v1", text).render(values) == wanted


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_text_without_variables_is_rendered_as_it_is(text: str) -> None:
    prompt = Prompt("p", "v1", text)
    if not prompt.variables:
        assert prompt.render() == text


@pytest.mark.parametrize("text", ["{{}}", "{{ a b }}", "{{1a}}", "{ {a} }", "{{a}", "{a}", "{{a-b}}", "{{a\n}}"])
def test_what_is_no_placeholder_is_text(text: str) -> None:
    prompt = Prompt("p", "v1", text)
    assert not prompt.variables
    assert prompt.render() == text


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InvalidSetting, match=r"render\.role.*must be given: greeting:v1 has the variables name, role"):
        GREETING.render(name="Ann")


def test_an_unknown_variable_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidSetting, match=r"render\.rolle.*did you mean role\?"):
        GREETING.render(name="Ann", role="r", rolle="secret-value")
    with pytest.raises(InvalidSetting, match=r"p:v1 has no variables"):
        Prompt("p", "v1", "text").render(a="secret-value")


@pytest.mark.parametrize("value", [None, True, b"bytes", ["a"], "\ud800", object()])
def test_a_value_that_is_no_text_is_refused_and_not_shown(value: object) -> None:
    with pytest.raises(InvalidSetting, match=r"render\.name = <class .*a text of valid Unicode, or a number"):
        GREETING.render(name=value, role="r")


def test_values_are_a_mapping() -> None:
    with pytest.raises(InvalidSetting, match=r"render\.values"):
        GREETING.render("Ann")  # type: ignore[arg-type]


def test_the_id_stays_that_of_the_text_as_given() -> None:
    before = GREETING.id
    GREETING.render(name="Ann", role="r")
    assert GREETING.id == before


def test_the_system_prompt_is_rendered_where_variables_are_given() -> None:
    prompt = Prompt("p", "v1", " Be {{mood}}. ")
    assert build_system_prompt(prompt, mark=None, variables={"mood": "kind"}).endswith("\n\nBe kind.")
    assert build_system_prompt(prompt, mark=None).endswith("\n\nBe {{mood}}.")
    assert re.search(r"\[prompt_id=p:v1:[0-9a-f]{12}\]", build_system_prompt(prompt, variables={"mood": "kind"}))
    with pytest.raises(InvalidSetting, match=r"render\.mood"):
        build_system_prompt(prompt, variables={})
