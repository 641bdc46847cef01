"""The package's version, as spans, metrics and `otel_agent.__version__` say it."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
