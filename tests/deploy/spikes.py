"""How often the rules on spikes fire, when they should and when they should not.

python -m tests.deploy.spikes [SEEDS] [--noisier] [--set NAME=NUMBER]

Each scenario is a job, each seed an agent of it, so that one run of promtool tries them all on the rules as shipped.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.deploy.promtool import Question, ask
from tests.deploy.traffic import DAY, USUAL, Behaviour, Traffic, roles

__all__ = ["ALERTS", "CANARIES", "QUIET", "SAME_CANARY", "WARM", "Scenario", "fired"]

ALERTS = ("AgentTokenSpike", "AgentToolCallSpike")
WARM = 180
"""Minutes before a change, in which the agent is as always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Traffic that each seed varies; `known` is False where no role says which prompt is the candidate."""

    name: str
    traffic: Traffic
    known: bool = True

    def series(self, seeds: int) -> Iterator[dict[str, str]]:
        """Gives the series of all its agents."""
        if self.known:
            yield from roles(self.name, v13="baseline", v14="candidate")
        for seed in range(seeds):
            yield from replace(self.traffic, seed=1000 + seed).series(self.name, f"agent-{seed}")


def _incident(**changes: float | bool) -> Traffic:
    return replace(Traffic(seed=0, minutes=WARM + 61, changes_at=WARM), **changes)  # type: ignore[arg-type]


CANARIES = (
    Scenario(name="canary", traffic=_incident(share=0.1)),
    Scenario(name="even-canary", traffic=_incident(share=0.1, evenly=True)),
    Scenario(name="quarter", traffic=_incident(share=0.25)),
    Scenario(name="busy-canary", traffic=_incident(share=0.1, per_hour=1000)),
    Scenario(name="switch", traffic=_incident()),
    Scenario(name="unknown-switch", traffic=_incident(), known=False),
)


def _quiet(days: int, **more: float) -> Traffic:
    week = Traffic(seed=0, minutes=days * DAY, step=5, wave=0.8, new=USUAL)
    return replace(week, **more)  # type: ignore[arg-type]


# a week, and a day on which traffic triples
QUIET = Scenario(name="week", traffic=_quiet(8, triples_at=7 * DAY))
SAME_CANARY = Scenario(name="same-canary", traffic=_quiet(2, changes_at=DAY, share=0.1))

# what runs do that scatter more than the thresholds were chosen for
NOISES = (
    Behaviour(sigma=0.7),
    Behaviour(sigma=0.7, dispersion=2),
    Behaviour(sigma=1.0, dispersion=1),
)


def _noisier(scenario: Scenario, noise: Behaviour) -> Scenario:
    name = f"{scenario.name}, sigma {noise.sigma:g}, dispersion {noise.dispersion:g}"
    rise = replace(noise, tokens_p95=scenario.traffic.new.tokens_p95, tool_calls=scenario.traffic.new.tool_calls)
    return replace(scenario, name=name, traffic=replace(scenario.traffic, old=noise, new=rise))


def fired(
    folder: Path,
    scenarios: Sequence[Scenario],
    seeds: int,
    *,
    start: int,
    ends: Sequence[int],
    step: int,
    thresholds: Mapping[str, float] | None = None,
) -> Callable[[str, str, int], int]:
    """Tries scenarios; gives the function that tells in how many seeds an alert fired by one of the ends.

    Args:
        folder: where promtool's files go.
        scenarios: what is tried.
        seeds: how many agents each has.
        start: the minute from which alerts count.
        ends: the minutes, after the start, by which they count.
        step: minutes between two evaluations.
        thresholds: those that differ from what ships.
    """
    series = [each for scenario in scenarios for each in scenario.series(seeds)]
    questions = [
        Question(expression=f'count_over_time(ALERTS{{alertstate="firing"}}[{end}m])', minute=start + end)
        for end in ends
    ]
    found = ask(folder, series, questions, step=step, alerts=ALERTS, thresholds=thresholds)
    answers = dict(zip(ends, found, strict=True))

    def count(scenario: str, alert: str, end: int) -> int:
        of_scenario = [each for each in answers[end] if each["job"] == scenario and each["alertname"] == alert]
        return len({each["gen_ai_agent_name"] for each in of_scenario})

    return count


def _table(seeds: int, noisier: bool, thresholds: Mapping[str, float]) -> Iterator[str]:
    for noise in NOISES if noisier else (USUAL,):
        due = [_noisier(scenario, noise) for scenario in CANARIES] if noisier else CANARIES
        undue = [_noisier(scenario, noise) for scenario in (SAME_CANARY, QUIET)] if noisier else (SAME_CANARY, QUIET)
        with tempfile.TemporaryDirectory() as folder:
            yield from _due(Path(folder), due, seeds, thresholds)
            yield from _undue(Path(folder), undue, seeds, thresholds)


def _due(folder: Path, due: Sequence[Scenario], seeds: int, thresholds: Mapping[str, float]) -> Iterator[str]:
    count = fired(folder, due, seeds, start=WARM, ends=(30, 60), step=1, thresholds=thresholds)
    for scenario in due:
        for alert in ALERTS:
            within = " and ".join(f"{count(scenario.name, alert, end)} within {end} min" for end in (30, 60))
            yield f"{scenario.name}, {alert}: {within}, of {seeds}"


def _undue(folder: Path, undue: Sequence[Scenario], seeds: int, thresholds: Mapping[str, float]) -> Iterator[str]:
    for scenario in undue:
        whole = scenario.traffic.minutes
        count = fired(folder, [scenario], seeds, start=0, ends=(whole,), step=5, thresholds=thresholds)
        for alert in ALERTS:
            yield f"{scenario.name}, {alert}: {count(scenario.name, alert, whole)} of {seeds}"


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def main() -> None:
    """Reads the command line and prints a line for each scenario and alert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=40, help="agents of each scenario")
    parser.add_argument("--noisier", action="store_true", help="with runs that scatter more than those of the tests")
    parser.add_argument("--set", type=_threshold, action="append", default=[], help="a threshold, as name=value")
    asked = parser.parse_args()
    for line in _table(asked.seeds, asked.noisier, dict(asked.set)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
