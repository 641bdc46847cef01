"""`python -m otel_agent`: the command line, for where the console script is not on the path."""

from __future__ import annotations

from otel_agent.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
