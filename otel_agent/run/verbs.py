"""The four verbs as people type them, with the types that a checker sees."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from otel_agent import checks, semconv
from otel_agent.budget import Budget
from otel_agent.checks import Money
from otel_agent.prompts import Prompt
from otel_agent.run.agent import AgentVerb
from otel_agent.run.batch import BatchVerb
from otel_agent.run.drive import can_be_driven
from otel_agent.run.llm import LLMCall, LLMVerb
from otel_agent.run.state import Run
from otel_agent.run.tool import NOT_GIVEN, Slot, ToolCall, ToolVerb
from otel_agent.usage import RunResult

__all__ = ["Agent", "AsyncAgent", "agent_run", "llm_call", "tool_call", "tool_calls"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
C = TypeVar("C", covariant=True)


class Agent(Protocol[P, R]):
    """A decorated agent."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def run(self, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]:
        """Runs the agent and gives a `RunResult`; its own stop, or a denial, is in `.error` rather than raised."""
        ...

    def using(
        self,
        *,
        name: str = ...,
        prompt: Prompt | str | None = ...,
        budget: Budget | None = ...,
        mode: Literal["enforce", "observe"] | None = ...,
        conversation_id: str | None = ...,
        user_id: str | None = ...,
        tenant: str | None = ...,
        attributes: Mapping[str, Any] | None = ...,
    ) -> Agent[P, R]:
        """Gives the same agent with other keywords of `agent_run` for the calls made through it."""
        ...

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Agent[P, R]: ...
    @overload
    def __get__(self: Agent[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None) -> Agent[Q, R]: ...


class AsyncAgent(Protocol[P, R]):
    """A decorated agent that is a coroutine function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, RunResult[R]]:
        """Runs the agent and gives a `RunResult`; its own stop, or a denial, is in `.error` rather than raised."""
        ...

    def using(
        self,
        *,
        name: str = ...,
        prompt: Prompt | str | None = ...,
        budget: Budget | None = ...,
        mode: Literal["enforce", "observe"] | None = ...,
        conversation_id: str | None = ...,
        user_id: str | None = ...,
        tenant: str | None = ...,
        attributes: Mapping[str, Any] | None = ...,
    ) -> AsyncAgent[P, R]:
        """Gives the same agent with other keywords of `agent_run` for the calls made through it."""
        ...

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> AsyncAgent[P, R]: ...
    @overload
    def __get__(
        self: AsyncAgent[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> AsyncAgent[Q, R]: ...


class _Block(AbstractContextManager[C, None], AbstractAsyncContextManager[C, None], Protocol[C]):
    """What works with `with` and `async with`."""


class AgentRun(_Block[Run], Protocol):
    """`agent_run(...)`, to decorate an agent with or to open a block."""

    @overload
    def __call__(self, fn: type[T], /) -> type[T]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> AsyncAgent[P, T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Agent[P, T]: ...


class Around(_Block[C], Protocol[C]):
    """`tool_call(...)` or `llm_call(...)`, to decorate a function with or to open a block."""

    def __call__(self, fn: F, /) -> F: ...


@overload
def agent_run(name: type[T], /) -> type[T]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
@overload
def agent_run(name: Callable[P, Coroutine[Any, Any, T]], /) -> AsyncAgent[P, T]: ...  # type: ignore[overload-overlap]
@overload
def agent_run(name: Callable[P, T], /) -> Agent[P, T]: ...
@overload
def agent_run(
    name: str | None = None,
    *,
    prompt: Prompt | str | None = None,
    budget: Budget | None = None,
    mode: Literal["enforce", "observe"] | None = None,
    conversation_id: str | None = None,
    user_id: str | None = None,
    tenant: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> AgentRun: ...
@checks.known_keywords
def agent_run(
    name: Any = None,
    *,
    prompt: Prompt | str | None = None,
    budget: Budget | None = None,
    mode: str | None = None,
    conversation_id: str | None = None,
    user_id: str | None = None,
    tenant: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Any:
    """Puts one run of an agent around a function or a block: a span, a budget, exactly one stop reason.

    Args:
        name: the agent's name; the function's own by default. `@agent_run` alone works too.
        prompt: the prompt that the run uses.
        budget: its limits; None takes those of the configuration, `Budget()` none.
        mode: "observe" counts and reports and stops nothing; None leaves it to `OTEL_AGENT_MODE`.
        conversation_id: the conversation it belongs to.
        user_id: the user it works for; not on any span.
        tenant: the tenant it works for; not on any span.
        attributes: more span attributes.

    Returns:
        A decorator that is also a `with` and `async with` block, which gives the `Run`.

    Raises:
        InvalidSetting: a keyword or value can never work.
    """
    if can_be_driven(name):
        return AgentVerb.of("agent_run")(name)
    return AgentVerb.of(
        "agent_run",
        name=name,
        prompt=prompt,
        budget=budget,
        mode=mode,
        conversation_id=conversation_id,
        user_id=user_id,
        tenant=tenant,
        attributes=attributes,
    )


@checks.known_keywords
def llm_call(
    model: str,
    *,
    provider: str | None = None,
    operation: str = semconv.OPERATION_CHAT,
    messages: object = None,
    tools: object = None,
    parameters: Mapping[str, Any] | None = None,
    estimated_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    server_address: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Around[LLMCall]:
    """Puts one LLM call around a function or a block: held against the budget before it is sent, settled after.

    Args:
        model: the model asked for.
        provider: its provider, by the GenAI conventions, such as "openai".
        operation: the operation, by the GenAI conventions.
        messages: what will be sent; its size is estimated, its content goes nowhere.
        tools: the tool schemas that will be sent; estimated and hashed, content goes nowhere.
        parameters: the request's parameters; the numeric ones are on the span, all are hashed.
        estimated_input_tokens: input tokens, where they are known better than `messages` tells.
        max_output_tokens: the most output tokens that the request asks for.
        server_address: `host` or `host:port`.
        attributes: more span attributes.

    Returns:
        A decorator, which records the response that the function returns, and a `with` and `async with` block, which
        gives the call.

    Raises:
        InvalidSetting: a keyword or value can never work.
        AgentStop: on entering, when the run must end or this call does not fit.
    """
    verb: Any = LLMVerb(
        model,
        provider=provider,
        operation=operation,
        messages=messages,
        tools=tools,
        parameters=parameters,
        estimated_input_tokens=estimated_input_tokens,
        max_output_tokens=max_output_tokens,
        server_address=server_address,
        attributes=attributes,
    )
    return verb  # type: ignore[no-any-return]


@overload
def tool_call(name: F, /) -> F: ...
@overload
def tool_call(
    name: str | None = None,
    *,
    cost_usd: Money | None = None,
    max_repeats: int | None = None,
    arguments: object = ...,
    call_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Around[ToolCall]: ...
@checks.known_keywords
def tool_call(
    name: Any = None,
    *,
    cost_usd: Money | None = None,
    max_repeats: int | None = None,
    arguments: object = NOT_GIVEN,
    call_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Any:
    """Puts one tool call around a function or a block: let through or denied before it runs.

    Args:
        name: the tool's name; the function's own by default. `@tool_call` alone works too.
        cost_usd: what one call costs, in USD.
        max_repeats: how often it may be called with the same arguments in one run.
        arguments: the arguments, for `with` blocks, which cannot see any; only hashed.
        call_id: the id that the model gave the call.
        attributes: more span attributes.

    Returns:
        A decorator that is also a `with` and `async with` block.

    Raises:
        InvalidSetting: a keyword or value can never work.
        ToolDenied: on calling, when this call must not happen.
        AgentStop: on calling, when the run must end.
    """
    if can_be_driven(name):
        return ToolVerb()(name)
    return ToolVerb(
        name,
        cost_usd=cost_usd,
        max_repeats=max_repeats,
        arguments=arguments,
        call_id=call_id,
        attributes=attributes,
    )


@checks.known_keywords
def tool_calls(wanted: Iterable[tuple[str, Any]]) -> _Block[list[Slot]]:
    """Asks for a parallel batch of tool calls at once: in order while they fit, the rest are denied.

    Args:
        wanted: pairs of a tool's name and its arguments.

    Returns:
        A `with` and `async with` block that gives one slot a call. Call the tool inside `with slot:`; `slot.denied` is
        a `ToolDenied` or None. Slots that nobody used are given back at the end.

    Raises:
        InvalidSetting: these are no such pairs.
        AgentStop: on entering, when none fits or the run must end.
    """
    verb: Any = BatchVerb(wanted)
    return verb  # type: ignore[no-any-return]
