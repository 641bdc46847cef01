"""Prompts as versioned releases: what a prompt is, which one a run gets, and who is in a canary.

Decides all of that from values alone: no disk, no clock, no OpenTelemetry. Where the values come from is for the rooms
that read files. Each file has one part: `prompt` the text and its id, `registry` the texts that exist, `release` what
is released and to whom, `selection` which version a run gets, `override` the form of what commands write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_agent.prompts.prompt import Prompt, build_system_prompt, prompt_id
from otel_agent.prompts.registry import Ref, Registry, parse_ref, version_order
from otel_agent.prompts.release import Canary, Release, bucket, releases
from otel_agent.prompts.selection import (
    NOBODY,
    Audience,
    Gate,
    Offer,
    PromptInfo,
    Selected,
    Selector,
    choose,
    only_version,
    roles,
)

if TYPE_CHECKING:
    from otel_agent.prompts.override import (
        Change,
        Override,
        dump_change,
        dump_override,
        parse_change,
        parse_override,
        salvage_override,
    )
else:

    def __getattr__(name: str) -> object:
        """Loads the form of what commands write for whoever asks for it: no run needs it, and it takes a while."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from otel_agent.prompts import override

        return getattr(override, name)


__all__ = [
    "NOBODY",
    "Audience",
    "Canary",
    "Change",
    "Gate",
    "Offer",
    "Override",
    "Prompt",
    "PromptInfo",
    "Ref",
    "Registry",
    "Release",
    "Selected",
    "Selector",
    "bucket",
    "build_system_prompt",
    "choose",
    "dump_change",
    "dump_override",
    "only_version",
    "parse_change",
    "parse_override",
    "parse_ref",
    "prompt_id",
    "releases",
    "roles",
    "salvage_override",
    "version_order",
]
