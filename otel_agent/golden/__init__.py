"""Was it the prompt? Runs of one prompt against runs of another, with tests that hold and a verdict in one line."""

from __future__ import annotations

from otel_agent.golden.compare import Comparison, Gauge, Spend, Verdict, compare

__all__ = ["Comparison", "Gauge", "Spend", "Verdict", "compare"]
