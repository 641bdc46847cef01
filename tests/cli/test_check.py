"""The gate of releases: what `prompts activate` and `canary` refuse, and what `otel-agent check` says at any time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_agent import Prompt
from otel_agent.cli import main
from otel_agent.stores.release_writer import ReleaseFiles
from tests.support.ready import READY, pass_golden
from tests.support.said import Run, Said

TEXTS = {"v12": "Answer.", "v13": "Answer using KB.", "v14": "Answer using KB, at length."}
V14 = Prompt("support", "v14", TEXTS["v14"])
PROMPTS = 'prompts: {active: "support:v13", rollback: "support:v12"}\n'
TESTING, BUDGETS, SEEN = READY.splitlines(keepends=True)
RUN = "`otel-agent golden run --prompt support:v14`"


ALL_MISSING = """\
otel-agent prompts: golden tasks: there are none; name them as testing.golden_tasks or testing.files; \
`otel-agent golden add --help` writes one
otel-agent prompts: budgets: no limit is set, and the golden runs were under none; set budgets.max_steps, \
max_tool_calls and max_tokens in otel-agent.yaml, or a Budget(...) in code
otel-agent prompts: rollback: the text of support:v11, which it would lead to, is not known here; put it back; \
`otel-agent prompts lock --from MODULE:PROMPTS` records one that is in code
otel-agent prompts: telemetry: goes nowhere: nothing here names a place for it; set OTEL_EXPORTER_OTLP_ENDPOINT as \
where it runs, or observability.history: true in otel-agent.yaml
otel-agent prompts: nothing was changed; --force --why TEXT does it in spite of that
"""
CHECKED = """\
support:v13, active: not ready
  ok       text          prompts/support/v13.md, not locked
  ok       golden tasks  1 task in 3 runs of app:answer passed, TIME UTC by golden
  ok       budgets       max_steps in otel-agent.yaml
  ok       rollback      leads to support:v12
  missing  telemetry     goes nowhere: nothing here names a place for it
                         set OTEL_EXPORTER_OTLP_ENDPOINT as where it runs, or observability.history: true in \
