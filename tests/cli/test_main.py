"""The command line as such: its version and help, exit codes, missing extras, and pipes that close."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otel_agent import __version__
from otel_agent.cli import app, completion, demo, main
from tests.support.offline import environment, run

WITHOUT = """
import sys
sys.modules[{name!r}] = None
from otel_agent.cli import main
sys.exit(main({argv!r}))
"""


@pytest.mark.parametrize("command", [["otel-agent"], [sys.executable, "-m", "otel_agent"]], ids=["script", "module"])
def test_both_ways_to_start_it(command: list[str], tmp_path: Path) -> None:
    done = run([*command, "--version"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"otel-agent {__version__}\n", "")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_cli_extra_it_says_what_to_install(missing: str, tmp_path: Path) -> None:
    done = run([sys.executable, "-c", WITHOUT.format(name=missing, argv=["demo", "--list"])], tmp_path)
    if missing == "rich" and done.returncode == 0:
        return  # nothing here needs it
    assert done.returncode == 2
    assert (done.stdout, done.stderr) == ("", "otel-agent needs its command line: pip install 'otel-agent[cli]'\n")


def test_without_the_client_the_demo_says_what_to_install(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", WITHOUT.format(name="openai", argv=["demo"])], tmp_path)
    assert done.returncode == 2
    assert (done.stdout, done.stderr) == ("", "the demo needs its client: pip install 'otel-agent[demo]'\n")


def test_the_list_needs_no_client(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", WITHOUT.format(name="openai", argv=["demo", "--list"])], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["otel_agent.cli.app", "otel_agent.cli.demo"])
def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra(module: str, tmp_path: Path) -> None:
    done = run([sys.executable, "-c", WITHOUT.format(name=module, argv=["demo", "--list"])], tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in app.app.commands)
    assert set(app.app.commands) == {"completion", "config", "demo", "prompts", "runs", "stack"}


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: otel-agent" in err


@pytest.mark.parametrize("arguments", [["no-such"], ["--no-such"], ["demo", "--no-such"], ["demo", "too-much"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
def test_an_interrupt_is_130(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(completion.completion, "callback", interrupted)
    assert main(["completion", "bash"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_left_is_no_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["otel-agent", "demo", "--scenario", "batch"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) == 1
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_the_module_of_the_demo_knows_the_scenarios_without_the_client() -> None:
    assert list(demo.BY_NAME) == ["answer", "ticket", "batch", "stream", "thorough", "money", "hang"]
