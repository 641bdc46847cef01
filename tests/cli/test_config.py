"""`otel-agent config`: what holds and why, everything that is wrong at once, and the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_agent.cli import main
from otel_agent.config import VARIABLES
from otel_agent.config.declared import SETTINGS
from otel_agent.config.schema import json_schema
from tests.config.test_file import FROM_THE_ISSUE
from tests.support.offline import run


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for setting in VARIABLES:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("OTEL_AGENT_PROMPT_SUPPORT", raising=False)


def written(text: str, name: str = "otel-agent.yaml") -> str:
    Path(name).write_text(text, "utf-8")
    return name


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["config", *arguments]) == status
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out if status == 0 or out else err


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    document = json.loads(printed(capsys, "show", "--json", *arguments))
    return {row["name"]: row for row in document["settings"]}


def test_the_list_of_commands_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_show_names_each_value_and_where_it_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(FROM_THE_ISSUE)
    monkeypatch.setenv("OTEL_AGENT_MODE", "observe")
    lines = [line.split() for line in printed(capsys, "show").splitlines()]
    assert lines[0] == ["file:", str(Path.cwd() / "otel-agent.yaml")]
    assert ["prompts.active", "support:v13", "file"] in lines
    assert ["testing.golden_tasks[0].expect_stop_reason", "finish", "file"] in lines
    assert ["budgets.max_steps", "25", "file"] in lines
    assert ["observability.mode", "observe", "environment"] in lines
    assert ["observability.threads", "true", "default"] in lines
    assert not any(line[0] == "budgets.max_usd" for line in lines)
    assert ["budgets.max_usd", "-", "default"] in [
        line.split() for line in printed(capsys, "show", "--all").splitlines()
    ]


def test_show_as_json_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown(capsys)
    assert set(rows) == {each.name for each in SETTINGS if "." in each.name and "<" not in each.name}
    assert {row["source"] for row in rows.values()} == {"default"}
    written(
        "prices: {our-model: {input: 0.25, output: 2}}\nalerts: {token_spike: 2}\nbudgets: {agents: {a: {max_usd: 1}}}"
    )
    rows = shown(capsys)
    assert rows["prices.our-model.input"]["value"] == "0.25"
    assert rows["alerts.token_spike"] == {
        "name": "alerts.token_spike",
        "value": 2,
        "hidden": False,
        "source": "file",
        "variable": None,
    }
    assert rows["budgets.agents.a.max_usd"]["value"] == "1"
    assert rows["observability.mode"]["variable"] == "OTEL_AGENT_MODE"


@pytest.mark.parametrize("form", [[], ["--json"], ["--all"]])
def test_show_hides_secrets_and_prompts(
    form: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(
        "prompts: {texts: {support: {v1: SECRET}}}\nobservability: {hash_key: SECRET}\n"
        "testing: {golden_tasks: [{id: a, expect_stop_reason: finish, input: SECRET}, {id: b, input: {q: SECRET},"
        " expect_stop_reason: finish, output: {contains: [SECRET], regex: SECRET, json_schema: {const: SECRET}}}]}"
    )
    out = printed(capsys, "show", *form)
    assert "prompts.texts.support.v1" in out
    assert "observability.hash_key" in out
    assert "SECRET" not in out
    monkeypatch.setenv("OTEL_AGENT_HASH_KEY", "SECRET")
    assert "SECRET" not in printed(capsys, "show", *form)


def test_show_of_a_broken_file_tells_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written("budgets: {max_steps: many}\nx: 1")
    assert len(printed(capsys, "show", status=1).splitlines()) == 2
    written("")
    monkeypatch.setenv("OTEL_AGENT_THREADS", "perhaps")
    assert printed(capsys, "show", status=1).startswith("OTEL_AGENT_THREADS = 'perhaps': must be true or false")


def test_check_finds_everything_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    written("budgets:\n  max_stpes: 5\n  max_tokens: -1\n", "broken.yaml")
    monkeypatch.setenv("OTEL_AGENT_MODE", "obseve")
    assert printed(capsys, "check", "broken.yaml", status=1).splitlines() == [
        "broken.yaml:2:3: budgets.max_stpes: no such key (did you mean max_steps?)",
        "broken.yaml:3:15: budgets.max_tokens = -1: must be a whole number from 0 to 1,000,000,000,000",
        "error: OTEL_AGENT_MODE = 'obseve': must be one of enforce, observe (did you mean observe?)",
        "broken.yaml: 3 errors",
    ]
    found = json.loads(printed(capsys, "check", "broken.yaml", "--json", status=1))
    assert (found["ok"], found["file"]) == (False, "broken.yaml")
    assert [(each["line"], each["column"], each["field"]) for each in found["problems"]] == [
        (2, 3, "budgets.max_stpes"),
        (3, 15, "budgets.max_tokens"),
    ]


def test_a_version_without_a_text_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    written(FROM_THE_ISSUE)
    out = printed(capsys, "check")
    assert "note: prompts.active = support:v13: it has no text" in out
    assert "note: prompts.rollback = support:v12: it has no text" in out
    assert out.endswith("otel-agent.yaml: no errors\n")
    folder = Path("prompts/support")
    folder.mkdir(parents=True)
    for version in ("v12", "v13"):
        (folder / f"{version}.md").write_text("Answer using KB.")
    assert printed(capsys, "check") == f"{Path.cwd()}/otel-agent.yaml: no errors\n"
    assert json.loads(printed(capsys, "check", "--json"))["notes"] == []


def test_check_finds_thresholds_that_no_alert_has_or_can_take(capsys: pytest.CaptureFixture[str]) -> None:
    written("alerts: {token_spike_ration: 2, error_share: 1.5, tool_call_spike_ratio: 3}")
    errors = [line for line in printed(capsys, "check", status=1).splitlines() if line.startswith("error: ")]
    assert errors[0].startswith("error: alerts = 'token_spike_ration': must be one of ")
    assert errors[1:] == ["error: alerts.error_share = 1.5: must be a share from 0 to 1"]


def test_check_of_prompts_that_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    written('prompts: {active: "support:v1", texts: {support: {v1: Answer.}}}')
    folder = Path("prompts/support")
    folder.mkdir(parents=True)
    (folder / "v1.md").write_text("Another text.")
    assert "error: " in printed(capsys, "check", status=1)


def prompt_file(ref: str, text: str = "Answer.") -> None:
    name, version = ref.split(":")
    path = Path("prompts") / name / f"{version}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_check_finds_every_mistake_of_the_prompts_beside_those_of_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written('prompts: {active: "support:v1"}\nbudgets: {max_stpes: 1}\n')
    prompt_file("support:v1")
    prompt_file("support:v2", "---\nownr: a\n---\nHi.")
    prompt_file("sales:v1", "---\nowner: [\n---\nHi.")
    Path("prompts.lock").write_text(
        json.dumps({"id": "support:v1:000000000000", "who": "anna", "when": "2026-11-27T09:30:00Z"}) + "\n"
    )
    Path("otel-agent.override.json").write_text('{"prompts":\n  {]}')
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "support:v1:111111111111")
    monkeypatch.setenv("OTEL_AGENT_MODE", "obseve")
    document = json.loads(printed(capsys, "check", "--json", status=1))
    assert [each["field"] for each in document["problems"]] == ["budgets.max_stpes"]
    for part in (
        "OTEL_AGENT_MODE = 'obseve'",
        "prompts/sales/v1.md: line ",
        "prompts/support/v2.md: front matter = 'ownr'",
        "prompts = 'support:v1': must be the text that prompts.lock records",
        "OTEL_AGENT_PROMPT_SUPPORT = 'support:v1:111111111111'",
        "otel-agent.override.json: the text",
    ):
        (error,) = [each for each in document["errors"] if part in each]
    assert "line 2 column 4" in error
    assert len(document["errors"]) == 6


def test_check_finds_a_lock_that_is_none_and_a_folder_that_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("prompts.lock").write_text("<<<<<<< HEAD\n")
    monkeypatch.setenv("OTEL_AGENT_PROMPTS_FOLDER", "nowhere")
    monkeypatch.setenv("OTEL_AGENT_PROMPTS_OVERRIDE", "away/o.json")
    lines = printed(capsys, "check", status=1).splitlines()
    assert [line for line in lines if "prompts.lock:1" in line]
    assert [line for line in lines if "nowhere" in line]
    assert [line for line in lines if "its folder is away" in line]
    assert lines[-1] == "no otel-agent.yaml: 3 errors"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_AGENT_PROMPT_SUPPORT", "support:v9", "did you mean support:v1?"),
        ("OTEL_AGENT_PROMPT_SUPORT", "suport:v1", "did you mean support?"),
        ("OTEL_AGENT_PROMPT_GREETING", "greeting:v1", "must be a registered prompt: support"),
    ],
)
def test_a_variable_whose_version_may_be_in_code_is_a_note(
    variable: str, value: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_file("support:v1")
    monkeypatch.setenv(variable, value)
    (note,) = (line for line in printed(capsys, "check").splitlines() if variable in line)
    assert note.startswith(f"note: {variable} = '{value}'")
    assert said in note
    assert note.endswith("unless code has its text, configure() refuses to start")


def test_a_file_that_is_no_prompt_is_a_note_where_nothing_says_that_it_should_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_file("x:y", "---\ntitle: A\n---\nText.")
    (note,) = (line for line in printed(capsys, "check").splitlines() if "title" in line)
    assert note.startswith("note: ")
    assert "it is left out" in note
    monkeypatch.setenv("OTEL_AGENT_PROMPTS_FOLDER", "prompts")
    assert "error: " in printed(capsys, "check", status=1)
    monkeypatch.delenv("OTEL_AGENT_PROMPTS_FOLDER")
    written("budgets: {max_steps: 5}")
    assert "error: " in printed(capsys, "check", status=1)


@pytest.mark.parametrize("value", ["v9", "sales:v1"])
def test_a_variable_that_names_no_version_of_its_prompt_is_an_error(
    value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", value)
    assert f"error: OTEL_AGENT_PROMPT_SUPPORT = '{value}'" in printed(capsys, "check", status=1)


def test_what_takes_the_place_of_the_file_is_shown_and_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written('prompts: {active: "support:v1", texts: {support: {v1: a, v2: b}}}')
    Path("otel-agent.override.json").write_text(
        '{"prompts": {"support": {"active": "support:v2", "canary": {"version": "v3", "percent": 5}}}}'
    )
    out = printed(capsys, "check")
    assert "releases support:v2 in place of prompts.active = support:v1; `otel-agent prompts reset support`" in out
    assert "support:v3: it has no text" in out
    rows = shown(capsys)
    assert (rows["prompts.active"]["value"], rows["prompts.active"]["source"]) == (["support:v1"], "file")
    assert (rows["prompts.active.support"]["value"], rows["prompts.active.support"]["source"]) == (
        "support:v2",
        "override",
    )
    assert rows["prompts.canary.support"]["value"] == "support:v3, 5 % by conversation"
    Path("otel-agent.override.json").unlink()
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "support:v2")
    row = shown(capsys)["prompts.active.support"]
    assert (row["value"], row["source"], row["variable"]) == ("support:v2", "environment", "OTEL_AGENT_PROMPT_SUPPORT")
    monkeypatch.setenv("OTEL_AGENT_PROMPT_SUPPORT", "v2")
    assert "OTEL_AGENT_PROMPT_SUPPORT" in printed(capsys, "show", status=1)


def test_without_a_file_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "check") == "no otel-agent.yaml: no errors\n"
    assert printed(capsys, "show").startswith("file: none; every setting has its default")


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist" in printed(capsys, "check", "nowhere.yaml", status=2)
    monkeypatch.setenv("OTEL_AGENT_CONFIG", "nowhere.yaml")
    assert "error: OTEL_AGENT_CONFIG = 'nowhere.yaml'" in printed(capsys, "check", status=1)


def test_what_a_file_says_cannot_move_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    written('"budg\\u001b[2Jets": {}')
    assert "\x1b" not in printed(capsys, "check", status=1)


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed(capsys, "schema")) == json_schema()


@pytest.mark.parametrize("command", [[], ["show"], ["check"], ["schema"]])
def test_help_says_what_it_does(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(capsys, *command, "--help").splitlines()) > 5


def test_the_shell_completes_commands(tmp_path: Path) -> None:
    done = run(
        ["otel-agent"], tmp_path, _OTEL_AGENT_COMPLETE="bash_complete", COMP_WORDS="otel-agent config ", COMP_CWORD="2"
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == {"show", "check", "schema"}
