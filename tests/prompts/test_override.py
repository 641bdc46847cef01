"""The form of what commands write: read back as it was written, and an error that says where."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting
from otel_agent.prompts import (
    Canary,
    Change,
    Override,
    Release,
    dump_change,
    dump_override,
    parse_change,
    parse_override,
)

turning = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
names = st.text(
    st.characters(codec="utf-8", exclude_characters=f":{turning}", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1
).filter(str.strip)
percents = st.integers(0, 10_000).map(lambda points: points / 100)
canaries = st.builds(
    Canary,
    version=names,
    percent=percents,
    by=st.sampled_from(["conversation", "user"]),
    salt=st.none() | names,
    tenants=st.lists(names, max_size=2),
    environments=st.lists(names, max_size=2),
)


@st.composite
def released(draw: st.DrawFn) -> Release:
    name = draw(names)
    return Release(
        name=name,
        active=f"{name}:{draw(names)}",
        rollback=draw(st.none() | names.map(lambda version: f"{name}:{version}")),
        canary=draw(st.none() | canaries),
    )


refs = st.builds("{}:{}".format, names, names)
changes = st.builds(
    Change,
    what=st.sampled_from(["activated", "rolled_back", "rollout_changed"]),
    prompt=names,
    before=st.none() | refs,
    after=st.none() | refs,
    percent=st.none() | percents,
    when=st.just("2026-11-27T09:30:00Z"),
    who=names,
    why=st.none() | names,
)


@given(st.lists(released(), max_size=4), st.lists(changes, max_size=4))
def test_an_override_is_read_as_it_was_written(found: list[Release], noted: list[Change]) -> None:
    releases = {release.name: release for release in found}
    override = Override(releases=releases, changes=dict(zip(releases, noted, strict=False)))
    text = dump_override(override)
    assert parse_override(text) == override
    assert dump_override(parse_override(text)) == text


@given(changes)
def test_a_change_is_one_line_and_read_as_it_was_written(change: Change) -> None:
    line = dump_change(change)
    assert "\n" not in line
    assert parse_change(line) == change


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
def test_any_other_text_is_refused_with_one_error(text: str) -> None:
    for parse in (parse_override, parse_change):
        with pytest.raises(InvalidSetting):
            parse(text)


def test_nothing_is_overridden_by_an_empty_object() -> None:
    assert parse_override("{}") == Override() == parse_override('{"prompts": {}}')


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"activ": "support:v1"}, "prompts.support = 'activ': must be one of the keys active"),
        ({}, "prompts.support.active = None"),
        ({"active": "triage:v1"}, "prompts.support.active = 'triage:v1': must be a version of support"),
        ({"active": "support:v1", "rollback": 5}, "prompts.support.rollback = 5"),
        ({"active": "support:v1", "canary": {"version": "v2"}}, "prompts.support.canary.percent = None: must be given"),
        ({"active": "support:v1", "canary": {"version": "v2", "percent": 101}}, "prompts.support.canary.percent = 101"),
        (
            {"active": "support:v1", "canary": {"version": "v2", "percent": "1e999999"}},
            "prompts.support.canary.percent = '1e999999': must be a percentage",
        ),
        ({"active": "support:v1", "canary": {"versoin": "v2", "percent": 1}}, "(did you mean version?)"),
        ({"active": "support:v1", "canary": []}, "prompts.support.canary = []: must be an object"),
        ({"active": "support:v1", "change": {"what": "activated"}}, "prompts.support.change.prompt = None"),
        ({"active": "support:v1", "change": {"why": ""}}, "prompts.support.change.what = None: must be given"),
        ([], "prompts.support = []: must be an object"),
    ],
)
def test_an_error_says_where(entry: object, said: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        parse_override(json.dumps({"prompts": {"support": entry}}))


def test_broken_json_says_line_and_column() -> None:
    with pytest.raises(InvalidSetting, match=r"line 2 column 1"):
        parse_override('{"prompts":\n')
    with pytest.raises(InvalidSetting, match="did you mean prompts"):
        parse_override('{"prompt": {}}')
    for text in ('{"prompts": {"a": 1, "a": 2}}', '{"prompts": {"a": {"active": "a:v1", "active": "a:v2"}}}'):
        with pytest.raises(InvalidSetting, match="must be a key that stands there once"):
            parse_override(text)
    with pytest.raises(InvalidSetting, match="JSON"):
        parse_override("[" * 100_000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("what", "changed"),
        ("prompt", "a:b"),
        ("before", "v1"),
        ("percent", 200),
        ("when", ""),
        ("who", None),
        ("why", ""),
    ],
)
def test_a_change_that_says_nothing_is_refused(field: str, value: object) -> None:
    good = {"what": "activated", "prompt": "p", "before": None, "after": "p:v1", "when": "now", "who": "ann"}
    with pytest.raises(InvalidSetting):
        Change(**{**good, field: value})  # type: ignore[arg-type]
