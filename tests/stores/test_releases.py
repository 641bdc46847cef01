"""Which prompt a run gets, out of which source, and how soon a process follows a change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_agent import InvalidSetting, Prompt
from otel_agent.config import file
from otel_agent.config.current import current
from otel_agent.prompts import NOBODY, Audience, Canary, Change, Override, Release, dump_override
from otel_agent.stores import looks, sources
from otel_agent.stores.files import replace_text
from otel_agent.stores.last_good import recall
from otel_agent.stores.prompt_folder import PromptFile
from otel_agent.stores.prompt_lock import lock_prompts
from otel_agent.stores.releases import ReleaseSelector
from otel_agent.stores.sources import Sources, sources_of, variable_of
from otel_agent.testing import Capture, FakeClock
from tests.support.offline import ROOT

V12, V13, V14 = (Prompt("support", version, f"Text of {version}.") for version in ("v12", "v13", "v14"))
RELEASE = Release(name="support", active="support:v13", rollback="support:v12")
ACTIVE = Release(name="support", active="support:v13")
ALL = (V12, V13, V14)


@pytest.fixture
def override(tmp_path: Path) -> Path:
    return tmp_path / "otel-agent.override.json"


def write(path: Path, active: str, *, canary: Canary | None = None, change: Change | None = None, **more: Any) -> None:
    name = active.partition(":")[0]
    changes = {} if change is None else {name: change}
    release = Release(name=name, active=active, canary=canary, **more)
    replace_text(path, dump_override(Override(releases={name: release}, changes=changes)))


def changed(what: Any, before: str, after: str, when: str = "2026-11-27T10:00:00Z") -> Change:
    return Change(what=what, prompt="support", before=before, after=after, when=when, who="ann", why="tokens rise")


def selector(**sources: Any) -> ReleaseSelector:
    return ReleaseSelector(Sources(**{"prompts": ALL, "releases": {"support": RELEASE}, **sources}))


def got(found: ReleaseSelector, audience: Audience = NOBODY) -> tuple[str, str | None, str]:
    selected = found.select("support", audience)
    return selected.prompt.version, selected.variant, selected.source


# the order of sources


def test_the_configuration_decides_where_nobody_else_does() -> None:
    assert got(selector()) == ("v13", "active", "configuration")


def test_the_override_goes_before_the_configuration(override: Path) -> None:
    write(override, "support:v12")
    assert got(selector(override=override)) == ("v12", "active", "override")


def test_the_environment_goes_before_all(override: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "support:v14")
    canary = Canary(version="v12", percent=100)
    write(override, "support:v12", canary=canary)
    assert got(selector(override=override), Audience(conversation_id="c")) == ("v14", "active", "environment")


def test_the_only_version_needs_nobody_to_say_so() -> None:
    assert got(selector(prompts=[V12], releases={})) == ("v12", "active", "configuration")


def test_one_of_several_versions_must_be_said() -> None:
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'support'.*set prompts\.active.*support:v14"):
        selector(releases={}).select("support")


def test_a_canary_takes_its_share() -> None:
    release = Release(name="support", active="support:v13", canary=Canary(version="v14", percent=50))
    found = selector(releases={"support": release})
    versions = {got(found, Audience(conversation_id=f"c{n}"))[:2] for n in range(50)}
    assert versions == {("v13", "active"), ("v14", "canary")}
    assert got(found) == ("v13", "active", "configuration")


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("support", "OTEL_AGENT_PROMPT_SUPPORT"),
        ("billing-eu.v2", "OTEL_AGENT_PROMPT_BILLING_EU_V2"),
        ("größe", "OTEL_AGENT_PROMPT_GR_SSE"),
    ],
)
def test_variables(name: str, variable: str) -> None:
    assert variable_of(name) == variable


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_AGENT_PROMPT_SUPPORT", "v12", r"OTEL_AGENT_PROMPT_SUPPORT = 'v12': must be `name:version`"),
        ("OTEL_AGENT_PROMPT_SUPPORT", "support:v99", r"OTEL_AGENT_PROMPT_SUPPORT = 'support:v99'.*did you mean"),
        ("OTEL_AGENT_PROMPT_SUPORT", "support:v12", r"must be set as OTEL_AGENT_PROMPT_SUPPORT"),
    ],
)
def test_a_variable_that_can_never_work_is_refused(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSetting, match=said):
        selector()


# texts


def test_code_folder_and_configuration_are_one_namespace(tmp_path: Path) -> None:
    (tmp_path / "prompts" / "triage").mkdir(parents=True)
    (tmp_path / "prompts" / "triage" / "v1.md").write_text("Sort it.\n")
    found = selector(folder=tmp_path / "prompts", texts={"billing": {"v1": "Bill it."}, "support": {"v12": V12.text}})
    assert [found.select(name).prompt.text for name in ("support", "triage", "billing")] == [
        V13.text,
        "Sort it.",
        "Bill it.",
    ]
    with pytest.raises(InvalidSetting, match="one text"):
        selector(texts={"support": {"v13": "Another."}})


def test_a_version_without_a_text_loads_and_cannot_be_selected() -> None:
    found = selector(prompts=[V12])
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'support'.*configuration says support:v13"):
        found.select("support")


def test_a_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'suport'.*did you mean support\?"):
        selector().select("suport")
    with pytest.raises(InvalidSetting, match="no prompt is registered under a name"):
        selector(prompts=[], releases={}).select("support")


def test_a_text_that_changed_under_its_version_is_refused_with_the_command(tmp_path: Path) -> None:
    lock = tmp_path / "prompts.lock"
    lock_prompts(lock, ALL, who="ann", when="2026-11-27T10:00:00Z")
    assert got(selector(lock=lock))[0] == "v13"
    edited = Prompt("support", "v13", V13.text + " And more.")
    with pytest.raises(InvalidSetting, match="otel-agent prompts diff support:v13"):
        selector(prompts=[V12, edited], lock=lock)


def test_a_pinned_prompt_is_held_against_the_lock(tmp_path: Path) -> None:
    lock_prompts(tmp_path / "prompts.lock", ALL, who="ann", when="2026-11-27T10:00:00Z")
    found = selector(lock=tmp_path / "prompts.lock")
    found.check(V13)
    found.check(Prompt("support", "v99", "A version that nobody recorded."))
    with pytest.raises(InvalidSetting, match=r"agent_run\.prompt = 'support:v13'.*otel-agent prompts diff support:v13"):
        found.check(Prompt("support", "v13", V13.text + " And more."))
    selector().check(Prompt("support", "v13", "Any text, where nothing is recorded."))


# following the override file


def test_a_change_is_followed_within_half_a_second(override: Path, clock: FakeClock) -> None:
    found = selector(override=override)
    write(override, "support:v12")
    clock.advance(0.4)
    assert got(found)[0] == "v13"
    clock.advance(0.2)
    assert got(found) == ("v12", "active", "override")
    write(override, "support:v14")
    clock.advance(0.6)
    assert got(found)[0] == "v14"
    override.unlink()
    clock.advance(0.6)
    assert got(found) == ("v13", "active", "configuration")


def test_nothing_is_read_where_nothing_has_changed(
    override: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(override, "support:v12")
    found = selector(override=override)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read again"))
    for _ in range(5):
        clock.advance(0.6)
        assert got(found)[0] == "v12"


def test_a_new_text_is_read_when_it_is_released(tmp_path: Path, override: Path, clock: FakeClock) -> None:
    folder = tmp_path / "prompts" / "support"
    folder.mkdir(parents=True)
    found = selector(folder=tmp_path / "prompts", override=override)
    (folder / "v15.md").write_text("Text of v15.\n")
    write(override, "support:v15")
    clock.advance(0.6)
    assert got(found) == ("v15", "active", "override")


def test_a_release_without_a_text_is_an_error_and_not_another_version(override: Path, clock: FakeClock) -> None:
    found = selector(override=override)
    write(override, "support:v99")
    clock.advance(0.6)
    with pytest.raises(InvalidSetting, match=r"override says support:v99"):
        found.select("support")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "prompts"
    (found / "support").mkdir(parents=True)
    return found


@pytest.mark.parametrize("by", ["override", "configuration"])
def test_a_text_that_comes_after_its_release_is_read(by: str, folder: Path, override: Path, clock: FakeClock) -> None:
    release = RELEASE if by == "override" else Release(name="support", active="support:v15")
    found = selector(folder=folder, override=override, releases={"support": release})
    if by == "override":
        write(override, "support:v15")
    clock.advance(0.6)
    with pytest.raises(InvalidSetting, match=rf"{by} says support:v15"):
        found.select("support")
    (folder / "support" / "v15.md").write_text("Text of v15.\n")
    clock.advance(0.6)
    assert got(found) == ("v15", "active", by)


def test_a_text_that_was_refused_is_read_when_it_is_mended(
    folder: Path, override: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    found = selector(folder=folder, override=override)
    (folder / "support" / "v15.md").write_text("---\nowner: 2026-13-45\n---\nText of v15.\n")
    write(override, "support:v15")
    for _ in range(3):
        clock.advance(0.6)
        with pytest.raises(InvalidSetting, match=r"override says support:v15"):
            found.select("support")
    (warning,) = warnings(caplog)
    assert "v15.md: owner" in warning
    (folder / "support" / "v15.md").write_text("Text of v15.\n")
    clock.advance(0.6)
    assert got(found) == ("v15", "active", "override")


def test_a_lock_that_does_not_fit_is_warned_of_once_and_followed(
    folder: Path, override: Path, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    lock_prompts(tmp_path / "lock", ALL, who="ann", when="2026-11-27T10:00:00Z")
    found = selector(folder=folder, override=override, prompts=[V12, V13], lock=tmp_path / "lock")
    (folder / "support" / "v14.md").write_text("Not the text of v14.\n")
    write(override, "support:v14")
    for _ in range(3):
        clock.advance(0.6)
        with pytest.raises(InvalidSetting, match=r"override says support:v14"):
            found.select("support")
    assert len(warnings(caplog)) == 1
    (folder / "support" / "v14.md").write_text(V14.text + "\n")
    clock.advance(0.6)
    assert got(found) == ("v14", "active", "override")


def test_a_missing_text_is_not_looked_for_at_every_selection(
    folder: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, reads = selector(folder=folder, prompts=[V13]), list[Path]()

    def read(folder: Path, **_: object) -> list[PromptFile]:
        reads.append(folder)
        clock.advance(0.1)  # a folder that takes its time
        return []

    monkeypatch.setattr(sources, "read_prompt_folder", read)
    for _ in range(60):
        clock.advance(0.1)
        for _ in range(5):
            found.select("support")
    assert 2 <= len(reads) <= 3


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("error", [RuntimeError, Interrupted])
@pytest.mark.parametrize("where", [(Path, "read_bytes"), (ReleaseSelector, "_joined")])
def test_a_look_that_is_interrupted_loses_no_change(
    error: type[BaseException],
    where: tuple[type, str],
    override: Path,
    clock: FakeClock,
    kept: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = selector(override=override)
    write(override, "support:v12")
    clock.advance(0.6)

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*where, fail)
        if error is Interrupted:
            with pytest.raises(Interrupted):
                found.select("support")
        else:
            assert got(found)[0] == "v13"
    clock.advance(0.6)
    assert got(found) == ("v12", "active", "override")
    assert [name for name, _ in told(kept)] == ["rolled_back"]


def test_an_override_file_that_goes_away_is_told(
    override: Path, clock: FakeClock, kept: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    write(override, "support:v12")
    found = selector(override=override)
    override.unlink()
    for _ in range(3):
        clock.advance(0.6)
        assert got(found) == ("v13", "active", "configuration")
    (warning,) = warnings(caplog)
    assert f"{override} is away: the configuration decides again which support runs get" in warning
    assert [(name, fields["id"], fields["previous_id"]) for name, fields in told(kept)] == [
        ("activated", V13.id, V12.id)
    ]


# last known good


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_broken_override_leaves_what_was_good_with_one_warning(
    override: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    write(override, "support:v12")
    found = selector(override=override, key=override)
    for text in ("{", '{"prompts": {"support": {"active": "v1"}}}'):
        replace_text(override, text)
        clock.advance(0.6)
        assert got(found) == ("v12", "active", "last_known_good")
    (warning,) = warnings(caplog)
    assert str(override) in warning
    assert "what was good the last time is used instead" in warning
    write(override, "support:v14")
    clock.advance(0.6)
    assert got(found) == ("v14", "active", "override")


def test_an_override_whose_folder_is_away_leaves_what_was_good(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mount"
    folder.mkdir()
    write(folder / "o.json", "support:v12")
    found = selector(override=folder / "o.json")
    folder.rename(tmp_path / "gone")
    clock.advance(0.6)
    assert got(found) == ("v12", "active", "last_known_good")
    (tmp_path / "gone").rename(folder)
    clock.advance(0.6)
    assert got(found) == ("v12", "active", "override")
    assert len(warnings(caplog)) == 1


def test_a_process_that_starts_with_a_broken_override_knows_the_last_good_one(
    override: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(override, "support:v12")
    selector(override=override, key=override)
    override.write_text("{")
    assert got(selector(override=override, key=override)) == ("v12", "active", "last_known_good")
    assert len(warnings(caplog)) == 1
    with pytest.raises(InvalidSetting, match=r"otel-agent\.override\.json"):
        selector(override=override, key=override.with_name("another"))


@pytest.mark.parametrize("harm", ["away", "broken"])
def test_a_folder_that_is_broken_or_away_leaves_the_texts_of_the_last_time(
    harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "prompts"
    (folder / "support").mkdir(parents=True)
    (folder / "support" / "v13.md").write_text("Text of v13.\n")
    sources: dict[str, Any] = {"prompts": [V12], "folder": folder, "key": tmp_path, "folder_expected": harm == "broken"}
    assert got(selector(**sources)) == ("v13", "active", "configuration")
    if harm == "away":
        folder.rename(tmp_path / "gone")
    else:
        (folder / "support" / "v14.md").write_text("---\n")
    assert got(selector(**sources)) == ("v13", "active", "last_known_good")
    assert len(warnings(caplog)) == 1


def test_a_folder_that_nothing_needs_is_not_missed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "prompts"
    (folder / "old").mkdir(parents=True)
    for version in ("v1", "v2"):  # of which none is released
        (folder / "old" / f"{version}.md").write_text("Old.\n")
    sources: dict[str, Any] = {"folder": folder, "key": tmp_path, "folder_expected": False}
    selector(**sources)
    folder.rename(tmp_path / "gone")
    assert got(selector(**sources)) == ("v13", "active", "configuration")
    assert not warnings(caplog)


STRANGERS = {
    "x/y.md": b"---\ntitle: A\n---\nText.\n",
    "x/latin.md": "für".encode("latin-1"),
    "x/empty.md": b"",
}


def test_what_is_no_prompt_stops_nobody_who_never_said_that_the_folder_holds_prompts(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "support" / "v13.md").write_text("Text of v13.\n")
    for name, content in STRANGERS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert got(ReleaseSelector(sources_of(current()))) == ("v13", "active", "configuration")
    assert len(warnings(caplog)) == len(STRANGERS), "once for each file"
    assert all("it is left out" in each for each in warnings(caplog))
    (folder / "support" / "v13.md").write_text("---\ntitle: A\n---\nText.\n")
    caplog.clear()
    assert got(ReleaseSelector(sources_of(current()))) == ("v13", "active", "last_known_good"), "it was a prompt"
    (warning,) = warnings(caplog)
    assert "v13.md" in warning
    monkeypatch.setenv("OTEL_AGENT_PROMPTS_FOLDER", "prompts")
    with pytest.raises(InvalidSetting, match="front matter = 'title'"):
        ReleaseSelector(sources_of(replace(current(), file=tmp_path / "another.yaml")))


def test_a_file_of_the_name_of_the_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompts").write_text("Text.\n")
    monkeypatch.chdir(tmp_path)
    assert not list(ReleaseSelector(sources_of(current())).registry)
    monkeypatch.setenv("OTEL_AGENT_PROMPTS_FOLDER", "prompts")
    with pytest.raises(InvalidSetting, match="must be a folder that can be read"):
        ReleaseSelector(sources_of(current()))


def alone(folder: Path, **more: Any) -> ReleaseSelector:
    return selector(prompts=(), releases={}, folder=folder, key=folder.parent, folder_expected=False, **more)


def test_the_only_version_is_missed_too(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "support" / "v13.md").write_text("Text of v13.\n")
    alone(folder)
    folder.rename(tmp_path / "gone")
    for start in (1, 2):
        assert got(alone(folder)) == ("v13", "active", "last_known_good")
        (*_, warning) = warnings(caplog)
        assert len(warnings(caplog)) == start
        assert f"it had the text of {V13.id}" in warning


def test_who_empties_the_folder_takes_the_only_version_away(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "support" / "v13.md").write_text("Text of v13.\n")
    alone(folder)
    (folder / "support" / "v13.md").unlink()
    for _ in range(2):
        with pytest.raises(InvalidSetting, match="no prompt is registered"):
            got(alone(folder))
        folder.rename(tmp_path / "gone")
        (tmp_path / "gone").rename(folder)
    assert not warnings(caplog)


def test_what_the_environment_sets_is_missed_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "support" / "v12.md").write_text("Text of v12.\n")
    sources: dict[str, Any] = {"texts": {"support": {"v13": V13.text}}, "prompts": (), "releases": {"support": ACTIVE}}
    sources |= {"folder": folder, "key": tmp_path, "folder_expected": False}
    selector(**sources)
    folder.rename(tmp_path / "gone")
    assert got(selector(**sources)) == ("v13", "active", "configuration"), "which needs nothing of the folder"
    assert not warnings(caplog)
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "support:v12")
    for _ in range(2):
        assert got(selector(**sources)) == ("v12", "active", "last_known_good")
    assert f"it had the text of {V12.id}" in warnings(caplog)[0]


def test_a_folder_that_must_be_there_is_an_error_where_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"prompts.*a folder that can be read"):
        selector(folder=tmp_path / "prompts", key=tmp_path)
    assert got(selector(folder=tmp_path / "prompts", folder_expected=False))[0] == "v13"


def test_what_is_broken_is_not_kept(tmp_path: Path, override: Path, clock: FakeClock) -> None:
    write(override, "support:v12")
    found = selector(override=override, key=tmp_path)
    before = recall(tmp_path)
    override.write_text("{")
    clock.advance(0.6)
    found.select("support")
    assert before is not None
    assert recall(tmp_path) == before


def test_each_breakage_has_a_warning_of_its_own(
    override: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    found = selector(override=override)
    for count in (1, 2):
        override.write_text("{")
        for _ in range(2):
            clock.advance(0.6)
            found.select("support")
        assert len(warnings(caplog)) == count
        write(override, "support:v12")
        clock.advance(0.6)
        assert got(found) == ("v12", "active", "override")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_a_broken_override(override: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    found = selector(override=override)
    os.mkfifo(override)
    clock.advance(0.6)
    assert got(found) == ("v13", "active", "configuration")
    (warning,) = warnings(caplog)
    assert "must be a regular file" in warning


def test_a_folder_that_was_broken_at_the_start_is_followed_when_it_is_mended(
    folder: Path, tmp_path: Path, override: Path, clock: FakeClock
) -> None:
    (folder / "support" / "v13.md").write_text("Text of v13.\n")
    sources: dict[str, Any] = {"prompts": [V12], "folder": folder, "key": tmp_path, "override": override}
    selector(**sources)
    (folder / "support" / "v15.md").write_text("---\n")
    found = selector(**sources)
    assert got(found) == ("v13", "active", "last_known_good")
    write(override, "support:v12")
    clock.advance(0.6)
    assert got(found) == ("v12", "active", "override")
    override.write_text("{")
    assert got(selector(**sources))[0] == "v12", "a rollback counts for the next start, whatever else is broken"
    (folder / "support" / "v15.md").write_text("Text of v15.\n")
    write(override, "support:v15")
    clock.advance(0.6)
    assert got(found) == ("v15", "active", "override")


def test_a_folder_that_was_away_at_the_start_is_followed_when_it_is_back(
    folder: Path, tmp_path: Path, clock: FakeClock
) -> None:
    (folder / "support" / "v13.md").write_text("Text of v13.\n")
    sources: dict[str, Any] = {"prompts": [V12], "folder": folder, "key": tmp_path, "folder_expected": False}
    selector(**sources)
    folder.rename(tmp_path / "gone")
    found = selector(**sources)
    clock.advance(0.6)
    assert got(found) == ("v13", "active", "last_known_good"), "it is still away"
    (tmp_path / "gone").rename(folder)
    clock.advance(0.6)
    assert got(found) == ("v13", "active", "configuration")


def test_what_was_taken_away_is_not_good_any_more(tmp_path: Path, override: Path, clock: FakeClock) -> None:
    write(override, "support:v12")
    found = selector(override=override, key=tmp_path)
    override.unlink()
    clock.advance(0.6)
    found.select("support")
    override.write_text("{")
    assert got(selector(override=override, key=tmp_path))[0] == "v13"


# told


def told(kept: Capture) -> list[tuple[str, dict[str, Any]]]:
    short = "otel_agent.prompt."
    return [
        (
            str(event.log_record.event_name).removeprefix(short),
            {key.removeprefix(short): value for key, value in (event.log_record.attributes or {}).items()},
        )
        for event in kept.events
    ]


def test_a_change_is_told_once_with_who_and_why(override: Path, clock: FakeClock, kept: Capture) -> None:
    write(override, "support:v14")
    found = selector(override=override)
    assert not kept.events, "what a process starts with is no change"
    write(override, "support:v13", change=changed("rolled_back", "support:v14", "support:v13"))
    for _ in range(3):
        clock.advance(0.6)
        found.select("support")
    assert told(kept) == [
        (
            "rolled_back",
            {
                "name": "support",
                "version": "v13",
                "id": V13.id,
                "previous_id": V14.id,
                "otel_agent.actor": "ann",
                "otel_agent.why": "tokens rise",
            },
        )
    ]


@pytest.mark.parametrize(
    ("active", "canary", "event", "fields"),
    [
        ("support:v14", None, "activated", {"version": "v14", "id": V14.id, "previous_id": V13.id}),
        ("support:v12", None, "rolled_back", {"version": "v12", "id": V12.id, "previous_id": V13.id}),
        (
            "support:v13",
            Canary(version="v14", percent=12.5),
            "rollout_changed",
            {"version": "v14", "id": V14.id, "previous_id": V13.id, "percent": 12.5},
        ),
    ],
)
def test_what_nobody_noted_follows_from_the_change(
    active: str,
    canary: Canary | None,
    event: str,
    fields: dict[str, Any],
    override: Path,
    clock: FakeClock,
    kept: Capture,
) -> None:
    found = selector(override=override)
    write(override, active, canary=canary)
    clock.advance(0.6)
    found.select("support")
    assert told(kept) == [(event, {"name": "support", **fields})]


def test_the_gauge_follows_without_any_run(override: Path, clock: FakeClock) -> None:
    found = selector(override=override)
    assert [(info.id, info.role) for info in found.infos()] == [(V12.id, "baseline"), (V13.id, "candidate")]
    write(override, "support:v13", canary=Canary(version="v14", percent=5))
    clock.advance(0.6)
    assert [(info.id, info.role) for info in found.infos()] == [(V13.id, "baseline"), (V14.id, "candidate")]


def test_the_gauge_leaves_out_what_has_no_text() -> None:
    assert [info.version for info in selector(prompts=[V13]).infos()] == ["v13"]


# threads and processes


def test_threads_that_look_at_once_tell_once(override: Path, kept: Capture) -> None:
    found = selector(override=override)
    write(override, "support:v12")
    end = time.monotonic() + 20
    seen: list[str] = []

    def ask() -> None:
        while time.monotonic() < end:
            version = found.select("support").prompt.version
            if version == "v12":
                seen.append(version)
                return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == ["v12"] * 8
    assert [name for name, _ in told(kept)] == ["rolled_back"]


class SlowLook:
    """Holds a look up in the middle of its reading."""

    def __init__(self, found: ReleaseSelector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found, self.begun, self.go = found, threading.Event(), threading.Event()
        read = Path.read_bytes

        def slow(path: Path) -> bytes:
            self.begun.set()
            assert self.go.wait(30)
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", slow)
        self.seen: list[str] = []
        self.threads = [self.start()]
        assert self.begun.wait(30)

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=lambda: self.seen.append(got(self.found)[0]))
        thread.start()
        return thread

    def end(self) -> list[str]:
        self.go.set()
        for thread in self.threads:
            thread.join(30)
        return self.seen


def test_a_process_that_was_idle_gives_no_thread_what_is_old(
    override: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "WAIT_SECONDS", 30)
    found = selector(override=override)
    write(override, "support:v12")
    clock.advance(2)
    slow = SlowLook(found, monkeypatch)
    slow.threads += [slow.start() for _ in range(4)]
    slow.threads[-1].join(0.05)
    assert slow.end() == ["v12"] * 5


def test_a_process_that_is_busy_waits_for_no_look(
    override: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "WAIT_SECONDS", 30)
    found = selector(override=override)
    write(override, "support:v12")
    clock.advance(0.9)
    slow = SlowLook(found, monkeypatch)
    slow.start().join(10)
    assert slow.seen == ["v13"]
    assert slow.end() == ["v13", "v12"]


def test_a_look_that_hangs_is_waited_for_once(
    override: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "WAIT_SECONDS", 0.05)
    found = selector(override=override)
    write(override, "support:v12")
    clock.advance(2)
    slow = SlowLook(found, monkeypatch)
    slow.start().join(10)
    assert slow.seen == ["v13"]
    monkeypatch.setattr(looks, "WAIT_SECONDS", 60)
    slow.start().join(10)
    assert slow.seen == ["v13", "v13"]
    assert slow.end() == ["v13", "v13", "v12"]


def test_a_selection_in_the_middle_of_a_look_of_its_own_thread_goes_on(
    override: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, inside = selector(override=override), list[str]()
    write(override, "support:v12")
    read = Path.read_bytes

    def interrupted(path: Path) -> bytes:  # as by a signal handler that opens a run
        inside.append(got(found)[0])
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", interrupted)
    clock.advance(2)
    assert got(found)[0] == "v12"
    assert inside == ["v13"]


WATCHER = """
import sys, time
from pathlib import Path
from otel_agent import Prompt, agent_run
from otel_agent.prompts import Release
from otel_agent.run.choice import use_prompts
from otel_agent.stores.releases import ReleaseSelector
from otel_agent.stores.sources import Sources

