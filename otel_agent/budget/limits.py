"""The limits of a run, as people write them: checked where they are written, frozen from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from otel_agent import checks
from otel_agent.checks import Money
from otel_agent.stop import InvalidSetting

__all__ = ["Budget", "FinalCall"]

DEFAULT_OUTPUT_TOKENS = 4096
LARGEST_PER_TOOL = 1000


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class FinalCall:
    """What is kept back for one last call after a stop.

    Attributes:
        tokens: input and output tokens of that call.
        usd: its price in USD: str, int, Decimal, or a float by its shortest repr.

    Raises:
        InvalidSetting: a value is negative, no number, or too large.
    """

    tokens: int = 0
    usd: Money = Decimal(0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", checks.count("FinalCall.tokens", self.tokens))
        object.__setattr__(self, "usd", checks.usd("FinalCall.usd", self.usd))


def _per_tool(value: object) -> Mapping[str, int]:
    where = "Budget.max_calls_per_tool"
    allowed = "a mapping of tool names to whole numbers, such as {'kb.search': 6}"
    caps = checks.mapping(where, value, allowed)
    if len(caps) > LARGEST_PER_TOOL:
        raise InvalidSetting(field=where, value=f"{len(caps)} tools", allowed=f"at most {LARGEST_PER_TOOL} tools")
    return MappingProxyType({checks.text(where, tool): checks.count(f"{where}[{tool!r}]", caps[tool]) for tool in caps})


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits of a run and of all runs under it; `None` is no limit, 0 is none allowed.

    Attributes:
        max_steps: LLM calls sent.
        max_tool_calls: tool calls made.
        max_seconds: seconds, or a `timedelta`, from the run's start; above 0.
        max_tokens: input and output tokens as billed.
        max_usd: USD: str, int, Decimal, or a float by its shortest repr; finer than 0.000001 is rounded down.
        max_calls_per_tool: calls by tool name; a call above is denied, the run goes on.
        max_repeats: how often one tool may be called with the same arguments.
        warn_at: the share of a limit at which it warns, once; above 0, at most 1.
        final_call: kept back for one last call after a stop.
        default_output_tokens: tokens held for the output of a call that names no maximum.
        interrupt: "signal" lets `max_seconds` interrupt a hung call in the main thread (SIGALRM).

    Raises:
        InvalidSetting: a value can never work.
    """

    max_steps: int | None = None
    max_tool_calls: int | None = None
    max_seconds: float | timedelta | None = None
    max_tokens: int | None = None
    max_usd: Money | None = None
    max_calls_per_tool: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    max_repeats: int | None = None
    warn_at: float = 0.8
    final_call: FinalCall | None = None
    default_output_tokens: int = DEFAULT_OUTPUT_TOKENS
    interrupt: Literal["signal"] | None = None

    def __post_init__(self) -> None:
        for name, check in _BUDGET_CHECKS.items():
            value = getattr(self, name)
            if value is not None or name in _NEVER_NONE:
                object.__setattr__(self, name, check(f"Budget.{name}", value))
        self._check_final_call()

    def _check_final_call(self) -> None:
        if self.final_call is None:
            return
        for name, kept, limit in (
            ("max_steps", 1, self.max_steps),
            ("max_tokens", self.final_call.tokens, self.max_tokens),
            ("max_usd", self.final_call.usd, self.max_usd),
        ):
            if limit is not None and Decimal(kept) > Decimal(limit):
                raise InvalidSetting(
                    field=f"Budget.{name}", value=limit, allowed=f"at least {kept}, kept for final_call"
                )

    def __reduce__(self) -> tuple[Any, ...]:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return (_rebuild_budget, ({**values, "max_calls_per_tool": dict(self.max_calls_per_tool)},))


def _rebuild_budget(values: dict[str, Any]) -> Budget:
    return Budget(**values)


_NEVER_NONE = frozenset({"max_calls_per_tool", "warn_at", "default_output_tokens"})
_BUDGET_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_steps": checks.count,
    "max_tool_calls": checks.count,
    "max_seconds": checks.seconds,
    "max_tokens": checks.count,
    "max_usd": checks.usd,
    "max_calls_per_tool": lambda where, value: _per_tool(value),
    "max_repeats": checks.count,
    "warn_at": checks.fraction,
    "final_call": lambda where, value: checks.instance_of(where, value, FinalCall, "a FinalCall or None"),
    "default_output_tokens": lambda where, value: checks.count(where, value, least=1),
    "interrupt": lambda where, value: checks.choice(where, value, ("signal",)),
}
