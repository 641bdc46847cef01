"""OpenTelemetry for LLM agents: every run traced, held to its budget, and ended with a reason."""

from __future__ import annotations

from otel_agent.bootstrap import Logger, configure, flush, shutdown
from otel_agent.budget import Budget, FinalCall
from otel_agent.context import propagate
from otel_agent.pricing import Price
from otel_agent.prompts import Prompt, build_system_prompt, prompt_id
from otel_agent.run import Run, agent_run, current_call, current_run, llm_call, tool_call, tool_calls
from otel_agent.stop import (
    AgentStop,
    BudgetExceeded,
    InvalidSetting,
    Killed,
    LoopDetected,
    PolicyStop,
    RunClosed,
    StopCode,
    StopIgnored,
    ToolDenied,
)
from otel_agent.telemetry.version import VERSION as __version__
from otel_agent.usage import Remaining, RunResult, Usage

__all__ = [
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
