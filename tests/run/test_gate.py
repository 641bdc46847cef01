"""A run whose prompt has not passed: refused before its code begins, with the stop reason `gate_failed`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context

from otel_agent import Budget, InvalidSetting, PolicyStop, Prompt, agent_run, current_run, llm_call
from otel_agent.run import choice
from otel_agent.run.choice import use_prompts, without_gate
from otel_agent.stores.golden_ledger import LedgerEntry, append
from otel_agent.testing import Capture
from tests.support.offline import run as in_a_process

V13, V14 = Prompt("support", "v13", "Answer."), Prompt("support", "v14", "Search and answer.")
DETAIL = f"{V14.id} has not passed its golden tasks"


class OnlyV13:
    def lets_through(self, prompt: Prompt, /) -> bool:
        return prompt.id == V13.id


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    use_prompts(None, gate=OnlyV13())
    yield
    use_prompts(None)


def never() -> None:
    raise AssertionError("the code of a refused run has begun")


@agent_run("bot", prompt=V14)
def plain() -> None:
    never()


@agent_run("bot", prompt=V14, budget=Budget(max_seconds=1, interrupt="signal"))
def interrupted() -> None:
    never()


@agent_run("bot", prompt=V14, budget=Budget(max_seconds=1))
async def awaited() -> None:
    never()


class Bot:
    @agent_run("bot", prompt=V14)
    def answer(self) -> None:
        never()


def refused(run_id: str | None, kept: Capture) -> None:
    """Checks what is told of a refused run."""
    span = kept.span("invoke_agent bot")
    attributes = dict(span.attributes or {})
    assert attributes["otel_agent.run.id"] == run_id
    assert attributes["otel_agent.stop_reason"] == attributes["otel_agent.decision.reason"] == "gate_failed"
    assert attributes["otel_agent.stop_detail"] == DETAIL
    assert (attributes["otel_agent.decision"], attributes["otel_agent.prompt.id"]) == ("deny", V14.id)
    assert (span.status.status_code.name, attributes["error.type"]) == ("ERROR", "gate_failed")
    ended = [point for point in kept.metrics()["otel_agent.runs"] if point.value]
    assert [(point.value, point.attributes["otel_agent.stop_reason"]) for point in ended] == [(1, "gate_failed")]
    assert current_run() is None


@pytest.mark.parametrize("agent", [plain, interrupted, Bot().answer], ids=["plain", "interrupted", "method"])
def test_a_call_raises(agent: Any, kept: Capture) -> None:
    with pytest.raises(PolicyStop, match=r"^gate_failed:support:v14:") as caught:
        agent()
    assert (caught.value.reason, caught.value.detail) == ("gate_failed", DETAIL)
    refused(caught.value.run_id, kept)


@pytest.mark.parametrize("agent", [plain, interrupted, Bot().answer], ids=["plain", "interrupted", "method"])
def test_run_gives_its_result(agent: Any, kept: Capture) -> None:
    result = agent.run()
    assert (result.output, result.stop_reason, result.stop_detail) == (None, "gate_failed", DETAIL)
    assert isinstance(result.error, PolicyStop)
    assert result.usage.steps == 0
    refused(result.run_id, kept)


async def test_so_it_is_where_it_is_awaited(kept: Capture) -> None:
    with pytest.raises(PolicyStop):
        await awaited()
    kept.clear()
    assert (await awaited.run()).stop_reason == "gate_failed"
    assert len(kept.spans) == 1


def test_so_it_is_of_a_block(kept: Capture) -> None:
    with pytest.raises(PolicyStop) as caught, agent_run("bot", prompt=V14):
        never()
    refused(caught.value.run_id, kept)


async def test_and_of_an_async_block(kept: Capture) -> None:
    with pytest.raises(PolicyStop) as caught:
        async with agent_run("bot", prompt=V14):
            never()
    refused(caught.value.run_id, kept)


def test_and_of_a_generator(kept: Capture) -> None:
    @agent_run("bot", prompt=V14)
    def steps() -> Iterator[int]:
        never()
        yield 1

    with pytest.raises(PolicyStop) as caught:
        list(steps())
    refused(caught.value.run_id, kept)


def test_a_child_that_is_refused_leaves_its_parent_open(kept: Capture) -> None:
    with agent_run("parent", prompt=V13) as run:
        assert plain.run().stop_reason == "gate_failed"
        with pytest.raises(PolicyStop):
            plain()
        assert current_run() is run
        with llm_call("m"):
            pass
    assert run.result.stop_reason == "finish"


def test_what_has_passed_runs_and_so_does_a_run_without_a_prompt() -> None:
    with agent_run(prompt=V13), agent_run():
        pass


def test_what_is_being_tested_runs() -> None:
    token = context.attach(without_gate(context.get_current()))
    with agent_run(prompt=V14) as run:
        pass
    context.detach(token)
    assert run.result.stop_reason == "finish"
    assert plain.run().stop_reason == "gate_failed"


def test_in_observe_mode_it_runs_with_one_warning(caplog: pytest.LogCaptureFixture, kept: Capture) -> None:
    other = Prompt("support", "v14", "Seen once only.")
    with caplog.at_level(logging.WARNING, "otel_agent"):
        for _ in range(2):
            with agent_run("bot", prompt=other, mode="observe") as run:
                pass
    assert run.result.stop_reason == "finish"
    assert caplog.text.count(f"{other.id} has not passed its golden tasks; in observe mode the run goes on") == 1
    assert not any("otel_agent.decision" in (span.attributes or {}) for span in kept.spans)


def test_where_nothing_was_configured_the_variable_is_an_error_and_no_gap(
    monkeypatch: pytest.MonkeyPatch, kept: Capture
) -> None:
    monkeypatch.setattr(choice, "_using", choice._Using())
    monkeypatch.setenv("OTEL_AGENT_REQUIRE_GOLDEN", "true")
    with pytest.raises(InvalidSetting, match="OTEL_AGENT_REQUIRE_GOLDEN = True: must be false where configure"):
        plain()
    assert current_run() is None
    assert not kept.spans
    monkeypatch.delenv("OTEL_AGENT_REQUIRE_GOLDEN")
    with agent_run(prompt=V14):
        pass


PROGRAM = """
import json
from otel_agent import Prompt, agent_run, configure
configure(console=False)

