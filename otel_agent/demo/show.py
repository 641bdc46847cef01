"""The demo on stdout: what is asked, what is answered, how each run ended, and the table at the end.

Decides words, widths and colours. Knows no client and no run that is open. The trees on stderr are not its own: they
are what `configure()` shows where no backend is configured.
"""

from __future__ import annotations

import json
import sys
import textwrap

from otel_agent import Usage
from otel_agent.demo.report import Outcome, Report
from otel_agent.demo.scenarios import Scenario
from otel_agent.testing.server import Ledger
from otel_agent.views.screen import colored, columns, encodable
from otel_agent.views.text import Glyphs, Span, clean, count_text, glyphs_for, money_text, paint, plural

__all__ = ["Show", "complain"]

WIDEST = 100


class Show:
    """Prints the demo as text.

    Args:
        quiet: print nothing but the report, as one JSON document.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        """Prints a line, at once, so that it stands in the right place between the trees on stderr."""
        if not self._quiet:
            print(encodable(text, sys.stdout.encoding), flush=True)

    def scenario(self, scenario: Scenario) -> None:
        """Prints a heading."""
        self.say(f"\n{_styled(scenario.name, 'bold')}  {scenario.about}")

    def question(self, question: str) -> None:
        """Prints what is asked."""
        self.say(_paragraph("Q", question))

    def outcome(self, outcome: Outcome, *, traced: bool) -> None:
        """Prints the answer and one line on the run.

        Args:
            outcome: the run.
            traced: whether its trace can be looked up somewhere.
        """
        result = outcome.result
        self.say(_paragraph("A", result.output or "-"))
        parts = [_ending(outcome), *_used(result.usage)]
        if outcome.pieces:
            parts.append(f"came in {plural(outcome.pieces, 'piece')}")
        if traced and result.trace_id is not None:
            parts.append(f"trace {result.trace_id}")
        self.say("   " + _glyphs().dot.join(parts))

    def report(self, report: Report) -> None:
        """Prints the table and what the model server counted; what is not as it should be goes to stderr."""
        if self._quiet:
            print(json.dumps(report.document(), indent=2))
        elif report.outcomes:
            self.say("\n" + report.table(color=colored(sys.stdout), glyphs=_glyphs()))
        for line in report.complaints:
            complain(line)
        if report.ledger is not None and not report.complaints:
            self.say("\n" + _agreement(report, report.ledger))


def complain(text: str) -> None:
    """Prints a line on stderr."""
    print(encodable(f"otel-agent demo: {text}", sys.stderr.encoding), file=sys.stderr, flush=True)


def _agreement(report: Report, ledger: Ledger) -> str:
    answers, asked = plural(ledger.answered, "answer"), plural(report.totals.tool_calls_asked, "tool call")
    tokens = plural(ledger.input_tokens + ledger.output_tokens, "token")
    made = count_text(report.totals.tool_calls)
    return f"The model server's own count agrees: {answers}, {tokens}, {asked} asked for, {made} of them made."


def _ending(outcome: Outcome) -> str:
    result = outcome.result
    text = str(result.stop_reason if result.error is None else result.error)
    if result.denials:
        text += f", denied {sum(result.denials.values())}"
    return _styled(clean(text), "green" if result.stop_reason == "finish" else "yellow")


def _used(usage: Usage) -> list[str]:
    return [
        plural(usage.steps, "step"),
        plural(usage.tool_calls, "tool call"),
        plural(usage.total_tokens, "token"),
        money_text(usage.cost_usd),
    ]


def _paragraph(mark: str, text: str) -> str:
    """Wraps a text behind a mark."""
    width = min(WIDEST, columns(sys.stdout))
    lines = [clean(line) for line in text.splitlines() if line.strip()] or ["-"]
    wrapped = [part for line in lines for part in textwrap.wrap(line, max(20, width - 3), break_on_hyphens=False)]
    return "\n".join((f"{mark}  " if at == 0 else "   ") + line for at, line in enumerate(wrapped))


def _styled(text: str, style: str) -> str:
    return paint([Span(text, style)], color=colored(sys.stdout))


def _glyphs() -> Glyphs:
    return glyphs_for(sys.stdout.encoding)