prompts = tuple(Prompt("support", f"v{n}", f"Text of v{n}.") for n in (12, 13, 14))
release = Release(name="support", active="support:v13")
use_prompts(ReleaseSelector(Sources(prompts=prompts, releases={"support": release}, override=Path(sys.argv[1]))))
last = None
with agent_run("long", prompt="support") as long:
    while last != "v12":
        with agent_run("bot", prompt="support") as run:
            version = run.prompt.version
        if version != last:
            print(version, time.time(), long.prompt.version, flush=True)
            last = version
        time.sleep(0.01)
"""


def test_every_process_follows_within_a_second(override: Path, tmp_path: Path) -> None:
    program = tmp_path / "watcher.py"
    program.write_text(textwrap.dedent(WATCHER))
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    watchers = [
        subprocess.Popen([sys.executable, str(program), str(override)], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(2)
    ]
    try:
        assert [_line(watcher)[0] for watcher in watchers] == ["v13", "v13"]
        for version in ("v14", "v12"):
            at = time.time()
            write(override, f"support:{version}")
            for watcher in watchers:
                seen, when, in_flight = _line(watcher)
                assert (seen, in_flight) == (version, "v13")
                assert float(when) - at < 1.0
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.communicate()


def _line(watcher: subprocess.Popen[str]) -> list[str]:
    assert watcher.stdout is not None
    return watcher.stdout.readline().split()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_follows_although_its_parent_was_looking(
    override: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = selector(override=override)
    write(override, "support:v12")
    clock.advance(0.6)
    slow = SlowLook(found, monkeypatch)  # its thread is not in the child, and the lock that it holds is
    child = os.fork()
    if child == 0:
        slow.go.set()
        os._exit(0 if got(found)[0] == "v12" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert slow.end() == ["v12"]


def test_a_selector_is_opened_from_a_configuration(tmp_path: Path, load: Callable[[str], Any]) -> None:
    (tmp_path / "prompts" / "support").mkdir(parents=True)
    (tmp_path / "prompts" / "support" / "v13.md").write_text("Text of v13.\n")
    config = load(
        """
        prompts:
          active: support:v13
          rollback: support:v12
          texts: {support: {v12: Text of v12.}}
          canary: {support: {version: v14, percent: 100}}
        """
    )
    found = ReleaseSelector(sources_of(config, [V14]))
    assert got(found) == ("v13", "active", "configuration")
    assert got(found, Audience(conversation_id="c")) == ("v14", "canary", "configuration")
    write(tmp_path / "otel-agent.override.json", "support:v12")
    assert got(ReleaseSelector(sources_of(config)))[0] == "v12"
    kept = recall(tmp_path / "otel-agent.yaml")
    assert kept is not None
    assert json.loads(dump_override(kept.override))["prompts"]["support"]["active"] == "support:v12"


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Any]:
    def write_and_load(text: str) -> Any:
        path = tmp_path / "otel-agent.yaml"
        path.write_text(textwrap.dedent(text))
        return file.load(path)

    return write_and_load
