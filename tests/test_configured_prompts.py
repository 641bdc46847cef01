"""`configure()` and prompts, each in a process of its own: code, folder and file as one namespace, and the incident."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from otel_agent import InvalidSetting, Prompt, configure
from otel_agent.prompts import Canary, Change, Override, Release, dump_override
from otel_agent.stores.files import replace_text
from tests.support.otlp import OtlpReceiver, attributes
from tests.support.processes import ended, start


def run(source: str, folder: Path, **environment: str) -> Any:
    """Runs a program in a folder and gives what it printed, as JSON."""
    status, out, err = ended(start(f"import json\nos.chdir({str(folder)!r})\n{textwrap.dedent(source)}", **environment))
    assert (status, err) == (0, ""), err
    return json.loads(out)


PROMPTS = """
from otel_agent import InvalidSetting, Prompt, configure
PROMPTS = [Prompt("support", f"v{n}", f"Text of v{n}.") for n in (12, 13, 14)]
def version(name="support", **keywords):
    with agent_run("bot", prompt=name, **keywords) as run:
        return [run.prompt.version, run.variant]
"""


def test_code_folder_and_file_are_one_namespace(tmp_path: Path) -> None:
    (tmp_path / "prompts" / "triage").mkdir(parents=True)
    (tmp_path / "prompts" / "triage" / "v1.md").write_text("---\nowner: ann\n---\nSort it.\n")
    (tmp_path / "otel-agent.yaml").write_text(
        "prompts: {active: support:v13, texts: {billing: {v2: Bill it.}}}\nobservability: {console: false}"
    )
    source = (
        PROMPTS
        + "configure(prompts=PROMPTS)\nprint(json.dumps([version(n) for n in ('support', 'triage', 'billing')]))"
    )
    assert run(source, tmp_path) == [["v13", "active"], ["v1", "active"], ["v2", "active"]]


def test_the_file_of_the_issue_loads_and_selecting_a_version_without_a_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "otel-agent.yaml").write_text(
        'prompts: {active: "support:v13", rollback: "support:v12", require_prompt_id: true}\n'
        "observability: {console: false}"
    )
    source = """
    configure()
    told = []
    for prompt in ("support", None):
        try:
            version(prompt)
        except InvalidSetting as error:
            told.append(str(error))
    print(json.dumps(told))
    """
    without_text, without_prompt = run(PROMPTS + textwrap.dedent(source), tmp_path)
    assert without_text.startswith("agent_run.prompt = 'support'")
    assert "support:v13" in without_text
    assert without_prompt == "agent_run.prompt = None: must be given: prompts.require_prompt_id is true"


def test_the_environment_decides_for_the_process(tmp_path: Path) -> None:
    source = PROMPTS + "configure(prompts=PROMPTS, console=False)\nprint(json.dumps(version(conversation_id='c')))"
    assert run(source, tmp_path, OTEL_AGENT_PROMPT_SUPPORT="support:v12") == ["v12", "active"]


def test_a_canary_of_one_environment_follows_the_resource(tmp_path: Path) -> None:
    (tmp_path / "otel-agent.yaml").write_text(
        "prompts: {active: support:v13, canary: {support: {version: v14, percent: 100, environments: [staging]}}}"
    )
    source = PROMPTS + "configure(prompts=PROMPTS, console=False)\nprint(json.dumps(version(conversation_id='c')))"
    staging = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging"}
    assert run(source, tmp_path, **staging) == ["v14", "canary"]
    assert run(source, tmp_path, **staging, OTEL_SDK_DISABLED="true") == ["v14", "canary"]
    assert run(source, tmp_path) == ["v13", "active"]


@pytest.mark.parametrize("prompts", ["support", Prompt("p", "v1", "t"), 5, ["support"], [None]])
def test_prompts_that_are_none_are_refused(prompts: object) -> None:
    with pytest.raises(InvalidSetting, match=r"configure\.prompts.*a list of Prompts"):
        configure(prompts=prompts)  # type: ignore[arg-type]


def test_what_is_refused_has_changed_nothing(tmp_path: Path) -> None:
    source = """
    from opentelemetry import trace
    told = []
    for prompts, text in ((PROMPTS, "{"), ([*PROMPTS, Prompt("support", "v12", "Other.")], "{}")):
        open("otel-agent.override.json", "w").write(text)
        try:
            configure(prompts=prompts, endpoint="http://127.0.0.1:9")
        except InvalidSetting as error:
            told.append(error.field)
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
    configure(prompts=PROMPTS[:1], console=False)
    print(json.dumps([told, version()]))
    """
    (broken, twice), working = run(PROMPTS + textwrap.dedent(source), tmp_path)
    assert "otel-agent.override.json" in broken
    assert (twice, working) == ("Registry.prompts", ["v12", "active"])


INCIDENT = """
LONG = {"v14": 6, "v13": 2, "v12": 2}
configure(prompts=PROMPTS)
@tool_call("kb.search")
def search(n): pass
@agent_run("bot", prompt="support")
def bot():
    version = current_run().prompt.version
    for n in range(LONG[version]):
        search(n)
        with llm_call("gpt-5-mini", provider="openai") as call:
            call.record(input_tokens=1000, output_tokens=100)
    return version
