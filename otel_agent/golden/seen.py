"""One call of an agent as a test sees it: what it returned, the record of its run, its tools, the tree of its spans.

Decides nothing about it: that is for the test's own asserts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_agent import context as ctx
from otel_agent.bootstrap import prepare
from otel_agent.config.current import current
from otel_agent.config.values import GoldenTask
from otel_agent.golden.agents import Call, find_prompt, load_agent
from otel_agent.golden.keeping import Keeper, golden_history, past_spans
from otel_agent.golden.observed import ToolUse, observe
from otel_agent.golden.runner import check_telemetry
from otel_agent.run.choice import with_prompt, without_gate
from otel_agent.run.repeats import arguments_hashed
from otel_agent.stop import AgentStop, StopCode, ToolDenied
from otel_agent.stores.otlp_json import PastSpan
from otel_agent.testing.traces import kept_traces
from otel_agent.usage import PastRun

__all__ = ["GoldenRun", "Seen", "SpanNode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanNode:
    """A span and those under it, by their start.

    Attributes:
        span: the span.
        children: what happened inside it.
    """

    span: PastSpan = field(repr=False)
    children: tuple[SpanNode, ...] = ()

    @property
    def name(self) -> str:
        """Its name, such as `execute_tool kb.search`."""
        return self.span.name

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Its attributes."""
        return self.span.attributes

    def walk(self) -> Iterator[SpanNode]:
        """Gives it and all that are under it, from the top, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, name: str) -> list[SpanNode]:
        """Gives those with a name, in order."""
        return [node for node in self.walk() if node.name == name]

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"  {line}" for child in self.children for line in str(child).split("\n"))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a call of an agent came to.

    Attributes:
        output: what it returned, of a stream all pieces; None where it was stopped.
        error: its own stop, or the denial that ended it, or None.
        run: the record of its run: steps, tool calls, tokens, money, seconds.
        stop_reason: the stop code of the run; None where its span has none.
        tools: the tools that were called, by their start.
        tree: the span of the run and all that are under it.
    """

    output: Any = field(default=None, repr=False)
    error: AgentStop | ToolDenied | None = None
    run: PastRun
    stop_reason: str | None
    tools: tuple[ToolUse, ...]
    tree: SpanNode = field(repr=False)


class GoldenRun:
    """Calls agents for a test; nothing of it is exported, runs are kept with those of golden tasks.

    Args:
        prompt: `name:version` of the prompt that agents get where they select one by its name; None leaves theirs.
    """

    def __init__(self, prompt: str | None = None) -> None:
        self._prompt = prompt
        prepare(current())
        folder = golden_history()
        self._keeper = None if folder is None else Keeper(folder)

    def __call__(self, agent: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Seen:
        """Calls an agent, waits for it, be it a coroutine or a generator, and gives what there was to see.

        Args:
            agent: the agent, or `module:function`.
            args: what it is called with.
            kwargs: what it is called with.

        Raises:
            NoRun: it made no run, or several beside each other.
            Exception: what the agent raised, unless that is its own stop.
        """
        check_telemetry()
        called = load_agent(agent) if isinstance(agent, str) else agent
        call = Call(functools.partial(called, *args, **kwargs), _NO_TASK)
        with arguments_hashed(), kept_traces() as traces:
            trace_id, context = traces.begin()
            before = ctx.activate(self._inside(without_gate(context)))
            try:
                answer = call.answer()
            finally:
                ctx.activate(before)
                spans = past_spans(traces.end(trace_id))
        if answer.error is not None and not isinstance(answer.error, (AgentStop, ToolDenied)):
            raise answer.error
        if self._keeper is not None:
            self._keeper.keep(spans, None)
        return _seen(spans, answer.output, answer.error)

    def _inside(self, context: Any) -> Any:
        prompt = None if self._prompt is None else find_prompt(self._prompt, field="--golden-prompt")
        return context if prompt is None else with_prompt(prompt, context)


_NO_TASK = GoldenTask(id="golden_run", expect_stop_reason=StopCode.FINISH)


def _seen(spans: Sequence[PastSpan], output: object, error: AgentStop | ToolDenied | None) -> Seen:
    found = observe(spans)
    return Seen(
        output=output,
        error=error,
        run=found.run,
        stop_reason=found.stop_reason,
        tools=found.tools,
        tree=_tree(spans),
    )


def _tree(spans: Sequence[PastSpan]) -> SpanNode:
    """Gives the tree of a trace; a span whose parent is not there stands at the top, of which there is one here."""
    known = {span.span_id for span in spans}
    under: dict[str | None, list[PastSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_ns):
        parent = span.parent_span_id if span.parent_span_id in known else None
        under.setdefault(parent, []).append(span)

    def node(span: PastSpan) -> SpanNode:
        return SpanNode(span=span, children=tuple(node(child) for child in under.get(span.span_id, ())))

    return node(under[None][0])
