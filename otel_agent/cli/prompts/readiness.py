"""Whether a version is ready for runs: golden tasks passed, limits set, a way back there, and telemetry that is seen.

Decides that from files and variables alone, and says in one line what is missing and what mends it. What an application
sets in its code is seen as far as its golden runs show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import NamedTuple

from otel_agent import Budget, InvalidSetting
from otel_agent.cli.prompts.book import Book, shown
from otel_agent.golden.tasks import TaskSet, load_tasks
from otel_agent.prompts import Ref, parse_ref
from otel_agent.stores.golden_ledger import Ledger, LedgerEntry, ledger_file, read_ledger
from otel_agent.telemetry.destinations import destinations
from otel_agent.views.text import plural

__all__ = ["Item", "readiness"]


LOCK_IT = "`otel-agent prompts lock --from MODULE:PROMPTS` records one that is in code"


class Item(NamedTuple):
    """One thing that a version needs.

    Attributes:
        name: what it is.
        ready: whether it is there.
        says: what is there, or what is missing.
        mend: what mends that; None where nothing is missing.
    """

    name: str
    ready: bool
    says: str
    mend: str | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.says}" + (f"; {self.mend}" if self.mend else "")


def readiness(book: Book, ref: Ref) -> list[Item]:
    """Gives all that a version needs, there or not."""
    golden, entry = _golden(book, ref)
    return [golden, _budgets(book, entry), _way_back(book, ref), _telemetry(book)]


# golden tasks


def _golden(book: Book, ref: Ref) -> tuple[Item, LedgerEntry | None]:
    """Holds the newest check of a version's very text against the tasks as they are now."""
    name, run = "golden tasks", f"`otel-agent golden run --prompt {ref.name}:{ref.version}`"
    prompt_id = book.id_of(ref)
    if prompt_id is None:
        says = f"the text of {ref.name}:{ref.version} is not known here"
        return Item(name, False, says, LOCK_IT), None
    try:
        tasks, ledger = load_tasks(config=book.config), read_ledger(ledger_file(book.config))
    except InvalidSetting as wrong:
        return Item(name, False, str(wrong).splitlines()[0], "`otel-agent golden list` tells all that is wrong"), None
    if not tasks.tasks:
        mend = "name them as testing.golden_tasks or testing.files; `otel-agent golden add --help` writes one"
        return Item(name, False, "there are none", mend), None
    entry = ledger.latest(prompt_id, agent=tasks.agent)
    missing = _not_passed(prompt_id, tasks, ledger, entry)
    if missing is not None and ledger.damaged:
        missing += f" ({ledger.damaged[-1]})"
    if missing is not None or entry is None:
        return Item(name, False, missing or "", run), entry
    return Item(name, True, f"{_what_ran(entry)} passed, {_by(entry)}"), entry


def _not_passed(prompt_id: str, tasks: TaskSet, ledger: Ledger, entry: LedgerEntry | None) -> str | None:
    """Says why a version has not passed what is asked now, or None where it has."""
    if entry is None:
        other = ledger.latest(prompt_id)
        agent = f" by {tasks.agent}" if tasks.agent else ""
        return f"{prompt_id} has never been checked{agent}" + (f", only by {other.agent}" if other else "")
    if entry.result != "passed":
        return f"the last check of {prompt_id} came to {entry.result}: {_what_ran(entry)}, {_by(entry)}"
    if entry.task_set != tasks.digest:
        return (
            f"{prompt_id} passed the task set {entry.task_set} ({plural(entry.tasks, 'task')}), {_by(entry)}; "
            f"now it is {tasks.digest} ({plural(len(tasks.tasks), 'task')})"
        )
    return None


def _what_ran(entry: LedgerEntry) -> str:
    return f"{plural(entry.tasks, 'task')} in {plural(entry.runs, 'run')} of {entry.agent}"


def _by(entry: LedgerEntry) -> str:
    return f"{entry.when[:16].replace('T', ' ')} UTC by {entry.who}"


# limits, the way back, telemetry


def _budgets(book: Book, entry: LedgerEntry | None) -> Item:
    name, budgets = "budgets", book.config.budgets
    limits = (limit for each in (budgets.default, *budgets.agents.values()) for limit in _limits(each))
    found = list(dict.fromkeys(limits))
    if found:
        return Item(name, True, f"{', '.join(found)} in {_file(book)}")
    if entry is not None and entry.limits:
        return Item(name, True, f"every golden run was under limits of {', '.join(entry.limits)}")
    mend = f"set budgets.max_steps, max_tool_calls and max_tokens in {_file(book)}, or a Budget(...) in code"
    return Item(name, False, "no limit is set, and the golden runs were under none", mend)


def _limits(budget: Budget) -> Iterator[str]:
    for each in fields(budget):
        if each.name.startswith("max_") and getattr(budget, each.name) not in (None, {}):
            yield each.name


def _way_back(book: Book, ref: Ref) -> Item:
    name, release = "rollback", book.release(ref.name)
    if release is None:
        mend = f"set prompts.active in {_file(book)} to the version before"
        return Item(name, False, f"nothing is released of {ref.name} that one could go back to", mend)
    active = parse_ref("active", release.active)
    target = release.rollback if active[:2] == ref[:2] else release.active
    if target is None:
        return Item(name, False, f"{ref.name} has none", f"set prompts.rollback in {_file(book)}")
    if book.id_of(parse_ref("rollback", target)) is None:
        says = f"the text of {target}, which it would lead to, is not known here"
        return Item(name, False, says, f"put it back; {LOCK_IT}")
    return Item(name, True, f"leads to {target}")


def _telemetry(book: Book) -> Item:
    name, seen = "telemetry", book.config.observability
    found = list(destinations())
    if seen.history is not False:
        found.append("a run history" if seen.history is True else f"the run history {shown(seen.history)}")
    if seen.console:
        found.append("the console")
    if found:
        return Item(name, True, f"goes to {', '.join(found)}")
    mend = f"set OTEL_EXPORTER_OTLP_ENDPOINT as where it runs, or observability.history: true in {_file(book)}"
    return Item(name, False, "goes nowhere: nothing here names a place for it", mend)


def _file(book: Book) -> str:
    return book.config.file.name if book.config.file is not None else "otel-agent.yaml"
