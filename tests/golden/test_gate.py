"""A prompt that has not passed yet can be tested where only prompts may run that have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from otel_agent import Prompt, agent_run, llm_call
from otel_agent.config.values import GoldenTask
from otel_agent.golden.runner import run_trial
from otel_agent.run.choice import use_prompts
from otel_agent.stop import StopCode

V14 = Prompt("support", "v14", "Search and answer.")
TASK = GoldenTask(id="kb_lookup", expect_stop_reason=StopCode.FINISH)


class Nothing:
    def lets_through(self, prompt: Prompt, /) -> bool:
        return False


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    use_prompts(None, gate=Nothing())
    yield
    use_prompts(None)


@agent_run("bot", prompt="support")
def plain() -> None:
    with llm_call("m") as call:
        call.record(input_tokens=1, output_tokens=1)


@agent_run("bot", prompt="support")
async def awaited() -> None:
    async with llm_call("m") as call:
        await asyncio.sleep(0)
        call.record(input_tokens=1, output_tokens=1)


@agent_run("bot", prompt=V14)
def pinned() -> None:
    return None


@pytest.mark.parametrize("agent", [plain, awaited], ids=["plain", "awaited"])
def test_a_trial_goes_past_the_gate_and_nothing_else_does(agent: Any) -> None:
    trial = run_trial(agent, TASK, prompt=V14)
    assert trial.run is not None
    assert (trial.passed, trial.run.stop_reason, trial.run.prompt_id) == (True, "finish", V14.id)
    assert pinned.run().stop_reason == "gate_failed"


def test_so_does_one_of_an_agent_that_pins_its_prompt() -> None:
    trial = run_trial(pinned, TASK)
    assert trial.passed, trial
