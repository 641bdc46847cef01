"""The JSON Schema says of a document what the reader says, but for what holds only between two values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_agent.config.file import read
from otel_agent.config.schema import json_schema
from tests.config.test_file import FROM_THE_ISSUE

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

NASTY = ["", " ", "a", "v13", "support:v13", "a:b:c", "a:b:0123456789ab", ":", "a:", "0.50", "1e3", "999999999.5"]
NASTY += ["x" * 256, "x" * 257, "a\nb", "\n", "a\x7f", "é", "\u2003", "😀", "true", "null", "-1", "0", "00", "auto"]
NASTY += ["a:b\n", "1\n", "user", "\x85", "a\u2028b", "a:\u202eb", "\u2069a:b", "a:b\u200f", "é:\u00a0b"]
NUMBERS = [0, -0.0, 1, 5.0, 0.5, 1e-9, 9e-10, 1e-300, 1e9, 1e12, 10**12, 10**12 + 1, 1e15, 1.1e15, 100, 100.001]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(NUMBERS),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(NASTY),
    st.lists(st.sampled_from(NASTY), max_size=2),
    st.dictionaries(st.sampled_from(NASTY), st.integers(), max_size=2),
)


def document(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Documents that mostly fit a schema."""
    return st.one_of(_fitting(schema), _fitting(schema), _fitting(schema), JUNK)


def _fitting(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of([document(each) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "properties" in schema:
        return _mappings(schema)
    if schema.get("type") == "array":
        return st.lists(document(schema["items"]), max_size=3)
    return JUNK


def _mappings(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    known = {name: document(each) for name, each in schema["properties"].items()}
    required = {name: known[name] for name in schema.get("required", ())}
    optional = {name: each for name, each in known.items() if name not in required}
    found = st.fixed_dictionaries(required, optional=optional)
    if isinstance(schema["additionalProperties"], dict):
        others = st.dictionaries(st.sampled_from(NASTY), document(schema["additionalProperties"]), max_size=2)
        return st.builds(lambda a, b: {**b, **a}, found, others)
    return found | st.builds(lambda a: {**a, "unheard_of": 1}, found)


def as_yaml(value: Any) -> str:
    """JSON that is YAML too: every character beyond ASCII by its number."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_yaml(key)}: {as_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value) + '"'
    return json.dumps(value)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")


def test_every_part_has_a_line_of_meaning() -> None:
    def parts(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        below = schema.get("properties", {}).values()
        return [*below, *(part for each in below for part in parts(each))]

    assert all(part["description"] for part in parts(SCHEMA))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(document(SCHEMA))
def test_what_one_accepts_the_other_accepts(found: Any) -> None:
    _, problems = read(as_yaml(found).encode(), "otel-agent.yaml")
    wrong = [problem for problem in problems if problem.kind != "together"]
    errors = [error.message[:200] for error in VALIDATOR.iter_errors(found)]
    assert bool(wrong) == bool(errors), (found, [str(each) for each in wrong], errors)


@pytest.mark.parametrize("section", list(SCHEMA["properties"]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_and_so_in_each_section(section: str, data: st.DataObject) -> None:
    found = {section: data.draw(_fitting(SCHEMA["properties"][section]))}
    test_what_one_accepts_the_other_accepts.hypothesis.inner_test(found)  # type: ignore[attr-defined]


def test_the_file_of_few_lines_fits() -> None:
    import yaml

    assert not list(VALIDATOR.iter_errors(yaml.safe_load(FROM_THE_ISSUE)))


@pytest.mark.parametrize(
    "found",
    [
        {"prompts": {"texts": {"support": {"v1": "half \ud800"}}}},
        {"prompts": {"texts": {"support": {"v1": "whole \U0001f600"}}}},
        {"prompts": {"active": "a:\ud800"}},
        {"testing": {"golden_tasks": [{"id": "a", "expect_stop_reason": "finish", "input": "\udfff"}]}},
    ],
)
def test_both_know_half_a_character(found: Any) -> None:
    test_what_one_accepts_the_other_accepts.hypothesis.inner_test(found)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("budgets: {max_usd: .nan}", {"budgets": {"max_usd": math.nan}}),
        ("budgets: {max_seconds: .nan}", {"budgets": {"max_seconds": math.nan}}),
        ("alerts: {a: .nan}", {"alerts": {"a": math.nan}}),
    ],
)
def test_no_number_is_refused_by_both(text: str, found: Any) -> None:
    assert read(text.encode(), "otel-agent.yaml")[1]
    assert list(VALIDATOR.iter_errors(found))
