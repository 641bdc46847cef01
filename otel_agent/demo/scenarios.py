"""What the demo plays: each scenario is a prompt, a budget and questions, and says how its runs must end.

Decides names, limits and questions. Runs nothing, prints nothing, and imports no client, so that listing is quick.
"""

from __future__ import annotations

from dataclasses import dataclass

from otel_agent import Budget, FinalCall, Prompt, StopCode
from otel_agent.demo.prompts import V12, V13, V14
from otel_agent.demo.questions import QUESTIONS

__all__ = ["SCENARIOS", "Scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Some questions, asked under one prompt and one budget.

    Attributes:
        name: stable, what `--scenario` takes.
        about: one line.
        prompt: the prompt of its runs.
        budget: the budget of each of its runs.
        questions: one run each.
        ends: the stop reasons that a run may have.
        tools: the tools on offer.
        stream: whether answers are streamed.
        denies: whether some tool calls must be denied; None is either way.
    """

    name: str
    about: str
    prompt: Prompt
    budget: Budget
    questions: tuple[str, ...]
    ends: tuple[StopCode, ...] = (StopCode.FINISH,)
    tools: tuple[str, ...] = ("kb.search", "ticket.create")
    stream: bool = False
    denies: bool | None = False


ENOUGH = Budget(
    max_steps=8,
    max_tool_calls=6,
    max_seconds=60,
    max_tokens=12_000,
    max_usd="0.05",
    max_calls_per_tool={"ticket.create": 1},
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="answer",
        about="v13 answers within its budget",
        prompt=V13,
        budget=ENOUGH,
        questions=(QUESTIONS[0].text, QUESTIONS[3].text, QUESTIONS[8].text),
    ),
    Scenario(
        name="ticket",
        about="v12 writes a ticket for a person to look at",
        prompt=V12,
        budget=ENOUGH,
        questions=("Receipts 1042 and 1043 are for the same month. Please open a ticket to get one of them back.",),
    ),
    Scenario(
        name="batch",
        about="four searches at once, of which three are allowed: the run goes on",
        prompt=V13,
        budget=Budget(max_steps=8, max_seconds=60, max_tokens=12_000, max_calls_per_tool={"kb.search": 3}),
        questions=(
            "What does Business cost a month? How long do you keep data? How do I export it all? Who can see rates?",
        ),
        denies=True,
    ),
    Scenario(
        name="stream",
        about="an answer that comes in pieces, counted by its last one",
        prompt=V13,
        budget=ENOUGH,
        questions=(QUESTIONS[6].text,),
        stream=True,
    ),
    Scenario(
        name="thorough",
        about="v14 searches on and on: max_tool_calls stops it, and it still answers, once",
        prompt=V14,
        budget=Budget(
            max_steps=25,
            max_tool_calls=10,
            max_seconds=60,
            max_tokens=60_000,
            final_call=FinalCall(tokens=10_000),
        ),
        questions=(QUESTIONS[7].text,),
        ends=(StopCode.MAX_TOOL_CALLS,),
    ),
    Scenario(
        name="money",
        about="v14 again, under a limit of half a cent: no call is sent that might not fit",
        prompt=V14,
        budget=Budget(max_steps=25, max_seconds=60, max_usd="0.005"),
        questions=(QUESTIONS[4].text,),
        ends=(StopCode.MAX_USD, StopCode.UNPRICED_MODEL),
    ),
    Scenario(
        name="hang",
        about="a tool that hangs for 600 s: max_seconds interrupts it after 2 s",
        prompt=V13,
        budget=Budget(max_steps=8, max_seconds=2),
        questions=("What is the open balance of account 7731? Look it up in the billing system.",),
        ends=(StopCode.MAX_SECONDS,),
        tools=("billing.lookup",),
    ),
)
