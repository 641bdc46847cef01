"""The model of the demo where nobody brings one: it reads the same messages as a real one, and answers alike each time.

Decides what to search for and what to say from the system prompt, the question and the tool results alone: it knows no
scenario, no budget and no run. What it says of a product is taken from the articles that the tools gave it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from otel_agent.demo.script_json import as_json, as_native, wants_json
from otel_agent.testing import Reply, Request

__all__ = ["scripted_model"]

ANGLES = (
    "deadline",
    "exceptions",
    "cost",
    "who may do it",
    "plans",
    "refund",
    "export first",
    "legal hold",
    "backups",
    "undo",
    "notice to the team",
)
WORD = re.compile(r"[a-z0-9]{4,}")
SENTENCE = re.compile(r"(?<=[.!?])\s+")
WHERE_MISSING = re.compile(r"\b(if|when|where|once)\b.*\b(nothing|no articles?|no results?|missing|empty)\b")
ACCOUNT = re.compile(r"account (\d+)")
LONGEST_SUBJECT = 120
STEM = 5
MOST_QUOTES = 3

_Call: TypeAlias = tuple[str, dict[str, Any]]


def scripted_model(request: Request) -> Reply:
    """Plays the model: asks for the next tools of its plan while it may, then answers; JSON actions go one by one.

    Args:
        request: what the agent sends.
    """
    if wants_json(request):
        native = as_native(request)
        return as_json(_reply(native, [[call] for calls in _plan(native) for call in calls]))
    return _reply(request, _plan(request))


def _reply(request: Request, plan: list[list[_Call]]) -> Reply:
    done = sum("tool_calls" in message for message in request.messages)
    if done < len(plan) and request.tools and request.body.get("tool_choice") != "none":
        return Reply(tool_calls=plan[done])
    return Reply(text=_answer(request))


def _plan(request: Request) -> list[list[_Call]]:
    """Gives what to ask the tools for: one list a round, several calls of which are asked for at once."""
    question = _said(request, "user")
    account = ACCOUNT.search(question)
    if account and any(tool["name"] == "billing_lookup" for tool in request.tools):
        return [[("billing_lookup", {"account": account[1]})]]
    angles = [[_search(f"{question} {angle}")] for angle in ANGLES]
    thorough = [each for each in SENTENCE.split(_said(request, "system").lower()) if "thorough" in each]
    if any(not WHERE_MISSING.search(each) for each in thorough):
        return angles + _ticket(question)
    rounds = _rounds(question)
    return rounds + angles if thorough and _found_nothing(request, sum(map(len, rounds))) else rounds


def _rounds(question: str) -> list[list[_Call]]:
    """Gives what to ask the tools for where nobody asks for more."""
    asked = [sentence for sentence in SENTENCE.split(question) if sentence.endswith("?")]
    if len(asked) > 2:
        return [[_search(sentence) for sentence in asked]]
    parts = SENTENCE.split(question) if question.startswith("We want") else [question]
    rounds = [[_search(part)] for part in parts]
    return rounds + _ticket(question)


def _ticket(question: str) -> list[list[_Call]]:
    wanted = "open a ticket" in question
    return [[("ticket_create", {"subject": question[:LONGEST_SUBJECT], "body": question})]] if wanted else []


def _found_nothing(request: Request, calls: int) -> bool:
    """Tells whether the first so many calls were made, and none of their searches found an article."""
    results = _results(request)
    found = [result["articles"] for result in results[:calls] if "articles" in result]
    return len(results) >= calls and bool(found) and not any(found)


def _results(request: Request) -> list[Any]:
    return [json.loads(message["content"]) for message in request.messages if message["role"] == "tool"]


def _search(query: str) -> _Call:
    return "kb_search", {"query": query}


def _said(request: Request, role: str) -> str:
    return next((message["content"] for message in request.messages if message["role"] == role), "")


def _answer(request: Request) -> str:
    """Puts together what the tools gave; asks back where they gave nothing."""
    question, cite = _said(request, "user"), "Cite" in _said(request, "system")
    results = _results(request)
    best = [article for result in results for article in result.get("articles", ())[:1]]
    found = _most_often((article["article"], article["text"]) for article in best)
    each = 2 if len(found) == 1 else 1
    parts = [_quote(text, question, each) + (f" [{name}]" if cite else "") for name, text in found]
    parts += [f"I have opened ticket {result['ticket']} for you." for result in results if "ticket" in result]
    refused = [result["denied"] for result in results if "denied" in result]
    if not parts:
        parts = ["I am not sure. Could you tell me more about what you want to do?"]
    if refused:
        parts.append(f"(There is more that I could not look up: {refused[-1]}.)")
    return " ".join(parts)


def _most_often(articles: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Gives what came up at least half as often as what came up most."""
    counted = Counter(articles).most_common(MOST_QUOTES)
    return [article for article, times in counted if 2 * times >= counted[0][1]]


def _quote(text: str, question: str, most: int) -> str:
    """Gives the sentences next to each other that share most words with the question."""
    wanted = _stems(question)
    sentences = SENTENCE.split(text)
    passages = [sentences[at : at + most] for at in range(max(1, len(sentences) - most + 1))]
    return " ".join(max(passages, key=lambda passage: sum(len(wanted & _stems(each)) for each in passage)))


def _stems(text: str) -> set[str]:
    return {word[:STEM] for word in WORD.findall(text.lower())}
