"""An application that has OpenTelemetry already: runs appear inside its spans, and nothing is added to its provider.

There is no `configure()` here: whoever sets up providers is left alone. Runs offline, with a scripted model server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_agent import Budget, agent_run, llm_call, tool_call
from otel_agent.testing import Reply, ScriptedModelServer


class ApplicationProvider(TracerProvider):
    """The application's own provider, which counts the processors that it is given."""

    processors = 0

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        self.processors += 1
        super().add_span_processor(span_processor)


@tool_call("orders.find")
def find_order(number: int) -> str:
    """Looks an order up."""
    return f"order {number} left the warehouse"


@agent_run("order-bot", budget=Budget(max_steps=2, max_tool_calls=2))
def answer(client: openai.OpenAI, number: int) -> str:
    """Answers with what the tool found, in the model's words."""
    messages: Any = [{"role": "user", "content": find_order(number)}]
    with llm_call("gpt-5-mini", provider="openai", messages=messages, max_output_tokens=100) as call:
        reply = client.chat.completions.create(model="gpt-5-mini", messages=messages, max_completion_tokens=100)
        call.record(reply)
    return str(reply.choices[0].message.content)


def main() -> None:
    exporter = InMemorySpanExporter()
    provider = ApplicationProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    with (
        ScriptedModelServer([Reply(text="It is on its way.")]) as server,
        client_of(server) as client,
        trace.get_tracer("shop").start_as_current_span("POST /ask"),
    ):
        print(answer(client, 1042))

    print_tree(exporter.get_finished_spans())
    print(f"processors on the application's provider: {provider.processors}")


def print_tree(spans: Sequence[ReadableSpan], parent: int | None = None, depth: int = 0) -> None:
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        if (span.parent.span_id if span.parent else None) == parent:
            print("  " * depth + span.name)
            print_tree(spans, span.context.span_id if span.context else None, depth + 1)


def client_of(server: ScriptedModelServer) -> openai.OpenAI:
    http_client = openai.DefaultHttpxClient(trust_env=False)  # no proxy between us and this machine
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0, http_client=http_client)


if __name__ == "__main__":
    main()
