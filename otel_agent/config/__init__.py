"""What holds in this process: each setting declared once, and what is read from the environment and from a file.

Decides between an argument, the environment, the file and the default. Builds nothing from it. `settings` and
`declared` have the declarations, `shapes` and `scalars` what a value may be; `file` reads `otel-agent.yaml` by them,
`values` is what comes out, `current` what holds here, `schema` the JSON Schema. This module loads only the settings:
the rest takes time, and what reads files needs YAML.
"""

from __future__ import annotations

from otel_agent.config.settings import (
    CAPTURE_EXCEPTIONS,
    CONFIG,
    CONSOLE,
    HASH_KEY,
    HISTORY,
    LOG_PROMPT_ID,
    MODE,
    REQUIRE_GOLDEN,
    REQUIRE_PROMPT_ID,
    THREADS,
    VARIABLES,
    Setting,
    check_environment,
    take,
)

__all__ = [
    "CAPTURE_EXCEPTIONS",
    "CONFIG",
    "CONSOLE",
    "HASH_KEY",
    "HISTORY",
    "LOG_PROMPT_ID",
    "MODE",
    "REQUIRE_GOLDEN",
    "REQUIRE_PROMPT_ID",
    "THREADS",
    "VARIABLES",
    "Setting",
    "check_environment",
    "take",
]
