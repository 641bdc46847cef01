"""Noisy runs of an agent as Prometheus would scrape them: what the rules on spikes are tried on.

Runs arrive at random; by day far more than by night where `wave` says so. Tokens are lognormal, tool calls a Poisson
count whose mean is itself lognormal (so they scatter more than a Poisson count does), and a run that needs more of one
needs more of the other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How runs with one prompt come out."""

    tokens_p95: float = 7_500
    tool_calls: float = 4
    sigma: float = 0.5
    dispersion: float = 4
    usd_per_token: float = 0.000002

    def run(self, dice: random.Random) -> tuple[float, int]:
        """Draws tokens and tool calls of one run."""
        effort, other = dice.gauss(), dice.gauss()
        tokens = self.tokens_p95 * math.exp(self.sigma * (effort - 1.645))
        spread = math.sqrt(math.log(1 + 1 / self.dispersion))
        mean = self.tool_calls * math.exp(spread * (0.6 * effort + 0.8 * other) - spread**2 / 2)
        return tokens, poisson(mean, dice)


USUAL = Behaviour()
INCIDENT = Behaviour(tokens_p95=14_200, tool_calls=11)


def poisson(mean: float, dice: random.Random) -> int:
    """Draws a Poisson count, by the gaps between arrivals."""
    count, at = 0, dice.expovariate(1)
    while at < mean:
        count, at = count + 1, at + dice.expovariate(1)
    return count


@dataclass(slots=True)
class Totals:
    """What one prompt's runs add up to, as samples: one a step, from the first run on."""

    first: int
    runs: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    tool_calls: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """An agent's runs from minute 0 to `minutes`, scraped every `step` minutes."""

    seed: int
    minutes: int
    step: int = 1
    per_hour: float = 100
    wave: float = 0.0
    triples_at: float = math.inf
    changes_at: float = math.inf
    share: float = 1.0
    old: Behaviour = USUAL
    new: Behaviour = INCIDENT
    evenly: bool = False
    drift: float = 1.0

    def rate(self, minute: float) -> float:
        """Gives the runs a minute at that time."""
        times = 3 if minute >= self.triples_at else 1
        return times * self.per_hour / 60 * (1 + self.wave * math.sin(2 * math.pi * minute / DAY))

    def totals(self) -> dict[str, Totals]:
        """Gives the totals by prompt version: `v13`, and `v14` from the change on."""
        dice, found, turn = random.Random(self.seed), {"v13": Totals(0), "v14": Totals(-1)}, 0.0
        sums = {name: [0, 0.0, 0] for name in found}
        for minute in range(0, self.minutes, self.step):
            for _ in range(poisson(self.rate(minute) * self.step, dice)):
                turn += self.share
                chosen = (int(turn) > int(turn - self.share)) if self.evenly else dice.random() < self.share
                version = "v14" if minute >= self.changes_at and chosen else "v13"
                tokens, calls = (self.new if version == "v14" else self.old).run(dice)
                tokens *= self.drift ** (minute / DAY)
                one = sums[version]
                one[0], one[1], one[2] = one[0] + 1, one[1] + tokens, one[2] + calls
            for name, totals in found.items():
                self._sample(totals, minute // self.step, sums[name])
        return {name: totals for name, totals in found.items() if totals.runs}

    def _sample(self, totals: Totals, index: int, sums: list[Any]) -> None:
        if sums[0] and totals.first < 0:
            totals.first = index
        if totals.first >= 0:
            totals.runs.append(sums[0])
            totals.tokens.append(round(sums[1]))
            totals.tool_calls.append(sums[2])

    def series(self, job: str, agent: str) -> Iterator[dict[str, str]]:
        """Gives the totals of each prompt as series that promtool reads."""
        for version, totals in self.totals().items():
            labels = f'job="{job}", gen_ai_agent_name="{agent}", otel_agent_prompt_id="support:{version}:0"'
            gap = f"_x{totals.first} " if totals.first > 0 else ""
            columns = {
                "run_tokens_count": totals.runs,
                "run_tokens_sum": totals.tokens,
                "run_tool_calls_sum": totals.tool_calls,
            }
            for name, column in columns.items():
                yield {"series": f"otel_agent_{name}{{{labels}}}", "values": gap + " ".join(map(str, column))}


def roles(job: str = "shop", **of_versions: str) -> Iterator[dict[str, str]]:
    """Gives the series of the prompts' roles: `roles(v13="baseline", v14="candidate")`."""
    for version, role in of_versions.items():
        labels = (
            f'job="{job}", otel_agent_prompt_name="support", otel_agent_prompt_id="support:{version}:0", '
            f'otel_agent_prompt_version="{version}", otel_agent_prompt_role="{role}"'
        )
        yield {"series": f"otel_agent_prompt_info{{{labels}}}", "values": "1x6000"}
