"""Prompts as versioned releases: what a prompt is, which one a run gets, and who is in a canary.

Decides all of that from values alone: no disk, no clock, no OpenTelemetry. Where the values come from is for the rooms
that read files.
"""

from __future__ import annotations

from otel_agent.prompts.prompt import Prompt, build_system_prompt, prompt_id

__all__ = ["Prompt", "build_system_prompt", "prompt_id"]
