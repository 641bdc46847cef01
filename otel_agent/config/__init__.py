"""What holds in this process: each setting declared once, and what is read from the environment and from a file.

Decides between an argument, the environment, the file and the default. Builds nothing from it. `settings` has the
declarations, `shapes` and `scalars` what a value may be, `file` reads `otel-agent.yaml` by them, `values` is what comes
out, `schema` the JSON Schema. This module loads only the settings: what reads files needs YAML.
"""

from __future__ import annotations

from otel_agent.config.settings import (
    CAPTURE_EXCEPTIONS,
    CONFIG,
    CONSOLE,
    HASH_KEY,
    LOG_PROMPT_ID,
    MODE,
    REQUIRE_PROMPT_ID,
    SETTINGS,
    THREADS,
    Setting,
    check_environment,
)

__all__ = [
    "CAPTURE_EXCEPTIONS",
    "CONFIG",
    "CONSOLE",
    "HASH_KEY",
    "LOG_PROMPT_ID",
    "MODE",
    "REQUIRE_PROMPT_ID",
    "SETTINGS",
    "THREADS",
    "Setting",
    "check_environment",
]
