"""Telemetry in memory and a clock to move, as tests of runs have them."""

from __future__ import annotations

from tests.run.conftest import clock, kept

__all__ = ["clock", "kept"]
