"""The three versions of the support prompt: what v14 changed is what its budget stops.

Decides the texts only; an id follows from a text, so that a changed text is another id.
"""

from __future__ import annotations

from otel_agent import Prompt

__all__ = ["V12", "V13", "V14"]

V12 = Prompt("support", "v12", "Answer using KB. If unsure, ask a clarifying question.")
V13 = Prompt("support", "v13", "Answer using KB. Cite tool results. If unsure, ask a clarifying question.")
V14 = Prompt(
    "support",
    "v14",
    "Answer using KB. Be thorough: before you answer, search from every angle, also where you are sure already. "
    "Cite tool results.",
)
