"""The support agent: real client, real tools, every way a run can end. The same as `otel-agent demo`.

Its code is in `otel_agent/demo/`: `agent.py` is the loop, `tools.py` the tools, `scenarios.py` the prompts and budgets.
"""

from __future__ import annotations

from otel_agent.demo.play import run_demo

if __name__ == "__main__":
    raise SystemExit(run_demo())
