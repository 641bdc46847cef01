"""What holds in this process: each setting declared once, and what is read from it.

Decides between an argument, the environment, the file and the default. Builds nothing from it.
"""

from __future__ import annotations

from otel_agent.config.settings import (
    CAPTURE_EXCEPTIONS,
    CONSOLE,
    HASH_KEY,
    MODE,
    SETTINGS,
    THREADS,
    Setting,
    check_environment,
)

__all__ = ["CAPTURE_EXCEPTIONS", "CONSOLE", "HASH_KEY", "MODE", "SETTINGS", "THREADS", "Setting", "check_environment"]
