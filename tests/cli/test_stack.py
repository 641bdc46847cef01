"""`otel-agent stack`, as it is typed: what init writes, what check finds, how up starts, ends and fails."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_agent.cli import main
from otel_agent.deploy.stack.ports import PORTS
from tests.support.offline import environment

INIT = ["stack", "init"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out, err = capsys.readouterr()
    return out, " ".join(err.split())


# init


def test_init_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "s"]) == 0
    files = written(tmp_path / "s")
    assert {
        ".env",
        "agent.env",
        "alertmanager/alertmanager.yml",
        "collector-config.yaml",
        "compose.yaml",
        "grafana/dashboards/otel-agent.json",
        "grafana/provisioning/datasources/otel-agent.yaml",
        "jaeger.yaml",
        "kubernetes/kustomization.yaml",
        "prometheus/prometheus.yml",
        "prometheus/rules.yml",
    } <= set(files)
    assert "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta\n" in files["agent.env"]
    assert "OTEL_AGENT_SAMPLER=[tail_sampling]\n" in files[".env"]
    assert "Next: otel-agent stack check s" in said(capsys)[0]


def test_a_threshold_of_the_command_line_wins_over_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "otel-agent.yaml").write_text("alerts:\n  spend_per_hour_usd: 7\n  monthly_budget_usd: 333\n")
    assert main([*INIT, "s", "--set", "spend_per_hour_usd=77.5"]) == 0
    rules = (tmp_path / "s/prometheus/rules.yml").read_text()
    assert "77.5" in rules
    board = json.loads((tmp_path / "s/grafana/dashboards/otel-agent.json").read_text())
    assert [each["query"] for each in board["templating"]["list"] if each["name"] == "budget"] == ["333"]


def test_token_spikes_can_be_switched_off(tmp_path: Path) -> None:
    assert main([*INIT, "with"]) == 0
    (tmp_path / "otel-agent.yaml").write_text("observability:\n  alert_on_token_spike: false\n")
    assert main([*INIT, "without"]) == 0
    assert "AgentTokenSpike" in alerts(tmp_path / "with")
    assert "AgentTokenSpike" not in alerts(tmp_path / "without")


def test_the_variable_switches_token_spikes_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_ALERT_ON_TOKEN_SPIKE", "false")
    assert main([*INIT, "without"]) == 0
    (tmp_path / "otel-agent.yaml").write_text("observability:\n  alert_on_token_spike: false\n")
    monkeypatch.setenv("OTEL_AGENT_ALERT_ON_TOKEN_SPIKE", "true")
    assert main([*INIT, "with"]) == 0
    assert "AgentTokenSpike" not in alerts(tmp_path / "without")
    assert "AgentTokenSpike" in alerts(tmp_path / "with")
    monkeypatch.setenv("OTEL_AGENT_ALERT_ON_TOKEN_SPIKE", "maybe")
    assert main([*INIT, "neither"]) != 0
    assert not (tmp_path / "neither").exists()


def alerts(folder: Path) -> set[str]:
    groups = yaml.safe_load((folder / "prometheus/rules.yml").read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_no_sampler_takes_it_out_everywhere(tmp_path: Path) -> None:
    assert main([*INIT, "s", "--no-sampler"]) == 0
    for path in (".env", "kubernetes/gateway.env"):
        assert "OTEL_AGENT_SAMPLER=[]\n" in (tmp_path / "s" / path).read_text()


def test_ports_stand_in_every_file_that_needs_them(tmp_path: Path) -> None:
    assert main([*INIT, "s", "--port", "scrape=18889", "--port", "alertmanager=19093", "--port", "http=14318"]) == 0
    files = written(tmp_path / "s")
    assert "127.0.0.1:18889" in files["prometheus/targets/agents.yml"]
    assert "collector:18889" in files["prometheus/compose-targets/agents.yml"]
    assert "127.0.0.1:19093" in files["prometheus/targets/alertmanager.yml"]
    assert "alertmanager:9093" in files["prometheus/compose-targets/alertmanager.yml"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:14318\n" in files["agent.env"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "spend_per_huor_usd=1"], "did you mean 'spend_per_hour_usd'?"),
        (["--set", "spend_per_hour_usd"], "say spend_per_hour_usd=NUMBER"),
        (["--set", "spend_per_hour_usd=much"], "'much' must be a number"),
        (["--set", "budget_stop_share=10%"], "as in budget_stop_share=0.1"),
        (["--set", "spend_per_hour_usd=-1"], "thresholds.spend_per_hour_usd = -1"),
        (["--set", "budget_stop_share=2"], "a share from 0 to 1"),
        (["--set", "spend_per_hour_usd=nan"], "thresholds.spend_per_hour_usd"),
        (["--port", "promtheus=1"], "did you mean 'prometheus'?"),
        (["--port", "prometheus=99999"], "from 1 to 65,535"),
        (["--port", "prometheus=9093"], "a port of its own"),
        (["--webhook", "somewhere"], "webhook = 'somewhere'"),
        (["--webhook", "http://host:99999/"], "webhook = 'http://host:99999/'"),
        (["--webhook", "http://host/\nroute: x"], "an http or https address"),
        (["--runbook", "pages/alerts.md"], "runbook = 'pages/alerts.md'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_can_never_work_is_one_line_and_writes_nothing(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*INIT, "s", *options]) == 2
    assert words in said(capsys)[1]
    assert not (tmp_path / "s").exists()


def test_an_empty_name_is_not_the_folder_one_is_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, ""]) == 2
    assert "it is empty; say . for this folder" in said(capsys)[1]
    assert list(tmp_path.iterdir()) == []


def test_alerts_link_to_the_page_that_was_named(tmp_path: Path) -> None:
    assert main([*INIT, "s", "--runbook", "https://wiki.example.com/alerts"]) == 0
    rules = (tmp_path / "s/prometheus/rules.yml").read_text()
    assert "runbook_url: https://wiki.example.com/alerts#agenttokenspike\n" in rules
    assert "docs/alerts.md" not in rules


def test_an_unknown_threshold_in_the_file_is_named_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "otel-agent.yaml").write_text("alerts:\n  spend_per_huor_usd: 7\n")
    assert main([*INIT, "s"]) == 2
    assert "did you mean spend_per_hour_usd?" in said(capsys)[1]
    assert not (tmp_path / "s").exists()


def test_what_is_there_is_not_overwritten_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "s"]) == 0
    before = written(tmp_path / "s")
    capsys.readouterr()
    assert main([*INIT, "s", "--port", "grafana=3001"]) == 1
    out, err = said(capsys)
    assert "-GRAFANA_PORT=3000" in out
    assert "+GRAFANA_PORT=3001" in out
    assert "nothing was written; --force overwrites" in err
    assert written(tmp_path / "s") == before
    assert main([*INIT, "s", "--port", "grafana=3001", "--force"]) == 0
    assert "+GRAFANA_PORT=3001" in said(capsys)[0]
    assert "GRAFANA_PORT=3001\n" in written(tmp_path / "s")[".env"]


def test_the_same_again_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "s"]) == 0
    assert main([*INIT, "s"]) == 0
    assert "same" in said(capsys)[0].splitlines()[-2]


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/mine.txt").write_text("mine")
    assert main([*INIT, "s", "--force"]) == 0
    assert (tmp_path / "s/mine.txt").read_text() == "mine"


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "s", "--dry-run"]) == 0
    assert "+ s/compose.yaml" in said(capsys)[0]
    assert not (tmp_path / "s").exists()


def test_json_tells_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "s", "--json"]) == 0
    document = json.loads(said(capsys)[0])
    assert document["written"] is True
    assert {each["kind"] for each in document["files"]} == {"new"}


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main([*INIT, place]) == 2
    assert f"DIR = '{place}'" in said(capsys)[1]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file, also from root")
def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "/proc/self"]) == 2
    assert "a folder that can be written in" in said(capsys)[1]


def test_thresholds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "--list"]) == 0
    assert "monthly_budget_usd=1000" in said(capsys)[0]
    for arguments in (["--list", "--json"], ["--json", "--list", "s"]):
        assert main([*INIT, *arguments]) == 0
        listed = json.loads(said(capsys)[0])
        (budget,) = (each for each in listed if each["name"] == "monthly_budget_usd")
        assert (budget["default"], budget["unit"]) == (1000, "USD")
    assert not Path("s").exists()


def test_a_folder_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(INIT) == 2
    assert "Missing argument 'DIR'" in said(capsys)[1]


# check


def test_check_says_what_is_missing_and_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    main([*INIT, "s"])
    (tmp_path / "s/jaeger.yaml").unlink()
    (tmp_path / "s/compose.yaml").write_text("a: [")
    capsys.readouterr()
    assert main(["stack", "check", "s"]) == 1
    out = said(capsys)[0]
    assert "missing    jaeger.yaml: `otel-agent stack init` writes it" in out
    assert "wrong      compose.yaml: line 1, column 5" in out
    assert "unchecked  prometheus/rules.yml, by promtool: promtool is not installed: it comes with Prometheus" in out


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("OTEL_AGENT_SAMPLING_PERCENT", "150", "a number from 0 to 100"),
        ("OTEL_AGENT_SAMPLING_PERCENT", "-3", "a number from 0 to 100"),
        ("OTEL_AGENT_EXPENSIVE_USD", "abc", "a number that is 0 or more"),
        ("OTEL_AGENT_SLOW_MS", "nan", "a number that is 0 or more"),
    ],
)
def test_check_finds_a_number_that_the_collector_would_take_and_cannot_use(
    name: str,
    value: str,
    allowed: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    main([*INIT, "s"])
    text = (tmp_path / "s/.env").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(f"{name}=")]
    (tmp_path / "s/.env").write_text("\n".join([*lines, f"{name}={value}", ""]))
    capsys.readouterr()
    assert main(["stack", "check", "s"]) == 1
    assert f"wrong      .env, {name}: {value}: must be {allowed}\n" in said(capsys)[0]


def test_check_without_any_program_is_right_unless_strict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    main([*INIT, "s"])
    capsys.readouterr()
    assert main(["stack", "check", "s", "--json"]) == 0
    document = json.loads(said(capsys)[0])
    assert document["ok"] is True
    assert {each["state"] for each in document["findings"]} == {"ok", "unchecked"}
    assert main(["stack", "check", "s", "--strict"]) == 1


def test_check_believes_the_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*INIT, "s"])
    tools = programs(tmp_path, promtool="sys.stderr.write('error: rules.yml: bad rule'); sys.exit(1)", amtool="pass")
    capsys.readouterr()
    assert main(["stack", "check", "s", "--bin", str(tools)]) == 1
    out = said(capsys)[0]
    assert "wrong      prometheus/rules.yml, by promtool: error: rules.yml: bad rule" in out
    assert "ok         alertmanager/alertmanager.yml, by amtool" in out


def test_check_gives_the_reason_that_stands_below_its_heading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*INIT, "s"])
    reasons = "".join(f"\\nrules.yml: {line}: no such function" for line in range(1, 6))
    tool = (
        f"print('Checking rules.yml'); print('  SUCCESS: 1 file'); sys.stderr.write('  FAILED:{reasons}'); sys.exit(1)"
    )
    capsys.readouterr()
    assert main(["stack", "check", "s", "--bin", str(programs(tmp_path, promtool=tool))]) == 1
    out = said(capsys)[0]
    first, second, third = (f"rules.yml: {line}: no such function" for line in range(1, 4))
    assert f"wrong      prometheus/rules.yml, by promtool: FAILED: {first}; {second}; {third}; and 2 more\n" in out


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("prometheus/rules.yml", b"", "is empty"),
        ("jaeger.yaml", b"# nothing\n", "is empty"),
        ("compose.yaml", b"\xff\xfe", "must be UTF-8"),
        ("prometheus/targets/agents.yml", b'[{"targets": ["127.0.0.1:8889"]}]', "has no 127.0.0.1:8890, as the ports"),
    ],
)
def test_a_damaged_file_is_found_among_the_others(
    path: str,
    content: bytes,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    main([*INIT, "s"])
    (tmp_path / "s" / path).write_bytes(content)
    capsys.readouterr()
    assert main(["stack", "check", "s"]) == 1
    out = said(capsys)[0]
    assert [line for line in out.splitlines() if line.startswith("wrong")] == [
        line for line in out.splitlines() if line.startswith(f"wrong      {path}: ") and words in line
    ]
    assert "27 ok, 1 wrong or missing" in out


def test_a_port_that_only_the_settings_have_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    main([*INIT, "s"])
    settings = tmp_path / "s/.env"
    settings.write_text(settings.read_text().replace("_SCRAPE_PORT=8889", "_SCRAPE_PORT=18889"))
    capsys.readouterr()
    assert main(["stack", "check", "s"]) == 1
    out = said(capsys)[0]
    assert "wrong      prometheus/targets/agents.yml: has no 127.0.0.1:18889" in out
    assert "wrong      prometheus/compose-targets/agents.yml: has no collector:18889" in out


def test_a_line_of_the_settings_that_sets_nothing_is_named_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*INIT, "s"])
    (tmp_path / "s/.env").write_text("# settings\n\nOTEL_AGENT_LISTEN=127.0.0.1\nBearer kept-to-itself\n")
    for command in ("check", "up"):
        capsys.readouterr()
        assert main(["stack", command, "s"]) == 2
        err = said(capsys)[1]
        assert ".env = 'line 4': must be NAME=VALUE" in err
        assert "kept-to-itself" not in err


@pytest.mark.parametrize("command", ["check", "up"])
def test_programs_in_a_folder_that_is_not_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*INIT, "s"])
    assert main(["stack", command, "s", "--bin", "nowhere"]) == 2
    assert "'nowhere' does not exist" in said(capsys)[1]


@pytest.mark.parametrize("command", ["check", "up"])
def test_a_folder_without_a_stack(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stack", command, "."]) == 2
    assert "which `otel-agent stack init` writes" in said(capsys)[1]


# up, with programs that stand in for the servers


SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
open("pids", "a").write(f"{os.getpid()}\\n")
http.server.HTTPServer(("127.0.0.1", int(PORT)), Ready).serve_forever()
"""
PORT_OF = {
    "jaeger": "os.environ['JAEGER_HEALTH_PORT']",
    "otelcol-agent": "os.environ['OTEL_AGENT_HEALTH_PORT']",
    "prometheus": "sys.argv[4].rpartition(':')[2]",
    "alertmanager": "sys.argv[3].rpartition(':')[2]",
}


