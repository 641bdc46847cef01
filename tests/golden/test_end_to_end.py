"""The support agent of the demo under golden tasks: the real SDK, a scripted model server, spans and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from otel_agent.config.values import GoldenTask, OutputCheck
from otel_agent.demo.agent import SupportAgent
from otel_agent.demo.backend import Backend
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.prompts import V13, V14
from otel_agent.demo.questions import QUESTIONS
from otel_agent.demo.scenarios import ENOUGH
from otel_agent.demo.script import scripted_model
from otel_agent.demo.tools import Toolbox
from otel_agent.golden.agents import Call
from otel_agent.golden.results import Result
from otel_agent.golden.runner import run_tasks
from otel_agent.golden.tasks import TaskSet
from otel_agent.stop import StopCode
from otel_agent.testing import ScriptedModelServer

TASKS = TaskSet(
    tasks=tuple(
        GoldenTask(
            id=f"q{at}",
            expect_stop_reason=StopCode.FINISH,
            input=question.text,
            max_tool_calls=3,
            max_tokens=4_000,
            must_call=("kb.search",),
            output=OutputCheck(contains=(f"[{question.slugs[0]}]",)),
        )
        for at, question in enumerate(QUESTIONS[at] for at in (0, 2, 3, 4, 8))
    )
)


@pytest.fixture(scope="module")
def agent() -> Generator[Callable[[str], Any]]:
    """The agent as a module of an application has it: one client at import, the prompt by its name."""
    with ScriptedModelServer(scripted_model) as server:
        backend = Backend(base_url=server.base_url, api_key="none-needed", scripted=server)
        client, knowledge = backend.client(), KnowledgeBase()

        async def answer(question: str) -> str:
            tools = Toolbox(knowledge, ("kb.search", "ticket.create"))
            support = SupportAgent(client, tools, model="gpt-5-mini", server_address=backend.address)
            return await support.answer.using(prompt="support", budget=ENOUGH)(question)

        yield answer
        Call(client.close, GoldenTask(id="close", expect_stop_reason=StopCode.FINISH)).answer()  # on its own loop
        knowledge.close()


def judged(agent: Callable[[str], Any], tmp_path: Path, **more: Any) -> Result:
    return run_tasks(agent, TASKS, repeats=2, concurrency=3, history=tmp_path, timeout=60, **more)


def test_v13_passes(agent: Callable[[str], Any], tmp_path: Path) -> None:
    result = judged(agent, tmp_path, prompt=V13)
    assert [(trial.problem, trial.violations) for trial in result.trials] == [(None, ())] * 10
    assert (result.verdict, result.prompt_ids) == ("passed", (V13.id,))
    assert set(result.limits) == {"steps", "tool_calls", "seconds", "tokens", "usd"}
    assert all(trial.run is not None and trial.run.micro_usd for trial in result.trials)


def test_v14_fails_on_tool_calls_and_is_dearer_side_by_side(agent: Callable[[str], Any], tmp_path: Path) -> None:
    result = judged(agent, tmp_path, prompt=V14, baseline_prompt=V13)
    broken = {violation.field for trial in result.trials for violation in trial.violations}
    assert {"max_tool_calls", "max_tokens", "expect_stop_reason"} & broken >= {"max_tool_calls"}
    assert (result.verdict, result.prompt_ids) == ("regression", (V14.id,))
    assert result.comparison is not None
    assert result.comparison.prompt_ids == (V13.id,)
    assert [gauge.dearer for gauge in result.comparison.gauges] == [True, True]
