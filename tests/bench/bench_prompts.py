"""What prompts cost: to select one for each run, and to load a folder of a thousand."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from otel_agent import Prompt
from otel_agent.prompts import Audience, Canary, Release
from otel_agent.stores.releases import ReleaseSelector
from otel_agent.stores.sources import Sources
from tests.bench.harness import Pair, bench

PROMPTS = tuple(Prompt("support", version, f"Text of {version}.") for version in ("v13", "v14"))
AUDIENCES = [Audience(conversation_id=f"conversation-{number}") for number in range(100)]


@bench("select a prompt in a canary", yardstick="sha256 of the unit", at_most=2e-6, of="ours")
def selection() -> Iterator[Pair]:
    release = Release(name="support", active="support:v13", canary=Canary(version="v14", percent=10))
    with tempfile.TemporaryDirectory() as folder:
        override = Path(folder, "override.json")
        selector = ReleaseSelector(Sources(prompts=PROMPTS, releases={"support": release}, override=override))
        ours, units = cycle(AUDIENCES), cycle(AUDIENCES)
        yield Pair(
            ours=lambda: selector.select("support", next(ours)),
            yardstick=lambda: hashlib.sha256(next(units).conversation_id.encode()).digest(),  # type: ignore[union-attr]
        )


@bench("load 1,000 prompts", yardstick="read the files and hash them", at_most=0.5, of="ours")
def loading() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = folder
        prompts = Path(folder, "prompts")
        for number in range(1_000):
            path = prompts / f"agent-{number // 10}" / f"v{number % 10}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"---\nowner: team-{number}\n---\n" + f"Answer question {number}. " * 80)
        files = sorted(prompts.rglob("*.md"))

        def read_and_hash() -> None:
            for path in files:
                hashlib.sha256(path.read_bytes()).hexdigest()

        sources = Sources(folder=prompts, override=Path(folder, "override.json"), key=Path(folder, "otel-agent.yaml"))
        yield Pair(ours=lambda: ReleaseSelector(sources), yardstick=read_and_hash)
