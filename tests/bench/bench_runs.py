"""What the run history costs a call, and how long 100,000 runs take to compare."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider

from otel_agent import agent_run, tool_call
from otel_agent.cli.runs.compare import compare_runs
from otel_agent.stores import recorder as module
from otel_agent.stores.recorder import Recorder
from otel_agent.stores.run_history import RunHistory
from otel_agent.telemetry import spans
from otel_agent.telemetry.pipeline import Pipeline, use_pipeline
from tests.bench.harness import Measured, Pair, bench, scaled
from tests.support.past import HOUR, START, V14, side


@tool_call("kb.search")
def search() -> None: ...


@bench("a tool call that a history keeps, what the call pays", yardstick="not kept", at_most=1.25)
def recorded() -> Generator[Pair]:
    module.GATHER_SECONDS = 3_600.0  # the thread that writes has its turn afterwards
    use_pipeline(Pipeline(TracerProvider(), None, None))
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder))
        with agent_run("bench"):
            yield Pair(
                ours=_calls(lambda: _switch(recorder, on=True)), yardstick=_calls(lambda: _switch(recorder, on=False))
            )
        recorder.close()


def _calls(prepare: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        prepare()
        for _ in range(20):
            search()

    return call


def _switch(recorder: Recorder, *, on: bool) -> None:
    spans.kept.take = None
    if on:
        recorder.start()


@bench("otel-agent runs compare, 100,000 runs", yardstick="the bound", at_most=2.0, of="ours")
def compare() -> Generator[Measured]:
    chance = random.Random(1)
    half = scaled(50_000) or 1
    step = 7 * 24 * HOUR // half
    with tempfile.TemporaryDirectory() as folder:
        runs = side(chance, [START + at * step for at in range(half)])
        runs += side(chance, [START + 7 * 24 * HOUR + at * step for at in range(half)], prompt_id=V14, p95=14_200)
        with RunHistory.create(Path(folder)) as history:
            history.add(run._replace(run_id=f"{at:032x}") for at, run in enumerate(runs))
        begin = time.perf_counter()
        compare_runs.main(["support:v13", "support:v14", "--history", folder], standalone_mode=False)
        yield Measured(ours=time.perf_counter() - begin, yardstick=2.0, unit="s")
