"""Everything that comes out of a rich scenario bears a name of the vocabulary, on the right thing, in the right unit.

The tables below are the vocabulary as it was decided; they are data of this test, not read from the package.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, Histogram, InMemoryMetricReader, Metric, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import SpanKind

from otel_agent import (
    AgentStop,
    Budget,
    FinalCall,
    LoopDetected,
    Prompt,
    ToolDenied,
    agent_run,
    llm_call,
    tool_call,
    tool_calls,
)
from otel_agent.telemetry.pipeline import Pipeline, use_pipeline


def words(prefix: str, text: str) -> set[str]:
    return {prefix + word for word in text.split()}


def uses(dimensions: str) -> set[str]:
    return {f"otel_agent.budget.{each}.{what}" for each in dimensions.split() for what in ("limit", "used")}


class SpanRules(NamedTuple):
    """What a kind of span is called, its kind, what a sampler sees, and every attribute it may carry."""

    name: re.Pattern[str]
    kind: SpanKind
    at_start: set[str]
    attributes: set[str]


ALWAYS = {"gen_ai.operation.name", "error.type", "otel_agent.run.id", "otel_agent.prompt.id", "otel_agent.stop_reason"}
REFUSED = words("otel_agent.", "decision decision.reason limit limit.used")
PROMPT_NAME = words("gen_ai.prompt.", "name version")

SPANS = {
    "invoke_agent": SpanRules(
        re.compile(r"invoke_agent (support|sub)"),
        SpanKind.INTERNAL,
        {"gen_ai.operation.name", "gen_ai.agent.name"},
        ALWAYS
        | PROMPT_NAME
        | words("gen_ai.", "agent.name agent.description conversation.id usage.input_tokens usage.output_tokens")
        | words(
            "otel_agent.", "run.parent_id prompt.hash prompt.variant prompt.source stop_detail cost.usd usage.complete"
        )
        | words("otel_agent.budget.", "unit_of_step mode")
        | uses("steps tool_calls seconds tokens usd"),
    ),
    "chat": SpanRules(
        re.compile(r"chat gpt-5-mini"),
        SpanKind.CLIENT,
        {"gen_ai.operation.name", "gen_ai.request.model"},
        ALWAYS
        | PROMPT_NAME
        | REFUSED
        | words("server.", "address port")
        | words("gen_ai.", "provider.name request.model request.max_tokens request.temperature request.top_p")
        | words("gen_ai.request.", "top_k frequency_penalty presence_penalty seed choice.count stream reasoning.level")
        | words("gen_ai.response.", "id model finish_reasons time_to_first_chunk")
        | words("gen_ai.usage.", "input_tokens output_tokens cache_read.input_tokens cache_write.input_tokens")
        | words("gen_ai.usage.", "reasoning.output_tokens")
        | words("otel_agent.", "step prompt.effective_hash cost.usd cost.source usage.estimated usage.overrun")
        | uses("steps tokens usd"),
    ),
    "execute_tool": SpanRules(
        re.compile(r"execute_tool (kb\.search|ticket\.create|broken)"),
        SpanKind.INTERNAL,
        {"gen_ai.operation.name", "gen_ai.tool.name", "gen_ai.tool.type"},
        ALWAYS
        | REFUSED
        | words("gen_ai.", "tool.name tool.type tool.call.id tool.description agent.name")
        | words("otel_agent.", "tool.args_hash tool.calls tool.limit cost.usd")
        | uses("tool_calls usd"),
    ),
}


class MetricRules(NamedTuple):
    """An instrument: its kind, its unit, and the labels it may have."""

    kind: type
    unit: str
    labels: set[str]


RUN = {"gen_ai.agent.name", "otel_agent.prompt.id", "otel_agent.prompt.variant"}
AGENT = {"gen_ai.agent.name"}
LIMIT = {"gen_ai.agent.name", "otel_agent.prompt.id", "otel_agent.limit"}
INFERENCE = words("gen_ai.", "operation.name provider.name request.model response.model") | words(
    "server.", "address port"
)
ERROR = {"error.type"}

METRICS = {
    "otel_agent.runs": MetricRules(Sum, "{run}", RUN | {"otel_agent.stop_reason"}),
    "otel_agent.runs.active": MetricRules(Sum, "{run}", AGENT),
    "otel_agent.run.oldest_age": MetricRules(Gauge, "s", AGENT),
    "otel_agent.run.duration": MetricRules(Histogram, "s", RUN),
    "otel_agent.run.tokens": MetricRules(Histogram, "{token}", RUN),
    "otel_agent.run.steps": MetricRules(Histogram, "{step}", RUN),
    "otel_agent.run.tool_calls": MetricRules(Histogram, "{call}", RUN),
    "otel_agent.run.cost": MetricRules(Histogram, "{USD}", RUN),
    "otel_agent.cost": MetricRules(Sum, "{USD}", AGENT | {"otel_agent.prompt.id", "gen_ai.request.model"}),
    "otel_agent.budget.utilization": MetricRules(Histogram, "", AGENT | {"otel_agent.limit"}),
    "otel_agent.budget.exceeded": MetricRules(Sum, "{run}", LIMIT),
    "otel_agent.budget.warnings": MetricRules(Sum, "{run}", LIMIT),
    "otel_agent.tool.denials": MetricRules(Sum, "{call}", AGENT | {"gen_ai.tool.name", "otel_agent.decision.reason"}),
    "gen_ai.invoke_agent.duration": MetricRules(Histogram, "s", AGENT | ERROR),
    "gen_ai.invoke_agent.inference_calls": MetricRules(Histogram, "{inference_call}", AGENT),
    "gen_ai.invoke_agent.tool_calls": MetricRules(Histogram, "{tool_call}", AGENT),
    "gen_ai.execute_tool.duration": MetricRules(
        Histogram, "s", AGENT | ERROR | {"gen_ai.tool.name", "gen_ai.tool.type"}
    ),
    "gen_ai.client.inference.duration": MetricRules(Histogram, "s", INFERENCE | ERROR),
    **{
        f"gen_ai.client.inference.usage.{each}": MetricRules(Sum, "{token}", INFERENCE)
        for each in (
            "input_tokens",
            "output_tokens",
            "cache_read.input_tokens",
            "cache_write.input_tokens",
            "reasoning.output_tokens",
        )
    },
}
NEVER_SUMMED_DOWN = {"otel_agent.runs.active"}

EVENTS = words("otel_agent.", "run.started run.finished budget.exceeded budget.warning budget.changed policy.decision")
WARN = {"otel_agent.budget.exceeded", "otel_agent.budget.warning"}
EVENT_FIELDS = (
    {"gen_ai.agent.name", "gen_ai.tool.name", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"}
    | words("otel_agent.", "run.id prompt.id code limit limit.used limit.old limit.new actor decision.reason")
    | words("otel_agent.", "stop_reason stop_detail usage.complete cost.usd budget.mode")
    | uses("steps tool_calls seconds tokens usd")
)
SPAN_EVENTS = {"exception", "otel_agent.budget.exceeded", "otel_agent.budget.warning", "otel_agent.budget.changed"}


class AtStart(Sampler):
    """Samples everything and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, set[str]]] = []

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, *more: Any
    ) -> SamplingResult:
        self.seen.append((name, set(attributes or {})))
        return ALWAYS_ON.should_sample(parent_context, trace_id, name, kind, attributes, *more)

    def get_description(self) -> str:
        return "AtStart"


