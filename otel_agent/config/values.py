"""What a configuration says, as values: one frozen class for each section of `otel-agent.yaml`.

Decides nothing but what follows from what: an agent's budget from the defaults. Reads no file and no environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from otel_agent.budget import Budget
from otel_agent.pricing import Price
from otel_agent.prompts.release import Canary
from otel_agent.stop import StopCode

__all__ = [
    "Budgets",
    "Config",
    "GoldenTask",
    "Observability",
    "OutputCheck",
    "Prices",
    "PromptsSection",
    "TestingSection",
]

Source = Literal["configuration", "openfeature"]
CallOrder = Literal["exact", "in_order", "any"]


def _no_texts() -> Mapping[str, Mapping[str, str]]:
    return MappingProxyType({})


def _no_canary() -> Mapping[str, Canary]:
    return MappingProxyType({})


def _no_budgets() -> Mapping[str, Budget]:
    return MappingProxyType({})


def _no_prices() -> Mapping[str, Price]:
    return MappingProxyType({})


def _no_alerts() -> Mapping[str, float]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsSection:
    """Which versions of which prompts run, and where their texts stand.

    Attributes:
        active: `name:version` of what runs, at most one for each name.
        rollback: `name:version` of what a rollback goes back to, at most one for each name.
        require_prompt_id: whether a run without a prompt is refused.
        require_golden: whether a run is refused whose prompt has not passed its golden tasks.
        folder: where `<name>/<version>.md` stand; None is `prompts` beside the file, where there is such a folder.
        override: the file that the commands write; None is `otel-agent.override.json` beside the file.
        texts: texts by name and version.
        canary: the version that a share of the units gets, by name.
        source: "openfeature" asks OpenFeature which version a run gets, before the configuration.
    """

    active: tuple[str, ...] = ()
    rollback: tuple[str, ...] = ()
    require_prompt_id: bool = False
    require_golden: bool = False
    folder: Path | None = None
    override: Path | None = None
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=_no_texts, repr=False)
    canary: Mapping[str, Canary] = field(default_factory=_no_canary)
    source: Source = "configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCheck:
    """What an answer must be like; never a text to be equal to: prose differs from run to run.

    Attributes:
        contains: texts that must stand in it, each of them.
        regex: a regular expression that must be found in it, or None.
        json_schema: a JSON Schema that it must fit, or None.
    """

    contains: tuple[str, ...] = field(default=(), repr=False)
    regex: str | None = field(default=None, repr=False)
    json_schema: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTask:
    """One task that an agent must do as it did before.

    Attributes:
        id: what the task is called, once in a file.
        expect_stop_reason: the stop code that its run must end with.
        input: what the agent is asked, or its keyword arguments; None where the agent needs nothing.
        tags: words to select tasks by.
        repeats: how often it is run; None leaves that to the runner.
        quorum: how many of the repeats must stay within the bounds; None leaves that to the runner.
        max_steps: LLM calls at most; None is no bound, as below.
        max_tool_calls: tool calls at most.
        max_tokens: input and output tokens at most.
        max_seconds: seconds at most.
        max_usd: USD at most.
        max_repeats: calls of one tool with the same arguments at most.
        must_call: tools that must be called; one that stands twice, twice.
        may_call: tools that write which may be called as well.
        must_not_call: tools that must not be called.
        call_order: how the calls must match `must_call`: exactly these, these in this order, or in any order.
        output: what the answer must be like; None is no check.
        file: the file that it stands in, or None; two tasks that differ only in their places are equal.
        line: its line there, or None.
    """

    id: str
    expect_stop_reason: StopCode
    input: str | Mapping[str, Any] | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    repeats: int | None = None
    quorum: int | None = None
    max_steps: int | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_usd: Decimal | None = None
    max_repeats: int | None = None
    must_call: tuple[str, ...] = ()
    may_call: tuple[str, ...] = ()
    must_not_call: tuple[str, ...] = ()
    call_order: CallOrder = "any"
    output: OutputCheck | None = None
    file: Path | None = field(default=None, repr=False, compare=False)
    line: int | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> str | None:
        """Where it stands, as `file:line`, or None for a task of no file."""
        return None if self.file is None else f"{self.file}:{self.line or 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestingSection:
    """What the agents are tested with.

    Attributes:
        golden_tasks: the tasks, in the order of the file.
        agent: the agent that does them, as `module:function`; None where nobody says so.
        files: files of more tasks, as names or patterns such as `golden/*.yaml`, from the folder of the file on.
        writes: tools that change something outside; a task that does not name one must not call it.
        results: the file that says which prompts passed; None is one in the user's cache folder.
    """

    __test__: ClassVar[bool] = False  # its name makes pytest look for tests inside

    golden_tasks: tuple[GoldenTask, ...] = ()
    agent: str | None = None
    files: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    results: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The limits of the runs that name none.

    Attributes:
        default: the limits of every such run.
        agents: the limits of such runs of one agent, by its name; whole budgets, what they inherit is in them.
    """

    default: Budget = field(default_factory=Budget)
    agents: Mapping[str, Budget] = field(default_factory=_no_budgets)

    def of(self, agent: str) -> Budget:
        """Gives the limits of a run of an agent."""
        return self.agents.get(agent, self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observability:
    """What is enforced, shown, logged and alerted on.

    Attributes:
        mode: "observe" counts and reports, and stops nothing.
        threads: whether runs are carried into threads and pools.
        console: whether each run is printed as a tree; None does so where no backend is configured.
        capture_exceptions: what of an exception is on its span.
        hash_key: the key of the argument hashes on spans; None is a random one for each process.
        history: the folder that finished runs are kept in; True is one in the user's cache folder, False none.
        log_prompt_id: whether records of standard logging carry prompt id and run id.
        alert_on_token_spike: whether `otel-agent stack init` writes the rules for spikes of tokens.
    """

    mode: Literal["enforce", "observe"] = "enforce"
    threads: bool = True
    console: bool | None = None
    capture_exceptions: Literal["type", "frames", "full"] = "frames"
    hash_key: bytes | None = field(default=None, repr=False)
    history: Path | bool = False
    log_prompt_id: bool = False
    alert_on_token_spike: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """One's own prices.

    Attributes:
        models: prices by "model" or "provider/model".
        fallback: the price of every model that has none; None is none.
    """

    models: Mapping[str, Price] = field(default_factory=_no_prices)
    fallback: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration; each section by itself may be left out.

    Attributes:
        prompts: which prompts run.
        testing: what the agents are tested with.
        budgets: the limits of the runs that name none.
        observability: what is enforced, shown, logged and alerted on.
        prices: one's own prices.
        alerts: thresholds of alerts, by name.
        file: the file it was read from, or None.
        said: the names of the settings that somebody wrote down, such as `budgets.max_steps`; None is not known.
    """

    prompts: PromptsSection = field(default_factory=PromptsSection)
    testing: TestingSection = field(default_factory=TestingSection)
    budgets: Budgets = field(default_factory=Budgets)
    observability: Observability = field(default_factory=Observability)
    prices: Prices = field(default_factory=Prices)
    alerts: Mapping[str, float] = field(default_factory=_no_alerts)
    file: Path | None = None
    said: frozenset[str] | None = field(default=None, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """The folder that relative names start from: that of the file, or else the working directory."""
        return self.file.parent if self.file is not None else Path.cwd()
