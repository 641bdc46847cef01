"""The command line as such: its version and help, exit codes, missing extras, and pipes that close."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from otel_agent import __version__
from otel_agent.cli import app, completion, demo, main
from otel_agent.cli.lazy import LazyGroup
from tests.support.offline import environment, run
from tests.support.ready import READY, pass_golden

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
    names = app.app.list_commands(click.Context(app.app))
    assert all(f"\n  {name} " in out for name in names)
    assert names == ["check", "completion", "config", "demo", "golden", "prompts", "runs", "stack"]


def test_every_command_is_called_what_its_group_calls_it() -> None:
    def checked(group: LazyGroup) -> int:
        context, count = click.Context(group), 0
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            assert command.name == name
            count += 1 + (checked(command) if isinstance(command, LazyGroup) else 0)
        return count

    assert checked(app.app) > 30
    assert app.app.get_command(click.Context(app.app), "no-such") is None


@pytest.mark.parametrize(
    ("arguments", "rooms"),
    [
        (["--help"], ("otel_agent.golden.runner", "otel_agent.testing", "otel_agent.deploy", "openai", "pydantic")),
        (["runs", "--help"], ("otel_agent.golden.runner", "otel_agent.testing", "otel_agent.deploy", "openai")),
        (["golden", "list", "--help"], ("otel_agent.golden.runner", "otel_agent.testing", "otel_agent.cli.stack")),
    ],
    ids=" ".join,
)
def test_a_command_imports_no_room_that_it_does_not_need(
    arguments: list[str], rooms: tuple[str, ...], tmp_path: Path
) -> None:
    code = f"import sys; from otel_agent.cli import main; main({arguments}); print(sorted(sys.modules))"
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0
    assert [room for room in rooms if f"'{room}'" in done.stdout] == []


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
        assert process.wait(60) == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
ACTIVATE = ["otel-agent", "prompts", "activate", "support:v14", "--who", "anna"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two versions of one prompt, each of which is ready."""
    texts = 'texts: {support: {v13: "Answer.", v14: "Answer well."}}'
    (tmp_path / "otel-agent.yaml").write_text(f'prompts: {{active: "support:v13", {texts}}}\n{READY}')
    pass_golden(tmp_path / "otel-agent.yaml")
    return tmp_path


def told_to(stdout: int, command: list[str], folder: Path, unbuffered: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that prints to an open file, which is closed then."""
    env = environment(folder, PYTHONUNBUFFERED=unbuffered)
    try:
        return subprocess.run(
            command, cwd=folder, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(stdout)


@UNBUFFERED
@pytest.mark.parametrize(
    "command", [ACTIVATE, ["otel-agent", "--help"], ["otel-agent", "prompts", "show", "support:v13", "--text"]]
)
def test_a_pipe_that_closed_is_141_and_not_the_code_of_a_refusal(
    command: list[str], unbuffered: str, project: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = told_to(writer, command, project, unbuffered)
    assert (done.returncode, done.stderr) == (141, "")
    assert (project / "otel-agent.override.json").exists() == (command == ACTIVATE), "what was to change has changed"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@UNBUFFERED
@pytest.mark.parametrize("command", [ACTIVATE, ["otel-agent", "--help"], ["otel-agent", "config", "show", "--json"]])
def test_output_that_cannot_be_written_is_one_line_and_74(command: list[str], unbuffered: str, project: Path) -> None:
    done = told_to(os.open("/dev/full", os.O_WRONLY), command, project, unbuffered)
    assert (done.returncode, done.stderr) == (
        74,
        "otel-agent: the output cannot be written: No space left on device; what was changed stays so\n",
    )
    assert (project / "otel-agent.override.json").exists() == (command == ACTIVATE), "what was to change has changed"


def test_another_failure_of_the_system_is_not_taken_for_one_of_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(completion.completion, "callback", failing)
    with pytest.raises(OSError, match="No space left"):
        main(["completion", "bash"])
    assert "cannot be written" not in capsys.readouterr().err


INTERRUPTED_IMPORT = """
import sys
from otel_agent.cli import main

class Interrupt:
    def find_spec(self, name, *_):
        if name == "otel_agent.cli.app":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.exit(main(["--version"]))
"""


def test_an_interrupt_while_the_commands_load_is_130(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", INTERRUPTED_IMPORT], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_module_of_the_demo_knows_the_scenarios_without_the_client() -> None:
    assert list(demo.BY_NAME) == ["answer", "ticket", "batch", "stream", "thorough", "money", "hang"]
