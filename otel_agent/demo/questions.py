"""What customers ask in the demo, and which articles answer it.

Decides nothing: these are facts for the demo and for the tests of the search. Holds no prompts and no answers.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUESTIONS", "Question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A customer's question.

    Attributes:
        text: the question in the customer's words.
        slugs: the articles that together answer it, the most important one first.
    """

    text: str
    slugs: tuple[str, ...]


QUESTIONS: tuple[Question, ...] = (
    Question(
        text="I was billed twice this month, there are two receipts for the same period. Do I get one of them back?",
        slugs=("duplicate-charge",),
    ),
    Question(
        text="Our annual subscription renewed last week and we want a refund. Is that possible, and when will the "
        "money arrive?",
        slugs=("refund-policy", "refund-status"),
    ),
    Question(
        text="I lost my phone with the authenticator on it. How do I get back into my account?",
        slugs=("lost-authenticator",),
    ),
    Question(
        text="Our nightly script keeps getting 429 from your API. How many requests per minute may we send?",
        slugs=("api-rate-limits",),
    ),
    Question(
        text="A client says that the invoice never arrived, but it is shown as sent. What can I do?",
        slugs=("invoice-not-received",),
    ),
    Question(
        text="I sent an invoice with a wrong amount and cannot edit it now. How do I correct it?",
        slugs=("credit-notes",),
    ),
    Question(
        text="Since this morning nobody can log in with SSO, it says 'signature invalid'. What now?",
        slugs=("sso-troubleshooting",),
    ),
    Question(
        text="What happens to our projects and people if we go down from Business to the Free plan?",
        slugs=("downgrade-plan",),
    ),
    Question(
        text="We want to close our workspace for good. How long do you keep our data after that?",
        slugs=("close-workspace", "data-retention"),
    ),
)