class Told(NamedTuple):
    """All that came out."""

    spans: Sequence[ReadableSpan]
    metrics: list[Metric]
    events: list[Any]
    at_start: list[tuple[str, set[str]]]
    prompt: Prompt


PROMPT = Prompt("support", "v13", "Answer using KB.")
LIMITS = Budget(
    max_steps=6,
    max_tool_calls=8,
    max_seconds=600,
    max_tokens=6000,
    max_usd="0.50",
    max_calls_per_tool={"kb.search": 3},
    max_repeats=1,
    warn_at=0.3,
    final_call=FinalCall(tokens=500),
)


@tool_call("kb.search", cost_usd="0.001")
def search(query: str) -> str:
    """Looks things up."""
    return query


def chunks() -> Iterator[dict[str, Any]]:
    yield {"object": "chat.completion.chunk", "model": "gpt-5-mini-1", "choices": []}
    usage = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}
    yield {"object": "chat.completion.chunk", "model": "gpt-5-mini-1", "choices": [], "usage": usage}


RESPONSE = {
    "object": "chat.completion",
    "id": "chatcmpl-1",
    "model": "gpt-5-mini-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 900,
        "total_tokens": 1000,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
}
PARAMETERS = {
    "temperature": 0.5,
    "top_p": 1.0,
    "top_k": 5,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "seed": 1,
    "n": 1,
    "stream": False,
    "reasoning_effort": "low",
    "response_format": {"type": "text"},
}


