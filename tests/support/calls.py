"""The calls that tests of runs make, in one line each."""

from __future__ import annotations

from typing import Any

from otel_agent import BudgetExceeded, llm_call, tool_call

__all__ = ["ask", "passes", "use"]


def ask(input_tokens: int = 10, output_tokens: int = 5, model: str = "some-model", **keywords: Any) -> None:
    """Makes one LLM call that uses so many tokens."""
    with llm_call(model, **keywords) as call:
        call.record(input_tokens=input_tokens, output_tokens=output_tokens)


def use(tool: str = "search", **keywords: Any) -> None:
    """Makes one tool call, with the same arguments each time unless told otherwise."""
    with tool_call(tool, **{"arguments": {}, **keywords}):
        pass


def passes(call: Any, most: int = 1000) -> int:
    """Counts how many times a call passes before a limit of the run ends it."""
    for count in range(most):
        try:
            call()
        except BudgetExceeded:
            return count
    return most
