"""Runs golden tasks: several trials at once, each in a trace of its own, judged from its spans.

Decides the order (repeats interleave, and so do the sides, so that a slow hour meets both), when to wait no longer, and
when a trial cannot be judged. Nothing of a trial is exported or counted as production; its rows and spans go into a
history of their own.

    jobs -> a daemon thread each, so many at once -> the agent -> spans of its trace -> Observed -> Trial -> Result
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from otel_agent import context as ctx
from otel_agent.config.values import Config, GoldenTask
from otel_agent.golden.agents import Agent, Answer, Call, check_call, find_prompt, name_of, place_of
from otel_agent.golden.baseline import compare_tasks
from otel_agent.golden.invariants import notes, violations
from otel_agent.golden.keeping import Keeper, golden_history, past_spans
from otel_agent.golden.observed import NoRun, observe
from otel_agent.golden.outputs import check_library
from otel_agent.golden.replay import Player, Tape, in_context
from otel_agent.golden.results import Result, Side, TaskResult, Trial, default_quorum
from otel_agent.golden.tasks import TaskSet, task_digest
from otel_agent.prompts import Prompt
from otel_agent.run.choice import with_prompt, without_gate
from otel_agent.run.repeats import arguments_hashed
from otel_agent.stop import InvalidSetting
from otel_agent.stores.otlp_json import PastSpan
from otel_agent.telemetry.spans import error_type
from otel_agent.testing.traces import Traces, kept_traces
from otel_agent.usage import PastRun

__all__ = [
    "ACTIVE",
    "CONCURRENCY",
    "NEVER_RETURNED",
    "REPEATS",
    "TIMEOUT_SECONDS",
    "check_baseline",
    "check_telemetry",
    "compared",
    "quorum_of",
    "repeats_of",
    "run_tasks",
    "run_trial",
    "trials_planned",
]

REPEATS = 3
CONCURRENCY = 4
TIMEOUT_SECONDS = 300.0
ACTIVE = "active"
BASELINE = "the baseline"
NEVER_RETURNED = "never returned"
DISABLED = "OTEL_SDK_DISABLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One trial to run."""

    task: GoldenTask
    repeat: int
    side: Side
    prompt: Prompt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the trials of one agent run."""

    agent: Agent
    writes: tuple[str, ...]
    timeout: float
    player: Player | None
    keeper: Keeper | None

    @property
    def replays(self) -> bool:
        """Whether answers come from a recording."""
        return self.player is not None and self.player.replays

    def tape(self, job: _Job) -> Tape | None:
        """Gives what records or replays a trial; a baseline is for comparing, which recorded answers are not."""
        return None if self.player is None or job.side == "baseline" else self.player.tape(job.task, job.repeat)


class _Running:
    """A trial under way, in a thread of its own; it is put into the queue when it is done."""

    def __init__(self, job: _Job, way: _Way, traces: Traces, done: SimpleQueue[_Running]) -> None:
        self._job, self._way, self._traces, self._done = job, way, traces, done
        self._call, self._answer = Call(way.agent, job.task), Answer()
        self._trace_id, self._context = traces.begin()
        self._tape = way.tape(job)
        self.deadline = time.monotonic() + way.timeout
        thread = threading.Thread(target=self._work, name=f"golden-{job.task.id}-{job.repeat}", daemon=True)
        contextvars.Context().run(thread.start)

    def _work(self) -> None:
        prompt, tape = self._job.prompt, self._tape
        context = without_gate(self._context)  # what has not passed yet is what is to be tested
        context = context if prompt is None else with_prompt(prompt, context)
        ctx.attach(context if tape is None else in_context(tape, context))
        try:
            if tape is None or tape.problem is None:
                self._answer = self._call.answer()
        except BaseException as error:
            self._answer = Answer(error=error)
        self._done.put(self)

    def judged(self) -> Trial:
        """Gives the trial of a call that is done."""
        spans = past_spans(self._traces.end(self._trace_id))
        return _judged(self._job, self._way, spans, self._answer, self._tape)

    def abandoned(self) -> Trial:
        """Gives the trial of a call that is waited for no longer."""
        self._call.abandon()
        self._traces.end(self._trace_id)
        return _unjudged(self._job, self._way, f"{NEVER_RETURNED}: still under way after {self._way.timeout:g} s")


def _unjudged(job: _Job, way: _Way, problem: str, run: PastRun | None = None) -> Trial:
    return Trial(task=job.task.id, repeat=job.repeat, side=job.side, run=run, problem=problem, replayed=way.replays)


def _judged(job: _Job, way: _Way, spans: Sequence[PastSpan], answer: Answer, tape: Tape | None) -> Trial:
    try:
        observed = observe(spans)
    except NoRun as none:
        return _unjudged(job, way, _ended(tape, 0) or _no_run(none, answer))
    run = observed.run._replace(task=job.task.id)
    if way.keeper is not None:
        way.keeper.keep(spans, job.task.id)
    problem = _ended(tape, run.steps) or _other_prompt(job, run)
    if problem is not None:
        return _unjudged(job, way, problem, run)
    return Trial(
        task=job.task.id,
        repeat=job.repeat,
        side=job.side,
        run=run,
        violations=violations(job.task, observed, answer.output, writes=way.writes),
        limits=observed.limits,
        replayed=way.replays,
        notes=notes(job.task, observed),
    )


def _ended(tape: Tape | None, steps: int) -> str | None:
    """Ends what was recorded or replayed, and gives what was wrong with it."""
    if tape is None:
        return None
    tape.end(steps)
    return tape.problem


def _no_run(none: NoRun, answer: Answer) -> str:
    """Says why there is no run; what was raised by its class and place alone, since its message may quote content."""
    if answer.error is None:
        return str(none)
    where = place_of(answer.error)
    return f"raised {error_type(answer.error)} before any run was done" + (f" ({where})" if where else "")


def _other_prompt(job: _Job, run: PastRun) -> str | None:
    if job.prompt is None or run.prompt_id == job.prompt.id:
        return None
    wanted, name = job.prompt.id, job.prompt.name
    if run.prompt_id is None:
        return f"its spans name no prompt, which must be {wanted}: select it by name, agent_run(prompt={name!r})"
    return f"used {run.prompt_id}, not {wanted}: it pins its prompt; select it by name, agent_run(prompt={name!r})"


# several


def run_trial(
    agent: Agent,
    task: GoldenTask,
    *,
    repeat: int = 1,
    writes: Sequence[str] = (),
    prompt: Prompt | str | None = None,
    side: Side = "candidate",
    timeout: float = TIMEOUT_SECONDS,
    player: Player | None = None,
    history: Path | None = None,
) -> Trial:
    """Runs one trial and judges it.

    Args:
        agent: what is called.
        task: the task.
        repeat: which repeat this is, from 1.
        writes: tools that change something outside.
        prompt: the prompt that the agent gets where it selects one of that name; None leaves the released one.
        side: "candidate" or "baseline".
        timeout: how many seconds to wait for it.
        player: records what models and tools say, or says what was recorded; None only asks them.
        history: the folder to keep its run in; None keeps it nowhere.

    Raises:
        InvalidSetting: the prompt has no text, the agent does not take the task's input, or there can be no spans.
    """
    check_telemetry()
    check_call(agent, task)
    check_library(task)
    keeper = None if history is None else Keeper(history)
    way = _Way(agent=agent, writes=tuple(writes), timeout=timeout, player=player, keeper=keeper)
    job = _Job(task=task, repeat=repeat, side=side, prompt=_prompt(prompt))
    with arguments_hashed(), kept_traces() as traces, player or nullcontext():
        return next(_trials([job], way, traces, 1))


def run_tasks(
    agent: Agent,
    tasks: TaskSet,
    *,
    name: str | None = None,
    prompt: Prompt | str | None = None,
    baseline_prompt: Prompt | str | None = None,
    baseline: Result | None = None,
    baseline_name: str = BASELINE,
    repeats: int | None = None,
    concurrency: int = CONCURRENCY,
    timeout: float = TIMEOUT_SECONDS,
    on_trial: Callable[[Trial], object] = lambda _: None,
    player: Player | None = None,
    whole: bool = True,
    history: Path | None = None,
    config: Config | Path | None = None,
) -> Result:
    """Runs every task as often as it asks for, judges all, and compares with a baseline where one is given.

    An interrupt (Ctrl-C) ends it early: trials under way are abandoned, what was judged is in the result.

    Args:
        agent: what is called.
        tasks: the tasks.
        name: what the agent is called in the result; None takes that of the tasks, else of the function.
        prompt: the prompt that the agent gets where it selects one of that name; None leaves the released one.
        baseline_prompt: a prompt to run beside it, or "active" for the released one; None for none.
        baseline: a result from before to compare with, or None.
        baseline_name: what to call it.
        repeats: how often each task runs that does not say so itself; None is 3.
        concurrency: how many trials may be under way at once.
        timeout: how many seconds to wait for each.
        on_trial: told of each trial, in the caller's thread.
        player: records what models and tools say, or says what was recorded, once for each task; None only asks them.
        whole: whether these are all tasks that there are.
        history: the folder to keep the runs in; None is one in the user's cache folder.
        config: where prompts are found that the agent has not registered; None is the one that holds here.

    Raises:
        InvalidSetting: something can never work: no tasks, a prompt without a text, an agent that does not take an
            input, a baseline of other tasks, telemetry that is switched off.
    """
    check_telemetry()
    if not tasks.tasks:
        raise InvalidSetting(field="tasks", value=None, allowed="at least one golden task")
    for task in tasks.tasks:
        check_call(agent, task)
        check_library(task)
    if baseline is not None:
        check_baseline(tasks, baseline, whole=whole, name=baseline_name)
    sides = _sides(prompt, baseline_prompt, config)
    folder = golden_history() if history is None else history
    keeper = None if folder is None else Keeper(folder)
    way = _Way(agent=agent, writes=tasks.writes, timeout=timeout, player=player, keeper=keeper)
    counts = _counts(tasks, repeats, player)
    found: list[Trial] = []
    interrupted = False
    with arguments_hashed(), kept_traces() as traces, player or nullcontext():
        try:
            for trial in _trials(_jobs(tasks, counts, sides), way, traces, concurrency):
                found.append(trial)
                on_trial(trial)
        except KeyboardInterrupt:
            interrupted = True
    called = name or tasks.agent or name_of(agent)
    result = _result(called, tasks, found, counts, whole=whole, interrupted=interrupted)
    if baseline is not None:
        return compared(baseline, result, name=baseline_name)
    return result if baseline_prompt is None else _beside(result, str(baseline_prompt))


def trials_planned(tasks: TaskSet, *, repeats: int | None = None, sides: int = 1, player: Player | None = None) -> int:
    """Gives how many trials there will be."""
    return sides * sum(_counts(tasks, repeats, player).values())


def _counts(tasks: TaskSet, repeats: int | None, player: Player | None) -> dict[str, int]:
    """Gives how often each task runs; what was recorded is said once."""
    once = player is not None and player.replays
    return {task.id: 1 if once else repeats_of(task, repeats) for task in tasks.tasks}


def check_telemetry() -> None:
    """Checks that spans can be made here.

    Raises:
        InvalidSetting: the SDK is switched off.
    """
    if os.environ.get(DISABLED, "").strip().lower() == "true":
        allowed = "unset or false: golden tasks are judged from spans"
        raise InvalidSetting(field=DISABLED, value=os.environ[DISABLED], allowed=allowed)


def repeats_of(task: GoldenTask, asked: int | None) -> int:
    """Gives how often a task runs: what it says itself, else what is asked for, else 3; no less than its quorum."""
    return task.repeats or max(asked or REPEATS, task.quorum or 1)


def _sides(
    prompt: Prompt | str | None, baseline: Prompt | str | None, config: Config | Path | None
) -> dict[Side, Prompt | None]:
    found: dict[Side, Prompt | None] = {"candidate": _prompt(prompt, config)}
    if baseline is not None:
        found["baseline"] = None if baseline == ACTIVE else _prompt(baseline, config, field="--baseline-prompt")
        if found["baseline"] == found["candidate"]:
            allowed = "another prompt than the one that is tested: --prompt says which"
            raise InvalidSetting(field="--baseline-prompt", value=str(baseline), allowed=allowed)
    return found


def _prompt(prompt: Prompt | str | None, config: Config | Path | None = None, field: str = "--prompt") -> Prompt | None:
    return find_prompt(prompt, config, field=field) if isinstance(prompt, str) else prompt


def _jobs(tasks: TaskSet, counts: Mapping[str, int], sides: Mapping[Side, Prompt | None]) -> Iterator[_Job]:
    for repeat in range(1, max(counts.values()) + 1):
        for task in tasks.tasks:
            if repeat <= counts[task.id]:
                for side, prompt in sides.items():
                    yield _Job(task=task, repeat=repeat, side=side, prompt=prompt)


def _trials(jobs: Sequence[_Job] | Iterator[_Job], way: _Way, traces: Traces, concurrency: int) -> Iterator[Trial]:
    """Gives the trials as they are done; closed before its end, it abandons those under way."""
    waiting, running = iter(jobs), list[_Running]()
    done: SimpleQueue[_Running] = SimpleQueue()
    try:
        while True:
            while len(running) < concurrency and (job := next(waiting, None)) is not None:
                running.append(_Running(job, way, traces, done))
            if not running:
                return
            ended = _next(running, done)
            running.remove(ended[0])
            yield ended[0].judged() if ended[1] else ended[0].abandoned()
    finally:
        for each in running:
            each.abandoned()


def _next(running: Sequence[_Running], done: SimpleQueue[_Running]) -> tuple[_Running, bool]:
    """Waits for the next trial that is done, or whose time is up."""
    first = min(running, key=lambda each: each.deadline)
    while True:
        try:
            ended = done.get(timeout=max(0.0, first.deadline - time.monotonic()))
        except Empty:
            return first, False
        if ended in running:  # else it was given up before
            return ended, True


# what it comes to


def _result(
    name: str, tasks: TaskSet, trials: Sequence[Trial], counts: Mapping[str, int], *, whole: bool, interrupted: bool
) -> Result:
    ids = dict.fromkeys(
        trial.run.prompt_id for trial in trials if trial.side == "candidate" and trial.run and trial.run.prompt_id
    )
    return Result(
        agent=name,
        prompt_ids=tuple(ids),
        tasks=tuple(_task_result(task, trials, counts[task.id]) for task in tasks.tasks),
        task_set=tasks.digest,
        task_digests={task.id: task_digest(task) for task in tasks.tasks},
        at_ns=time.time_ns(),
        whole=whole,
        interrupted=interrupted,
    )


def _task_result(task: GoldenTask, trials: Sequence[Trial], repeats: int) -> TaskResult:
    own = sorted((trial for trial in trials if trial.task == task.id), key=lambda trial: (trial.side, trial.repeat))
    return TaskResult(task=task.id, trials=tuple(own), repeats=repeats, quorum=quorum_of(task, repeats))


def quorum_of(task: GoldenTask, repeats: int) -> int:
    """Gives how many of so many repeats of a task must be clean."""
    return min(repeats, task.quorum or default_quorum(repeats))


def check_baseline(tasks: TaskSet, baseline: Result, *, whole: bool, name: str = BASELINE) -> None:
    """Checks that a result from before is of the same tasks.

    Args:
        tasks: the tasks that are run now.
        baseline: the result from before.
        whole: whether the tasks are all that there are; a selection of them may leave some of the baseline out.
        name: what to call the baseline in an error, such as its file.

    Raises:
        InvalidSetting: a task is missing in one of them, or asks for something else.
    """
    _same_tasks({task.id: task_digest(task) for task in tasks.tasks}, baseline, whole=whole, name=name)


def _same_tasks(now: Mapping[str, str], baseline: Result, *, whole: bool, name: str) -> None:
    if baseline.replayed:
        allowed = "a result of live runs: recorded answers say nothing of what changed"
        raise InvalidSetting(field=name, value="replayed", allowed=allowed)
    before = baseline.task_digests
    for task in (*now, *(before if whole else ())):
        if now.get(task) != before.get(task):
            missing = "now" if task not in now else "in the baseline" if task not in before else None
            why = f"there is no such task {missing}" if missing else "its input has changed since"
            raise InvalidSetting(field=f"{name}: task", value=task, allowed=f"the same tasks on both sides: {why}")


def compared(baseline: Result, result: Result, *, name: str = BASELINE) -> Result:
    """Gives a result with its comparison with one from before.

    Raises:
        InvalidSetting: they are of other tasks, or of recorded answers.
    """
    _same_tasks(result.task_digests, baseline, whole=result.whole, name=name)
    if result.replayed:
        raise InvalidSetting(
            field="baseline", value=name, allowed="left out: recorded answers are compared with nothing"
        )
    return replace(result, comparison=compare_tasks(baseline.runs(), result.runs(), name=name))


def _beside(result: Result, name: str) -> Result:
    runs = {
        task.task: [trial.run for trial in task.trials if trial.side == "baseline" and trial.run is not None]
        for task in result.tasks
    }
    return replace(result, comparison=compare_tasks(runs, result.runs(), name=name))
