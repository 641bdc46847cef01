"""Results to tell of: one task that passed, one that failed, one that could not be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_agent.golden.baseline import compare_tasks
from otel_agent.golden.invariants import Violation
from otel_agent.golden.results import Result, TaskResult, Trial
from tests.support.past import START, V13, V14, past_run

__all__ = ["MANY", "a_result", "a_trial", "compared_result"]

MANY = Violation("max_tool_calls", "at most 4", "11", strict=False)
SAID = Violation("output.contains", "with 'SECRET text' in it", "a text of 12 characters without it", strict=False)


def a_trial(
    task: str,
    repeat: int,
    *broken: Violation,
    problem: str | None = None,
    limits: tuple[str, ...] = ("steps",),
    **run: Any,
) -> Trial:
    """Gives a trial; one with a problem has no run."""
    number = f"{task.encode().hex()}{repeat}".ljust(32, "0")[:32]
    ran = None if problem else past_run(run_id=number, task=task, prompt_id=V14, **run)
    return Trial(task=task, repeat=repeat, run=ran, violations=broken, problem=problem, limits=limits)


def a_result(tasks: Mapping[str, Sequence[Trial]] | None = None, **more: Any) -> Result:
    """Gives a result of these trials, or of three tasks that went differently."""
    given = tasks or {
        "greet": [a_trial("greet", at, tool_calls=at) for at in (1, 2, 3)],
        "refund": [a_trial("refund", at, MANY, SAID, tool_calls=11) for at in (1, 2)] + [a_trial("refund", 3)],
        "hangs | <b>&": [a_trial("hangs | <b>&", 1, problem="never returned: still under way after 5 s")],
    }
    results = tuple(
        TaskResult(task=name, trials=tuple(trials), repeats=len(trials), quorum=len(trials) // 2 + 1)
        for name, trials in given.items()
    )
    digests = dict.fromkeys(given, "0" * 12)
    base: dict[str, Any] = {"agent": "bot:answer", "prompt_ids": (V14,), "task_set": "f" * 12, "at_ns": START}
    return Result(tasks=results, task_digests=digests, **{**base, **more})


def compared_result(factor: int = 3) -> Result:
    """Gives a result of six tasks that passed, with a baseline that used a part of it."""
    names = [f"t{at}" for at in range(6)]
    tasks = {name: [a_trial(name, at, input_tokens=900 + 10 * at) for at in (1, 2, 3)] for name in names}
    before = {
        name: [past_run(prompt_id=V13, input_tokens=900 // factor, output_tokens=600 // factor)] for name in names
    }
    result = a_result(tasks)
    return a_result(tasks, comparison=compare_tasks(before, result.runs(), name="v13.json"))
