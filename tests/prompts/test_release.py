"""Releases and buckets: sticky, monotone, uniform, and the same in every process and language."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import shutil
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting, Prompt, prompt_id
from otel_agent.prompts import Audience, Canary, Release, bucket, choose, releases, roles
from otel_agent.prompts.release import BUCKETS

NODE = shutil.which("node")
IDS = Path(__file__).parent / "ids.mjs"

points = st.integers(0, BUCKETS)
units = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40)


def canary(percent: object, **more: object) -> Release:
    return Release(name="support", active="support:v13", canary=Canary(version="v14", percent=percent, **more))  # type: ignore[arg-type]


def in_canary(release: Release, unit: str) -> bool:
    return choose(release, Audience(conversation_id=unit))[1] == "canary"


def test_buckets_are_what_the_documentation_says() -> None:
    digits = hashlib.sha256(b"support\nc-1").hexdigest()[:12]
    assert bucket("support", "c-1") == int(digits, 16) % 10_000
    # frozen: another number here moves every running canary
    assert [bucket("support", f"c-{n}") for n in range(4)] == [9445, 7613, 1855, 6402]


@given(units, points, points)
def test_a_unit_that_is_in_stays_in_when_the_share_grows(unit: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert in_canary(canary(Decimal(low) / 100), unit) <= in_canary(canary(Decimal(high) / 100), unit)


def test_raising_5_to_20_to_50_keeps_every_unit() -> None:
    ids = [f"conversation-{n}" for n in range(20_000)]
    inside = [{unit for unit in ids if in_canary(canary(percent), unit)} for percent in (0, 5, 20, 50, 100)]
    for smaller, larger in pairwise(inside):
        assert smaller < larger
    assert (len(inside[0]), len(inside[-1])) == (0, len(ids))


@pytest.mark.parametrize("percent", [0.5, 5, 20, 50, 93.21])
def test_the_share_is_met_within_binomial_error(percent: float) -> None:
    count, p = 100_000, percent / 100
    release = canary(percent)
    hits = sum(in_canary(release, f"{n:x}-conversation") for n in range(count))
    assert abs(hits - count * p) <= 4.5 * math.sqrt(count * p * (1 - p))


def test_buckets_are_uniform() -> None:
    count, bins = 100_000, [0] * 100
    for n in range(count):
        bins[bucket("support", f"user-{n}") // 100] += 1
    chi = sum((found - count / 100) ** 2 / (count / 100) for found in bins)
    assert chi < 160  # 99 degrees of freedom: above with a probability of 1e-4


def test_another_salt_draws_other_units() -> None:
    count = 20_000
    both = sum(
        in_canary(canary(20), f"c{n}") and in_canary(canary(20, salt="second try"), f"c{n}") for n in range(count)
    )
    assert abs(both - count * 0.04) <= 4.5 * math.sqrt(count * 0.04 * 0.96)


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_computes_the_same_buckets(seed: str) -> None:
    source = (
        "from otel_agent.prompts import bucket\nprint([bucket('s\\u00e4lt', f'\\U0001f600-{n}') for n in range(50)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == str([bucket("sält", f"\U0001f600-{n}") for n in range(50)])


# another language


def node(texts: list[str]) -> list[tuple[str, int]]:
    if NODE is None:
        pytest.skip("node is not installed")
    hexed = "\n".join(text.encode().hex() for text in texts)
    done = subprocess.run([NODE, str(IDS)], input=hexed, capture_output=True, text=True, timeout=60, check=True)
    return [(short, int(number)) for short, number in (line.split() for line in done.stdout.splitlines())]


SPECIAL = ["\r\n", "a\r\nb\n", "e\u0301\u0327", "\U0001f469\u200d\U0001f680", "\ufeffx", "\u2028\u2029", "\0", " x\t"]


def random_texts(count: int) -> list[str]:
    random, ranges = Random(13), [(0x20, 0x7F), (0xA0, 0x2FF), (0x300, 0x36F), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    found = list(SPECIAL)
    while len(found) < count:
        picked = [random.choice([*ranges, (0x0A, 0x0D)]) for _ in range(random.randint(1, 40))]
        found.append("".join(chr(random.randint(*each)) for each in picked))
    return found


def test_ids_and_buckets_are_those_of_a_node_script() -> None:
    texts = random_texts(200)
    wanted = [(prompt_id(text), bucket("support", text)) for text in texts]
    assert [Prompt("p", "v1", text).id for text in texts] == [f"p:v1:{short}" for short, _ in wanted]
    assert node(texts) == wanted


# who is asked


def test_a_run_without_a_unit_gets_the_active_version() -> None:
    everyone = canary(100)
    assert choose(everyone, Audience()) == ("support:v13", "active")
    assert choose(everyone, Audience(user_id="u1")) == ("support:v13", "active")
    assert choose(everyone, Audience(conversation_id="c1")) == ("support:v14", "canary")
    by_user = canary(100, by="user")
    assert choose(by_user, Audience(conversation_id="c1")) == ("support:v13", "active")
    assert choose(by_user, Audience(user_id="u1")) == ("support:v14", "canary")


def test_a_canary_may_be_for_some_tenants_and_environments() -> None:
    release = canary(100, tenants=["acme"], environments=["staging"])
    for tenant, environment, variant in (
        ("acme", "staging", "canary"),
        ("acme", "production", "active"),
        ("other", "staging", "active"),
        (None, "staging", "active"),
        ("acme", None, "active"),
    ):
        audience = Audience(conversation_id="c", tenant=tenant, environment=environment)
        assert choose(release, audience)[1] == variant


def test_roles() -> None:
    plain = Release(name="support", active="support:v13")
    back = Release(name="support", active="support:v13", rollback="support:v12")
    gone_back = Release(name="support", active="support:v12", rollback="support:v12")
    assert roles(plain) == (("support:v13", "candidate"),)
    assert roles(back) == (("support:v12", "baseline"), ("support:v13", "candidate"))
    assert roles(gone_back) == (("support:v12", "candidate"),)
    assert roles(canary(5)) == (("support:v13", "baseline"), ("support:v14", "candidate"))


# values


@pytest.mark.parametrize(
    ("percent", "hundredths", "shown"),
    [(0, 0, 0), (100, 10_000, 100), (12.34, 1234, 12.34), ("5", 500, 5), (Decimal("0.01"), 1, 0.01), (0.1, 10, 0.1)],
)
def test_a_percentage_is_exact(percent: object, hundredths: int, shown: object) -> None:
    made = Canary(version="v14", percent=percent)  # type: ignore[arg-type]
    assert (made.points, made.percent) == (hundredths, shown)


@pytest.mark.parametrize(
    "percent", [-1, 100.01, 0.001, "many", None, True, float("nan"), float("inf"), "1e400", "1e999999"]
)
def test_a_percentage_that_is_none_is_refused(percent: object) -> None:
    with pytest.raises(InvalidSetting, match=r"Canary\.percent.*0 to 100, in steps of 0\.01"):
        Canary(version="v14", percent=percent)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "a:b"),
        ("by", "run"),
        ("salt", ""),
        ("tenants", "acme"),
        ("tenants", [""]),
        ("environments", 5),
    ],
)
def test_a_canary_that_can_never_work_is_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidSetting, match=rf"Canary\.{field}"):
        Canary(**{"version": "v14", "percent": 5, field: value})


def test_a_release_is_of_one_prompt() -> None:
    for field in ("active", "rollback"):
        for wrong in ("triage:v1", "support", 5):
            with pytest.raises(InvalidSetting, match=rf"Release\.{field}"):
                Release(**{"name": "support", "active": "support:v1", field: wrong})
    with pytest.raises(InvalidSetting, match=r"Release\.canary"):
        Release(name="support", active="support:v1", canary=5)  # type: ignore[arg-type]


def test_a_release_is_a_value() -> None:
    release = canary(5, salt="s", tenants=["acme"])
    assert pickle.loads(pickle.dumps(release)) == release
    assert (release.candidate, release.salt, canary(5).salt) == ("support:v14", "s", "support")


def test_releases_are_built_out_of_lists() -> None:
    tried = Canary(version="v2", percent=5)
    found = releases(["support:v13", "triage:v1"], ["support:v12"], {"triage": tried})
    assert found["support"] == Release(name="support", active="support:v13", rollback="support:v12")
    assert found["triage"].canary == tried


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((["support:v13", "support:v12"],), r"prompts\.active = 'support:v12'.*one version of support"),
        ((["support:v13"], ["suport:v12"]), r"prompts\.rollback = 'suport'.*did you mean support\?"),
        (([], [], {"support": Canary(version="v1", percent=5)}), r"prompts\.canary = 'support'"),
        ((["support"],), r"prompts\.active"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        releases(*arguments)  # type: ignore[arg-type]