def all_kinds_of_calls() -> None:
    model = {"provider": "openai", "server_address": "api.example.com:8443", "max_output_tokens": 100}
    with llm_call("gpt-5-mini", messages="Hello", tools=[{"name": "t"}], parameters=PARAMETERS, **model) as call:
        call.record(RESPONSE)
    for _ in llm_call("gpt-5-mini", **model)(chunks)():
        pass
    with contextlib.suppress(TimeoutError), llm_call("gpt-5-mini", **model):
        raise TimeoutError
    with llm_call("gpt-5-mini", **model) as call:
        call.cancel()
    search("a")
    with contextlib.suppress(ValueError), tool_call("broken", call_id="call_1", arguments={"a": 1}):
        raise ValueError
    with tool_calls([("kb.search", {"query": n}) for n in range(4)]) as slots, slots[0]:
        search("b")
    with agent_run("sub", mode="observe", budget=Budget(max_steps=0)), llm_call("gpt-5-mini"):
        pass


@agent_run("support", budget=Budget(max_steps=0))
def described() -> None:
    """Answers questions."""
    with llm_call("gpt-5-mini"):
        pytest.fail("the call was let through")


def ends_in_every_way() -> None:
    """Runs that end by a return, a stop with its final call, a denial, a failure, a cancellation."""
    with agent_run(
        "support", prompt=PROMPT, budget=LIMITS, conversation_id="c1", user_id="u1", tenant="t1", attributes={"own": 1}
    ) as run:
        all_kinds_of_calls()
        run.budget.update(max_seconds=500, actor="me")
        with contextlib.suppress(LoopDetected):
            search("a")
        with contextlib.suppress(AgentStop):
            search("c")
        with run.final_call("gpt-5-mini", max_output_tokens=10) as call:
            call.record(input_tokens=1, output_tokens=1, cost_usd="0.02")
    with contextlib.suppress(ToolDenied), agent_run("support", budget=Budget(max_calls_per_tool={"kb.search": 0})):
        search("a")
    described.run()
    for error in (ValueError(), asyncio.CancelledError()):
        with contextlib.suppress(BaseException), agent_run("support"), tool_call("ticket.create"):
            raise error


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    sampler, reader = AtStart(), InMemoryMetricReader()
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
    tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meters, loggers = MeterProvider([reader], shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    complaints: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = complaints.append  # type: ignore[method-assign]
    logging.getLogger("opentelemetry").addHandler(handler)
    before = use_pipeline(Pipeline(tracers, meters, loggers))
    try:
        with agent_run("support"):
            ends_in_every_way()
            data = reader.get_metrics_data()
        metrics = [metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics]
        finished = spans.get_finished_spans()
        yield Told(finished, metrics, [log.log_record for log in logs.get_finished_logs()], sampler.seen, PROMPT)
    finally:
        use_pipeline(before)
        logging.getLogger("opentelemetry").removeHandler(handler)
        for provider in (tracers, meters, loggers):
            provider.shutdown()
    assert not complaints, [record.getMessage() for record in complaints]


def kind_of(span: ReadableSpan) -> str:
    return str(span.attributes["gen_ai.operation.name"])


def test_every_span_is_of_a_known_kind_with_its_name(told: Told) -> None:
    for span in told.spans:
        rules = SPANS[kind_of(span)]
        assert rules.name.fullmatch(span.name)
        assert span.kind is rules.kind, span.name
        assert (span.instrumentation_scope.name, span.instrumentation_scope.version) != (None, None)
        assert span.instrumentation_scope.name == "otel_agent"


@pytest.mark.parametrize("kind", SPANS)
def test_every_attribute_is_on_the_right_kind_of_span(kind: str, told: Told) -> None:
    found = {name for span in told.spans if kind_of(span) == kind for name in span.attributes}
    assert found - SPANS[kind].attributes - {"own"} == set()


NOT_YET = {"otel_agent.prompt.variant", "otel_agent.prompt.source"}


@pytest.mark.parametrize("kind", SPANS)
def test_every_attribute_of_the_vocabulary_comes_out(kind: str, told: Told) -> None:
    """The scenario is rich enough: what it does not bring out is named here."""
    found = {name for span in told.spans if kind_of(span) == kind for name in span.attributes}
    assert SPANS[kind].attributes - found - NOT_YET == set()


def test_a_sampler_sees_what_it_needs(told: Told) -> None:
    for name, attributes in told.at_start:
        rules = SPANS[name.partition(" ")[0]]
        assert rules.at_start <= attributes, name
    assert any("otel_agent.prompt.id" in seen for name, seen in told.at_start if name == "invoke_agent support")
    calls = [seen for name, seen in told.at_start if name.startswith("chat")]
    assert {"gen_ai.provider.name", "server.address", "server.port"} <= calls[0]


def test_the_done_codes_and_a_cancellation_are_no_errors_of_the_run(told: Told) -> None:
    for span in told.spans:
        if kind_of(span) == "invoke_agent":
            quiet = span.attributes["otel_agent.stop_reason"] in {"finish", "handoff", "needs_human", "cancelled"}
            assert span.status.is_unset == quiet
            assert ("error.type" in span.attributes) != quiet
    reasons = {span.attributes["otel_agent.stop_reason"] for span in told.spans if kind_of(span) == "invoke_agent"}
    assert reasons == {"finish", "loop_detected", "max_calls_per_tool", "max_steps", "tool_error", "cancelled"}


def test_own_attributes_and_no_users_are_on_the_run(told: Told) -> None:
    run = next(span.attributes for span in told.spans if "own" in span.attributes)
    assert run["gen_ai.conversation.id"] == "c1"
    assert run["otel_agent.prompt.hash"] == told.prompt.hash
    assert run["otel_agent.budget.unit_of_step"] == "llm_call"
    everything = "".join(span.to_json() for span in told.spans)
    assert '"u1"' not in everything
    assert '"t1"' not in everything
    assert all("gen_ai.conversation.id" not in span.attributes for span in told.spans if "own" not in span.attributes)


def test_every_metric_has_its_kind_and_unit(told: Told) -> None:
    assert {metric.name for metric in told.metrics} == set(METRICS)
    for metric in told.metrics:
        rules = METRICS[metric.name]
        assert isinstance(metric.data, rules.kind), metric.name
        assert metric.unit == rules.unit, metric.name
        if isinstance(metric.data, Sum):
            assert metric.data.is_monotonic == (metric.name not in NEVER_SUMMED_DOWN), metric.name


def test_every_label_is_an_allowed_one(told: Told) -> None:
    for metric in told.metrics:
        labels = {label for point in metric.data.data_points for label in point.attributes}
        assert labels <= METRICS[metric.name].labels, metric.name


def test_no_label_is_the_id_of_a_run_a_user_a_conversation_or_a_trace(told: Told) -> None:
    ids = {str(span.attributes.get("otel_agent.run.id")) for span in told.spans} | {"u1", "t1", "c1"}
    ids |= {format(span.context.trace_id, "032x") for span in told.spans}
    ids |= {str(span.attributes.get("otel_agent.tool.args_hash")) for span in told.spans} - {"None"}
    for metric in told.metrics:
        for point in metric.data.data_points:
            assert not ids & {str(value) for value in point.attributes.values()}, metric.name


def test_every_event_is_of_the_vocabulary(told: Told) -> None:
    assert {event.event_name for event in told.events} == EVENTS
    for event in told.events:
        assert (event.severity_text == "WARN") == (event.event_name in WARN), event.event_name
        assert set(event.attributes) <= EVENT_FIELDS, event.event_name
        assert {"otel_agent.run.id", "gen_ai.agent.name"} <= set(event.attributes), event.event_name


def test_every_event_is_of_its_runs_span(told: Told) -> None:
    spans = {
        span.attributes["otel_agent.run.id"]: span.context for span in told.spans if kind_of(span) == "invoke_agent"
    }
    for event in told.events:
        context = spans.get(event.attributes["otel_agent.run.id"])
        if context is not None:  # the outermost run is still open
            assert (event.trace_id, event.span_id) == (context.trace_id, context.span_id)


def test_every_span_event_is_of_the_vocabulary(told: Told) -> None:
    assert {event.name for span in told.spans for event in span.events} == SPAN_EVENTS
