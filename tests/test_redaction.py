"""What looks like a secret goes out, whole, wherever it stands; what does not stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import redaction
from otel_agent.redaction import REDACTED, redacted, redacted_pieces, redacted_together

CONFIG = Path(__file__).parent.parent / "collector-config.yaml"
KEY = "sk-proj-abcdefghijklmnop1234"

SECRETS = [
    KEY,
    "AKIAABCDEFGHIJKLMNOP",
    "AIza" + "a" * 35,
    "ghp_abcdefghijklmnopqrst",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "Bearer abcdefghijklmnop",
    "Basic dXNlcjpwYXNzd29yZA==",
    "api_key=hunter2",
    "://ada:lovelace@",
]


def test_the_collector_takes_out_the_same() -> None:
    rules = yaml.safe_load(CONFIG.read_text("utf-8"))["processors"]["redaction"]
    assert rules["blocked_values"] == [*redaction.SECRETS, *redaction.PERSONAL]
    assert rules["blocked_key_patterns"] == [redaction.NAMES]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_goes_out_of_a_text(secret: str) -> None:
    assert redacted(f"take {secret} now") == f"take {REDACTED} now"


@pytest.mark.parametrize(
    "text", ["ask-me-anything-at-all", "a basic question", "the secret is out", "ada@example.com", "4 1"]
)
def test_other_texts_stay(text: str) -> None:
    assert redacted(text) == text


def test_a_value_keeps_its_shape() -> None:
    value = {"a": [1, None, True, {"b": f"x {KEY}"}], "api_key": "abc", "cookie": 3, "secrets": {"one": "two"}}
    clean = {"a": [1, None, True, {"b": f"x {REDACTED}"}], "api_key": REDACTED, "cookie": 3, "secrets": {"one": "two"}}
    assert redacted(value) == clean


@given(st.integers(1, len(KEY) - 1), st.integers(1, len(KEY) - 1))
def test_a_secret_in_pieces_goes_out_of_all_of_them(first: int, second: int) -> None:
    low, high = sorted((first, second))
    pieces = ["take ", KEY[:low], KEY[low:high], KEY[high:], " now"]
    assert "".join(redacted_pieces(pieces)) == f"take {REDACTED} now"
    events = [{"choices": [{"delta": {"content": piece}}], "id": "one"} for piece in pieces]
    clean = redacted_together(events)
    assert "".join(event["choices"][0]["delta"]["content"] for event in clean) == f"take {REDACTED} now"
    assert {event["id"] for event in clean} == {"one"}


def test_what_each_event_repeats_is_no_text_in_pieces() -> None:
    events = [{"id": "sk-abcdefgh", "text": text} for text in "abc"]
    assert redacted_together(events) == events


texts = st.text(alphabet="ab:= \"'/@-._skSecretpasswordBearer1234567890", max_size=80) | st.sampled_from(SECRETS)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


@given(st.lists(texts, max_size=6).map("".join))
def test_twice_is_once(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@given(values)
def test_any_value_comes_out_as_json_of_the_same_shape(value: Any) -> None:
    clean = redacted(value)
    assert shape(clean) == shape(value)
    assert json.loads(json.dumps(clean)) == clean


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


@given(st.lists(st.text(max_size=9), max_size=5))
def test_pieces_without_a_secret_stay_as_they_are(pieces: list[str]) -> None:
    if redacted("".join(pieces)) == "".join(pieces):
        assert redacted_pieces(pieces) == pieces
