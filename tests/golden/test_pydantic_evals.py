"""Our spans satisfy the span assertions of pydantic-evals as they are: its own evaluation runs our agent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

EVALUATION = """
import asyncio
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from otel_agent import Budget, Prompt, ToolDenied, agent_run, llm_call, tool_call

trace.set_tracer_provider(TracerProvider())

from pydantic_evals import Case, Dataset
from pydantic_evals.evaluators import HasMatchingSpan, MaxModelRequests, MaxToolCalls, ToolCorrectness
from pydantic_evals.otel.span_tree import SpanQuery

PROMPT = Prompt("support", "v13", "Answer using KB.")

@tool_call("kb.search")
def search(query):
    return query

@agent_run("support-bot", prompt=PROMPT, budget=Budget(max_calls_per_tool={"kb.search": 2}))
def answer(question):
    with llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=100, output_tokens=10)
    for _ in range(int(question)):
        try:
            search(question)
        except ToolDenied:
            pass
    return question

async def task(question):
    return answer(question)

def span(name, **asked):
    return HasMatchingSpan(query=SpanQuery(**asked), evaluation_name=name)

evaluators = [
    span("run", name_equals="invoke_agent support-bot",
         has_attributes={"otel_agent.stop_reason": "finish", "otel_agent.prompt.id": PROMPT.id},
         some_descendant_has={"name_equals": "execute_tool kb.search",
                              "has_attributes": {"gen_ai.tool.name": "kb.search"}}),
    span("nobody", name_equals="invoke_agent nobody"),
    span("denied", has_attributes={"otel_agent.decision": "deny"}),
    MaxToolCalls(max_calls=2, evaluation_name="tool calls"),
    MaxToolCalls(max_calls=2, include_failed=False, evaluation_name="tool calls made"),
    MaxModelRequests(max_requests=1, evaluation_name="requests"),
    ToolCorrectness(expected_tools=["kb.search", "kb.search"], evaluation_name="tools"),
]
cases = [Case(name=number, inputs=number) for number in ("0", "2", "3")]
report = asyncio.run(Dataset(name="support", cases=cases, evaluators=evaluators).evaluate(task, progress=False))
failed = [each.error_message for each in report.failures]
found = {case.name: {name: each.value for name, each in case.assertions.items()} for case in report.cases}
print(json.dumps({"failed": failed, "found": found}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, bool]]:
    command = [sys.executable, "-W", "error", "-c", EVALUATION]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["failed"] == []
    return report["found"]  # type: ignore[no-any-return]


def test_a_span_that_matches_is_found_and_one_that_is_not_there_is_not(found: dict[str, dict[str, bool]]) -> None:
    assert {name: (each["run"], each["nobody"], each["denied"]) for name, each in found.items()} == {
        "0": (False, False, False),
        "2": (True, False, False),
        "3": (True, False, True),
    }


def test_its_bound_on_tool_calls_counts_ours(found: dict[str, dict[str, bool]]) -> None:
    """The third call is denied: it is an attempt, and was not made."""
    assert {name: (each["tool calls"], each["tool calls made"]) for name, each in found.items()} == {
        "0": (True, True),
        "2": (True, True),
        "3": (False, True),
    }


def test_so_do_its_bounds_on_requests_and_on_which_tools_are_called(found: dict[str, dict[str, bool]]) -> None:
    assert {name: (each["requests"], each["tools"]) for name, each in found.items()} == {
        "0": (True, False),
        "2": (True, True),
        "3": (True, True),
    }
