"""All settings in one list, in the order of the documentation; those that only a file can say are declared here.

The tables of the documentation, the file's reader and its JSON Schema all follow from this list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_agent import checks
from otel_agent.config import settings
from otel_agent.config.scalars import LongText, Money, Number, PathText, PromptName, Ref, Text, Whole, Word
from otel_agent.config.settings import Setting
from otel_agent.config.shapes import Key, ListOf, MapOf, Nullable, OneOrMany, Section
from otel_agent.config.tasks import AGENT, TASK, TOOLS

__all__ = ["SECTIONS", "SETTINGS"]

LONGEST_PROMPT = 10_000_000
LARGEST_PRICE = 1_000_000
LARGEST_BUDGET = 10**9
LARGEST_NUMBER = 1e15

_NAME = Text("a name")
_PROMPT_NAME = PromptName()
_REFS = OneOrMany(Ref())
_CANARY = Section(
    {
        "version": Key(_PROMPT_NAME, "the version to try", required=True),
        "percent": Key(
            Number(lambda field, value: _between(field, value, 0, 100), "0 to 100", least=0, most=100),
            "the share of the units that gets it, in steps of 0.01",
            required=True,
        ),
        "by": Key(Word("conversation", "user"), "whose id decides, each time alike"),
        "salt": Key(Text(), "what the buckets are drawn with; the prompt's name by default"),
        "tenants": Key(ListOf(Text(), "tenants"), "only runs of these"),
        "environments": Key(ListOf(Text(), "environments"), "only processes in these"),
    },
    words="version, percent, by, salt, tenants, environments",
)
_FINAL_CALL = Section(
    {
        "tokens": Key(Whole(), "input and output tokens of that call"),
        "usd": Key(Money(LARGEST_BUDGET), "its price in USD"),
    },
    words="tokens, usd",
)
_BUDGET: Mapping[str, Key] = {
    "max_steps": Key(Nullable(Whole()), "LLM calls sent"),
    "max_tool_calls": Key(Nullable(Whole()), "tool calls made"),
    "max_seconds": Key(
        Nullable(Number(checks.seconds, "seconds above 0", above=0, most=checks.LARGEST_SECONDS)),
        "seconds from the run's start",
    ),
    "max_tokens": Key(Nullable(Whole()), "input and output tokens as billed"),
    "max_usd": Key(Nullable(Money(LARGEST_BUDGET)), "USD"),
    "max_calls_per_tool": Key(
        Nullable(MapOf(Whole(), _NAME, "a whole number by tool")),
        "calls by tool name; a call above is denied, the run goes on",
    ),
    "max_repeats": Key(Nullable(Whole()), "calls of one tool with the same arguments"),
    "warn_at": Key(
        Number(checks.fraction, "above 0, at most 1", above=0, most=1), "the share of a limit at which it warns, once"
    ),
    "final_call": Key(Nullable(_FINAL_CALL), "kept back for one last call after a stop"),
    "default_output_tokens": Key(Whole(1), "tokens held for the output of a call that names no maximum"),
    "interrupt": Key(Nullable(Word("signal")), "`signal` lets `max_seconds` interrupt a hung call in the main thread"),
}
_BUDGET_DEFAULTS: Mapping[str, Any] = {"max_calls_per_tool": {}, "warn_at": 0.8, "default_output_tokens": 4096}
_PRICE = Section(
    {
        "input": Key(Money(LARGEST_PRICE), "USD per million input tokens", required=True),
        "output": Key(Money(LARGEST_PRICE), "USD per million output tokens", required=True),
        "cached_input": Key(
            Nullable(Money(LARGEST_PRICE)), "USD per million input tokens read from a cache; the price of input without"
        ),
        "per_call": Key(Nullable(Money(LARGEST_PRICE)), "USD per call, on top of the tokens"),
    },
    words="input, output, cached_input, per_call",
)


def _between(field: str, value: object, least: float, most: float) -> float:
    return checks.number(field, value, least=least, most=most)


SECTIONS: Mapping[str, str] = {
    "prompts": "which versions of which prompts run, and where their texts stand",
    "testing": "what the agents are tested with",
    "budgets": "the limits of the runs that name none",
    "observability": "what is enforced, shown, logged and alerted on",
    "prices": "your own prices, by `model` or `provider/model`",
    "alerts": "thresholds of alerts, in place of their defaults",
}
SETTINGS: tuple[Setting[Any], ...] = (
    settings.CONFIG,
    Setting("prompts.active", _REFS, (), "the version of each prompt that runs get"),
    Setting("prompts.rollback", _REFS, (), "the version of each prompt that a rollback goes back to"),
    settings.REQUIRE_PROMPT_ID,
    settings.REQUIRE_GOLDEN,
    settings.PROMPTS_FOLDER,
    settings.PROMPTS_OVERRIDE,
    Setting(
        "prompts.texts",
        MapOf(
            MapOf(LongText("any text", longest=LONGEST_PROMPT), _PROMPT_NAME, "texts by version"),
            _PROMPT_NAME,
            "texts by name and version",
        ),
        {},
        "texts that stand in the file itself",
    ),
    Setting(
        "prompts.canary",
        MapOf(_CANARY, _PROMPT_NAME, "version and percent by prompt name"),
        {},
        "the version of a prompt that a share of the conversations or users gets",
    ),
    settings.PROMPTS_SOURCE,
    Setting("testing.golden_tasks", ListOf(TASK, "tasks"), (), "tasks that an agent must do as it did before"),
    Setting("testing.agent", AGENT, None, "the agent that does them"),
    Setting(
        "testing.files", OneOrMany(Text("a file, or a pattern such as `golden/*.yaml`")), (), "files of more tasks"
    ),
    Setting("testing.writes", TOOLS, (), "tools that change something outside; only tasks that name one may call it"),
    Setting(
        "testing.results", PathText("a file"), None, "which prompts passed; else a file in the user's cache folder"
    ),
    *(Setting(f"budgets.{name}", key.shape, _BUDGET_DEFAULTS.get(name), key.about) for name, key in _BUDGET.items()),
    Setting(
        "budgets.agents",
        MapOf(Section(_BUDGET, words=", ".join(_BUDGET)), _NAME, "limits by agent"),
        {},
        "limits of one agent, over those above",
    ),
    settings.MODE,
    settings.THREADS,
    settings.CONSOLE,
    settings.CAPTURE_EXCEPTIONS,
    settings.HASH_KEY,
    settings.HISTORY,
    settings.LOG_PROMPT_ID,
    settings.ALERT_ON_TOKEN_SPIKE,
    Setting("prices.fallback", Nullable(_PRICE), None, "the price of every model that has none"),
    Setting("prices.<model>", _PRICE, None, "your own price, by `model` or `provider/model`"),
    Setting(
        "alerts.<name>",
        Number(
            lambda field, value: _between(field, value, -LARGEST_NUMBER, LARGEST_NUMBER),
            "a number",
            least=-LARGEST_NUMBER,
            most=LARGEST_NUMBER,
        ),
        None,
        "a threshold of an alert, in place of its default",
    ),
)