otel-agent.yaml
"""
NO_PROMPT = "note: no prompt is configured: no otel-agent.yaml, or it releases none; --config FILE names one\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with three versions, none of which has been checked."""
    (tmp_path / "prompts" / "support").mkdir(parents=True)
    for version, text in TEXTS.items():
        (tmp_path / "prompts" / "support" / f"{version}.md").write_text(f"{text}\n")
    (tmp_path / "otel-agent.yaml").write_text(PROMPTS + READY)
    monkeypatch.chdir(tmp_path)
    for name in ("OTEL_AGENT_CONFIG", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def typed(*arguments: str) -> Said:
        code = main([*arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Said(code, out, err)

    return typed


def write(folder: Path, *parts: str) -> None:
    (folder / "otel-agent.yaml").write_text("".join(parts))


def passed(folder: Path, *refs: str, **more: Any) -> None:
    pass_golden(folder / "otel-agent.yaml", *(refs or ("support:v14",)), **more)


def missing(cli: Run) -> dict[str, str]:
    """Gives what the gate misses of v14, by item, and holds it against what `check` says."""
    done = cli("prompts", "canary", "support:v14", "--percent", "5", "--dry-run", "--json")
    found = dict(each.split(": ", 1) for each in done.json.get("missing", []))
    checked = cli("check", "support:v14", "--json")
    (one,) = checked.json["prompts"]
    assert {item["name"] for item in one["items"] if not item["ready"]} == set(found)
    assert (done.code, checked.code) == ((1, 1) if found else (0, 0))
    assert all(item["mend"] for item in one["items"] if not item["ready"])
    return found


COMMANDS = [("activate", "support:v14"), ("canary", "support:v14", "--percent", "10")]
releases = pytest.mark.parametrize("command", COMMANDS, ids=["activate", "canary"])


class TestTheGate:
    @releases
    def test_refuses_with_all_that_is_missing_and_how_to_mend_it(
        self, command: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        write(folder, 'prompts: {active: "support:v11"}')
        code, out, err = cli("prompts", *command)
        assert (code, out) == (1, "")
        assert err == ALL_MISSING
        assert not (folder / "otel-agent.override.json").exists()
        assert len(cli("prompts", *command, "--json").json["missing"]) == 4

    @releases
    def test_lets_what_is_ready_through(self, command: tuple[str, ...], cli: Run, folder: Path) -> None:
        passed(folder)
        code, out, err = cli("prompts", *command, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["change"] | {"id": V14.id, "overridden": []} == json.loads(out)["change"]

    @releases
    def test_force_and_a_reason_go_past_it_and_the_history_has_what_was_overridden(
        self, command: tuple[str, ...], cli: Run, folder: Path
    ) -> None:
        assert cli("prompts", *command, "--force").code == 2
        code, _, err = cli("prompts", *command, "--force", "--why", "an emergency")
        assert code == 0
        objection = f"golden tasks: {V14.id} has never been checked; {RUN}"
        assert f"note: {objection}" in err
        (change,) = cli("prompts", "history", "--json").json["changes"]
        assert (change["id"], change["why"], change["overridden"]) == (V14.id, "an emergency", [objection])
        assert " by force " in cli("prompts", "history").out
        assert json.loads((folder / "otel-agent.history.jsonl").read_text())["overridden"] == [objection]

    def test_never_stands_before_a_rollback_or_a_reset(self, cli: Run, folder: Path) -> None:
        write(folder, PROMPTS)
        cli("prompts", "activate", "support:v14", "--force", "--why", "an emergency")
        assert cli("prompts", "rollback", "support:v12").code == 0
        assert cli("prompts", "reset").code == 0

    def test_does_not_stand_before_what_nobody_gets_anew(self, cli: Run, folder: Path) -> None:
        force = ("--force", "--why", "an emergency")
        assert cli("prompts", "canary", "support:v14", "--percent", "20", *force).code == 0
        for more in (("--percent", "50"), ("--percent", "5", "--by", "user"), ("--percent", "5", "--tenant", "acme")):
            assert cli("prompts", "canary", "support:v14", *more, "--dry-run").code == 1
        assert cli("prompts", "canary", "support:v14", "--percent", "5").code == 0
        assert cli("prompts", "activate", "support:v13").code == 0, "it is active: the canary ends"
        cli("prompts", "canary", "support:v14", "--percent", "20", *force)
        assert cli("prompts", "canary", "support:v14", "--percent", "0").code == 0

    def test_of_another_text_under_the_version_asks_again(self, cli: Run, folder: Path) -> None:
        passed(folder)
        assert not missing(cli)
        (folder / "prompts" / "support" / "v14.md").write_text("Another text.\n")
        assert set(missing(cli)) == {"golden tasks"}


class TestGoldenTasks:
    def test_a_check_that_is_not_a_pass_is_told(self, cli: Run, folder: Path) -> None:
        passed(folder)
        passed(folder, result="regression")
        says = f"the last check of {V14.id} came to regression: 1 task in 3 runs of app:answer, "
        assert re.match(rf"{re.escape(says)}20\d\d-\d\d-\d\d \d\d:\d\d UTC by golden; ", missing(cli)["golden tasks"])
        passed(folder, result="inconclusive")
        assert "came to inconclusive" in missing(cli)["golden tasks"]

    def test_a_pass_of_another_version_does_not_count(self, cli: Run, folder: Path) -> None:
        passed(folder, "support:v12", "support:v13")
        assert missing(cli) == {"golden tasks": f"{V14.id} has never been checked; {RUN}"}

    def test_a_pass_of_another_task_set_does_not_count(self, cli: Run, folder: Path) -> None:
        passed(folder)
        more = TESTING.replace("finish}]", "finish}, {id: refund, expect_stop_reason: finish}]")
        write(folder, PROMPTS, more, BUDGETS, SEEN)
        said = missing(cli)["golden tasks"]
        assert re.match(
            rf"{V14.id} passed the task set \w{{12}} \(1 task\), .*; now it is \w{{12}} \(2 tasks\); ", said
        )

    def test_a_pass_of_another_agent_does_not_count(self, cli: Run, folder: Path) -> None:
        passed(folder)
        write(folder, PROMPTS, TESTING.replace("results:", 'agent: "bot:ask", results:'), BUDGETS, SEEN)
        assert missing(cli) == {
            "golden tasks": f"{V14.id} has never been checked by bot:ask, only by app:answer; {RUN}"
        }

    def test_a_damaged_line_of_the_ledger_is_told_where_a_check_is_missing(self, cli: Run, folder: Path) -> None:
        (folder / "results.jsonl").write_text('{"prompt_id": "supp\n')
        assert f"({folder / 'results.jsonl'}:1: the line = " in missing(cli)["golden tasks"]
        passed(folder)
        assert not missing(cli)

    def test_a_ledger_that_cannot_be_read_is_told(self, cli: Run, folder: Path) -> None:
        (folder / "results.jsonl").mkdir()
        assert "must be a file that can be read" in missing(cli)["golden tasks"]

    def test_tasks_that_are_wrong_are_told(self, cli: Run, folder: Path) -> None:
        write(folder, PROMPTS, TESTING.replace("results:", "files: [tasks.yaml], results:"), BUDGETS, SEEN)
        assert "must be files that are there" in missing(cli)["golden tasks"]

    def test_a_prompt_that_lives_in_code_is_known_by_the_lock(self, cli: Run, folder: Path) -> None:
        passed(folder)
        cli("prompts", "lock")
        for version in TEXTS:
            (folder / "prompts" / "support" / f"{version}.md").unlink()
        assert not missing(cli)
        (folder / "prompts.lock").unlink()
        write(folder, PROMPTS.replace("v12", "v14"), READY)
        assert missing(cli)["golden tasks"] == (
            "the text of support:v14 is not known here; "
            "`otel-agent prompts lock --from MODULE:PROMPTS` records one that is in code"
        )


class TestTheOthers:
    @pytest.mark.parametrize(
        "budgets",
        ["max_usd: 1", "agents: {bot: {max_seconds: 9}}", "max_calls_per_tool: {a: 1}"],
    )
    def test_any_limit_is_one(self, budgets: str, cli: Run, folder: Path) -> None:
        write(folder, PROMPTS, TESTING, f"budgets: {{{budgets}}}\n", SEEN)
        passed(folder)
        assert not missing(cli)

    def test_what_is_no_limit_is_none(self, cli: Run, folder: Path) -> None:
        write(folder, PROMPTS, TESTING, "budgets: {warn_at: 0.5}\n", SEEN)
        passed(folder)
        assert set(missing(cli)) == {"budgets"}

    def test_limits_in_code_are_seen_in_the_golden_runs(self, cli: Run, folder: Path) -> None:
        write(folder, PROMPTS, TESTING, SEEN)
        passed(folder, limits=("steps", "tokens"))
        assert not missing(cli)
        assert "every golden run was under limits of steps, tokens" in cli("check", "support:v14").out

    @pytest.mark.parametrize(
        ("variables", "seen", "ready"),
        [
            ({}, "", False),
            ({}, "observability: {console: auto}\n", False),
            ({}, "observability: {console: true}\n", True),
            ({}, "observability: {history: runs}\n", True),
            ({"OTEL_AGENT_HISTORY": "true"}, "", True),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "", True),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, "", True),
            ({"OTEL_TRACES_EXPORTER": "console"}, "", True),
            ({"OTEL_TRACES_EXPORTER": "none"}, "", False),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, "", False),
            ({"OTEL_CONFIG_FILE": "sdk.yaml"}, "", True),
        ],
        ids=str,
    )
    def test_telemetry_must_go_somewhere(
        self,
        variables: dict[str, str],
        seen: str,
        ready: bool,
        cli: Run,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write(folder, PROMPTS, TESTING, BUDGETS, seen)
        passed(folder)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert set(missing(cli)) == (set() if ready else {"telemetry"})

    def test_a_secret_of_the_endpoint_is_not_shown(
        self, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@127.0.0.1:9?key=secret")
        out = cli("check").out
        assert "***@127.0.0.1:9" in out
        assert "secret" not in out

    def test_without_anything_released_there_is_no_way_back(self, cli: Run, folder: Path) -> None:
        write(folder, READY)
        passed(folder)
        assert "nothing is released of support that one could go back to" in missing(cli)["rollback"]


class TestCheck:
    def test_says_what_is_there_and_what_is_not(self, cli: Run, folder: Path) -> None:
        write(folder, PROMPTS, TESTING, BUDGETS)
        passed(folder, "support:v13")
        code, out, err = cli("check")
        assert (code, err) == (1, "")
        assert re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d", "TIME", out) == CHECKED

    def test_is_0_where_all_is_ready(self, cli: Run, folder: Path) -> None:
        passed(folder, "support:v13")
        code, out, _ = cli("check")
        assert (code, out.splitlines()[0]) == (0, "support:v13, active: ready")

    def test_checks_the_canary_too(self, cli: Run, folder: Path) -> None:
        passed(folder, "support:v13")
        cli("prompts", "canary", "support:v14", "--percent", "10", "--force", "--why", "an emergency")
        found = {each["prompt"]: each for each in cli("check", "support", "--json").json["prompts"]}
        assert {ref: each["ready"] for ref, each in found.items()} == {"support:v13": True, "support:v14": False}
        assert (found["support:v14"]["id"], found["support:v14"]["released"]) == (V14.id, "canary 10 %")

    def test_of_the_active_version_without_a_rollback_says_so(self, cli: Run, folder: Path) -> None:
        write(folder, 'prompts: {active: "support:v13"}\n', READY)
        passed(folder, "support:v13")
        code, out, _ = cli("check", "v13")
        assert code == 1
        assert "  missing  rollback      support has none\n" in out

    @pytest.mark.parametrize(
        ("file", "text", "says"),
        [
            ("prompts/support/v14.md", "---\nownr: a\n---\nHi.\n", "ownr"),
            ("otel-agent.yaml", PROMPTS + READY + "prics: 3\n", "prics"),
            ("otel-agent.override.json", "{", "the text"),
        ],
    )
    def test_what_keeps_a_process_from_loading_is_missing(
        self, file: str, text: str, says: str, cli: Run, folder: Path
    ) -> None:
        passed(folder, "support:v13")
        (folder / file).write_text(text)
        found = cli("check", "v13", "--json").json["prompts"][0]["items"]
        item = next(each for each in found if not each["ready"])
        assert item["name"] == "text"
        assert says in item["says"]

    def test_without_a_prompt_says_so(
        self, tmp_path: Path, cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        code, out, err = cli("check")
        assert (code, out) == (1, "")
        assert err == NO_PROMPT
        assert cli("check", "--json").json == {"ready": False, "prompts": []}

    def test_of_several_versions_and_none_released_says_so(self, cli: Run, folder: Path) -> None:
        write(folder, READY)
        assert "nothing is released of support: `otel-agent check support:VERSION`" in cli("check").err

    def test_a_version_without_a_text_leads_to_the_versions_that_there_are(self, cli: Run, folder: Path) -> None:
        said = cli("check", "support:v99").out
        assert "`otel-agent prompts list` shows what there is" in said
        assert "config check" not in said

    @pytest.mark.parametrize("wrong", [("a:b:c",), ("--config", "none.yaml")])
    def test_wrong_usage_is_one_line(self, wrong: tuple[str, ...], cli: Run) -> None:
        code, out, _ = cli("check", *wrong)
        assert (code in (1, 2), out) == (True, "")

    def test_changes_nothing(self, cli: Run, folder: Path) -> None:
        cli("check")
        assert not (folder / "results.jsonl").exists()
        assert not ReleaseFiles(folder / "otel-agent.override.json").override.exists()
