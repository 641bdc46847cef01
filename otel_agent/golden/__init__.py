"""Was it the prompt? Golden tasks that a prompt must pass, and runs of one prompt against runs of another.

`tasks` reads what must be done, `observed` what was done, off its spans, and `invariants` judges, with `outputs` for
the answer; `proposals` makes a task of an incident. `compare` has tests that hold and a verdict in one line.
"""

from __future__ import annotations

from otel_agent.golden.compare import Comparison, Gauge, Spend, Verdict, compare

__all__ = ["Comparison", "Gauge", "Spend", "Verdict", "compare"]
