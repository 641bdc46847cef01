"""The incident fires, noise does not: the rules as shipped, in the real promtool, on noisy runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.servers import needs
from tests.deploy.spikes import ALERTS, CANARIES, QUIET, SAME_CANARY, WARM, fired

SEEDS = 20

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(autouse=True)
def _promtool() -> None:
    needs("promtool")


def test_the_incident_fires_within_half_an_hour(tmp_path: Path) -> None:
    count = fired(tmp_path, CANARIES, SEEDS, start=WARM, ends=(30, 60), step=1)
    for alert in ALERTS:
        for all_of_them in ("busy-canary", "switch", "unknown-switch"):
            assert count(all_of_them, alert, 30) == SEEDS, (all_of_them, alert)
        # 10 % of 100 runs an hour are five runs in half an hour, and now and then only two
        assert count("canary", alert, 30) >= 0.5 * SEEDS
        assert count("canary", alert, 60) >= 0.9 * SEEDS
        assert count("even-canary", alert, 30) >= 0.75 * SEEDS
        assert count("quarter", alert, 30) >= 0.9 * SEEDS


def test_a_noisy_week_and_a_day_of_tripled_traffic_fire_nothing(tmp_path: Path) -> None:
    whole = QUIET.traffic.minutes
    count = fired(tmp_path, [QUIET], SEEDS, start=0, ends=(whole,), step=5)
    assert [count(QUIET.name, alert, whole) for alert in ALERTS] == [0, 0]


def test_a_canary_of_the_same_prompt_hardly_ever_fires(tmp_path: Path) -> None:
    whole = SAME_CANARY.traffic.minutes
    count = fired(tmp_path, [SAME_CANARY], SEEDS, start=0, ends=(whole,), step=5)
    assert all(count(SAME_CANARY.name, alert, whole) <= 0.1 * SEEDS for alert in ALERTS)