@agent_run("bot", prompt="support")
def bot():
    return "answered"

said = bot.run()
pinned = agent_run("bot", prompt=Prompt("sales", "v1", "Sell."))(lambda: "sold").run()
print(json.dumps([str(said.stop_reason), said.output, str(pinned.stop_reason)]))
"""


@pytest.mark.parametrize("by", ["file", "variable"])
@pytest.mark.parametrize(("prompt", "ends"), [(V13, "finish"), (V14, "gate_failed")], ids=["passed", "by hand"])
def test_a_version_that_somebody_wrote_into_the_file_is_caught(
    by: str, prompt: Prompt, ends: str, tmp_path: Path
) -> None:
    entry = LedgerEntry(
        prompt_id=V13.id, agent="a:b", at_ns=10**9, task_set="0" * 12, tasks=1, runs=3, result="passed", who="anna"
    )
    append(tmp_path / ".offline" / "cache" / "otel-agent" / "golden" / "results.jsonl", entry)
    section = {
        "active": f"support:{prompt.version}",
        "require_golden": by == "file",
        "texts": {"support": {each.version: each.text for each in (V13, V14)}},
    }
    (tmp_path / "otel-agent.yaml").write_text(json.dumps({"prompts": section}))
    more = {"OTEL_AGENT_REQUIRE_GOLDEN": "true"} if by == "variable" else {}
    done = in_a_process([sys.executable, "-W", "error", "-c", PROGRAM], tmp_path, **more)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [ends, "answered" if ends == "finish" else None, "gate_failed"]
