"""Settings: one declaration each, arguments before the environment, and wrong values named."""

from __future__ import annotations

import pytest

from otel_agent import InvalidSetting, agent_run
from otel_agent.config import (
    CAPTURE_EXCEPTIONS,
    CONSOLE,
    HASH_KEY,
    MODE,
    THREADS,
    VARIABLES,
    Setting,
    check_environment,
)


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in VARIABLES:
        monkeypatch.delenv(setting.variable, raising=False)


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (MODE, "Observe ", "observe"),
        (THREADS, "off", False),
        (THREADS, "1", True),
        (CONSOLE, "auto", None),
        (CONSOLE, "yes", True),
        (CAPTURE_EXCEPTIONS, "full", "full"),
        (HASH_KEY, "k€y", "k€y".encode()),
    ],
)
def test_the_environment_is_read(
    setting: Setting[object], text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting.variable, text)
    assert setting.get() == value


def test_an_empty_variable_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in VARIABLES:
        monkeypatch.setenv(setting.variable, "")
    assert [setting.get() for setting in VARIABLES] == [setting.default for setting in VARIABLES]


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE.variable, "observe")
    MODE.choose("enforce")
    try:
        assert MODE.get() == "enforce"
    finally:
        MODE.choose(None)
    assert MODE.get() == "observe"


@pytest.mark.parametrize(
    ("variable", "allowed"),
    [
        ("OTEL_AGENT_MODE", "enforce, observe"),
        ("OTEL_AGENT_THREADS", "true or false"),
        ("OTEL_AGENT_CONSOLE", "true or false"),
        ("OTEL_AGENT_CAPTURE_EXCEPTIONS", "type, frames, full"),
    ],
)
def test_a_wrong_value_names_the_variable_the_value_and_what_is_allowed(
    variable: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "perhaps")
    with pytest.raises(InvalidSetting, match=f"{variable} = 'perhaps'.*{allowed}"):
        check_environment()


def test_a_wrong_mode_refuses_the_run_rather_than_run_it_without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_MODE", "enforced")
    with pytest.raises(InvalidSetting, match="did you mean enforce"), agent_run("bot"):
        pytest.fail("it ran")
