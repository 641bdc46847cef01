"""Runs that could have been: skewed tokens, counted tool calls, at times of a day's traffic. Fixed by their seed."""

from __future__ import annotations

import math
import random

from otel_agent.usage import PastRun

__all__ = ["HOUR", "START", "V13", "V14", "arrivals", "past_run", "poisson", "side"]

V13, V14 = "support:v13:50af3e26c3af", "support:v14:231cc6bcb490"
HOUR = 3_600 * 1_000_000_000
START = 1_760_000_000 * 1_000_000_000
SPREAD = 0.5
P95 = 1.6449


def past_run(**fields: object) -> PastRun:
    """Gives a run; what is not said is ordinary."""
    base = PastRun(
        run_id="0" * 32,
        parent_id=None,
        trace_id=None,
        task=None,
        agent="support-bot",
        prompt_id=V13,
        variant=None,
        mode="enforce",
        stop_reason="finish",
        stop_detail=None,
        error_type=None,
        ended_ns=START,
        seconds=2.0,
        steps=4,
        tool_calls=4,
        input_tokens=3_000,
        output_tokens=600,
        micro_usd=1_500,
        estimated=False,
    )
    return base._replace(**fields)


def poisson(chance: random.Random, mean: float) -> int:
    """Draws a count of mean `mean`."""
    count, left = -1, 1.0
    while left > math.exp(-mean):
        count += 1
        left *= chance.random()
    return count


def arrivals(chance: random.Random, *, mean: float, hours: float, since: int = START) -> list[int]:
    """Draws when runs end: by chance, `mean` of them on average in so many hours."""
    found, at = [], chance.expovariate(mean / hours)
    while at < hours:
        found.append(since + int(at * HOUR))
        at += chance.expovariate(mean / hours)
    return found


def side(
    chance: random.Random, times: list[int], *, prompt_id: str = V13, p95: float = 7_500, tool_calls: float = 4
) -> list[PastRun]:
    """Draws the runs of one prompt: tokens log-normal with this 95th percentile, tool calls by chance around a mean."""
    median = p95 / math.exp(P95 * SPREAD)
    found: list[PastRun] = []
    for number, at in enumerate(times):
        tokens = int(chance.lognormvariate(math.log(median), SPREAD))
        calls = poisson(chance, tool_calls)
        found.append(
            past_run(
                run_id=f"{number:032x}",
                prompt_id=prompt_id,
                ended_ns=at,
                seconds=chance.lognormvariate(0.7, 0.6),
                steps=1 + calls,
                tool_calls=calls,
                input_tokens=tokens * 4 // 5,
                output_tokens=tokens - tokens * 4 // 5,
                micro_usd=tokens * 2 // 5,
            )
        )
    return found
