"""The kit to test agents with: what was told, kept in memory; a clock to move; a model server that follows a script."""

from __future__ import annotations

from otel_agent.testing.capture import Capture, Records, capture
from otel_agent.testing.clock import FakeClock, counting_ids, fake_clock
from otel_agent.testing.server import Reply, Request, ScriptedModelServer

__all__ = [
    "Capture",
    "FakeClock",
    "Records",
    "Reply",
    "Request",
    "ScriptedModelServer",
    "capture",
    "counting_ids",
    "fake_clock",
]
