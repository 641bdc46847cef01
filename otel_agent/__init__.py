"""OpenTelemetry for LLM agents: every run traced, held to its budget, and ended with a reason."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
