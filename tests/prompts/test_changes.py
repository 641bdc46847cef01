"""How a release changes: what runs get afterwards, where the way back leads, and what the history says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent import InvalidSetting
from otel_agent.prompts import Audience, Canary, Release, choose
from otel_agent.prompts.changes import Author, Changed, Trial, activate, roll_back, try_out

ANNA = Author(who="anna", when="2026-11-27T09:30:00Z", why="alert")
V13 = Release(name="support", active="support:v13", rollback="support:v12")
TRIED = Release(
    name="support",
    active="support:v13",
    rollback="support:v12",
    canary=Canary(version="v14", percent=10, by="user", salt="s", tenants=("acme",), environments=("prod",)),
)


def v(number: int) -> str:
    return f"support:v{number}"


versions = st.integers(10, 14)
canaries = st.none() | st.builds(
    Canary, version=versions.map("v{}".format), percent=st.sampled_from([0.01, 5, 50, 100]), by=st.just("user")
)
states = st.builds(
    Release, name=st.just("support"), active=versions.map(v), rollback=st.none() | versions.map(v), canary=canaries
)
anybody = st.builds(Audience, conversation_id=st.none(), user_id=st.text(max_size=4))


class TestActivate:
    def test_moves_the_way_back_to_what_was_active(self) -> None:
        new, change = activate(V13, v(14), ANNA)
        assert new == Release(name="support", active=v(14), rollback=v(13))
        assert change is not None
        assert (change.what, change.before, change.after, change.percent) == ("activated", v(13), v(14), None)
        assert (change.who, change.when, change.why) == ("anna", ANNA.when, "alert")

    def test_ends_a_canary_whichever_it_is(self) -> None:
        assert activate(TRIED, v(14), ANNA).release == Release(name="support", active=v(14), rollback=v(13))
        assert activate(TRIED, v(15), ANNA).release == Release(name="support", active=v(15), rollback=v(13))

    def test_what_is_active_already_keeps_its_way_back(self) -> None:
        assert activate(V13, v(13), ANNA) == Changed(V13, None)
        assert activate(TRIED, v(13), ANNA).release == V13
        assert activate(V13, f"{v(13)}:50af3e26c3af", ANNA) == Changed(V13, None)

    def test_a_first_version_has_no_way_back(self) -> None:
        new, change = activate(None, v(1), ANNA)
        assert new == Release(name="support", active=v(1))
        assert change is not None
        assert change.before is None

    def test_another_prompt_is_refused(self) -> None:
        with pytest.raises(InvalidSetting, match="must be a version of support"):
            activate(V13, "sales:v14", ANNA)

    @given(states, versions, anybody)
    def test_every_run_gets_it(self, release: Release, number: int, audience: Audience) -> None:
        assert choose(activate(release, v(number), ANNA).release, audience) == (v(number), "active")

    @given(states, versions)
    def test_twice_is_once(self, release: Release, number: int) -> None:
        once = activate(release, v(number), ANNA).release
        assert activate(once, v(number), ANNA) == Changed(once, None)


class TestRollBack:
    def test_without_a_target_goes_where_the_release_says(self) -> None:
        new, change = roll_back(TRIED, None, ANNA)
        assert (new.active, new.canary) == (v(12), None)
        assert change is not None
        assert (change.what, change.before, change.after) == ("rolled_back", v(13), v(12))

    def test_to_what_is_active_takes_the_canary_back_only(self) -> None:
        new, change = roll_back(TRIED, v(13), ANNA)
        assert new == V13
        assert change is not None
        assert (change.before, change.after, change.percent) == (v(14), v(13), None)

    def test_to_another_version(self) -> None:
        new, change = roll_back(V13, v(11), ANNA)
        assert (new.active, new.rollback) == (v(11), v(11))
        assert change is not None
        assert (change.before, change.after) == (v(13), v(11))

    def test_to_the_canary_is_taken_for_a_mistake(self) -> None:
        with pytest.raises(InvalidSetting, match="support:v14 is the canary, which `support:v13` takes back"):
            roll_back(TRIED, v(14), ANNA)

    @pytest.mark.parametrize("target", [None, v(12)])
    def test_to_the_canary_where_the_way_back_leads_there(self, target: str | None) -> None:
        tried = Release(name="support", active=v(13), rollback=v(12), canary=Canary(version="v12", percent=10))
        new, change = roll_back(tried, target, ANNA)
        assert new == Release(name="support", active=v(12), rollback=v(12))
        assert change is not None
        assert (change.before, change.after, change.percent) == (v(13), v(12), None)

    def test_with_no_way_back_is_an_error_that_says_what_is_active(self) -> None:
        with pytest.raises(InvalidSetting, match="support has no rollback: support:v13 is active"):
            roll_back(Release(name="support", active=v(13)), None, ANNA)

    @given(states, st.none() | versions)
    def test_a_second_one_changes_nothing(self, release: Release, number: int | None) -> None:
        target = None if number is None else v(number)
        try:
            once = roll_back(release, target, ANNA).release
        except InvalidSetting:
            return
        assert roll_back(once, target, ANNA) == Changed(once, None)

    @given(states, versions)
    def test_the_bare_command_never_leads_back_to_what_was_taken_back(self, release: Release, number: int) -> None:
        bad = {release.active, release.candidate} - {v(number)}
        try:
            once = roll_back(release, v(number), ANNA).release
            again = roll_back(once, None, ANNA).release
        except InvalidSetting:
            return
        assert again.active not in bad or again.active == release.rollback

    @given(states, st.none() | versions, anybody)
    def test_every_run_gets_the_target(self, release: Release, number: int | None, audience: Audience) -> None:
        target = None if number is None else v(number)
        try:
            new = roll_back(release, target, ANNA).release
        except InvalidSetting:
            return
        assert choose(new, audience) == (target or release.rollback, "active")


class TestTryOut:
    def test_begins_with_what_is_said(self) -> None:
        trial = Trial(version="v14", percent=10, by="user", salt="s", tenants=("acme",), environments=("prod",))
        new, change = try_out(V13, trial, ANNA)
        assert new == TRIED
        assert change is not None
        assert (change.what, change.before, change.after, change.percent) == ("rollout_changed", v(13), v(14), 10)

    def test_begins_with_the_defaults(self) -> None:
        assert try_out(V13, Trial(version="v14", percent=10), ANNA).release.canary == Canary(version="v14", percent=10)

    def test_grows_and_keeps_all_else(self) -> None:
        new = try_out(TRIED, Trial(version="v14", percent="20"), ANNA).release
        assert TRIED.canary is not None
        assert new.canary == Canary(
            version="v14", percent=20, by="user", salt="s", tenants=("acme",), environments=("prod",)
        )

    def test_another_version_begins_anew(self) -> None:
        new, change = try_out(TRIED, Trial(version="v15", percent=5), ANNA)
        assert new.canary == Canary(version="v15", percent=5)
        assert change is not None
        assert (change.before, change.after) == (v(14), v(15))

    def test_at_0_it_ends(self) -> None:
        new, change = try_out(TRIED, Trial(version="v14", percent=0), ANNA)
        assert new == V13
        assert change is not None
        assert (change.what, change.before, change.after, change.percent) == ("rollout_changed", v(14), None, None)

    def test_to_end_one_that_does_not_run(self) -> None:
        assert try_out(V13, Trial(version="v14", percent=0), ANNA) == Changed(V13, None)
        with pytest.raises(InvalidSetting, match="must be support:v14, whose canary runs"):
            try_out(TRIED, Trial(version="v15", percent=0), ANNA)

    def test_of_the_active_version_is_refused(self) -> None:
        with pytest.raises(InvalidSetting, match="another version than the active support:v13"):
            try_out(V13, Trial(version="v13", percent=10), ANNA)

    @pytest.mark.parametrize("percent", [-1, 101, "x", 0.001, None, True])
    def test_a_share_that_is_none(self, percent: object) -> None:
        with pytest.raises(InvalidSetting, match=r"^canary\.percent = .* from 0 to 100, in steps of 0\.01"):
            try_out(V13, Trial(version="v14", percent=percent), ANNA)  # type: ignore[arg-type]

    @given(states, st.lists(st.integers(1, 10_000), min_size=2, max_size=5), anybody)
    def test_raising_it_keeps_whoever_is_in(self, release: Release, points: list[int], audience: Audience) -> None:
        release, was_in = activate(release, v(9), ANNA).release, False
        for share in sorted(points):
            release = try_out(release, Trial(version="v15", percent=share / 100, by="user"), ANNA).release
            is_in = choose(release, audience) == (v(15), "canary")
            assert is_in or not was_in
            was_in = is_in
