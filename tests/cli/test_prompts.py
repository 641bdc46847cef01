"""`otel-agent prompts`: what each command says, writes and exits with, as it is typed."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class

from otel_agent import InvalidSetting, Prompt
from otel_agent.cli import main
from otel_agent.cli.app import app
from otel_agent.cli.prompts import prompts
from otel_agent.config.current import current
from otel_agent.prompts import Canary, Release
from otel_agent.stores.files import locked
from otel_agent.stores.release_writer import ReleaseFiles
from otel_agent.stores.releases import ReleaseSelector
from otel_agent.stores.sources import sources_of
from tests.support.offline import environment, run
from tests.support.ready import READY, pass_golden
from tests.support.said import Run, Said

TEXTS = {"v12": "Answer.", "v13": "Answer using KB.\nCite.", "v14": "Answer using KB, at length.\nCite."}
V12, V13, V14 = (Prompt("support", version, text) for version, text in TEXTS.items())
CONFIG = f'prompts: {{active: "support:v13", rollback: "support:v12"}}\n{READY}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with three versions of one prompt, each of which is ready."""
    (tmp_path / "prompts" / "support").mkdir(parents=True)
    for version, text in TEXTS.items():
        (tmp_path / "prompts" / "support" / f"{version}.md").write_text(f"{text}\n")
    (tmp_path / "otel-agent.yaml").write_text(CONFIG)
    pass_golden(tmp_path / "otel-agent.yaml")
    monkeypatch.chdir(tmp_path)
    for name in ("OTEL_AGENT_CONFIG", "OTEL_AGENT_PROMPT_SUPPORT", "OTEL_AGENT_PROMPTS_OVERRIDE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def typed(*arguments: str) -> Said:
        code = main(["prompts", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Said(code, out, err)

    return typed


def released(folder: Path) -> Release | None:
    return ReleaseFiles(folder / "otel-agent.override.json").read().releases.get("support")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _no_file(path: Path, harm: str) -> None:
    if harm == "link":
        path.symlink_to("nothing.yaml")
    else:
        path.mkdir()


def second_prompt(folder: Path) -> None:
    (folder / "prompts" / "sales").mkdir()
    (folder / "prompts" / "sales" / "v1.md").write_text("Sell.\n")


class TestList:
    def test_says_what_each_version_is_and_where_it_comes_from(self, cli: Run) -> None:
        code, out, err = cli("list")
        assert (code, err) == (0, "")
        rows = [re.split(r" {2,}", line.strip()) for line in out.splitlines()[2:]]
        assert rows == [
            ["support", "v12", V12.hash[:12], "rollback", "otel-agent.yaml", "not locked", "prompts/support/v12.md"],
            ["support", "v13", V13.hash[:12], "active", "otel-agent.yaml", "not locked", "prompts/support/v13.md"],
            ["support", "v14", V14.hash[:12], "-", "-", "not locked", "prompts/support/v14.md"],
        ]

    def test_of_a_canary_has_its_share_and_who_says_so(self, cli: Run) -> None:
        cli("canary", "support:v14", "--percent", "0.5")
        found = {row["version"]: row for row in cli("list", "--json").json["versions"]}
        assert (found["v14"]["canary_percent"], found["v14"]["released_by"]) == (0.5, "otel-agent.override.json")
        assert (found["v13"]["active"], found["v12"]["rollback"]) == (True, True)
        cli("canary", "support:v14", "--percent", "10")
        assert '"canary_percent": 10,' in cli("show", "support:v14", "--json").out
        assert '"percent": 10,' in cli("list", "--json").out
        cli("canary", "support:v14", "--percent", "0.5")
        assert re.search(r"v14 .* canary 0\.5 % +otel-agent\.override\.json", cli("list").out)

    def test_as_json_has_whole_ids_files_and_releases(self, cli: Run, folder: Path) -> None:
        found = cli("list", "--json").json
        assert found["config"] == str(folder / "otel-agent.yaml")
        assert found["override"] == str(folder / "otel-agent.override.json")
        assert found["releases"] == [
            {"name": "support", "active": "support:v13", "rollback": "support:v12", "canary": None}
            | {"source": "otel-agent.yaml"}
        ]
        assert [row["id"] for row in found["versions"]] == [V12.id, V13.id, V14.id]
        assert found["versions"][0]["text"] == str(folder / "prompts" / "support" / "v12.md")

    def test_one_prompt_only(self, cli: Run, folder: Path) -> None:
        second_prompt(folder)
        assert {row["name"] for row in cli("list", "--json").json["versions"]} == {"sales", "support"}
        assert {row["name"] for row in cli("list", "sales", "--json").json["versions"]} == {"sales"}

    def test_a_single_version_is_active_by_itself(self, cli: Run, folder: Path) -> None:
        second_prompt(folder)
        (row,) = cli("list", "sales", "--json").json["versions"]
        assert (row["active"], row["released_by"]) == (True, "only version")

    def test_an_active_version_without_a_text_is_told(self, cli: Run, folder: Path) -> None:
        (folder / "otel-agent.yaml").write_text('prompts: {active: "support:v15"}')
        code, out, err = cli("list")
        assert code == 0
        assert re.search(r"v15 +no text +active", out)
        assert "support:v15 is active and has no text here: selecting it is an error" in err

    def test_a_file_that_is_left_out_is_told(self, cli: Run, folder: Path) -> None:
        _write(folder / "prompts" / "x" / "y.md", "---\ntitle: A\n---\nText.\n")
        assert cli("list").code == 1
        (folder / "otel-agent.yaml").unlink()
        code, _, err = cli("list")
        assert code == 0
        assert re.match("note: .*y.md: front matter = 'title'.*it is left out", err)

    def test_a_variable_that_wins_is_told(self, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "support:v12")
        assert "note: OTEL_AGENT_PROMPT_SUPPORT=support:v12 is set here and wins" in cli("list").err

    def test_where_there_is_nothing_it_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(["prompts", "list"]) == 0
        assert "There is no prompt" in capsys.readouterr().out

    def test_colour_is_for_terminals_alone(self, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "\x1b" not in cli("list").out
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b[32mactive" in cli("list").out


class TestShow:
    def test_has_the_facts_and_the_text(self, cli: Run, folder: Path) -> None:
        (folder / "prompts" / "support" / "v14.md").write_text("---\nowner: a-team\n---\nHello {{name}}.\n")
        out = cli("show", "support:v14").out
        assert "owner        a-team\n" in out
        assert "variables    name\n" in out
        assert out.endswith("\n\nHello {{name}}.\n")

    @pytest.mark.parametrize("asked", ["support", "support:v13", "v13", V13.id])
    def test_a_version_may_be_said_in_several_ways(self, asked: str, cli: Run) -> None:
        found = cli("show", asked, "--json").json
        assert (found["id"], found["text"], found["hash"]) == (V13.id, V13.text, V13.hash)
        assert (found["active"], found["lock"]) == (True, "not locked")

    def test_the_text_alone_is_byte_for_byte(self, folder: Path) -> None:
        (folder / "prompts" / "support" / "v14.md").write_bytes("\x1b[31m ü \n\n".encode())
        done = subprocess.run(
            ["otel-agent", "prompts", "show", "v14", "--text"], env=environment(folder), capture_output=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, "\x1b[31m ü \n".encode())

    def test_the_text_alone_is_no_document(self, cli: Run) -> None:
        code, out, err = cli("show", "v14", "--text", "--json")
        assert (code, out) == (2, "")
        assert "--json has it under `text`" in err

    def test_a_text_cannot_speak_to_the_terminal(self, cli: Run, folder: Path) -> None:
        (folder / "prompts" / "support" / "v14.md").write_text("\x1b[31m red\n")
        assert "\x1b" not in cli("show", "v14").out

    @pytest.mark.parametrize("asked", ["support:v99", "suport", "support:v13:000000000000", "a:b:c:d"])
    def test_what_there_is_not_is_wrong_usage(self, asked: str, cli: Run) -> None:
        code, out, err = cli("show", asked)
        assert (code, out) == (2, "")
        assert "support:v1" in err


class TestDiff:
    def test_of_two_versions_is_unified_and_exits_with_1(self, cli: Run) -> None:
        code, out, _ = cli("diff", "support:v13", "support:v14")
        assert code == 1
        assert out.splitlines() == [
            f"--- {V13.id}",
            f"+++ {V14.id}",
            "@@ -1,2 +1,2 @@",
            "-Answer using KB.",
            "+Answer using KB, at length.",
            " Cite.",
        ]

    def test_of_one_text_twice_exits_with_0(self, cli: Run, folder: Path) -> None:
        (folder / "prompts" / "support" / "v15.md").write_text(TEXTS["v14"])
        assert cli("diff", "v14", "v15").code == 0
        found = cli("diff", "v14", "v15", "--json").json
        assert (found["same"], found["diff"]) == (True, [])

    def test_as_json(self, cli: Run) -> None:
        found = cli("diff", "v13", "v14", "--json").json
        assert (found["a"], found["b"], found["same"]) == (V13.id, V14.id, False)
        assert "-Answer using KB." in found["diff"]

    def test_against_the_lock(self, cli: Run, folder: Path) -> None:
        assert "is not in prompts.lock" in cli("diff", "v13").out
        cli("lock")
        assert cli("diff", "v13")[:2] == (0, f"{V13.id} is what prompts.lock records\n")
        (folder / "prompts" / "support" / "v13.md").write_text("Other.\n")
        code, out, _ = cli("diff", "v13")
        assert code == 1
        assert V13.id in out
        assert Prompt("support", "v13", "Other.").id in out
        assert "\n  git log -p -- prompts/support/v13.md\n" in out
        found = cli("diff", "v13", "--json").json
        assert (found["recorded"], found["same"]) == (V13.id, False)

    def test_what_a_shell_would_split_is_quoted(self, cli: Run, folder: Path) -> None:
        (folder / "prompts" / "our faq").mkdir()
        (folder / "prompts" / "our faq" / "v1.md").write_text("Answer.\n")
        cli("lock")
        (folder / "prompts" / "our faq" / "v1.md").write_text("Other.\n")
        assert "`otel-agent prompts diff 'our faq:v1'`" in cli("list").err
        assert "\n  git log -p -- 'prompts/our faq/v1.md'\n" in cli("diff", "our faq:v1").out


class TestLock:
    def test_records_all_and_then_only_what_is_new(self, cli: Run, folder: Path) -> None:
        assert cli("lock", "--who", "anna").out.splitlines() == [f"recorded  {each.id}" for each in (V12, V13, V14)]
        before = (folder / "prompts.lock").read_text()
        assert cli("lock").out == "prompts.lock has all 3 versions\n"
        assert (folder / "prompts.lock").read_text() == before
        assert [json.loads(line)["who"] for line in before.splitlines()] == ["anna"] * 3

    @pytest.mark.parametrize("option", ["--dry-run", "--check"])
    def test_only_looking_writes_nothing(self, option: str, cli: Run, folder: Path) -> None:
        before = tree(folder)
        code, out, _ = cli("lock", option)
        assert code == (1 if option == "--check" else 0)
        assert out.splitlines()[0] == f"would record  {V12.id}"
        assert tree(folder) == before

    def test_check_is_content_where_all_is_recorded(self, cli: Run) -> None:
        cli("lock")
        assert cli("lock", "--check")[::2] == (0, "")

    def test_check_wants_the_texts_of_what_is_released(self, cli: Run, folder: Path) -> None:
        cli("lock")
        (folder / "prompts" / "support" / "v14.md").unlink()
        code, _, err = cli("lock", "--check")
        assert (code, err) == (0, "note: support:v14 is in prompts.lock and has no text here\n")
        (folder / "prompts" / "support" / "v12.md").unlink()
        code, _, err = cli("lock", "--check")
        assert code == 1
        assert "support:v12 is in prompts.lock and has no text here: it is released as rollback" in err

    def test_check_of_a_folder_that_moved_away(self, cli: Run, folder: Path) -> None:
        cli("lock")
        (folder / "prompts").rename(folder / "texts")
        code, out, err = cli("lock", "--check", "--json")
        assert (code, json.loads(out)["without_text"]) == (1, ["support:v12", "support:v13", "support:v14"])
        assert "support:v13 is in prompts.lock and has no text here: it is released as active" in err

    def test_a_changed_text_is_refused_with_the_command_that_shows_it(self, cli: Run, folder: Path) -> None:
        cli("lock")
        (folder / "prompts" / "support" / "v13.md").write_text("Other.\n")
        before = tree(folder)
        code, out, err = cli("lock")
        assert (code, out) == (1, "")
        assert "`otel-agent prompts diff support:v13`" in err
        assert err.count("\n") == 1
        assert tree(folder) == before
        assert "changed" in cli("list").out

    def test_as_json(self, cli: Run, folder: Path) -> None:
        found = cli("lock", "--json", "--who", "anna").json
        assert [entry["id"] for entry in found["added"]] == [V12.id, V13.id, V14.id]
        assert found["lock"] == str(folder / "prompts.lock")


class TestActivate:
    def test_moves_the_way_back_and_says_all_of_it(self, cli: Run, folder: Path) -> None:
        code, out, err = cli("activate", "support:v14", "--who", "anna", "--why", "better")
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "support:",
            "  active    support:v14  (was support:v13)",
            "  rollback  support:v13  (was support:v12)",
            "  canary    none",
            "New runs get support:v14.",
            "It holds within a second in every process that follows otel-agent.override.json;",
            "runs in flight keep their prompt.",
        ]
        assert released(folder) == Release(name="support", active="support:v14", rollback="support:v13")

    def test_the_same_again_changes_nothing(self, cli: Run, folder: Path) -> None:
        cli("activate", "support:v14")
        before = tree(folder)
        code, out, _ = cli("activate", "support:v14")
        assert (code, out) == (0, "support: nothing to change, support:v14 is active and no canary runs\n")
        assert tree(folder) == before

    def test_a_version_without_a_text_needs_force_and_a_reason(self, cli: Run, folder: Path) -> None:
        before = tree(folder)
        code, out, err = cli("activate", "support:v15")
        assert (code, out) == (1, "")
        assert "did you mean support:v1" in err
        assert cli("activate", "support:v15", "--force").code == 2
        assert tree(folder) == before
        assert cli("activate", "support:v15", "--force", "--why", "comes with the next release").code == 0
        assert cli("history", "--json").json["changes"][0]["why"] == "comes with the next release"

    def test_a_text_that_is_not_the_recorded_one_is_refused(self, cli: Run, folder: Path) -> None:
        cli("lock")
        (folder / "prompts" / "support" / "v14.md").write_text("Other.\n")
        code, _, err = cli("activate", "support:v14")
        assert code == 1
        assert "is not the one that prompts.lock records" in err
        assert released(folder) is None

    def test_a_prompt_that_only_the_application_knows_goes_out_by_force_with_a_note(self, cli: Run) -> None:
        code, _, err = cli("activate", "sales:v2")
        assert code == 1
        assert "where the application has the text in its code, --force is the way" in err
        code, _, err = cli("activate", "sales:v2", "--force", "--why", "it is in the code")
        assert code == 0
        assert "no text of sales can be seen from here" in err
        assert cli("activate", "sales:v2").code == 0, "what is released already is known"

    @pytest.mark.parametrize("command", [("activate",), ("canary", "--percent", "5")], ids=" ".join)
    @pytest.mark.parametrize(("typed", "meant"), [("suport:v12", "support:v12"), ("support:v99", "support:v")])
    @pytest.mark.parametrize("texts", [True, False], ids=["texts here", "texts in code"])
    def test_what_is_mistyped_is_refused_with_the_nearest_right_one(
        self, command: tuple[str, ...], typed: str, meant: str, texts: bool, cli: Run, folder: Path
    ) -> None:
        if not texts:
            shutil.rmtree(folder / "prompts")
        before = tree(folder)
        code, out, err = cli(*command, typed)
        assert (code, out) == (1, "")
        assert f"did you mean {meant}" in err
        assert tree(folder) == before

    @pytest.mark.parametrize("known", ["support:v12", "support:v13", "sales:v1"])
    def test_without_a_text_here_what_a_file_names_is_known(self, known: str, cli: Run, folder: Path) -> None:
        second_prompt(folder)
        _write(folder / "prompts" / "sales" / "v0.md", "Do sell.\n")
        _write(folder / "otel-agent.yaml", CONFIG.replace('"support:v13"', '["support:v13", "sales:v0"]'))
        pass_golden(folder / "otel-agent.yaml", "sales:v1")
        cli("lock")
        shutil.rmtree(folder / "prompts")
        assert cli("activate", known).code == 0

    @pytest.mark.parametrize("command", [("activate",), ("canary", "--percent", "5")], ids=" ".join)
    def test_while_another_text_keeps_every_process_from_loading_nothing_goes_out(
        self, command: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        second_prompt(folder)
        cli("lock")
        (folder / "prompts" / "sales" / "v1.md").write_text("Sell more.\n")
        before = tree(folder)
        code, out, err = cli(*command, "support:v14")
        assert (code, out) == (1, "")
        assert "the text of sales:v1 in prompts/sales/v1.md is not the one that prompts.lock records" in err
        assert "`otel-agent prompts diff sales:v1`" in err
        assert tree(folder) == before
        assert cli(*command, "support:v14", "--force", "--why", "sales is mended next").code == 0

    @pytest.mark.parametrize("command", [("activate",), ("canary", "--percent", "5")], ids=" ".join)
    def test_while_a_file_cannot_be_read_nothing_goes_out_but_by_force(
        self, command: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        second_prompt(folder)
        (folder / "prompts" / "sales" / "v1.md").write_text("")
        before = tree(folder)
        code, out, err = cli(*command, "support:v14")
        assert (code, out) == (1, "")
        assert f"{Path('prompts', 'sales', 'v1.md')}: Prompt.text = ''" in err
        assert tree(folder) == before
        code, _, err = cli(*command, "support:v14", "--force", "--why", "sales is mended next")
        assert code == 0
        assert "warning: " in err
        (folder / "otel-agent.override.json").write_text("{")
        assert cli(*command, "support:v14", "--force", "--why", "x").code == 1

    def test_the_active_version_with_its_hash_is_no_change(self, cli: Run, folder: Path) -> None:
        code, out, _ = cli("activate", V13.id)
        assert (code, out) == (0, "support: nothing to change, support:v13 is active and no canary runs\n")
        assert released(folder) is None

    def test_of_the_active_version_says_that_the_canary_is_all_that_ends(self, cli: Run) -> None:
        cli("canary", "v14", "--percent", "10")
        said = "support:v13 was active already; what this changes is the canary support:v14, which "
        assert f"{said}would end" in cli("activate", V13.id, "--dry-run").err
        code, out, err = cli("activate", V13.id)
        assert code == 0
        assert "canary    none         (was support:v14, 10 % of the conversations)" in out
        assert f"{said}has ended" in err

    def test_a_version_that_is_not_recorded_is_noted_where_there_is_a_lock(self, cli: Run, folder: Path) -> None:
        cli("lock")
        (folder / "prompts" / "support" / "v15.md").write_text("New.\n")
        pass_golden(folder / "otel-agent.yaml", "support:v15")
        assert "support:v15 is not in prompts.lock yet" in cli("activate", "v15").err

    @pytest.mark.parametrize("asked", ["", "support", "a:b:c", ":v1"])
    def test_what_is_no_version_is_wrong_usage(self, asked: str, cli: Run) -> None:
        assert cli("activate", asked).code == 2


class TestCanary:
    def test_begins_grows_and_ends(self, cli: Run, folder: Path) -> None:
        options = [
            "--by",
            "user",
            "--tenant",
            "acme",
            "--tenant",
            "acme",
            "--tenant",
            "b",
            "--environment",
            "prod",
            "--salt",
            "s",
        ]
        assert cli("canary", "support:v14", "--percent", "10", *options).code == 0
        first = released(folder)
        assert first == Release(
            name="support",
            active="support:v13",
            rollback="support:v12",
            canary=Canary(
                version="v14", percent=10, by="user", salt="s", tenants=("acme", "b"), environments=("prod",)
            ),
        )
        out = cli("canary", "support", "--percent", "20%").out
        assert (
            "canary    support:v14, 20 % of the users (tenant acme, tenant b, in prod)  (was support:v14, 10 %" in out
        )
        assert (
            "New runs get support:v13; support:v14 goes to 20 % of the users (tenant acme, tenant b, in prod)." in out
        )
        second = released(folder)
        assert second is not None
        assert second.canary == Canary(
            version="v14", percent=20, by="user", salt="s", tenants=("acme", "b"), environments=("prod",)
        )
        assert cli("canary", "v14", "--percent", "0").code == 0
        assert released(folder) == Release(name="support", active="support:v13", rollback="support:v12")

    def test_as_json_has_before_and_after(self, cli: Run) -> None:
        found = cli("canary", "v14", "--percent", "5", "--json", "--who", "anna").json
        assert (found["prompt"], found["changed"], found["dry_run"]) == ("support", True, False)
        assert found["before"]["canary"] is None
        assert found["after"]["canary"] == {
            "version": "v14",
            "percent": 5,
            "by": "conversation",
            "salt": "support",
            "tenants": [],
            "environments": [],
        }
        assert (found["change"]["what"], found["change"]["who"]) == ("rollout_changed", "anna")

    @pytest.mark.parametrize("share", ["101", "-1", "x", "0.001", "nan", ""])
    def test_a_share_that_is_none_is_wrong_usage(self, share: str, cli: Run) -> None:
        code, _, err = cli("canary", "v14", "--percent", share)
        assert code == 2
        assert "a percentage from 0 to 100, in steps of 0.01" in err

    def test_of_the_active_version_is_refused(self, cli: Run) -> None:
        code, _, err = cli("canary", "v13", "--percent", "5")
        assert code == 1
        assert "another version than the active support:v13" in err

    def test_without_anything_active_is_refused(self, cli: Run) -> None:
        code, _, err = cli("canary", "sales:v2", "--percent", "5", "--force", "--why", "it is in the code")
        assert code == 1
        assert "otel-agent prompts activate sales:VERSION" in err

    def test_goes_through_the_gates(self, cli: Run) -> None:
        assert cli("canary", "v15", "--percent", "5").code == 1
        assert cli("canary", "v15", "--percent", "5", "--force", "--why", "soon").code == 0
        assert cli("canary", "v15", "--percent", "0").code == 0, "ending one needs nobody's leave"


class TestRollback:
    def test_without_a_target_goes_to_the_configured_one(self, cli: Run, folder: Path) -> None:
        code, out, _ = cli("rollback")
        assert code == 0
        assert "active    support:v12  (was support:v13)" in out
        assert released(folder) == Release(name="support", active="support:v12", rollback="support:v12")

    def test_with_one_value_goes_there_and_ends_the_canary(self, cli: Run, folder: Path) -> None:
        cli("canary", "v14", "--percent", "10")
        code, out, _ = cli("rollback", "support:v13", "--why", "tokens doubled")
        assert code == 0
        assert "canary    none         (was support:v14, 10 % of the conversations)" in out
        assert released(folder) == Release(name="support", active="support:v13", rollback="support:v12")
        last = cli("history", "--json").json["changes"][0]
        assert (last["what"], last["before"], last["after"]) == ("rolled_back", "support:v14", "support:v13")
        assert last["why"] == "tokens doubled"

    def test_without_a_target_says_how_to_take_back_the_canary_alone(self, cli: Run) -> None:
        cli("canary", "v14", "--percent", "10")
        assert "`otel-agent prompts rollback support:v13` would have taken back the canary" in cli("rollback").err

    def test_typed_twice_changes_nothing_more(self, cli: Run, folder: Path) -> None:
        cli("rollback")
        before = tree(folder)
        code, out, err = cli("rollback")
        assert (code, out) == (0, "support: nothing to change, support:v12 is active and no canary runs\n")
        assert err == (
            "note: to go to another version name it, `otel-agent prompts rollback VERSION`: support:v13, support:v14\n"
        )
        assert tree(folder) == before

    def test_without_a_target_wants_a_text_where_it_goes_to(self, cli: Run, folder: Path) -> None:
        (folder / "prompts" / "support" / "v12.md").unlink()
        code, out, err = cli("rollback", "--json")
        assert (code, json.loads(out)["version"], released(folder)) == (1, "v12", None)
        assert "must be a version that has a text: support:v13, support:v14" in err
        assert cli("rollback", "support", "--dry-run").code == 1
        assert cli("rollback", "--force", "--why", "the application has it").code == 0
        assert released(folder) == Release(name="support", active="support:v12", rollback="support:v12")
        (last,) = cli("history", "--json").json["changes"]
        assert "must be a version that has a text" in last["overridden"][0]

    def test_where_nothing_changes_wants_no_text(self, cli: Run, folder: Path) -> None:
        cli("rollback")
        (folder / "prompts" / "support" / "v12.md").unlink()
        code, out, _ = cli("rollback")
        assert (code, out) == (0, "support: nothing to change, support:v12 is active and no canary runs\n")

    @pytest.mark.parametrize("target", [(), ("support:v12",)], ids=["", "named"])
    def test_goes_to_the_configured_version_also_while_that_is_the_canary(
        self, target: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        assert cli("canary", "v12", "--percent", "10").code == 0
        code, out, _ = cli("rollback", *target)
        assert code == 0
        assert "canary    none         (was support:v12, 10 % of the conversations)" in out
        assert released(folder) == Release(name="support", active="support:v12", rollback="support:v12")

    def test_goes_to_the_configured_version_where_a_command_has_released_without_one(
        self, cli: Run, folder: Path
    ) -> None:
        (folder / "otel-agent.yaml").write_text(CONFIG.replace(', rollback: "support:v12"', ""))
        assert cli("canary", "v14", "--percent", "10", "--force", "--why", "no way back yet").code == 0
        assert cli("rollback").code == 1
        (folder / "otel-agent.yaml").write_text(CONFIG)
        assert cli("list", "--json").json["releases"][0]["rollback"] == "support:v12"
        assert cli("rollback").code == 0
        assert released(folder) == Release(name="support", active="support:v12", rollback="support:v12")

    def test_of_a_version_alone_where_there_are_several_prompts_says_so(self, cli: Run, folder: Path) -> None:
        second_prompt(folder)
        code, _, err = cli("rollback", "v12")
        assert code == 2
        assert "'v12' is no version, such as support:v13: there are several prompts, so say support:v12" in err

    def test_of_one_of_several_needs_its_name(self, cli: Run, folder: Path) -> None:
        second_prompt(folder)
        code, _, err = cli("rollback")
        assert code == 2
        assert "`otel-agent prompts rollback support`" in err
        assert cli("rollback", "support").code == 0
        assert released(folder) is not None

    @pytest.mark.parametrize(
        ("target", "code", "said"),
        [
            ("support:v14", 1, "support:v14 is the canary, which `support:v13` takes back"),
            ("support:v9", 1, "must be a version that has a text"),
            ("sales:v1", 2, "there is no prompt 'sales'"),
            ("a:b:c", 2, "is no version"),
        ],
    )
    def test_a_target_that_cannot_be_meant(self, target: str, code: int, said: str, cli: Run, folder: Path) -> None:
        cli("canary", "v14", "--percent", "10")
        before = tree(folder)
        done = cli("rollback", target)
        assert done.code == code
        assert said in done.err
        assert tree(folder) == before

    def test_with_no_way_back_says_what_is_active(self, cli: Run, folder: Path) -> None:
        (folder / "otel-agent.yaml").write_text('prompts: {active: "support:v13"}')
        code, _, err = cli("rollback")
        assert code == 1
        assert "support has no rollback: support:v13 is active" in err

    def test_works_while_another_text_is_in_disorder(self, cli: Run, folder: Path) -> None:
        cli("lock")
        (folder / "prompts" / "support" / "v14.md").write_text("Other.\n")
        code, _, err = cli("rollback", "support:v12")
        assert (code, err) == (0, "")

    @pytest.mark.parametrize("target", [(), ("support:v12",)], ids=["", "named"])
    def test_to_a_text_that_is_not_the_recorded_one_goes_there_and_says_so(
        self, target: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        cli("lock")
        (folder / "prompts" / "support" / "v12.md").write_text("Other.\n")
        code, _, err = cli("rollback", *target)
        assert code == 0
        assert "note: the text of support:v12 in prompts/support/v12.md is not the one that prompts.lock records" in err

    @pytest.mark.parametrize(
        ("disorder", "told"),
        [
            (lambda folder: _write(folder / "prompts/sales/v1.md", "---\nowner: [\n---\nSell.\n"), "sales/v1.md: line"),
            (lambda folder: _write(folder / "prompts/support/v14.md", "---\nownr: a\n---\nHi.\n"), "support/v14.md"),
            (lambda folder: _write(folder / "prompts.lock", "<<<<<<< HEAD\n"), "prompts.lock:1"),
            (
                lambda folder: _write(folder / "otel-agent.yaml", CONFIG.replace("max_steps", "max_stpes")),
                ":3:11: budgets.max",
            ),
            (
                lambda folder: _write(folder / "otel-agent.yaml", "prompts: {actve: 'a:v1', " + CONFIG[10:]),
                "prompts.actve",
            ),
            (
                lambda folder: _write(
                    folder / "otel-agent.yaml",
                    'prompts: {active: ["support:v13", sales], rollback: ["support:v12", "other:v1"], '
                    "texts: {support: {v12: Other.}, sales: 5}, canary: {a: {version: v1, percent: 1}, support: 5}}",
                ),
                "prompts.active[1]",
            ),
        ],
        ids=["another prompt's file", "another version's file", "lock", "another section", "a key", "another prompt"],
    )
    def test_what_is_in_disorder_beside_it_is_a_warning(
        self, disorder: Callable[[Path], None], told: str, cli: Run, folder: Path
    ) -> None:
        disorder(folder)
        code, out, err = cli("rollback", "support", "--json")
        assert (code, json.loads(out)["after"]["active"]) == (0, "support:v12")
        assert re.search(f"^warning: .*{re.escape(told)}", err, re.MULTILINE)
        assert released(folder) == Release(name="support", active="support:v12", rollback="support:v12")
        assert cli("activate", "support:v14").code == 1

    def test_a_variable_that_is_wrong_is_a_warning(
        self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_AGENT_MODE", "obseve")
        code, _, err = cli("rollback")
        assert code == 0
        assert "warning: OTEL_AGENT_MODE = 'obseve'" in err

    def test_an_own_target_in_disorder_is_refused_and_can_be_forced(self, cli: Run, folder: Path) -> None:
        _write(folder / "prompts/support/v12.md", "---\nownr: a\n---\nHi.\n")
        code, _, err = cli("rollback", "support:v12")
        assert (code, released(folder)) == (1, None)
        assert "--force" in err
        assert cli("rollback", "support:v12", "--force", "--why", "incident").code == 0
        assert released(folder) is not None

    @pytest.mark.parametrize("harm", ["link", "folder"])
    def test_a_configuration_that_is_no_file_is_a_warning(self, harm: str, cli: Run, folder: Path) -> None:
        cli("activate", "support:v14")
        (folder / "otel-agent.yaml").unlink()
        _no_file(folder / "otel-agent.yaml", harm)
        code, _, err = cli("rollback")
        assert code == 0
        assert re.match("warning: otel-agent.yaml = '.*': must be a ", err)
        assert released(folder) == Release(name="support", active="support:v13", rollback="support:v13")
        assert cli("list").code == 1

    def test_a_configuration_that_is_no_yaml_needs_a_version_and_force(self, cli: Run, folder: Path) -> None:
        _write(folder / "otel-agent.yaml", "prompts: [\n")
        code, _, err = cli("rollback", "support:v12")
        assert (code, released(folder)) == (1, None)
        assert "warning: " in err
        assert "a prompt that something is released of" in err
        assert cli("rollback", "support:v12", "--force", "--why", "incident").code == 0
        assert released(folder) == Release(name="support", active="support:v12")

    def test_what_an_override_file_says_counts_without_the_configuration(self, cli: Run, folder: Path) -> None:
        cli("activate", "support:v14")
        _write(folder / "otel-agent.yaml", "prompts: [\n")
        assert cli("rollback", "support").code == 0
        assert released(folder) == Release(name="support", active="support:v13", rollback="support:v13")

    @pytest.mark.parametrize("text", ["{", '{"prompts": 5}', '{"prompts": {"sales": {"active": 5}, "support": KEPT}}'])
    def test_a_broken_override_file_can_be_forced_and_is_kept(self, text: str, cli: Run, folder: Path) -> None:
        override = folder / "otel-agent.override.json"
        _write(override, text.replace("KEPT", '{"active": "support:v14", "rollback": "support:v12"}'))
        broken = override.read_text()
        assert cli("rollback", "support:v12").code == 1
        assert override.read_text() == broken
        assert cli("rollback", "support:v12", "--force", "--why", "incident", "--dry-run").code == 0
        assert override.read_text() == broken
        code, _, err = cli("rollback", "support:v12", "--force", "--why", "incident")
        assert code == 0
        assert "kept as otel-agent.override.json.broken" in err
        assert (folder / "otel-agent.override.json.broken").read_text() == broken
        assert released(folder) == Release(name="support", active="support:v12", rollback="support:v12")

    @pytest.mark.parametrize("reason", [(), ("--why", ""), ("--why", " \n")])
    def test_force_needs_a_reason_here_too(self, reason: tuple[str, ...], cli: Run, folder: Path) -> None:
        assert cli("rollback", "support", "--force", *reason).code == 2
        assert released(folder) is None

    @pytest.mark.parametrize(
        ("why", "kept"),
        [
            ("", None),
            ("a\nb\t\x1b[31mc ", "a b [31mc"),
            ("\udcfc\u2028d", "d"),
            ("x" * 2_000, "x" * 2_000),
            ("x" * 2_001, "x" * 1_999 + "…"),
        ],
        ids=["empty", "lines", "no Unicode", "long", "too long"],
    )
    def test_no_reason_holds_it_up(self, why: str, kept: str | None, cli: Run) -> None:
        code, _, err = cli("rollback", "--why", why)
        assert (code, cli("history", "--json").json["changes"][0]["why"]) == (0, kept)
        assert ("note: the reason is cut to 2,000 characters" in err) is (len(why) > 2_000)

    def test_no_name_of_who_does_it_holds_it_up(self, cli: Run) -> None:
        assert cli("rollback", "--who", "ann\n").code == 0
        assert cli("rollback", "support:v14", "--who", "x" * 300).code == 0
        assert [each["who"] for each in cli("history", "--json").json["changes"]] == ["x" * 255 + "…", "ann"]

    def test_a_history_with_half_a_character_is_no_hindrance(self, cli: Run, folder: Path) -> None:
        cli("activate", "v14", "--why", "für alle")
        file = folder / "otel-agent.history.jsonl"
        file.write_bytes(file.read_bytes().partition("ü".encode())[0] + "ü".encode()[:1])
        code, out, err = cli("rollback", "--json")
        assert (code, json.loads(out)["recorded"], err) == (0, True, "")
        assert [each["what"] for each in cli("history", "--json").json["changes"]] == ["rolled_back", "activated"]

    @pytest.mark.parametrize("command", [("rollback",), ("canary", "v14", "--percent", "0"), ("reset",)], ids=" ".join)
    def test_a_history_that_is_a_folder_is_a_warning_where_something_is_taken_back(
        self, command: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        cli("canary", "v14", "--percent", "10")
        history = folder / "otel-agent.history.jsonl"
        history.unlink()
        history.mkdir()
        code, _, err = cli("canary", "v14", "--percent", "20")
        assert code == 1
        assert "otel-agent.history.jsonl" in err
        code, out, err = cli(*command, "--json")
        assert (code, json.loads(out)["changed"], json.loads(out)["recorded"]) == (0, True, False)
        assert "warning: the change is made, and otel-agent.history.jsonl has no line of it: " in err
        after = released(folder)
        assert after is None or after.canary is None

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX limits the size of files")
    def test_a_full_disk_behind_the_change_is_told_and_the_line_comes_later(self, cli: Run, folder: Path) -> None:
        cli("activate", "v14", "--why", "x" * 2_000)
        command = "ulimit -f 2; otel-agent prompts rollback --json --who anna"  # 1,024 bytes each, or 512
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
        )
        assert (done.returncode, json.loads(done.stdout)["recorded"]) == (0, False)
        assert "warning: the change is made, and otel-agent.history.jsonl has no line of it: " in done.stderr
        assert released(folder) == Release(name="support", active="support:v13", rollback="support:v13")
        told = [each["who"] for each in cli("history", "--json").json["changes"]]
        assert told[0] == "anna"
        cli("rollback", "support:v12", "--who", "ben")
        lines = (folder / "otel-agent.history.jsonl").read_text().splitlines()
        assert [json.loads(line)["who"] for line in lines[-2:]] == ["anna", "ben"]


class TestWhatElseACanaryChanges:
    def test_a_new_version_that_loses_its_targets_is_noted(self, cli: Run) -> None:
        cli("canary", "v14", "--percent", "10", "--tenant", "acme", "--by", "user", "--salt", "s1")
        assert cli("canary", "v14", "--percent", "20", "--json").json["notes"] == []
        code, out, err = cli("canary", "v12", "--percent", "10", "--json")
        notes = json.loads(out)["notes"]
        assert code == 0
        assert "the canary support:v14 had --by user --salt s1 --tenant acme, that of support:v12 does not" in notes[0]
        assert all(f"note: {each}" in err for each in notes)

    @pytest.mark.parametrize("option", [("--salt", "other"), ("--by", "user")])
    def test_drawing_anew_is_noted(self, option: tuple[str, str], cli: Run) -> None:
        cli("canary", "v14", "--percent", "10")
        (note,) = cli("canary", "v14", "--percent", "10", *option, "--json", "--dry-run").json["notes"]
        assert "are drawn anew: who had support:v14 may get support:v13 now" in note
        assert f"note: {note}" in cli("canary", "v14", "--percent", "10", *option).err

    @pytest.mark.parametrize("percent", ["10", "0"])
    def test_what_stays_needs_no_note(self, percent: str, cli: Run) -> None:
        cli("canary", "v14", "--percent", "5", "--tenant", "acme")
        assert cli("canary", "v14", "--percent", percent, "--json").json["notes"] == []

    def test_a_share_beyond_all_numbers_is_one_line(self, cli: Run) -> None:
        code, _, err = cli("canary", "v14", "--percent", "1e9999999999999999999")
        assert code == 2
        assert "must be a percentage" in err


class TestLockFromCode:
    def code(self, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        """A module under a new name each time, for an imported one stays."""
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "prompts_of_the_test", raising=False)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        (folder / "prompts_of_the_test.py").write_text(f"from otel_agent import Prompt\n{text}")

    @pytest.mark.parametrize("value", ["P", "[P]", "(P, P)"])
    def test_records_prompts_that_live_in_code(
        self, value: str, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.code(folder, monkeypatch, f'P = Prompt("faq", "v1", "Answer.")\nALL = {value}\n')
        code, out, _ = cli("lock", "--from", "prompts_of_the_test:ALL", "--json")
        wanted = Prompt("faq", "v1", "Answer.")
        assert code == 0
        assert [each["id"] for each in json.loads(out)["added"]] == [wanted.id, V12.id, V13.id, V14.id]
        assert cli("lock", "--from", "prompts_of_the_test:ALL", "--check").code == 0

    @pytest.mark.parametrize(
        ("place", "code", "said"),
        [
            ("prompts_of_the_test", 2, "is no module and attribute"),
            ("no_such_module:P", 2, "cannot be imported: ModuleNotFoundError"),
            ("prompts_of_the_test:NONE", 2, "has no attribute 'NONE'"),
            ("prompts_of_the_test:TEXT", 2, "must be a Prompt or a list of them, not str"),
            ("prompts_of_the_test:EMPTY", 2, "must be a Prompt or a list of them, not list"),
            ("prompts_of_the_test:OTHER", 1, "support:v12"),
        ],
    )
    def test_what_cannot_be_is_one_line(
        self, place: str, code: int, said: str, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.code(folder, monkeypatch, 'TEXT = "hi"\nEMPTY = []\nOTHER = Prompt("support", "v12", "Another text.")\n')
        done = cli("lock", "--from", place)
        assert (done.code, done.out) == (code, "")
        assert said in done.err
        assert not (folder / "prompts.lock").exists()

    def test_the_command_that_a_refusal_names_shows_what_changed(
        self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.code(folder, monkeypatch, 'P = Prompt("our faq", "v1", "Answer.")\n')
        place = "prompts_of_the_test:P"
        assert cli("lock", "--from", place).code == 0
        self.code(folder, monkeypatch, 'P = Prompt("our faq", "v1", "Other.")\n')
        _, _, err = cli("lock", "--from", place)
        command = "otel-agent prompts diff 'our faq:v1' --from"
        assert f"see what changed with `{command} {place}`" in err
        with pytest.raises(InvalidSetting, match=f"see what changed with `{command} MODULE:ATTRIBUTE`"):
            ReleaseSelector(sources_of(current(), [Prompt("our faq", "v1", "Other.")]))
        code, out, _ = cli(*shlex.split(command)[2:], place)
        assert code == 1
        assert Prompt("our faq", "v1", "Answer.").id in out
        assert "\n  git log -p -- prompts_of_the_test.py\n" in out
        assert cli("diff", "our faq:v1", "support:v13", "--from", place).code == 1

    def test_a_module_that_fails_is_told(self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.code(folder, monkeypatch, "1 / 0\n")
        code, _, err = cli("lock", "--from", "prompts_of_the_test:P")
        assert code == 2
        assert "cannot be imported: ZeroDivisionError: division by zero" in err


class TestReset:
    def test_goes_back_to_the_configuration_and_its_later_changes(self, cli: Run, folder: Path) -> None:
        cli("activate", "v14", "--who", "anna")
        before = tree(folder)
        found = cli("reset", "--dry-run", "--json").json
        assert (found["changed"], found["after"]["active"]) == (False, "support:v13")
        assert tree(folder) == before
        code, out, _ = cli("reset", "support", "--who", "ben", "--why", "the file has it now")
        assert (code, released(folder)) == (0, None)
        assert re.search(r"active +support:v13 +\(was support:v14\)", out)
        last, first = cli("history", "--json").json["changes"]
        assert (last["what"], last["before"], last["after"]) == ("reset", "support:v14", "support:v13")
        assert (last["who"], last["why"], first["what"]) == ("ben", "the file has it now", "activated")
        (folder / "otel-agent.yaml").write_text('prompts: {active: "support:v12"}')
        assert cli("list", "--json").json["releases"][0]["active"] == "support:v12"

    def test_takes_away_what_only_repeats_the_configuration_and_leaves_other_prompts(
        self, cli: Run, folder: Path
    ) -> None:
        second_prompt(folder)
        override = {"support": {"active": "support:v13", "rollback": "support:v12"}, "sales": {"active": "sales:v1"}}
        _write(folder / "otel-agent.override.json", json.dumps({"prompts": override}))
        assert cli("reset", "support", "--json").json["changed"] is True
        assert list(ReleaseFiles(folder / "otel-agent.override.json").read().releases) == ["sales"]

    def test_where_nothing_is_released_nothing_changes(self, cli: Run, folder: Path) -> None:
        cli("activate", "v14")
        cli("reset")
        before = tree(folder)
        code, out, _ = cli("reset")
        assert code == 0
        assert "nothing to change" in out
        assert tree(folder) == before

    def test_with_nothing_to_go_back_to_it_is_refused(self, cli: Run, folder: Path) -> None:
        _write(folder / "otel-agent.override.json", '{"prompts": {"other": {"active": "other:v1"}}}')
        before = tree(folder)
        assert cli("reset", "other").code == 1
        assert tree(folder) == before


class TestHistory:
    def test_has_every_change_the_newest_first(self, cli: Run) -> None:
        cli("canary", "v14", "--percent", "10", "--who", "anna")
        cli("activate", "v14", "--who", "ben", "--why", "good numbers")
        found = cli("history", "--json").json["changes"]
        assert [(change["what"], change["who"], change["percent"]) for change in found] == [
            ("activated", "ben", None),
            ("rollout_changed", "anna", 10),
        ]
        lines = cli("history").out.splitlines()
        assert re.search(r"support +activated +support:v13 +support:v14 +- +ben +good numbers", lines[2])
        assert re.search(r"rollout_changed .* 10 % +anna", lines[3])
        assert len(cli("history", "--json", "--limit", "1").json["changes"]) == 1
        assert cli("history", "sales").out == "Nothing has been changed of sales.\n"

    def test_without_any(self, cli: Run) -> None:
        assert cli("history").out == "Nothing has been changed.\n"

    def test_a_line_that_is_none_is_told_with_its_number(self, cli: Run, folder: Path) -> None:
        cli("activate", "v14")
        with (folder / "otel-agent.history.jsonl").open("a") as file:
            file.write("half of a li")
        assert "line 2 of otel-agent.history.jsonl is none" in cli("history").err

    def test_is_shown_while_something_else_is_broken(self, cli: Run, folder: Path) -> None:
        cli("activate", "v14")
        (folder / "otel-agent.override.json").write_text("{")
        code, out, err = cli("history", "--json")
        assert (code, json.loads(out)["changes"][0]["after"]) == (0, "support:v14")
        assert re.match("warning: .*otel-agent.override.json", err)


CHANGES = [("activate", "v14"), ("canary", "v14", "--percent", "5"), ("rollback",), ("rollback", "support:v12")]
changes = pytest.mark.parametrize("command", CHANGES, ids=" ".join)


class TestEveryChange:
    @changes
    def test_a_dry_run_says_what_it_would_do_and_leaves_all_as_it_is(
        self, command: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        before = tree(folder)
        code, out, _ = cli(*command, "--dry-run")
        assert (code, out.splitlines()[-1]) == (0, "A dry run: nothing was changed.")
        found = cli(*command, "--dry-run", "--json").json
        assert (found["dry_run"], found["changed"]) == (True, False)
        assert found["before"] != found["after"]
        assert tree(folder) == before

    @changes
    def test_a_broken_override_file_is_one_line_and_stays(
        self, command: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        (folder / "otel-agent.override.json").write_text("{")
        before = tree(folder)
        code, out, err = cli(*command)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "take it away to go back to the configuration" in err
        assert tree(folder) == before

    def test_the_user_of_the_system_is_who_does_it(self, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", "eva")
        cli("activate", "v14")
        assert cli("history", "--json").json["changes"][0]["who"] == "eva"

    def test_a_system_without_a_user_asks_for_a_name(self, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown() -> str:
            raise OSError("no username")

        monkeypatch.setattr("getpass.getuser", unknown)
        code, _, err = cli("activate", "v14")
        assert code == 2
        assert "--who NAME" in err
        assert cli("activate", "v14", "--who", "anna").code == 0

    def test_another_writer_is_waited_for_and_named(
        self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ReleaseFiles.change, "__kwdefaults__", {"why": None, "dry_run": False, "seconds": 0.05})
        with locked(folder / "otel-agent.override.json"):
            code, _, err = cli("activate", "v14")
        assert code == 1
        assert ".otel-agent.override.json.lock" in err

    def test_an_interrupt_is_130_and_leaves_the_old_state(self, folder: Path) -> None:
        command = ["otel-agent", "prompts", "activate", "v14"]
        before = released(folder)
        with (
            locked(folder / "otel-agent.override.json"),
            subprocess.Popen(
                command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process,
        ):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(3)  # it waits for the lock
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err
        assert released(folder) == before


class TestConfiguration:
    def test_may_be_named(self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "elsewhere").mkdir()
        monkeypatch.chdir(folder / "elsewhere")
        assert cli("activate", "v14", "--config", str(folder / "otel-agent.yaml")).code == 0
        assert released(folder) is not None
        monkeypatch.setenv("OTEL_AGENT_CONFIG", str(folder / "otel-agent.yaml"))
        assert cli("list", "--json").json["releases"][0]["active"] == "support:v14"

    def test_one_that_is_not_there_is_one_line(self, cli: Run) -> None:
        code, _, err = cli("list", "--config", "none.yaml")
        assert (code, err.count("\n")) == (1, 1)
        assert "none.yaml" in err

    def test_every_problem_of_one_is_told(self, cli: Run, folder: Path) -> None:
        (folder / "otel-agent.yaml").write_text("prompts:\n  actve: support:v13\n  rollbak: support:v12\n")
        code, _, err = cli("list")
        assert code == 1
        assert "active" in err
        assert "rollback" in err

    def test_the_override_file_may_stand_elsewhere(
        self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "run").mkdir()
        monkeypatch.setenv("OTEL_AGENT_PROMPTS_OVERRIDE", str(folder / "run" / "o.json"))
        cli("activate", "v14")
        assert {path.name for path in (folder / "run").iterdir()} == {
            ".o.json.lock",
            "o.json",
            "otel-agent.history.jsonl",
        }

    def test_openfeature_need_not_be_installed(self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "openfeature", None)
        (folder / "otel-agent.yaml").write_text('prompts: {active: "support:v13", source: openfeature}')
        assert cli("list").code == 0


@pytest.mark.parametrize("command", prompts.list_commands(click.Context(prompts)))
def test_help_has_json_config_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", command, "--help"]) == 0
    out = capsys.readouterr().out
    assert all(f" {option} " in out for option in ("--json", "--config"))
    assert "Exit codes: 0 " in out
    if command in ("activate", "canary", "rollback", "reset", "lock"):
        assert all(f" {option} " in out for option in ("--dry-run", "--who"))


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "completed"),
        [
            ("prompts act", "activate"),
            ("prompts show sup", "support support:v12 support:v13 support:v14"),
            ("prompts activate support : v1", "v12 v13 v14"),
            ("prompts activate support :", "v12 v13 v14"),
            ("prompts diff support : v13 support : v14", "v14"),
            ("prompts history s", "support"),
            ("prompts activate other : v", ""),
        ],
    )
    def test_of_bash_knows_names_and_versions(self, words: str, completed: str, folder: Path) -> None:
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("there is no bash here")
        script = (
            f'eval "$(otel-agent completion bash)"; COMP_WORDS=(otel-agent {words}); COMP_CWORD={len(words.split())}; '
            '_otel_agent_completion otel-agent; echo "${COMPREPLY[*]}"'
        )
        done = run([bash, "-c", script], folder)
        assert (done.stdout.strip(), done.stderr) == (completed, "")

    def test_in_disorder_offers_what_can_be_read(self, folder: Path) -> None:
        (folder / "otel-agent.yaml").write_text("prompts: [")
        words = {"COMP_WORDS": "otel-agent prompts show s", "COMP_CWORD": "3"}
        variable = "_".join(["", "OTEL", "AGENT", "COMPLETE"])
        done = run(["otel-agent"], folder, **words, **{variable: "bash_complete"})
        found = [line.partition(",")[2] for line in done.stdout.splitlines()]
        assert (done.returncode, done.stderr) == (0, "")
        assert found == ["support", "support:v12", "support:v13", "support:v14"]

    @pytest.mark.parametrize(
        ("shell", "current", "lines"),
        [
            ("bash", "3", ["plain,v12", "plain,v13", "plain,v14"]),
            ("zsh", "3", ["plain\nsupport\\:v12\nrollback", "plain\nsupport\\:v13\nactive", "plain\nsupport:v14\n_"]),
            ("fish", "support:v", ["plain,support:v12\trollback", "plain,support:v13\tactive", "plain,support:v14"]),
        ],
    )
    def test_each_shell_gets_the_same_words(
        self, shell: str, current: str, lines: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COMP_WORDS", "otel-agent prompts show support:v")
        monkeypatch.setenv("COMP_CWORD", current)
        kind = get_completion_class(shell)
        assert kind is not None
        complete = kind(app, {}, "otel-agent", "_OTEL_AGENT_COMPLETE")
        assert complete.complete() == "\n".join(lines)
        words = [item.value for item in complete.get_completions(["prompts", "show"], "")]
        assert words == ["support", "support:v12", "support:v13", "support:v14"]


def test_texts_of_the_file_itself_are_known_too(cli: Run, folder: Path) -> None:
    (folder / "otel-agent.yaml").write_text(
        'prompts: {active: "sales:v2", texts: {sales: {v1: "Sell.", v2: "Sell more."}}}'
    )
    found = {row["version"]: row for row in cli("list", "sales", "--json").json["versions"]}
    assert found["v2"]["id"] == Prompt("sales", "v2", "Sell more.").id
    assert found["v1"]["text"] == str(folder / "otel-agent.yaml")
    assert cli("show", "sales").out.endswith("\n\nSell more.\n")
    assert "nothing is released of 'support'" in cli("show", "support").err
    cli("lock")
    (folder / "otel-agent.yaml").write_text('prompts: {active: "sales:v1", texts: {sales: {v1: "Sell it."}}}')
    assert "git log -p -- otel-agent.yaml" in cli("diff", "sales:v1").out
    assert "changed: prompts.lock records sales:v1:" in cli("show", "sales:v1").out
    assert "locked by " in cli("show", "support:v12").out


def test_a_variable_of_this_environment_is_noted_at_a_change(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "support:v12")
    assert "OTEL_AGENT_PROMPT_SUPPORT=support:v12 is set here" in cli("activate", "v14").err
