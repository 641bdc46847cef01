"""What came of the runs: sums by prompt and over all, the table, the JSON document, the comparison with the server.

Decides how results are added up. Pure: plays nothing, prints nothing, and takes every number from a `RunResult`, so
that the model server's own ledger is a second, independent count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from otel_agent import RunResult, StopCode, Usage
from otel_agent.demo.actions import ActionsName
from otel_agent.demo.scenarios import Scenario
from otel_agent.stop import GROUPS
from otel_agent.testing.server import Ledger
from otel_agent.views.text import UNICODE, Cell, Glyphs, render_table

__all__ = ["Outcome", "Report", "Totals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of a scenario.

    Attributes:
        scenario: what was played.
        question: what was asked.
        result: how the run ended.
        asked: how many tool calls the model asked for.
        used: how many tool calls arrived at the tools.
        pieces: in how many pieces streamed answers came, 0 where none was streamed.
        scripted: whether the model was the demo's own.
    """

    scenario: Scenario
    question: str
    result: RunResult[str]
    asked: int
    used: int
    pieces: int
    scripted: bool

    @property
    def as_expected(self) -> bool:
        """Whether the run ended as its scenario says; a model that the user brought may also simply finish."""
        reason, scenario = self.result.stop_reason, self.scenario
        if not self.scripted:
            return reason in (*scenario.ends, StopCode.FINISH)
        return reason in scenario.ends and scenario.denies in (None, bool(self.result.denials))


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over runs.

    Attributes:
        runs: how many.
        stops: how many by stop reason.
        steps: LLM calls sent.
        input_tokens: as billed.
        output_tokens: as billed.
        tool_calls: tool calls made.
        tool_calls_asked: tool calls that models asked for, also those that were refused.
        cost_usd: USD, or None when the price of some call is unknown.
    """

    runs: int
    stops: dict[str, int]
    steps: int
    input_tokens: int
    output_tokens: int
    tool_calls: int
    tool_calls_asked: int
    cost_usd: Decimal | None

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Totals:
        """Adds up."""
        known = list(outcomes)
        usages = [outcome.result.usage for outcome in known]
        return cls(
            runs=len(known),
            stops=dict(Counter(str(outcome.result.stop_reason) for outcome in known)),
            steps=sum(usage.steps for usage in usages),
            input_tokens=sum(usage.input_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
            tool_calls=sum(usage.tool_calls for usage in usages),
            tool_calls_asked=sum(outcome.asked for outcome in known),
            cost_usd=_cost(usages),
        )

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    @property
    def done(self) -> int:
        """How many runs ended because they were done."""
        return sum(count for reason, count in self.stops.items() if GROUPS[StopCode(reason)] == "done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one showing of the demo came to.

    Attributes:
        model: the model that was asked for.
        outcomes: the runs, in order.
        ledger: what the model server counted, or None where it is not the demo's own.
        actions: how models said what they wanted to do.
        exports_to: where telemetry went, or None.
        problem: why the showing ended early, or None.
    """

    model: str
    outcomes: Sequence[Outcome]
    ledger: Ledger | None
    actions: ActionsName = "tools"
    exports_to: str | None = None
    problem: str | None = None

    @property
    def totals(self) -> Totals:
        """The sums over all runs."""
        return Totals.of(self.outcomes)

    @property
    def complaints(self) -> list[str]:
        """What is not as it should be, one line each."""
        ends = [
            f"{each.scenario.name}: a run ended as {each.result.stop_reason}, not as {' or '.join(each.scenario.ends)}"
            for each in self.outcomes
            if not each.as_expected
        ]
        return ends + self._differences() + ([] if self.problem is None else [self.problem])

    def table(self, *, color: bool = False, glyphs: Glyphs = UNICODE) -> str:
        """Draws one row a prompt, and the totals.

        Args:
            color: whether to use escape codes.
            glyphs: what to draw with.
        """
        rows = [_row(prompt, totals) for prompt, totals in self._by_prompt().items()]
        headers = ("prompt", "runs", "stops", "steps", "tokens", "tool calls", "cost")
        footer = _row("total", self.totals, stops=f"{self.totals.done} done")
        return render_table(headers, rows, footer=footer, color=color, glyphs=glyphs)

    def document(self) -> dict[str, Any]:
        """Builds what `--json` prints: money as text, so that no digit is lost."""
        return {
            "model": self.model,
            "actions": self.actions,
            "exports_to": self.exports_to,
            "complaints": self.complaints,
            "runs": [_run(outcome) for outcome in self.outcomes],
            "prompts": {prompt: _plain(asdict(totals)) for prompt, totals in self._by_prompt().items()},
            "totals": _plain(asdict(self.totals)),
            "ledger": None if self.ledger is None else _ledger(self.ledger),
        }

    def _by_prompt(self) -> dict[str, Totals]:
        ids = dict.fromkeys(str(each.result.prompt_id) for each in self.outcomes)
        return {key: Totals.of(each for each in self.outcomes if each.result.prompt_id == key) for key in ids}

    def _differences(self) -> list[str]:
        """Compares the runs' own totals with what the model server and the tools counted."""
        if self.ledger is None or self.problem is not None:
            return []
        ours, theirs = self.totals, self.ledger
        pairs = {
            "steps": (ours.steps, theirs.answered),
            "input tokens": (ours.input_tokens, theirs.input_tokens),
            "output tokens": (ours.output_tokens, theirs.output_tokens),
            "tool calls made": (ours.tool_calls, sum(each.used for each in self.outcomes)),
        }
        if self.actions == "tools":  # what stands in a text, no server counts
            pairs["tool calls asked for"] = (ours.tool_calls_asked, theirs.tool_calls)
        return [
            f"{name}: {here:,} in the runs, {there:,} served" for name, (here, there) in pairs.items() if here != there
        ]


def _row(name: str, totals: Totals, *, stops: str = "") -> Sequence[Cell]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in totals.stops.items())
    return (name, totals.runs, stops or reasons, totals.steps, totals.tokens, totals.tool_calls, totals.cost_usd)


def _cost(usages: Sequence[Usage]) -> Decimal | None:
    costs = [usage.cost_usd for usage in usages if usage.cost_usd is not None]
    return sum(costs, Decimal(0)) if len(costs) == len(usages) else None


def _run(outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    return {
        "scenario": outcome.scenario.name,
        "question": outcome.question,
        "answer": result.output,
        "run_id": result.run_id,
        "trace_id": result.trace_id,
        "prompt_id": result.prompt_id,
        "stop_reason": str(result.stop_reason),
        "stop_detail": result.stop_detail,
        "as_expected": outcome.as_expected,
        "usage": _plain(asdict(result.usage)),
        "tool_calls_asked": outcome.asked,
        "denials": dict(result.denials),
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in fields.items()}


def _ledger(ledger: Ledger) -> dict[str, int]:
    return {
        "requests": ledger.requests,
        "answered": ledger.answered,
        "input_tokens": ledger.input_tokens,
        "output_tokens": ledger.output_tokens,
        "tool_calls": ledger.tool_calls,
    }
