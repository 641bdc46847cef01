"""What makes a project ready for a release: golden tasks that its prompts have passed, limits, and a history."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from otel_agent.cli.prompts.book import read_what_can_be
from otel_agent.golden.tasks import load_tasks
from otel_agent.stores.golden_ledger import LedgerEntry, Verdict, append, ledger_file

__all__ = ["READY", "pass_golden"]

READY = """\
testing: {golden_tasks: [{id: kb_lookup, expect_stop_reason: finish}], results: results.jsonl}
budgets: {max_steps: 25}
observability: {history: true}
"""


def pass_golden(file: Path, *refs: str, result: Verdict = "passed", limits: tuple[str, ...] = ()) -> None:
    """Records what a run of the golden tasks would: that these versions passed, or all that have a text.

    Args:
        file: the project's otel-agent.yaml.
        refs: versions, as `name:version`.
        result: what came of it.
        limits: the limits that its runs were under.
    """
    book = read_what_can_be(file)
    tasks = load_tasks(config=book.config)
    entry = LedgerEntry(
        prompt_id="a:b:0123456789ab",
        agent=tasks.agent or "app:answer",
        at_ns=time.time_ns(),
        task_set=tasks.digest,
        tasks=len(tasks.tasks),
        runs=3 * len(tasks.tasks),
        result=result,
        limits=limits,
        who="golden",
    )
    for ref in refs or book.texts:
        append(ledger_file(book.config), replace(entry, prompt_id=book.texts[ref].prompt.id))