def programs(folder: Path, **sources: str) -> Path:
    """Makes programs out of Python, under the names of the servers and their tools."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    for name, source in sources.items():
        program = place / name.replace("_", "-")
        program.write_text(f"#!{sys.executable}\nimport os, sys\n{textwrap.dedent(source)}")
        program.chmod(0o755)
    return place


def server(name: str) -> str:
    return SERVER.replace("int(PORT)", f"int({PORT_OF[name]})")


def ports() -> Iterator[str]:
    for port in PORTS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            yield from ("--port", f"{port.name}={free.getsockname()[1]}")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    assert main([*INIT, "s", *ports()]) == 0
    return tmp_path / "s"


def started(folder: Path, place: Path, *options: str, PATH: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "otel_agent", "stack", "up", str(folder), "--bin", str(place), *options],
        env=environment(folder.parent) | {"PATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def alive(folder: Path) -> list[int]:
    pids = [int(line) for line in (folder / "pids").read_text().split()]
    return [pid for pid in pids if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_starts_all_and_a_signal_stops_all(number: int, stack: Path) -> None:
    place = programs(stack.parent, **{name: server(name) for name in PORT_OF})
    running = started(stack, place, "--json")
    assert running.stdout is not None
    document = json.loads(running.stdout.readline())
    assert list(document["addresses"]) == ["jaeger", "collector", "alertmanager", "prometheus"]
    assert len(alive(stack)) == 4
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 0
    assert [line for line in err.splitlines() if "stopped" in line] == [
        f"{name}: stopped" for name in ("prometheus", "alertmanager", "collector", "jaeger")
    ]
    assert alive(stack) == []


def test_up_goes_without_what_is_not_installed(stack: Path) -> None:
    running = started(stack, programs(stack.parent, prometheus=server("prometheus")))
    assert running.stdout is not None
    assert running.stdout.readline().startswith("metrics")
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert "jaeger: not installed, goes without: Jaeger 2" in err
    assert "prometheus: ready metrics http://127.0.0.1:" in err


def failed(running: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = running.communicate(timeout=60)
    return running.returncode, err.splitlines()[-1]


def test_a_server_that_does_not_come_up_takes_all_with_it(stack: Path) -> None:
    sources: Mapping[str, Any] = {
        "jaeger": server("jaeger"),
        "otelcol-agent": "print('Error: cannot unmarshal'); sys.exit(3)",
    }
    code, line = failed(started(stack, programs(stack.parent, **sources)))
    assert code == 1
    assert line.startswith("otel-agent stack up: collector did not come up: Error: cannot unmarshal (status 3")
    assert alive(stack) == []


def test_a_server_that_is_never_ready_takes_all_with_it(stack: Path) -> None:
    sources = {"jaeger": server("jaeger"), "otelcol-agent": "import time; time.sleep(60)"}
    code, line = failed(started(stack, programs(stack.parent, **sources), "--timeout", "1"))
    assert code == 1
    assert "collector was not up after 1 seconds" in line
    assert alive(stack) == []


def test_a_server_that_goes_away_takes_all_with_it(stack: Path) -> None:
    running = started(
        stack, programs(stack.parent, **{name: server(name) for name in ("jaeger", "prometheus")}), "--json"
    )
    assert running.stdout is not None
    running.stdout.readline()
    os.kill(alive(stack)[0], signal.SIGKILL)
    code, line = failed(running)
    assert code == 1
    assert "jaeger went away: SIGKILL ended it (more in " in line
    assert all_gone(stack)


def all_gone(stack: Path) -> bool:
    end = time.monotonic() + 10
    while alive(stack) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(stack)


def test_a_program_that_cannot_be_started(stack: Path) -> None:
    place = programs(stack.parent, prometheus="")
    (place / "prometheus").write_text("#!/nowhere\n")
    code, line = failed(started(stack, place))
    assert code == 1
    assert "prometheus could not be started" in line


def test_a_port_in_use_is_named_and_nothing_is_started(stack: Path) -> None:
    variables = dict(line.split("=", 1) for line in (stack / ".env").read_text().splitlines() if "_PORT=" in line)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(variables["PROMETHEUS_PORT"])))
        taken.listen()
        code, line = failed(started(stack, programs(stack.parent, **{name: server(name) for name in PORT_OF})))
    assert code == 2
    assert line.startswith(f"otel-agent stack up: port prometheus = {variables['PROMETHEUS_PORT']}")
    assert f"otel-agent stack init {stack} --force --port prometheus=NUMBER" in line
    assert not (stack / "pids").exists()


def test_nothing_installed(stack: Path) -> None:
    (stack.parent / "bin").mkdir()
    code, line = failed(started(stack, stack.parent / "bin"))
    assert code == 2
    assert "no server" in line


def test_a_damaged_port(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stack / ".env").write_text("PROMETHEUS_PORT=many\n")
    assert main(["stack", "check", str(stack)]) == 2
    assert ".env: PROMETHEUS_PORT = 'many'" in said(capsys)[1]


def listen(stack: Path, address: str) -> None:
    text = (stack / ".env").read_text()
    (stack / ".env").write_text(text.replace("OTEL_AGENT_LISTEN=127.0.0.1\n", f"OTEL_AGENT_LISTEN={address}\n"))


@pytest.mark.parametrize(("asked", "address"), [(None, "127.0.0.1"), ("0.0.0.0", "0.0.0.0")])
def test_only_the_collector_listens_elsewhere_and_only_where_it_is_told_to(
    asked: str | None, address: str, stack: Path
) -> None:
    if asked:
        listen(stack, asked)
    tell = "open(sys.argv[0] + '.said', 'w').write(os.environ['OTEL_AGENT_LISTEN'] + ' ' + str(sys.argv[1:]))\n"
    place = programs(stack.parent, **{name: tell + server(name) for name in PORT_OF})
    running = started(stack, place, "--json")
    assert running.stdout is not None
    running.stdout.readline()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    said = {name: (place / f"{name}.said").read_text() for name in PORT_OF}
    assert said["otelcol-agent"].startswith(f"{address} ")
    assert "--web.listen-address=127.0.0.1:" in said["prometheus"]
    assert "--web.listen-address=127.0.0.1:" in said["alertmanager"]


def test_servers_get_the_settings_and_links_lead_to_where_they_listen(stack: Path) -> None:
    with (stack / ".env").open("a") as settings:
        settings.write('OTEL_AGENT_TRACES_AUTHORIZATION="Bearer of a token"\n')
    tell = "open(sys.argv[0] + '.said', 'w').write(repr((sys.argv, dict(os.environ))))\n"
    place = programs(stack.parent, **{name: tell + server(name) for name in PORT_OF})
    running = started(stack, place, "--json")
    assert running.stdout is not None
    addresses = json.loads(running.stdout.readline())["addresses"]
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    said = {name: ast.literal_eval((place / f"{name}.said").read_text()) for name in PORT_OF}
    assert f"--web.external-url={addresses['prometheus']['metrics']}/" in said["prometheus"][0]
    assert f"--web.external-url={addresses['alertmanager']['alerts']}/" in said["alertmanager"][0]
    variables = said["otelcol-agent"][1]
    assert variables["OTEL_AGENT_TRACES_AUTHORIZATION"] == "Bearer of a token"
    assert variables["OTEL_AGENT_REMOTE_WRITE_ENDPOINT"] == f"{addresses['prometheus']['metrics']}/api/v1/write"


def test_an_address_that_is_none_is_named(stack: Path) -> None:
    listen(stack, "everywhere")
    code, line = failed(started(stack, programs(stack.parent, jaeger=server("jaeger"))))
    assert code == 2
    assert "OTEL_AGENT_LISTEN = 'everywhere'" in line
    assert "127.0.0.1, 0.0.0.0" in line


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs Linux and setpriv of util-linux")
def test_servers_do_not_outlive_an_up_that_is_killed(stack: Path) -> None:
    place = programs(stack.parent, **{name: server(name) for name in ("jaeger", "prometheus")})
    only = stack.parent / "only"  # servers that are installed here shall not come up as well
    only.mkdir()
    (only / "setpriv").symlink_to(str(shutil.which("setpriv")))
    running = started(stack, place, "--json", PATH=str(only))
    assert running.stdout is not None
    running.stdout.readline()
    assert len(alive(stack)) == 2
    running.kill()
    running.communicate(timeout=30)
    assert all_gone(stack)
