"""A prompt as a release: a new version goes to a tenth of the conversations, and one command takes it back.

The agent keeps running and follows the files of its project; the commands are typed in processes of their own, as an
operator would. Runs offline: nothing here needs a model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from otel_agent import agent_run, configure, current_run, tool_call

TEXTS = {
    "v12": "Answer using KB.",
    "v13": "Answer using KB. Cite tool results.",
    "v14": "Answer using KB. Read every article on it first.",
}
CONFIG = """
prompts: {active: "support:v13", rollback: "support:v12", require_prompt_id: true}
budgets: {max_steps: 25, max_tool_calls: 12, max_seconds: 60}
"""
CONVERSATIONS = [f"conversation-{number}" for number in range(200)]


@tool_call("kb.search")
def search(query: str) -> str:
    """Finds an article."""
    return f"about {query}"


@agent_run("support-bot", prompt="support")
def answer(question: str) -> str:
    """Does what its prompt says: reads one article, or all of them."""
    run = current_run()
    assert run is not None
    assert run.prompt is not None
    for number in range(6 if "every article" in run.prompt.text else 1):
        search(f"{question} {number}")
    return "It is so."


def ask_all() -> None:
    """Runs the agent once for each conversation and prints what each prompt cost."""
    runs: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for conversation in CONVERSATIONS:
        result = answer.using(conversation_id=conversation).run("refunds")
        runs[str(result.prompt_id)] += 1
        calls[str(result.prompt_id)] += result.usage.tool_calls
    for prompt_id in sorted(runs):
        print(f"  {prompt_id}: {runs[prompt_id]} runs, {calls[prompt_id] / runs[prompt_id]:.0f} tool calls each")


def type_command(folder: Path, *command: str) -> None:
    """Types a command in another process and prints what it says; then the second passes in which all follow it."""
    print(f"$ otel-agent prompts {' '.join(command)}")
    whole = [sys.executable, "-m", "otel_agent", "prompts", *command, "--config", str(folder / "otel-agent.yaml")]
    print(subprocess.run(whole, check=True, capture_output=True, text=True).stdout, end="")
    time.sleep(1)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prompts" / "support").mkdir(parents=True)
        for version, text in TEXTS.items():
            (folder / "prompts" / "support" / f"{version}.md").write_text(f"{text}\n")
        (folder / "otel-agent.yaml").write_text(CONFIG)
        configure("prompt-release", config=folder / "otel-agent.yaml", console=False)
        ask_all()
        # there are no golden tasks yet: examples/golden has a project with them
        type_command(folder, "canary", "support:v14", "--percent", "10", "--force", "--why", "to try it")
        ask_all()
        type_command(folder, "rollback", "support:v13", "--why", "six times the tool calls")
        ask_all()


if __name__ == "__main__":
    main()
