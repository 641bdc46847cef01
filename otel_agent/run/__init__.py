"""Runs, LLM calls and tool calls: the verbs that people put around their code, and what they may ask inside it.

Decides the order in which a call asks the other rooms: account, span, the user's code, account, span. Each file has one
part: `state` the run, `agent` its border, `llm`, `tool` and `batch` the calls, `drive` how any of them goes around a
callable, `steps` what of that runs step by step, `collector` what the garbage collector ends, `playing` who answers
for the tools in a replay.
"""

from __future__ import annotations

from otel_agent.run.bill import price_book, use_prices
from otel_agent.run.llm import LLMCall, current_call
from otel_agent.run.state import Run, RunBudget, current_run, open_runs
from otel_agent.run.tool import Slot, ToolCall
from otel_agent.run.verbs import agent_run, llm_call, tool_call, tool_calls

__all__ = [
    "LLMCall",
    "Run",
    "RunBudget",
    "Slot",
    "ToolCall",
    "agent_run",
    "current_call",
    "current_run",
    "llm_call",
    "open_runs",
    "price_book",
    "tool_call",
    "tool_calls",
    "use_prices",
]
