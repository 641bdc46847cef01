"""OpenFeature as a source, with the real SDK: what a flag says, for whom, and what holds when it says nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import GeneralError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from otel_agent import InvalidSetting, Prompt
from otel_agent.prompts import NOBODY, Audience, Override, Release, dump_override
from otel_agent.stores.flags import OpenFeatureFlags
from otel_agent.stores.releases import ReleaseSelector
from otel_agent.stores.sources import Sources
from otel_agent.testing import FakeClock

V12, V13, V14 = (Prompt("support", version, f"Text of {version}.") for version in ("v12", "v13", "v14"))
RELEASE = Release(name="support", active="support:v13", rollback="support:v12")

Evaluate = Callable[[EvaluationContext], str]


def set_flag(answer: str | Evaluate, name: str = "support") -> None:
    """Lets the flag of a prompt give a text, or what a function of the context gives or raises."""

    def evaluate(flag: Any, context: EvaluationContext) -> FlagResolutionDetails[str]:
        return FlagResolutionDetails(answer if isinstance(answer, str) else answer(context), reason=Reason.SPLIT)

    flag = InMemoryFlag("on", {"on": "unused"}, context_evaluator=evaluate)
    api.set_provider(InMemoryProvider({f"prompt.{name}": flag}))


def broken(context: EvaluationContext) -> str:
    raise GeneralError("the flags are away")


@pytest.fixture(autouse=True)
def no_provider() -> Iterator[None]:
    yield
    api.clear_providers()


def selector(**sources: Any) -> ReleaseSelector:
    default = {"prompts": (V12, V13, V14), "releases": {"support": RELEASE}, "flags": OpenFeatureFlags()}
    return ReleaseSelector(Sources(**{**default, **sources}))


def got(found: ReleaseSelector, audience: Audience = NOBODY) -> tuple[str, str | None, str]:
    selected = found.select("support", audience)
    return selected.prompt.version, selected.variant, selected.source


@pytest.mark.parametrize("value", ["v14", "support:v14", V14.id])
def test_a_flag_goes_before_the_configuration(value: str) -> None:
    set_flag(value)
    assert got(selector()) == ("v14", "canary", "openfeature")


def test_what_the_configuration_has_as_active_is_active() -> None:
    set_flag("v13")
    assert got(selector()) == ("v13", "active", "openfeature")
    set_flag("v14")
    assert got(selector(releases={})) == ("v14", "active", "openfeature")


def test_the_override_and_the_environment_go_before_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_flag("v14")
    override = tmp_path / "override.json"
    override.write_text(dump_override(Override(releases={"support": Release(name="support", active="support:v12")})))
    assert got(selector(override=override)) == ("v12", "active", "override")
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "support:v13")
    assert got(selector(override=override)) == ("v13", "active", "environment")


@pytest.mark.parametrize("flag", ["", None])
def test_a_flag_that_says_nothing_leaves_it_to_the_configuration(
    flag: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    set_flag("" if flag is None else flag, "another" if flag is None else "support")
    assert got(selector()) == ("v13", "active", "configuration")
    assert not caplog.records


def test_no_provider_leaves_it_to_the_configuration() -> None:
    assert got(selector()) == ("v13", "active", "configuration")


def test_the_flag_is_told_for_whom_the_run_is() -> None:
    seen: list[tuple[str | None, dict[str, object]]] = []

    def evaluate(context: EvaluationContext) -> str:
        seen.append((context.targeting_key, dict(context.attributes)))
        return "v14"

    set_flag(evaluate)
    found = selector()
    found.select("support", Audience("c1", "u1", "acme", "production"))
    found.select("support", Audience(user_id="u1"))
    found.select("support")
    everything = {"conversation_id": "c1", "user_id": "u1", "tenant": "acme", "environment": "production"}
    assert seen == [("c1", everything), ("u1", {"user_id": "u1"}), (None, {})]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "otel_agent"]


def test_a_unit_keeps_what_it_got_while_the_flags_are_away(caplog: pytest.LogCaptureFixture) -> None:
    set_flag(lambda context: "v14" if context.targeting_key == "c1" else "v13")
    found = selector()
    first, second = Audience(conversation_id="c1"), Audience(conversation_id="c2")
    assert (got(found, first)[0], got(found, second)[0]) == ("v14", "v13")
    set_flag(broken)
    assert got(found, first) == ("v14", "canary", "last_known_good")
    assert got(found, second) == ("v13", "active", "last_known_good")
    assert got(found, Audience(conversation_id="new")) == ("v13", "active", "configuration")
    assert warnings(caplog) == ["OpenFeature does not answer (GENERAL): what was good the last time is used"]


def test_a_new_unit_gets_what_all_got_while_the_flags_are_away() -> None:
    set_flag("v14")
    found = selector()
    got(found, Audience(conversation_id="c1"))
    set_flag(broken)
    assert got(found, Audience(conversation_id="new")) == ("v14", "canary", "last_known_good")


def test_a_flag_that_says_what_cannot_be_is_broken(caplog: pytest.LogCaptureFixture) -> None:
    set_flag("v14")
    found = selector()
    got(found)
    for wrong in ("v99", "triage:v1", "support:v14:000000000000", "\n"):
        set_flag(wrong)
        assert got(found) == ("v14", "canary", "last_known_good")
    (warning,) = warnings(caplog)
    assert warning.startswith("prompt.support = 'support:v99'")


def test_a_flag_that_names_another_prompt_is_broken(caplog: pytest.LogCaptureFixture) -> None:
    greet = Prompt("greet", "v1", "Say hello.")
    found = selector(prompts=(V12, V13, V14, greet))
    set_flag("greet:v1")
    assert got(found) == ("v13", "active", "configuration")
    set_flag("v14")
    assert got(found) == ("v14", "canary", "openfeature")
    for wrong in ("greet:v1", greet.id):
        set_flag(wrong)
        assert got(found) == ("v14", "canary", "last_known_good")
    (warning,) = warnings(caplog)
    assert warning.startswith("prompt.support = 'greet:v1': must be a version of support")


def test_a_process_that_starts_without_flags_knows_what_all_got(tmp_path: Path, clock: FakeClock) -> None:
    set_flag("v14")
    found = selector(key=tmp_path, releases={})
    got(found)
    clock.advance(61)
    found.select("support")
    set_flag(broken)
    assert got(selector(key=tmp_path, releases={})) == ("v14", "active", "last_known_good")


def test_nothing_is_known_of_flags_that_never_answered() -> None:
    set_flag(broken)
    assert got(selector()) == ("v13", "active", "configuration")
    with pytest.raises(InvalidSetting, match=r"set prompts\.active"):
        selector(releases={}).select("support")


def test_the_gauge_compares_what_flags_give_with_the_active_version() -> None:
    found = selector()
    assert [(info.version, info.role) for info in found.infos()] == [("v12", "baseline"), ("v13", "candidate")]
    set_flag(lambda context: "v14" if context.targeting_key == "c1" else "v13")
    for unit in ("c1", "c2"):
        found.select("support", Audience(conversation_id=unit))
    assert [(info.version, info.role) for info in found.infos()] == [("v13", "baseline"), ("v14", "candidate")]


def test_the_sdk_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openfeature", None)
    with pytest.raises(InvalidSetting, match=r"prompts\.source.*pip install 'otel-agent\[openfeature\]'"):
        OpenFeatureFlags()
