"""The JSON Schema of `otel-agent.yaml`, for editors: made from the declarations that the file is read by.

Says of a single value exactly what the reader says; what holds only between two values is left to the reader.
"""

from __future__ import annotations

from typing import Any

from otel_agent.config.file import ROOT

__all__ = ["json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Gives the schema, ready to be written as JSON."""
    about = "Prompts, golden tasks, budgets, prices, alerts and what is observed, of an application with otel_agent."
    return {"$schema": DIALECT, "title": "otel-agent.yaml", "description": about, **ROOT.schema()}
