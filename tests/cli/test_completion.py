"""Completion scripts, tried in the shells that are here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from otel_agent.cli import main
from tests.support.offline import run

VARIABLE = "_".join(["", "OTEL", "AGENT", "COMPLETE"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert f"{VARIABLE}={shell}_complete" in out
    assert "otel-agent" in out


def test_another_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "completed"), [("otel-agent de", "demo"), ("otel-agent demo --scenario tho", "thorough")]
)
def test_the_script_completes(words: str, completed: str, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = (
        f'eval "$(otel-agent completion bash)"; COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; '
        '_otel_agent_completion otel-agent; echo "$COMPREPLY"'
    )
    done = run([bash, "-c", script], tmp_path)
    assert (done.stdout.strip(), done.stderr) == (completed, "")
