"""What an answer must be like, and that a report never quotes it."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from otel_agent.config.values import OutputCheck
from otel_agent.golden.outputs import MOST_SEARCHED, Miss, misses


@dataclass
class Answer:
    text: str
    days: int = 3


class Model(BaseModel):
    text: str
    days: int = 3


def found(check: OutputCheck, output: object) -> list[Miss]:
    return list(misses(check, output))


@pytest.mark.parametrize("output", ["See #17: SECRET", {"text": "See #17"}, Answer("See #17"), Model(text="See #17")])
def test_every_text_must_be_in_it(output: object) -> None:
    assert not found(OutputCheck(contains=("See", "#17")), output)
    (miss,) = found(OutputCheck(contains=("See", "#18")), output)
    assert (miss.field, miss.allowed) == ("output.contains[1]", "with '#18' in it")
    assert "SECRET" not in miss.found


def test_a_text_is_searched_as_it_is_and_a_value_as_its_json() -> None:
    assert not found(OutputCheck(contains=('"days": 3', "é")), {"days": 3, "name": "é"})
    assert found(OutputCheck(contains=('"days": 3',)), "days: 3") == [
        Miss("output.contains", "with '\"days\": 3' in it", "a text of 7 characters without it")
    ]


def test_a_regular_expression_is_searched_for() -> None:
    check = OutputCheck(regex="[0-9]+ days$")
    assert not found(check, "It takes 3 days")
    assert found(check, "It takes 3 days.") == [
        Miss("output.regex", "where '[0-9]+ days$' is found", "a text of 16 characters without it")
    ]
    assert not found(OutputCheck(regex="b"), "a" * (MOST_SEARCHED - 1) + "b")
    assert found(OutputCheck(regex="b"), "a" * MOST_SEARCHED + "b")


@pytest.mark.parametrize("check", [OutputCheck(contains=("a",)), OutputCheck(regex="a")])
def test_no_output_has_nothing_in_it(check: OutputCheck) -> None:
    assert [miss.found for miss in found(check, None)] == ["no output"]


SCHEMA = {
    "type": "object",
    "required": ["text"],
    "properties": {"days": {"$ref": "#/$defs/count"}, "list": {"type": "array", "items": {"type": "integer"}}},
    "$defs": {"count": {"type": "integer", "minimum": 1}},
}


@pytest.mark.parametrize("output", ['{"text": "a", "days": 3}', {"text": "a"}, Answer("a"), Model(text="a")])
def test_what_fits_a_schema(output: object) -> None:
    assert not found(OutputCheck(json_schema=SCHEMA), output)


@pytest.mark.parametrize(
    ("output", "allowed", "shown"),
    [
        ({"text": "a", "days": "SECRET"}, "with 'type \"integer\"' at $.days", "a str"),
        ('{"text": "a", "list": [1, "SECRET"]}', "with 'type \"integer\"' at $.list[1]", "a str"),
        ({"days": 3}, "with 'required [\"text\"]' at $", "a dict"),
        ("It takes 3 days.", "JSON", "str that is no JSON"),
        (None, "with 'type \"object\"' at $", "a NoneType"),
        (Answer("a", days=0), "with 'minimum 1' at $.days", "a int"),
    ],
)
def test_what_does_not(output: object, allowed: str, shown: str) -> None:
    assert found(OutputCheck(json_schema=SCHEMA), output) == [Miss("output.json_schema", allowed, shown)]


def test_the_dialect_is_the_one_that_the_schema_names() -> None:
    schema = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}
    assert found(OutputCheck(json_schema=schema), 3)
    assert not found(OutputCheck(json_schema=schema), 4)


@pytest.mark.parametrize("ref", ["#/nowhere", "#"])
def test_a_schema_that_leads_nowhere_is_told(ref: str) -> None:
    (miss,) = found(OutputCheck(json_schema={"$ref": ref}), {})
    assert miss.found.startswith("a schema that cannot be used")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that of the library when it fetches, which it must not
def test_nothing_is_fetched() -> None:
    fetched: list[str] = []

    class Schemas(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    with HTTPServer(("127.0.0.1", 0), Schemas) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        schema = {"$ref": f"http://127.0.0.1:{server.server_port}/schema.json"}
        (miss,) = found(OutputCheck(json_schema=schema), {})
        server.shutdown()
    assert "leads nowhere" in miss.found
    assert fetched == []


def test_without_the_library_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    (miss,) = found(OutputCheck(json_schema=SCHEMA), {"text": "a"})
    assert miss.found == "output.json_schema needs a library: pip install 'otel-agent[golden]'"
    assert not found(OutputCheck(contains=("a",)), "a")


class Odd:
    def __str__(self) -> str:
        return "odd"


@given(st.recursive(st.none() | st.floats() | st.text() | st.binary() | st.builds(Odd), st.lists))
def test_no_output_is_too_odd(output: Any) -> None:
    check = OutputCheck(contains=("a",), regex="a", json_schema={"type": "object"})
    assert all(miss.field.startswith("output.") for miss in misses(check, output))
