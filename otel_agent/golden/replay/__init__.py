"""Record and replay: what models and tools said in golden trials, kept in a file, and said again without asking them.

A replay is a test of the contract between an agent, its prompt and its tools: the same requests in, the same answers
out, in no time and for no money. It says nothing about how a model behaves; for that, trials are run live.

    Recorder, Replayer      a player: who stands at the boundary while trials run
      a tape                one trial at that boundary, found through the OpenTelemetry context
    recording               the file: JSON lines, a line a trial and a line an exchange
    transports              the model boundary: requests that httpx sends inside an `llm_call`
"""

from __future__ import annotations

from otel_agent.golden.replay.player import Player, Tape, in_context
from otel_agent.golden.replay.recorder import Recorder
from otel_agent.golden.replay.recording import read_recording
from otel_agent.golden.replay.replayer import NotRecorded, ReplayedError, Replayer

__all__ = ["NotRecorded", "Player", "Recorder", "ReplayedError", "Replayer", "Tape", "in_context", "read_recording"]
