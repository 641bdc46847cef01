"""`otel-agent demo` as people run it: in a process of its own, on a machine with nothing set up."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from otel_agent.cli import main
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.scenarios import SCENARIOS
from otel_agent.demo.script import scripted_model
from otel_agent.testing import Reply, ScriptedModelServer
from tests.support.offline import environment, run
from tests.support.otlp import OtlpReceiver, attributes

DEAD = "http://127.0.0.1:9"
KEY = "sk-a-very-secret-key"


def demo(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run(["otel-agent", "demo", *arguments], folder, **env)


def document(folder: Path, *arguments: str, **env: str) -> Any:
    done = demo(folder, "--json", *arguments, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if not path.is_relative_to(folder / ".offline"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The whole demo, run once, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tmp").mkdir()
    return demo(folder, TMPDIR=str(folder / "tmp")), folder


class TestWholeDemo:
    def test_goes_well(self, done: Any) -> None:
        assert done[0].returncode == 0, done[0].stderr

    def test_prints_questions_answers_and_the_table_on_stdout(self, done: Any) -> None:
        out = done[0].stdout
        for scenario in SCENARIOS:
            assert f"\n{scenario.name}  {scenario.about}\n" in out
        assert "[duplicate-charge]" in out
        assert re.search(r"support:v13:50af3e26c3af +6 +finish 5, max_seconds 1 ", out)
        assert re.search(r"support:v12:5fa80991330d +1 +finish 1 ", out)
        assert re.search(r"support:v14:[0-9a-f]{12} +2 +max_tool_calls 1, max_usd 1 ", out)
        assert "\nThe model server's own count agrees: " in out
        assert "├─" not in out

    def test_prints_a_tree_a_run_on_stderr_and_nothing_else(self, done: Any) -> None:
        err = done[0].stderr
        assert len(re.findall(r"^support-bot · support:v1", err, re.MULTILINE)) == 9
        assert "denied: max_tool_calls (limit 10)" in err
        assert "otel-agent demo:" not in err
        assert "Traceback" not in err

    def test_leaves_nothing_behind_but_its_runs_in_the_cache(self, done: Any) -> None:
        assert left_in(done[1]) == ["tmp"]
        command = re.search(
            r"Left behind: the runs \((otel-agent runs list --history .*)\); the database", done[0].stdout
        )
        assert command is not None
        listed = json.loads(run([*command[1].split(), "--json"], done[1]).stdout)
        assert listed["total"] == 9
        assert {run["agent"] for run in listed["runs"]} == {"support-bot"}


def test_json_is_the_same_each_time_but_for_ids_and_times(tmp_path: Path) -> None:
    first, second = (document(tmp_path, "--scenario", "answer", "--scenario", "batch") for _ in range(2))
    ids: list[Any] = []
    for run_ in (*first["runs"], *second["runs"]):
        ids += [run_.pop("run_id"), run_.pop("trace_id")]
        assert run_["usage"].pop("seconds") > 0
    assert first == second
    assert len(set(ids)) == len(ids) == 16
    assert [each["scenario"] for each in first["runs"]] == ["answer", "answer", "answer", "batch"]
    assert first["totals"]["steps"] == first["ledger"]["answered"] == 9


def test_scenarios_are_played_once_in_the_order_asked_and_no_proxy_is_asked(tmp_path: Path) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), DEAD)
    asked = ("--scenario", "ticket", "--scenario", "stream", "--scenario", "ticket")
    came = document(tmp_path, *asked, **proxies)
    assert [each["scenario"] for each in came["runs"]] == ["ticket", "stream"]
    assert came["totals"]["stops"] == {"finish": 2}


def test_a_model_server_of_the_users_is_used(tmp_path: Path) -> None:
    models: list[str] = []

    def model(request: Any) -> Reply:
        models.append(request.model)
        return scripted_model(request)

    with ScriptedModelServer(model) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY, "http_proxy": DEAD}
        came = document(tmp_path, "--scenario", "ticket", "--model", "gpt-5", **env)
        assert server.ledger.answered == came["totals"]["steps"] == 3
        assert server.ledger.input_tokens == came["totals"]["input_tokens"]
    assert set(models) == {"gpt-5"}
    assert came["ledger"] is None


def test_what_is_set_but_not_used_is_said(tmp_path: Path) -> None:
    done = demo(tmp_path, "--scenario", "money", OPENAI_API_KEY=KEY, OTEL_AGENT_MODE="observe")
    assert done.returncode == 0
    assert "OPENAI_API_KEY is set but not used" in done.stdout
    assert "OTEL_AGENT_MODE is left aside" in done.stdout
    assert KEY not in done.stdout + done.stderr


def test_a_model_server_that_fails_is_one_line_and_1(tmp_path: Path) -> None:
    done = demo(tmp_path, "--scenario", "answer", "--json", OPENAI_BASE_URL=f"{DEAD}/v1", OPENAI_API_KEY=KEY)
    assert done.returncode == 1
    (complaint,) = json.loads(done.stdout)["complaints"]
    assert complaint.startswith("the model server at 127.0.0.1:9 cannot be reached")
    assert f"otel-agent demo: {complaint}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr


def test_a_run_that_ends_otherwise_is_1(tmp_path: Path) -> None:
    with ScriptedModelServer(lambda _: Reply(tool_calls=[("kb_search", {"query": "zzz"})])) as server:
        done = demo(tmp_path, "--scenario", "answer", OPENAI_BASE_URL=server.base_url)
    assert done.returncode == 1
    assert "otel-agent demo: answer: a run ended as max_tool_calls, not as finish\n" in done.stderr


class TestExport:
    def test_goes_where_the_environment_says(self, tmp_path: Path) -> None:
        with OtlpReceiver() as backend:
            done = demo(tmp_path, "--scenario", "thorough", OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint)
            assert done.returncode == 0
            (root,) = [span for span in backend.spans if span.name == "invoke_agent support-bot"]
            assert len(backend.spans) == 1 + 12 + 11
            assert attributes(root.attributes)["otel_agent.stop_reason"] == "max_tool_calls"
            assert backend.of("traces")[0].resource["service.name"] == "otel-agent-demo"
            assert backend.logs
            assert backend.metrics
        assert f"Telemetry: to {backend.endpoint}" in done.stdout
        assert re.search(rf"^   max_tool_calls · .* · trace {root.trace_id.hex()}$", done.stdout, re.MULTILINE)
        assert done.stderr == ""

    def test_keeps_the_users_service_name(self, tmp_path: Path) -> None:
        with OtlpReceiver() as backend:
            env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{backend.endpoint}/v1/traces", "OTEL_SERVICE_NAME": "mine"}
            came = document(tmp_path, "--scenario", "batch", **env)
            assert backend.of("traces")[0].resource["service.name"] == "mine"
        assert came["exports_to"] == f"{backend.endpoint}/v1/traces"

    def test_that_fails_is_said_and_costs_nothing(self, tmp_path: Path) -> None:
        done = demo(tmp_path, "--scenario", "batch", OTEL_EXPORTER_OTLP_ENDPOINT=DEAD)
        assert done.returncode == 0
        assert f"otel-agent demo: not everything was delivered to {DEAD}" in done.stderr
        assert "Traceback" not in done.stderr


class TestKeep:
    def test_keeps_the_database_with_its_tickets(self, tmp_path: Path) -> None:
        for count in (1, 2):
            done = demo(tmp_path, "--scenario", "ticket", "--keep", "a/b")
            assert done.returncode == 0
            assert f"Left behind: a/b/support.db, with {count} ticket" in done.stdout
        assert left_in(tmp_path) == ["a", "b", "support.db"]
        with KnowledgeBase(tmp_path / "a" / "b" / "support.db") as knowledge:
            assert [ticket.id for ticket in knowledge.tickets()] == [1, 2]

    @pytest.mark.parametrize("where", ["support.db/x", "file"])
    def test_a_place_that_is_no_folder_is_wrong_usage(self, where: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        (tmp_path / "support.db").write_text("mine")
        done = demo(tmp_path, "--scenario", "ticket", "--keep", where)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr

    def test_somebody_elses_file_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "support.db").write_text("mine")
        done = demo(tmp_path, "--scenario", "ticket", "--keep", ".")
        assert done.returncode == 2
        assert "KnowledgeBase.path" in done.stderr
        assert (tmp_path / "support.db").read_text() == "mine"


class TestInterrupt:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
    def test_in_the_middle_leaves_nothing(self, number: signal.Signals, tmp_path: Path) -> None:
        (tmp_path / "tmp").mkdir()
        command = ["otel-agent", "demo", "--scenario", "hang"]
        with ScriptedModelServer(scripted_model) as server:
            env = environment(tmp_path, TMPDIR=str(tmp_path / "tmp"), OPENAI_BASE_URL=server.base_url)
            with subprocess.Popen(
                command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                server.ledger.wait_for(1, timeout=20)
                began = time.monotonic()
                process.send_signal(number)
                _, err = process.communicate(timeout=60)
        assert time.monotonic() - began < 10
        assert process.returncode == (130 if number is signal.SIGINT else -number)
        assert left_in(tmp_path) == ["tmp"]
        assert "Traceback" not in err
        if number is signal.SIGINT:
            assert re.search(r"^support-bot · .* · cancelled", err, re.MULTILINE)
            assert "otel-agent demo: interrupted" in err


class TestWrongUsage:
    def test_an_unknown_scenario_is_answered_with_the_nearest(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["demo", "--scenario", "thorow"]) == 2
        assert "there is no scenario 'thorow'; did you mean 'thorough'?" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["", "zzz", "ANSWER"])
    def test_any_text_has_a_nearest(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["demo", "--scenario", name]) == 2
        assert "did you mean '" in capsys.readouterr().err

    def test_a_setting_that_can_never_work(self, tmp_path: Path) -> None:
        done = demo(tmp_path, OTEL_AGENT_MODE="sometimes")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "otel-agent demo: OTEL_AGENT_MODE = 'sometimes': must be one of enforce, observe\n"


def test_list_has_a_line_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [scenario.name for scenario in SCENARIOS]
    assert all(line.endswith(scenario.about) for line, scenario in zip(lines, SCENARIOS, strict=True))
    assert max(map(len, lines)) <= 100


def test_an_old_encoding_of_stdout_will_do(tmp_path: Path) -> None:
    done = demo(tmp_path, "--scenario", "batch", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "finish, denied 1 | 2 steps" in done.stdout
