"""What people look at: the tree of a run and its progress in the terminal, tables of results.

Decides how facts look; learns them as a listener and changes nothing.
"""

from __future__ import annotations

from otel_agent.views.terminal import TerminalView
from otel_agent.views.text import render_table

__all__ = ["TerminalView", "render_table"]
