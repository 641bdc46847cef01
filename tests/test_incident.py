"""The incident: a new prompt goes to a tenth, costs far more there and only there, and one command takes it back.

The agent runs in this process and follows its files; the commands are typed in processes of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_agent import agent_run, build_system_prompt, current_run, llm_call, tool_call
from otel_agent.config.current import current
from otel_agent.prompts import Prompt, bucket
from otel_agent.run.choice import use_prompts
from otel_agent.stores.releases import ReleaseSelector
from otel_agent.stores.sources import sources_of
from otel_agent.testing import Capture, capture, fake_clock
from otel_agent.testing.clock import FakeClock
from tests.support.offline import run as in_a_process
from tests.support.ready import READY, pass_golden

V12 = Prompt("support", "v12", "Answer.")
V13 = Prompt("support", "v13", "Answer using KB. Cite tool results.")
V14 = Prompt("support", "v14", "Answer using KB. Read every article on it first.")
CONVERSATIONS = [f"c-{number}" for number in range(200)]
TRIED = {each for each in CONVERSATIONS if bucket("support", each) < 1_000}


@tool_call("kb.search")
def search(query: str) -> str:
    return f"what the knowledge base says of {query}; " * 8


@agent_run("support-bot", prompt="support")
def answer(question: str) -> str:
    run = current_run()
    assert run is not None
    assert run.prompt is not None
    articles = 6 if "every article" in run.prompt.text else 1
    found = [search(f"{question} {number}") for number in range(articles)]
    with llm_call("gpt-5-mini", provider="openai") as call:
        read = len(build_system_prompt(run.prompt)) + sum(map(len, found))
        call.record(input_tokens=read, output_tokens=20)
    return "It is so."


class Project:
    """A folder with the prompts, where commands are typed, and the agent that follows it."""

    def __init__(self, folder: Path, clock: FakeClock, kept: Capture) -> None:
        self.folder, self.clock, self.kept = folder, clock, kept

    def type(self, *command: str) -> Any:
        """Types a command in another process, and lets the second pass in which every process has seen it."""
        done = in_a_process(["otel-agent", "prompts", *command, "--json"], self.folder)
        assert done.returncode == 0, done.stderr
        self.clock.advance(1)
        return json.loads(done.stdout)

    def ask_all(self) -> dict[str, tuple[str | None, str | None, int, int]]:
        """Runs the agent once a conversation, and gives prompt, variant, tokens and tool calls out of the spans."""
        self.kept.clear()
        for conversation in CONVERSATIONS:
            answer.using(conversation_id=conversation).run("How?")
        return {seen[0]: seen[1:] for seen in self.seen()}

    def seen(self) -> Iterator[tuple[str, str | None, str | None, int, int]]:
        spans = [dict(span.attributes or {}) for span in self.kept.spans]
        for root in [each for each in spans if each["gen_ai.operation.name"] == "invoke_agent"]:
            below = [each for each in spans if each["otel_agent.run.id"] == root["otel_agent.run.id"]]
            ids = {each["otel_agent.prompt.id"] for each in below}
            assert len(ids) == 1, "every span of a run says the same prompt"
            yield (
                str(root["gen_ai.conversation.id"]),
                str(*ids),
                str(root["otel_agent.prompt.variant"]),
                sum(int(each.get("gen_ai.usage.input_tokens", 0)) for each in below if each is not root),
                sum(each["gen_ai.operation.name"] == "execute_tool" for each in below),
            )

    def metric(self, name: str) -> dict[tuple[Any, Any], Any]:
        """Gives the points of a metric by prompt id and variant."""
        points = self.kept.metrics()[name]
        return {
            (point.attributes["otel_agent.prompt.id"], point.attributes["otel_agent.prompt.variant"]): point
            for point in points
        }

    def roles(self) -> dict[str, str]:
        """Gives what the gauge says of the prompts in use."""
        return {
            point.attributes["otel_agent.prompt.version"]: point.attributes["otel_agent.prompt.role"]
            for point in self.kept.metrics()["otel_agent.prompt.info"]
        }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "project"
    (folder / "prompts" / "support").mkdir(parents=True)
    for prompt in (V12, V13, V14):
        (folder / "prompts" / "support" / f"{prompt.version}.md").write_text(f"{prompt.text}\n")
    prompts = 'prompts: {active: "support:v13", rollback: "support:v12"}'
    (folder / "otel-agent.yaml").write_text(f"{prompts}\n{READY}")
    pass_golden(folder / "otel-agent.yaml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with fake_clock() as clock, capture() as kept:
        use_prompts(ReleaseSelector(sources_of(current(folder / "otel-agent.yaml"))))
        yield Project(folder, clock, kept)
        use_prompts(None)


def test_the_incident(project: Project) -> None:
    project.type("lock", "--who", "owner")
    before = project.ask_all()
    assert {(prompt, variant) for prompt, variant, _, _ in before.values()} == {(V13.id, "active")}

    project.type("canary", "support:v14", "--percent", "10", "--who", "anna")
    during = project.ask_all()
    assert {each for each, (prompt, *_) in during.items() if prompt == V14.id} == TRIED
    assert 8 < len(TRIED) < 35
    for conversation, (prompt, variant, tokens, tools) in during.items():
        if conversation in TRIED:
            assert (prompt, variant) == (V14.id, "canary")
            assert tokens > 2 * before[conversation][2]
            assert tools == 6 * before[conversation][3]
        else:
            assert (prompt, variant, tokens, tools) == before[conversation]
    assert project.roles() == {"v13": "baseline", "v14": "candidate"}
    tokens, tools = project.metric("otel_agent.run.tokens"), project.metric("otel_agent.run.tool_calls")
    tried, others = (V14.id, "canary"), (V13.id, "active")
    assert (tokens[tried].count, tokens[others].count) == (len(TRIED), 2 * len(CONVERSATIONS) - len(TRIED))
    assert tokens[tried].sum / tokens[tried].count > 2 * tokens[others].sum / tokens[others].count
    assert (tools[tried].min, tools[tried].max, tools[others].max) == (6, 6, 1)

    in_flight = agent_run("support-bot", prompt="support", conversation_id=min(TRIED))
    with in_flight as run:
        done = project.type("rollback", "support:v13", "--who", "ben", "--why", "tokens doubled")
        after = project.ask_all()
        assert run.prompt == V14, "a run in flight keeps its prompt"
    assert done["change"]["before"] == "support:v14"
    assert after == before, "every new run is as it was"
    (event,) = [each.log_record for each in project.kept.events if each.log_record.event_name == ROLLED_BACK]
    assert event.attributes is not None
    assert (event.attributes["otel_agent.actor"], event.attributes["otel_agent.why"]) == ("ben", "tokens doubled")
    told = project.type("history")["changes"]
    assert [(each["what"], each["who"]) for each in told] == [("rolled_back", "ben"), ("rollout_changed", "anna")]


ROLLED_BACK = "otel_agent.prompt.rolled_back"


def test_a_greater_share_keeps_whoever_had_it(project: Project) -> None:
    had: set[str] = set()
    for percent in ("5", "20", "50"):
        project.type("canary", "support:v14", "--percent", percent)
        has = {each for each, (prompt, *_) in project.ask_all().items() if prompt == V14.id}
        assert had < has
        had = has


def test_the_bare_rollback_goes_where_the_configuration_says(project: Project) -> None:
    project.type("canary", "support:v14", "--percent", "10")
    project.type("rollback")
    assert {prompt for prompt, *_ in project.ask_all().values()} == {V12.id}


def test_nothing_of_it_is_seen_before_half_a_second_and_all_of_it_after(project: Project) -> None:
    in_a_process(["otel-agent", "prompts", "activate", "support:v14"], project.folder)
    assert answer.run("How?").prompt_id == V13.id
    project.clock.advance(0.5)
    assert answer.run("How?").prompt_id == V14.id


PROGRAM = """
{imports}

budgets = {{"max_steps": 25, "max_tool_calls": 12, "max_seconds": 60}}
prompt = Prompt(name="support", version="v13", text="Answer using KB. Cite tool results.")
sys = build_system_prompt(prompt)
logger = Logger()
logger.event("agent_start", {{"prompt_id": prompt.id, "budget": budgets}})
"""


def test_a_program_runs_with_nothing_but_its_import_changed() -> None:
    names: dict[str, Any] = {}
    with capture() as kept:
        exec(PROGRAM.format(imports="from otel_agent import Logger, Prompt, build_system_prompt"), names)
    (event,) = [each.log_record for each in kept.events]
    assert event.event_name == "agent_start"
    assert event.attributes == {
        "prompt_id": V13.id,
        "budget": {"max_steps": 25, "max_tool_calls": 12, "max_seconds": 60},
    }
    assert names["sys"].endswith(f"[prompt_id={V13.id}]\n{V13.text}")
