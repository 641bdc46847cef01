"""Every constructor and setting refuses what can never work, where it is written: field, value, and what is allowed."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import (
    AgentStop,
    Budget,
    FinalCall,
    InvalidSetting,
    Logger,
    Price,
    Prompt,
    ToolDenied,
    agent_run,
    build_system_prompt,
    configure,
    flush,
    llm_call,
    prompt_id,
    propagate,
    shutdown,
    tool_call,
    tool_calls,
)
from otel_agent.testing import capture, fake_clock

NAN, INFINITE = math.nan, math.inf
ANY_TYPE: list[Any] = [b"1", [1], {"a": 1}, object(), 1j, (1,), lambda: 1, int]

COUNT = [-1, 1.5, "3", True, False, NAN, INFINITE, -INFINITE, 10**13, 10**5000, Decimal(3), "", *ANY_TYPE]
POSITIVE = [0, *COUNT]
SECONDS = [0, -1, NAN, INFINITE, "60", "", True, 10**9, 1e300, 10**5000, timedelta(0), timedelta(days=-1), *ANY_TYPE]
SECONDS += [timedelta(days=367), timedelta.max, Decimal(3)]
MONEY = [-1, "-0.01", -0.5, NAN, INFINITE, "NaN", "sNaN", "Infinity", "", " ", "much", "1,5", "0x10", True, *ANY_TYPE]
MONEY += [10**10, "1e10", "1e999999999", 10**5000, Decimal("NaN"), Decimal("Infinity")]
SHARE = [0, -0.1, 1.01, NAN, INFINITE, "0.8", "", True, False, 10**5000, Decimal("0.5"), *ANY_TYPE]
TEXT = ["", " ", "\n", "a\nb", "a\x00b", "\ud800", "x" * 257, 5, 1.5, True, *ANY_TYPE]
CHOICE = ["", "obey", "ENFORCE", 5, True, *ANY_TYPE]
ATTRIBUTES = [5, "a", [1], {"": 1}, {5: 1}, {"a": None}, {"a": {}}, {"a": [1, "b"]}, {"a": object()}, {"a": [[1]]}]
ATTRIBUTES += [{"a": 2**63}, {"a": -(2**63) - 1}, {"a": "\ud800"}, {"a": ["\udfff"]}, {str(n): n for n in range(129)}]
CAPS = [5, "a", [("a", 1)], {"": 1}, {5: 1}, {"a": -1}, {"a": 1.5}, {"a": None}, {str(n): 1 for n in range(1001)}]
TOO_MANY = [("a", 1)] * 10_001
MAPPING = ["", [], 0, 5, "a", [1], b"1", object()]

Case = tuple[str, Callable[[Any], object], list[Any]]


def with_run(act: Callable[[Any], Callable[[Any], object]]) -> Callable[[Any], object]:
    """Does something to an open run."""

    def do(value: Any) -> object:
        with agent_run(budget=Budget(final_call=FinalCall())) as run:
            return act(run)(value)

    return do


def recording(field: str) -> Callable[[Any], object]:
    def do(value: Any) -> object:
        with llm_call("some-model") as call:
            return call.record(**{field: value})

    return do


def clock_forward(value: Any) -> object:
    with fake_clock() as clock:
        return clock.advance(value)


LIMITS = {"max_steps": COUNT, "max_tool_calls": COUNT, "max_tokens": COUNT, "max_repeats": COUNT, "max_usd": MONEY}
LIMITS |= {"max_seconds": SECONDS, "max_calls_per_tool": CAPS}
RUN = {"budget": [5, "a", {"max_steps": 1}, Budget, *ANY_TYPE], "prompt": [5, "support:v13", *ANY_TYPE], "mode": CHOICE}
RUN |= dict.fromkeys(("conversation_id", "user_id", "tenant"), TEXT) | {"attributes": ATTRIBUTES}
LLM = {"provider": TEXT, "operation": [None, *TEXT], "estimated_input_tokens": COUNT, "max_output_tokens": POSITIVE}
LLM |= {"parameters": MAPPING, "attributes": ATTRIBUTES}
LLM |= {"server_address": [*TEXT, "host:0", "host:65536", "host:port", "http://host:80", "a/b:80"]}
TOOL = {"cost_usd": MONEY, "max_repeats": COUNT, "call_id": TEXT, "attributes": ATTRIBUTES}
RECORD = dict.fromkeys(("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens"), COUNT)
RECORD |= {"reasoning_tokens": COUNT, "model": TEXT, "finish_reason": TEXT, "cost_usd": MONEY}


def keywords(owner: str, call: Callable[..., object], fields: dict[str, list[Any]]) -> Iterator[Case]:
    for field, wrong in fields.items():
        yield f"{owner}.{field}", lambda value, field=field: call(**{field: value}), wrong  # type: ignore[misc]


CASES: list[Case] = [
    *keywords("Budget", Budget, LIMITS | {"warn_at": [None, *SHARE], "default_output_tokens": [None, *POSITIVE]}),
    ("Budget.final_call", lambda value: Budget(final_call=value), [5, "a", FinalCall, *ANY_TYPE]),
    ("Budget.interrupt", lambda value: Budget(interrupt=value), CHOICE),
    *keywords("FinalCall", FinalCall, {"tokens": [None, *COUNT], "usd": [None, *MONEY]}),
    *keywords("Price", lambda **value: Price(**{"input": 1, "output": 1, **value}), {"input": [None, *MONEY]}),
    ("Prompt.name", lambda value: Prompt(value, "v1", "text"), [None, "a:b", *TEXT]),
    ("Prompt.version", lambda value: Prompt("p", value, "text"), [None, "a:b", *TEXT]),
    ("Prompt.text", lambda value: Prompt("p", "v1", value), [None, "", "\ud800", "x" * 10_000_001, 5, *ANY_TYPE]),
    ("prompt_id.text", prompt_id, [None, "", "\ud800", 5, b"1"]),
    ("build_system_prompt.prompt", build_system_prompt, [None, "text", 5]),
    ("build_system_prompt.mark", lambda value: build_system_prompt(Prompt("p", "v1", "t"), mark=value), CHOICE),
    ("agent_run.name", agent_run, [value for value in TEXT if not callable(value)]),
    *keywords("agent_run", agent_run, RUN),
    *keywords("using", agent_run(lambda: None).using, RUN | {"name": TEXT}),
    ("llm_call.model", llm_call, [None, *TEXT]),
    *keywords("llm_call", lambda **value: llm_call("some-model", **value), LLM),
    ("tool_call.name", tool_call, [value for value in TEXT if not callable(value)]),
    *keywords("tool_call", tool_call, TOOL),
    (
        "tool_calls.wanted",
        tool_calls,
        [None, 5, "ab", b"ab", [1], [("a",)], [("a", 1, 2)], ["ab"], [("a", 1)] * 10_001],
    ),
    ("tool_calls.wanted", lambda value: tool_calls([(value, 1)]), [None, *TEXT]),
    *((f"record.{field}", recording(field), wrong) for field, wrong in RECORD.items()),
    *keywords("Budget", with_run(lambda run: lambda value: run.budget.update(**value)), {}),
    *(
        (f"Budget.{field}", with_run(lambda run, field=field: lambda value: run.budget.update(**{field: value})), wrong)
        for field, wrong in (LIMITS | {"warn_at": SHARE}).items()
    ),
    ("update.actor", with_run(lambda run: lambda value: run.budget.update(max_steps=1, actor=value)), TEXT),
    ("Run.stop.code", with_run(lambda run: run.stop), [None, "", "max_step", "FINISH", 5, *ANY_TYPE]),
    ("Run.stop.detail", with_run(lambda run: lambda value: run.stop("handoff", value)), TEXT),
    ("llm_call.model", with_run(lambda run: run.final_call), [None, *TEXT]),
    ("AgentStop.reason", lambda value: AgentStop(reason=value), [None, "", "max_step", 5, *ANY_TYPE]),
    ("ToolDenied.reason", lambda value: ToolDenied(tool="t", reason=value), [None, "", "denied", 5]),
    ("configure.console", lambda value: configure(console=value), ["yes", 1, 0, "", *ANY_TYPE]),
    ("configure.threads", lambda value: configure(threads=value), ["yes", 1, 0, "", *ANY_TYPE]),
    ("configure.mode", lambda value: configure(mode=value), CHOICE),
    ("configure.config", lambda value: configure(config=value), ["", 5, True, "no/such/file", *ANY_TYPE]),
    ("configure.service_name", configure, TEXT),
    ("configure.protocol", lambda value: configure(protocol=value), ["", "http", "GRPC", 5, *ANY_TYPE]),
    ("configure.endpoint", lambda value: configure(endpoint=value), ["", " ", "nowhere", "ftp://a", 5, *ANY_TYPE]),
    ("configure.headers", lambda value: configure(headers=value), [5, "a=b", [1], {5: "a"}, {"a": 5}, {"a": "b\n"}]),
    ("flush.timeout", flush, SECONDS),
    ("shutdown.timeout", shutdown, SECONDS),
    ("Logger.event.name", Logger().event, [None, *TEXT]),
    ("Logger.event.fields", lambda value: Logger().event("a", value), MAPPING),
    ("propagate.fn", propagate, [None, 5, "a", []]),
    ("what is decorated", agent_run("a"), [None, 5, "a", []]),
    ("what is decorated", llm_call("a"), [None, 5, "a", []]),
    ("what is decorated", tool_call("a"), [None, 5, "a", []]),
    ("FakeClock.advance", clock_forward, SECONDS),
]


@pytest.mark.parametrize(("field", "call", "wrong"), CASES, ids=[field for field, *_ in CASES])
def test_a_wrong_value_is_refused_by_field_value_and_what_is_allowed(
    field: str, call: Callable[[Any], object], wrong: list[Any]
) -> None:
    for value in wrong:
        with pytest.raises(InvalidSetting) as caught:
            call(value)
        error = caught.value
        assert error.field.startswith(field), value
        assert 0 < len(error.value) <= 80, value
        assert len(error.allowed) > 4, value
        assert str(error) == f"{error.field} = {error.value}: must be {error.allowed}"
        assert isinstance(error, ValueError)


SURE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=300),
    st.text(st.characters(), max_size=5),
    st.binary(max_size=5),
    st.timedeltas(),
    st.complex_numbers(),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=3)), max_size=3),
)
QUIET = {"flush.timeout", "shutdown.timeout", "FakeClock.advance", "configure", "propagate.fn", "what is decorated"}
FUZZED = [case for case in CASES if case[0] not in QUIET and not case[0].startswith("configure")]


@pytest.mark.parametrize(("field", "call"), [case[:2] for case in FUZZED], ids=[case[0] for case in FUZZED])
@given(value=SURE)
def test_any_value_is_taken_or_refused_as_wrong(field: str, call: Callable[[Any], object], value: Any) -> None:
    refused = None
    try:
        call(value)
    except InvalidSetting as error:
        refused = error
    assert refused is None or refused.field.startswith(field)


UNKNOWN: dict[str, tuple[Callable[..., object], str, str]] = {
    "Budget": (Budget, "max_step", "max_steps"),
    "FinalCall": (FinalCall, "token", "tokens"),
    "Price": (lambda **wrong: Price(input=1, output=1, **wrong), "cached", "cached_input"),
    "Prompt": (lambda **wrong: Prompt("p", "v", "t", **wrong), "txt", "text"),
    "build_system_prompt": (lambda **wrong: build_system_prompt(Prompt("p", "v", "t"), **wrong), "marks", "mark"),
    "agent_run": (agent_run, "promt", "prompt"),
    "using": (agent_run(lambda: None).using, "conversation", "conversation_id"),
    "llm_call": (lambda **wrong: llm_call("m", **wrong), "max_tokens", "max_output_tokens"),
    "tool_call": (tool_call, "max_repeat", "max_repeats"),
    "record": (lambda **wrong: with_call(wrong), "input_token", "input_tokens"),
    "update": (with_run(lambda run: lambda wrong: run.budget.update(**wrong)), "max_step", "max_steps"),
    "final_call": (with_run(lambda run: lambda wrong: run.final_call("m", **wrong)), "provide", "provider"),
    "configure": (configure, "header", "headers"),
    "flush": (flush, "timeouts", "timeout"),
    "shutdown": (shutdown, "timeouts", "timeout"),
    "event": (lambda **wrong: Logger().event("name", **wrong), "field", "fields"),
    "tool_calls": (tool_calls, "want", "wanted"),
    "prompt_id": (prompt_id, "txt", "text"),
    "stop": (with_run(lambda run: lambda wrong: run.stop("handoff", **wrong)), "details", "detail"),
}


def with_call(wrong: dict[str, Any]) -> None:
    with llm_call("some-model") as call:
        call.record(**wrong)


@pytest.mark.parametrize(("owner", "row"), UNKNOWN.items(), ids=UNKNOWN)
def test_an_unknown_keyword_is_refused_with_the_nearest_right_one(owner: str, row: tuple[Any, str, str]) -> None:
    call, wrong, right = row
    with pytest.raises(InvalidSetting) as caught:
        call({wrong: "s3cret"}) if owner in {"update", "final_call", "stop"} else call(**{wrong: "s3cret"})
    assert caught.value.field == f"{owner}.{wrong}"
    assert f"did you mean {right}?" in caught.value.allowed
    assert "s3cret" not in everything_said(caught.value)


def everything_said(error: BaseException | None) -> str:
    """All that a log would show of an error, its causes included."""
    if error is None:
        return ""
    return f"{error} {error!r} {vars(error)}" + everything_said(error.__cause__) + everything_said(error.__context__)


SECRETS: list[tuple[str, Callable[[], object]]] = [
    ("a header's value", lambda: configure(headers={"authorization": "s3cret\n"})),
    ("a header's value of another type", lambda: configure(headers={"authorization": b"s3cret"})),
    ("headers as a text", lambda: configure(headers="authorization=s3cret")),
    ("headers as pairs", lambda: configure(headers=[("authorization", "s3cret")])),
    ("a password in an address", lambda: configure(endpoint="http://me:s3cret@host:port")),
    ("a password in another address", lambda: configure(endpoint="redis://me:s3cret@host")),
    ("a misspelt keyword", lambda: configure(header={"authorization": "s3cret"})),
]


@pytest.mark.parametrize(("what", "call"), SECRETS, ids=[what for what, _ in SECRETS])
def test_an_error_never_shows_a_secret(what: str, call: Callable[[], object]) -> None:
    with pytest.raises(InvalidSetting) as caught:
        call()
    assert "s3cret" not in everything_said(caught.value), what


def test_an_error_shows_a_long_value_shortened_and_survives_pickling() -> None:
    with pytest.raises(InvalidSetting) as caught:
        Budget(max_steps="x" * 10_000)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(caught.value))
    assert len(again.value) == 80
    assert (again.field, again.value, str(again)) == ("Budget.max_steps", caught.value.value, str(caught.value))


def test_an_error_shows_a_value_that_cannot_be_shown_by_its_class() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    with pytest.raises(InvalidSetting, match="Mute"):
        Budget(max_steps=Mute())  # type: ignore[arg-type]


def test_whatever_is_recorded_as_a_response_raises_nothing() -> None:
    with llm_call("some-model") as call:
        for response in (*ANY_TYPE, "", 5, NAN, {"usage": 5}, {"usage": {"prompt_tokens": -1}}):
            call.record(response)


def test_whatever_is_logged_raises_nothing() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with capture() as kept:
        Logger().event("name", {"endless": endless, "any": ANY_TYPE, "nan": NAN, 5: 10**400, "text": "a\ud800"})
    (event,) = kept.events
    assert event.log_record.attributes["text"] == "a?"
    assert event.log_record.attributes["5"] == "int"


def test_what_will_be_sent_may_be_anything() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    with agent_run(budget=Budget(max_tokens=1_000_000, max_repeats=5)):
        for messages in (endless, *ANY_TYPE, 5, "text", [[[]]]):
            with llm_call("some-model", messages=messages, tools=messages, parameters={"n": messages}) as call:
                call.cancel()
            with tool_call("search", arguments=messages):
                pass
