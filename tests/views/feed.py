"""Plays runs to a listener as the core would, on a clock that the test moves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from otel_agent.stop import StopCode
from otel_agent.usage import CallRecord, CallStarted, LimitUse, Listener, RunRecord, RunStarted, Usage

PROMPT = "support:v13:50af3e26c3af"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Feed:
    """Tells a listener of runs and calls; a call takes its seconds on the clock."""

    def __init__(self, listener: Listener, clock: Clock | None = None) -> None:
        self.listener = listener
        self.clock = clock or Clock()

    def start(self, run: str = "r", parent: str | None = None, agent: str = "bot", **extra: Any) -> None:
        fields: dict[str, Any] = {"prompt_id": None, "limits": {}, "mode": "enforce", **extra}
        self.listener.run_started(RunStarted(run_id=run, parent_id=parent, agent=agent, **fields))

    def end(
        self,
        run: str = "r",
        parent: str | None = None,
        agent: str = "bot",
        code: StopCode = StopCode.FINISH,
        usage: Usage | None = None,
        **extra: Any,
    ) -> None:
        usage = usage or Usage()
        fields: dict[str, Any] = {
            "prompt_id": None,
            "mode": "enforce",
            "stop_detail": None,
            "error_type": None,
            "trace_id": None,
            "limits": {},
            "denials": {},
            **extra,
        }
        self.listener.run_ended(
            RunRecord(
                run_id=run, parent_id=parent, agent=agent, stop_reason=code, usage=usage, own_usage=usage, **fields
            )
        )

    def begin(self, name: str = "kb.search", run: str = "r", kind: str = "tool") -> None:
        self.listener.call_started(CallStarted(kind, name, run))

    def finish(
        self, name: str = "kb.search", run: str = "r", kind: str = "tool", seconds: float = 0.01, **extra: Any
    ) -> None:
        fields: dict[str, Any] = {
            "agent": "bot",
            "prompt_id": None,
            "input_tokens": None,
            "output_tokens": None,
            "cost_usd": None,
            "estimated": False,
            "decision": "allow",
            "reason": None,
            "error_type": None,
            **extra,
        }
        self.listener.call_ended(CallRecord(kind=kind, name=name, run_id=run, seconds=seconds, **fields))

    def tool(self, name: str = "kb.search", run: str = "r", seconds: float = 0.01, **extra: Any) -> None:
        self.begin(name, run)
        self.clock.now += seconds
        self.finish(name, run, seconds=seconds, **extra)

    def llm(self, name: str = "gpt-5-mini", run: str = "r", seconds: float = 1.0, **extra: Any) -> None:
        fields = {"input_tokens": 1000, "output_tokens": 200, "cost_usd": Decimal("0.0021"), **extra}
        self.begin(name, run, "llm")
        self.clock.now += seconds
        self.finish(name, run, "llm", seconds, **fields)

    def denied(
        self, name: str = "kb.search", run: str = "r", reason: str = "max_tool_calls", kind: str = "tool"
    ) -> None:
        self.finish(name, run, kind, 0.0, decision="deny", reason=reason)


def limits(**of: tuple[Any, Any]) -> dict[str, LimitUse]:
    """Gives limits by name: (limit, used)."""
    return {name: LimitUse(*pair) for name, pair in of.items()}
