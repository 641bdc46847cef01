"""Settings: each declared once, with its name in the file, its variable, what it may be, its default, and a line.

Decides what holds: an argument of `configure()`, else the environment, else the file, else the default. Builds nothing
from it. The tables of the documentation, the file's reader and its JSON Schema all follow from these declarations.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

from otel_agent import checks
from otel_agent.config.scalars import Bytes, Flag, LongText, Money, Number, PathText, Ref, Text, Whole, Word
from otel_agent.config.shapes import Key, ListOf, MapOf, Nullable, OneOrMany, Section, Shape
from otel_agent.stop import StopCode

__all__ = [
    "CAPTURE_EXCEPTIONS",
    "CONFIG",
    "CONSOLE",
    "HASH_KEY",
    "LOG_PROMPT_ID",
    "MODE",
    "REQUIRE_PROMPT_ID",
    "SETTINGS",
    "THREADS",
    "Origin",
    "Setting",
    "check_environment",
    "take",
]

T = TypeVar("T")

Origin = Literal["argument", "environment", "file", "default"]

_UNSET: Any = object()
LONGEST_PROMPT = 10_000_000
LONGEST_INPUT = 100_000
LARGEST_PRICE = 1_000_000
LARGEST_BUDGET = 10**9
LARGEST_NUMBER = 1e15


class Setting(Generic[T]):
    """One setting: where it comes from and what it may be.

    Args:
        name: its name in the file, with dots; `<...>` in it stands for names of the user's own. One without a dot is
            not in the file.
        shape: what it may be.
        default: what holds when nobody says anything.
        about: one line of meaning.
        variable: its environment variable; empty for none.
    """

    def __init__(self, name: str, shape: Shape, default: T, about: str, *, variable: str = "") -> None:
        self.name = name
        self.shape = shape
        self.default = default
        self.about = about
        self.variable = variable
        self._chosen: T = _UNSET
        self._written: T = _UNSET

    @property
    def secret(self) -> bool:
        """Whether its value is never to be shown."""
        return bool(getattr(self.shape, "secret", False))

    def choose(self, value: T | None) -> None:
        """Lets an argument win over everything; None leaves it to the rest."""
        self._chosen = _UNSET if value is None else value

    def write(self, value: T) -> None:
        """Takes the value of the file."""
        self._written = value

    def erase(self) -> None:
        """Forgets the value of the file."""
        self._written = _UNSET

    def get(self) -> T:
        """Gives the value that holds now.

        Raises:
            InvalidSetting: the environment's text is none of the allowed values.
        """
        if self._chosen is not _UNSET:
            return self._chosen
        if self.variable and (text := os.environ.get(self.variable)):
            value: T = self.shape.parse(self.variable, text)
            return value
        return self.default if self._written is _UNSET else self._written

    def source(self) -> Origin:
        """Tells where the value that holds now comes from."""
        if self._chosen is not _UNSET:
            return "argument"
        if self.variable and os.environ.get(self.variable):
            return "environment"
        return "default" if self._written is _UNSET else "file"


_NAME = Text("a name")
_PROMPT_NAME = Text("a name without `:`", without=":")
_TOOLS = ListOf(Text("a tool's name"), "names of tools")
_REFS = OneOrMany(Ref())


def _at_most(what: str) -> Key:
    return Key(Whole(), f"{what} at most")


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
_TASK = Section(
    {
        "id": Key(_NAME, "what the task is called; each id stands once", required=True),
        "expect_stop_reason": Key(Word(*StopCode), "the stop code that its run must end with", required=True),
        "input": Key(LongText("any text", longest=LONGEST_INPUT), "what the agent is asked"),
        "tags": Key(ListOf(Text(), "words"), "words to select tasks by"),
        "repeats": Key(Whole(1, 1000), "how often it is run"),
        "quorum": Key(Whole(1, 1000), "how many of the repeats must stay within the bounds"),
        "max_steps": _at_most("LLM calls"),
        "max_tool_calls": _at_most("tool calls"),
        "max_tokens": _at_most("input and output tokens"),
        "max_seconds": Key(
            Number(checks.seconds, "seconds above 0", above=0, most=checks.LARGEST_SECONDS), "seconds at most"
        ),
        "max_usd": Key(Money(LARGEST_BUDGET), "USD at most"),
        "max_repeats": _at_most("calls of one tool with the same arguments"),
        "must_call": Key(_TOOLS, "tools that must be called"),
        "must_not_call": Key(_TOOLS, "tools that must not be called"),
        "call_order": Key(
            Word("exact", "in_order", "any"),
            "how the calls must match `must_call`: exactly these, these in this order, or in any order",
        ),
    },
    words="id, expect_stop_reason and bounds",
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
        MapOf(Whole(), _NAME, "a whole number by tool"), "calls by tool name; a call above is denied, the run goes on"
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


CONFIG: Setting[Any] = Setting(
    "config",
    PathText("a file"),
    None,
    "the configuration file; else `otel-agent.yaml` in the working directory, where there is one",
    variable="OTEL_AGENT_CONFIG",
)
REQUIRE_PROMPT_ID: Setting[bool] = Setting(
    "prompts.require_prompt_id",
    Flag(),
    False,
    "refuse a run that has no prompt",
    variable="OTEL_AGENT_REQUIRE_PROMPT_ID",
)
MODE: Setting[str] = Setting(
    "observability.mode",
    Word("enforce", "observe"),
    "enforce",
    "`observe` counts and reports, and stops nothing, in the whole process",
    variable="OTEL_AGENT_MODE",
)
THREADS: Setting[bool] = Setting(
    "observability.threads",
    Flag(),
    True,
    "carry the run into new threads and thread pools",
    variable="OTEL_AGENT_THREADS",
)
CONSOLE: Setting[bool | None] = Setting(
    "observability.console",
    Flag(auto=True),
    None,
    "print each run as a tree on stderr; `auto` does so where no backend is configured",
    variable="OTEL_AGENT_CONSOLE",
)
CAPTURE_EXCEPTIONS: Setting[str] = Setting(
    "observability.capture_exceptions",
    Word("type", "frames", "full"),
    "frames",
    "what of an exception is on its span; only `full` has the message, which may quote a prompt",
    variable="OTEL_AGENT_CAPTURE_EXCEPTIONS",
)
HASH_KEY: Setting[bytes | None] = Setting(
    "observability.hash_key",
    Bytes(),
    None,
    "the key of the argument hashes on spans; without it each process takes a random one",
    variable="OTEL_AGENT_HASH_KEY",
)
LOG_PROMPT_ID: Setting[bool] = Setting(
    "observability.log_prompt_id",
    Flag(),
    False,
    "put prompt id and run id on the records of standard logging that are made inside a run",
    variable="OTEL_AGENT_LOG_PROMPT_ID",
)

SETTINGS: tuple[Setting[Any], ...] = (
    CONFIG,
    Setting("prompts.active", _REFS, (), "the version of each prompt that runs get"),
    Setting("prompts.rollback", _REFS, (), "the version of each prompt that a rollback goes back to"),
    REQUIRE_PROMPT_ID,
    Setting(
        "prompts.folder",
        PathText("a folder"),
        None,
        "where `<name>/<version>.md` stand; else `prompts` beside the file, where there is one",
        variable="OTEL_AGENT_PROMPTS_FOLDER",
    ),
    Setting(
        "prompts.override",
        PathText("a file"),
        None,
        "what `otel-agent prompts` writes and every process watches; else `otel-agent.override.json` beside the file",
        variable="OTEL_AGENT_PROMPTS_OVERRIDE",
    ),
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
    Setting(
        "prompts.source",
        Word("configuration", "openfeature"),
        "configuration",
        "`openfeature` asks OpenFeature first which version a run gets",
        variable="OTEL_AGENT_PROMPTS_SOURCE",
    ),
    Setting("testing.golden_tasks", ListOf(_TASK, "tasks"), (), "tasks that an agent must do as it did before"),
    *(Setting(f"budgets.{name}", key.shape, _BUDGET_DEFAULTS.get(name), key.about) for name, key in _BUDGET.items()),
    Setting(
        "budgets.agents",
        MapOf(Section(_BUDGET, words=", ".join(_BUDGET)), _NAME, "limits by agent"),
        {},
        "limits of one agent, over those above",
    ),
    MODE,
    THREADS,
    CONSOLE,
    CAPTURE_EXCEPTIONS,
    HASH_KEY,
    LOG_PROMPT_ID,
    Setting(
        "observability.alert_on_token_spike",
        Flag(),
        True,
        "let `otel-agent stack init` write the rules for spikes of tokens",
        variable="OTEL_AGENT_ALERT_ON_TOKEN_SPIKE",
    ),
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


def check_environment() -> None:
    """Reads every variable once.

    Raises:
        InvalidSetting: one of them can never work.
    """
    for setting in SETTINGS:
        if setting.variable:
            setting.get()


def take(values: Mapping[str, Any]) -> None:
    """Takes what a file says, by name; a setting that it does not name has its default again."""
    for setting in SETTINGS:
        if setting.name in values:
            setting.write(values[setting.name])
        else:
            setting.erase()
