"""The names that `from otel_agent import ...` promises: adding or removing one is a decision, made here."""

from __future__ import annotations

import otel_agent

PUBLIC_NAMES = [
    "AgentStop",
    "Budget",
    "BudgetExceeded",
    "FinalCall",
    "InvalidSetting",
    "Killed",
    "Logger",
    "LoopDetected",
    "PolicyStop",
    "Price",
    "Prompt",
    "Remaining",
    "Run",
    "RunClosed",
    "RunResult",
    "StopCode",
    "StopIgnored",
    "ToolDenied",
    "Usage",
    "__version__",
    "agent_run",
    "build_system_prompt",
    "configure",
    "current_call",
    "current_run",
    "flush",
    "llm_call",
    "prompt_id",
    "propagate",
    "shutdown",
    "tool_call",
    "tool_calls",
]


def test_public_names_are_these() -> None:
    assert sorted(otel_agent.__all__) == PUBLIC_NAMES


def test_every_public_name_is_there_and_knows_what_it_is() -> None:
    for name in set(otel_agent.__all__) - {"__version__"}:
        assert getattr(otel_agent, name).__doc__, name
