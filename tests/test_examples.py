"""Every example runs, offline and from any folder, without a warning, and shows what it is there to show."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.offline import ROOT, run

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TROUBLE = re.compile(r"Traceback|Warning|Error|ended without a record", re.IGNORECASE)

FACTS = {
    "async_streaming": ["fast: finish, 22 tokens (as billed)", "slow: max_seconds, ", "press Request refund"],
    "existing_opentelemetry": [
        "POST /ask\n  invoke_agent order-bot\n    execute_tool orders.find\n    chat gpt-5-mini\n",
        "processors on the application's provider: 1",
    ],
    "incident": [
        "has never been checked by support_bot:answer; `otel-agent golden run --prompt support:v14`\n",
        "  otel-agent prompts: nothing was changed; --force --why TEXT does it in spite of that\n",
        "  prompt: a run of support:v14 takes ",
        "golden/first.yaml has the task monday: end with finish; at most 3 steps, 2 tool calls, ",
        " max_tool_calls: at most 2, found 11 (3 of 3); ",
        "golden tasks: the last check of support:v14:231cc6bcb490 came to regression: 4 tasks in 12 runs",
        "    canary    support:v15, 50 % of the conversations  (was none)\n",
        "  rollout_changed support:v13 -> support:v14: promised for today (forced past: 1)\n",
        "  rolled_back support:v14 -> support:v13: many times the tokens and tool calls\n",
        "  rollout_changed support:v13 -> support:v15: thorough where it helps\n",
    ],
    "nested_agents": [
        "researcher on refunds: max_steps (used 3 of 3); the editor has 4 steps left",
        "editor: finish, 7 steps, 1 of them its own",
        "the model server answered 7 times",
    ],
    "prompt_release": [
        "support:v13:01c17c121d39: 200 runs, 1 tool calls each\n$ otel-agent prompts canary support:v14 --percent 10 ",
        " runs, 6 tool calls each\n$ otel-agent prompts rollback support:v13 --why six times the tool calls\n",
        "canary    none         (was support:v14, 10 % of the conversations)",
    ],
    "quickstart": ["Yes, within 7 days", "finish: 2 steps, 1 tool calls", "max_tool_calls: 4 steps, 3 tool calls"],
    "support_agent": ["support:v13:50af3e26c3af", "max_tool_calls 1", "own count agrees"],
    "threads": [
        "5 of 8 searches were made, 5 were counted: max_tool_calls",
        "the thread is in the same run: True",
        "after the runs there is none: None",
    ],
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_shows_its_point(example: Path, tmp_path: Path) -> None:
    done = run([sys.executable, "-W", "error", str(example)], tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    missing = [fact for fact in FACTS[example.stem] if fact not in done.stdout]
    assert not missing, done.stdout
    assert not TROUBLE.search(done.stderr.replace("CancelledError", "")), done.stderr


def test_every_example_is_known() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(FACTS)
