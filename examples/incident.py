"""The whole incident: a prompt goes out past the gate, costs far more, is found out, taken back, and kept out for good.

The agent is that of examples/golden; it answers here, and follows the files of its project while commands are typed in
processes of their own, as an operator would. Its model is scripted and on loopback: it does what the prompt says.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otel_agent import RunResult, flush, shutdown

PROJECT = Path(__file__).parent / "golden"
MANY, FEW = 56, 16
AT_ONCE = 8
TASKS = """
- {id: charged_twice, input: "I was billed twice this month. Do I get one of them back?", expect_stop_reason: finish}
- {id: lost_phone, input: "I lost my phone with the authenticator on it. What now?", expect_stop_reason: finish}
- {id: mothballed, input: "Can we mothball it?", expect_stop_reason: finish}
"""
PROGRESS = re.compile(r"\d+/\d+ ")
QUESTIONS = (
    "A client says that the invoice never arrived, but it is shown as sent. What can I do?",
    "I sent an invoice with a wrong amount and cannot edit it now. How do I correct it?",
    "What happens to our projects and people if we go down from Business to the Free plan?",
    "Our nightly script keeps getting 429 from your API. How many requests per minute may we send?",
)


def chapter(title: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}")


def typed(*command: str) -> subprocess.CompletedProcess[str]:
    """Types a command in the project's folder."""
    return subprocess.run([sys.executable, "-m", "otel_agent", *command], capture_output=True, text=True, check=False)


def show(*command: str, code: int = 0) -> None:
    """Types a command and prints what it says; it must end with this exit code."""
    quoted = [f'"{word}"' if " " in word else word for word in command]
    print(f"$ otel-agent {' '.join(quoted)}")
    done = typed(*command)
    for line in (done.stdout + done.stderr).splitlines():
        if not PROGRESS.match(line):
            print(f"  {line}")
    if done.returncode != code:
        raise SystemExit(f"its exit code was {done.returncode}, where {code} was to be")


def followed() -> None:
    """Lets the second pass in which every process has seen a release."""
    time.sleep(1)


async def traffic(bot: Any, day: str, conversations: int) -> list[tuple[str, RunResult[str]]]:
    """Lets customers ask, each in a conversation of their own."""
    some = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> tuple[str, RunResult[str]]:
        question = QUESTIONS[number % len(QUESTIONS)]
        async with some:
            return question, await bot.answer(question, f"{day}-{number}")

    return await asyncio.gather(*(one(number) for number in range(conversations)))


def told(answers: Sequence[tuple[str, RunResult[str]]]) -> None:
    """Prints what the runs of each prompt took."""
    runs = Counter(str(result.prompt_id) for _, result in answers)
    for prompt_id, count in sorted(runs.items()):
        own = [result.usage for _, result in answers if result.prompt_id == prompt_id]
        tokens, tools = (sum(getattr(each, name) for each in own) / count for name in ("total_tokens", "tool_calls"))
        print(f"  {prompt_id}: {count} runs, {tokens:,.0f} tokens and {tools:.1f} tool calls each")


def project(folder: Path) -> None:
    """Makes the project as it was before the incident: its golden tasks ask for the right end, and for no bounds."""
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("golden", "__pycache__"))
    (folder / "golden").mkdir()
    (folder / "golden" / "first.yaml").write_text(TASKS)
    file = folder / "otel-agent.yaml"
    text = file.read_text().replace("history: true", "history: history")
    file.write_text(text.replace("testing:\n", "testing:\n  results: results.jsonl\n"))
    os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = str(folder / "cache")
    os.chdir(folder)
    sys.path.insert(0, str(folder))


def without_time(file: Path) -> None:
    """Takes the bound on time out again: seconds of a scripted model say how busy this machine is."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "max_seconds" not in line))
    print("  (max_seconds is taken out again: the model here is scripted)")


def incident(runner: asyncio.Runner) -> None:
    bot = importlib.import_module("support_bot")

    chapter("v13 is active; v14 is to be thorough, nobody has checked it, and somebody is in a hurry")
    show("prompts", "canary", "support:v14", "--percent", "50", code=1)
    show("prompts", "canary", "support:v14", "--percent", "50", "--force", "--why", "promised for today")
    followed()

    chapter("Customers ask")
    answers = runner.run(traffic(bot, "monday", MANY))
    told(answers)
    flush()

    chapter("Was it the prompt or the traffic?")
    show("runs", "compare", "support:v13", "support:v14", "--history", "history")

    chapter("Back to v13")
    show("prompts", "rollback", "support:v13", "--why", "many times the tokens and tool calls")
    followed()
    told(runner.run(traffic(bot, "tuesday", FEW)))
    flush()

    chapter("The incident becomes a golden task, with bounds from the runs of v13")
    question, worst = max(answers, key=lambda each: each[1].usage.total_tokens)
    asked = ("--input", question, "--baseline", "support:v13", "--history", "history")
    show("golden", "add", "--from-run", worst.run_id, "--id", "monday", *asked)
    without_time(Path("golden") / "first.yaml")

    chapter("v14 fails it, and the gate knows")
    show("golden", "run", "--prompt", "support:v14", code=1)
    show("prompts", "canary", "support:v14", "--percent", "50", code=1)

    chapter("v15 is thorough only where a search finds nothing: it passes, and goes out")
    show("golden", "run", "--prompt", "support:v15")
    show("prompts", "canary", "support:v15", "--percent", "50", "--why", "thorough where it helps")
    followed()
    told(runner.run(traffic(bot, "wednesday", FEW)))

    chapter("What was done, by whom and why")
    changes = json.loads(typed("prompts", "history", "--json").stdout)["changes"]
    for change in reversed(changes):
        forced = f" (forced past: {len(change['overridden'])})" if change["overridden"] else ""
        print(f"  {change['what']} {change['before']} -> {change['after']}: {change['why']}{forced}")


def main() -> None:
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        project(Path(name) / "support")
        try:
            with asyncio.Runner() as runner:
                incident(runner)
                runner.run(importlib.import_module("support_bot").client.close())
        finally:
            shutdown()
            os.chdir(here)


if __name__ == "__main__":
    main()
