"""Which prompt a run uses, for whom it is selected, and where it says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from otel_agent import InvalidSetting, Prompt, agent_run, current_run, hashing, llm_call
from otel_agent.prompts import Audience, PromptInfo, Selected
from otel_agent.run.choice import use_prompts
from otel_agent.testing import Capture

V13, V14 = Prompt("support", "v13", "Answer {{name}}."), Prompt("support", "v14", "Search and answer {{name}}.")
EDITED = Prompt("support", "v13", V13.text + " And more.")


class Releases:
    """Gives v14 to the conversations of one set, as its canary, and v13 to everybody else."""

    def __init__(self, *canary: str) -> None:
        self.canary = canary
        self.asked: list[Audience] = []

    def select(self, name: str, audience: Audience, /) -> Selected:
        if name != "support":
            raise InvalidSetting(field="agent_run.prompt", value=name, allowed="support")
        self.asked.append(audience)
        if audience.conversation_id in self.canary:
            return Selected(V14, "canary", "configuration")
        return Selected(V13, "active", "configuration")

    def check(self, prompt: Prompt, /) -> None:
        if (prompt.name, prompt.version, prompt.id) == ("support", "v13", EDITED.id):
            raise InvalidSetting(field="agent_run.prompt", value="support:v13", allowed="the recorded text")

    def infos(self) -> Iterable[PromptInfo]:
        yield PromptInfo("support", V13.id, "v13", "baseline")
        yield PromptInfo("support", V14.id, "v14", "candidate")


@pytest.fixture
def releases() -> Iterator[Releases]:
    found = Releases("c-canary")
    use_prompts(found, environment="staging")
    yield found
    use_prompts(None)


@agent_run("bot", prompt="support")
def bot() -> Any:
    return current_run()


def test_a_name_selects_when_the_run_opens(releases: Releases) -> None:
    first, second = bot(), bot.using(conversation_id="c-canary")()
    assert (first.prompt, first.variant, first.prompt_id) == (V13, "active", V13.id)
    assert (second.prompt, second.variant, second.prompt.text) == (V14, "canary", V14.text)
    assert second.result.prompt_id == V14.id


def test_a_prompt_pins_itself(releases: Releases) -> None:
    with agent_run(prompt=V14, conversation_id="c") as run:
        assert (run.prompt, run.variant) == (V14, None)
    assert not releases.asked


def test_a_run_that_names_no_prompt_has_none(releases: Releases, kept: Capture) -> None:
    with agent_run("outer", prompt="support"), agent_run("inner") as run:
        assert (run.prompt, run.prompt_id, run.variant) == (None, None, None)
    assert not {"otel_agent.prompt.id", "otel_agent.prompt.variant"} & set(
        kept.span("invoke_agent inner").attributes or {}
    )


def test_a_child_is_for_whom_its_parents_are(releases: Releases) -> None:
    with (
        agent_run(conversation_id="c1", user_id="u1", tenant="acme"),
        agent_run(tenant="other"),
        agent_run(user_id="u2", prompt="support"),
        agent_run(prompt="support") as run,
    ):
        assert (run.conversation_id, run.variant) == (None, "active")
    assert releases.asked == [Audience("c1", "u2", "other", "staging")] * 2


def test_a_run_without_anybody_is_for_nobody(releases: Releases) -> None:
    with agent_run(prompt="support"):
        pass
    assert releases.asked == [Audience(environment="staging")]


def test_a_run_in_flight_keeps_its_prompt(releases: Releases, kept: Capture) -> None:
    with agent_run("long", prompt="support", conversation_id="c1") as run:
        releases.canary = ("c1",)
        with llm_call("m"):
            assert run.prompt is V13
        with agent_run("next", prompt="support") as new:
            assert new.prompt is V14
    assert (kept.span("chat m").attributes or {})["otel_agent.prompt.id"] == V13.id


def test_a_name_that_is_not_known_opens_nothing(releases: Releases, kept: Capture) -> None:
    wrong = r"'support:v12': must be a name such as support; a Prompt\(...\) pins a version"
    with pytest.raises(InvalidSetting, match=wrong), agent_run(prompt="support:v12"):
        pass
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'suport'"), agent_run(prompt="suport"):
        pass
    assert current_run() is None
    assert not kept.spans
    assert not kept.records.started


# required


@pytest.mark.parametrize("value", ["true", "1"])
def test_a_run_without_a_prompt_is_refused_where_one_is_required(
    value: str, kept: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_AGENT_REQUIRE_PROMPT_ID", value)
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = None.*require_prompt_id"), agent_run("bare"):
        pass
    assert not kept.spans
    with agent_run("pinned", prompt=V13) as run, pytest.raises(InvalidSetting), agent_run("child"):
        pass
    assert run.result.stop_reason == "finish"


def test_observe_mode_refuses_no_run_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, warnings_anew: None
) -> None:
    monkeypatch.setenv("OTEL_AGENT_REQUIRE_PROMPT_ID", "true")
    for _ in range(2):
        with agent_run("bare", mode="observe") as run:
            assert run.prompt is None
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["agent_run.prompt = None"]


# recorded


def test_a_pinned_prompt_that_is_another_text_than_recorded_opens_nothing(releases: Releases, kept: Capture) -> None:
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'support:v13'"), agent_run(prompt=EDITED):
        pass
    assert not kept.spans


def test_observe_mode_lets_it_pass_and_says_so_once(
    releases: Releases, caplog: pytest.LogCaptureFixture, warnings_anew: None
) -> None:
    for _ in range(2):
        with agent_run(prompt=EDITED, mode="observe") as run:
            assert run.prompt is EDITED
    (said,) = [record.getMessage() for record in caplog.records]
    assert "the recorded text; in observe mode the run goes on" in said


def test_observe_mode_invents_no_prompt(releases: Releases) -> None:
    with (
        pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'suport'"),
        agent_run(prompt="suport", mode="observe"),
    ):
        pass


# told


def test_the_variant_is_on_span_event_metrics_and_records(releases: Releases, kept: Capture) -> None:
    bot.using(conversation_id="c-canary")()
    assert (kept.span("invoke_agent bot").attributes or {})["otel_agent.prompt.variant"] == "canary"
    started = kept.events[0].log_record
    assert (started.event_name, (started.attributes or {})["otel_agent.prompt.variant"]) == (
        "otel_agent.run.started",
        "canary",
    )
    for attributes in (kept.span("invoke_agent bot").attributes, started.attributes):
        assert (attributes or {})["otel_agent.prompt.source"] == "configuration"
    labels = {"gen_ai.agent.name": "bot", "otel_agent.prompt.id": V14.id, "otel_agent.prompt.variant": "canary"}
    metrics = kept.metrics()
    for name in ("run.duration", "run.tokens", "run.steps", "run.tool_calls", "run.cost"):
        assert [dict(point.attributes) for point in metrics[f"otel_agent.{name}"]] == [labels], name
    (point,) = metrics["otel_agent.runs"]
    assert dict(point.attributes) == {**labels, "otel_agent.stop_reason": "finish"}
    assert (kept.records.started[0].variant, kept.records.runs[0].variant) == ("canary", "canary")


def test_a_pinned_prompt_has_no_variant_anywhere(releases: Releases, kept: Capture) -> None:
    with agent_run("pinned", prompt=V13):
        pass
    assert not {"otel_agent.prompt.variant", "otel_agent.prompt.source"} & set(
        kept.span("invoke_agent pinned").attributes or {}
    )
    assert "otel_agent.prompt.variant" not in kept.metrics()["otel_agent.runs"][0].attributes
    assert kept.records.started[0].variant is None


def test_the_gauge_tells_the_prompts_in_use(releases: Releases, kept: Capture) -> None:
    with agent_run("any"):
        pass
    keys = ("name", "id", "version", "role")
    points = kept.metrics()["otel_agent.prompt.info"]
    told = {tuple(point.attributes[f"otel_agent.prompt.{key}"] for key in keys): point.value for point in points}
    assert told == {("support", V13.id, "v13", "baseline"): 1, ("support", V14.id, "v14", "candidate"): 1}


def test_the_gauge_tells_nothing_where_nothing_is_released(kept: Capture) -> None:
    with agent_run("any"):
        pass
    assert "otel_agent.prompt.info" not in kept.metrics()


def test_a_gauge_that_fails_reaches_nobody(
    kept: Capture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, warnings_anew: None
) -> None:
    class Broken(Releases):
        def infos(self) -> Iterable[PromptInfo]:
            raise OSError

    use_prompts(Broken())
    try:
        with agent_run("any"):
            pass
        assert "otel_agent.runs" in kept.metrics()
    finally:
        use_prompts(None)
    assert "observing the prompts raised OSError" in caplog.text


def test_the_effective_hash_is_of_the_template(releases: Releases, kept: Capture) -> None:
    tools = [{"name": "kb.search"}]
    with agent_run(prompt="support") as run:
        for name in ("Ann", "Bob"):
            messages = [{"role": "system", "content": run.prompt.render(name=name)}]
            with llm_call(name, messages=messages, tools=tools, parameters={"temperature": 0}):
                pass
        with llm_call("Ann", tools=tools, parameters={"temperature": 0}):
            pass
    hashes = [(span.attributes or {})["otel_agent.prompt.effective_hash"] for span in kept.spans[:3]]
    whole = {"prompt": V13.text, "tools": tools, "model": "Ann", "parameters": {"temperature": 0}}
    assert hashes[0] == hashes[2] == hashlib.sha256(hashing.canonical(whole)).hexdigest()
    assert hashes[1] != hashes[0]
