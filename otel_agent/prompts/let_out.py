"""Which versions may run without having passed their golden tasks, by what was done on purpose.

Those are the versions that somebody let out by force and for a reason, and those that a rollback leads to, each until
it is taken back itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_agent.prompts.override import Change
from otel_agent.prompts.registry import parse_ref

__all__ = ["let_out"]


def let_out(changes: Iterable[Change]) -> frozenset[str]:
    """Gives those versions, each by its id, or as `name:version` where nothing else was known.

    Args:
        changes: the changes of releases, the oldest first.
    """
    found: dict[str, set[str]] = {}
    for change in changes:
        out = found.setdefault(change.prompt, set())
        if change.what == "reset":
            out.clear()
        elif change.before is not None and (change.what == "rolled_back" or change.after is None):
            out -= {each for each in out if parse_ref("id", each)[:2] == parse_ref("before", change.before)[:2]}
        if change.after is not None and (change.what == "rolled_back" or (change.overridden and change.why)):
            out.add(change.id or change.after)
    return frozenset[str]().union(*found.values())