for line in sys.stdin:
    print(json.dumps([bot.using(conversation_id=f"{line.strip()}{n}")() for n in range(200)]), flush=True)
"""


def test_the_incident(tmp_path: Path) -> None:
    """v14 goes to 10 %, tokens and tool calls rise, it is taken back; spans and metrics say which run used which."""
    override = tmp_path / "otel-agent.override.json"

    def release(active: str, what: Any, canary: Canary | None = None) -> None:
        change = Change(
            what=what, prompt="support", before="support:v14", after=active, when="now", who="ann", why="tokens rise"
        )
        released = Release(name="support", active=active, rollback="support:v12", canary=canary)
        replace_text(override, dump_override(Override(releases={"support": released}, changes={"support": change})))

    release("support:v13", "rollout_changed", Canary(version="v14", percent=10))
    source = f"import json, sys\nos.chdir({str(tmp_path)!r})\n{PROMPTS}{INCIDENT}"
    with (
        OtlpReceiver() as receiver,
        start(source, listens=True, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint) as process,
    ):

        def ask(prefix: str) -> list[str]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{prefix}\n")
            process.stdin.flush()
            found: list[str] = json.loads(process.stdout.readline())
            return found

        during = ask("c")
        assert 5 <= during.count("v14") <= 40
        assert set(during) == {"v13", "v14"}
        release("support:v13", "rolled_back")
        seen = ask("d")
        for _ in range(100):
            if seen[0] == "v13" and "v14" not in seen:
                break
            seen = ask("e")
        assert set(seen) == {"v13"}
        assert process.stdin
        process.stdin.close()
        assert process.wait(60) == 0
        runs = [attributes(span.attributes) for span in receiver.spans if span.name == "invoke_agent bot"]
        events = [record for record in receiver.logs if record.event_name == "otel_agent.prompt.rolled_back"]
    of = {
        variant: [one for one in runs if one["otel_agent.prompt.variant"] == variant]
        for variant in ("active", "canary")
    }
    assert {one["gen_ai.prompt.version"] for one in of["active"]} == {"v13"}
    assert {one["gen_ai.prompt.version"] for one in of["canary"]} == {"v14"}
    assert {one["gen_ai.usage.input_tokens"] for one in of["canary"]} == {6000}
    assert {one["gen_ai.usage.input_tokens"] for one in of["active"]} == {2000}
    (event,) = events
    told = attributes(event.attributes)
    assert (told["otel_agent.actor"], told["otel_agent.why"]) == ("ann", "tokens rise")
