"""Which prompts a process may run where only those may that have passed: the ledger, and what was let out on purpose.

Reads both when it begins, and again when a file has changed: once in half a second at most, and at once where a prompt
would be refused, so that nobody waits for a look who has just let a version out.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from otel_agent import context as ctx
from otel_agent.prompts import Prompt
from otel_agent.prompts.let_out import let_out
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import Signature, signature_of
from otel_agent.stores.golden_ledger import read_ledger
from otel_agent.stores.looks import LOOK_EVERY, Looks
from otel_agent.stores.prompt_history import History, read_history
from otel_agent.stores.release_writer import ReleaseFiles
from otel_agent.telemetry import guard

__all__ = ["GoldenGate"]


class _State(NamedTuple):
    """The ids that have passed, the versions that were let out on purpose, and of which files they were read."""

    passed: frozenset[str]
    let_out: frozenset[str]
    seen: tuple[Signature, ...]


class GoldenGate:
    """The gate of one process.

    Args:
        ledger: the ledger's file; where it is not there nothing has passed.
        releases: the files that the commands write.

    Raises:
        InvalidSetting: a file cannot be read.
    """

    def __init__(self, ledger: Path, releases: ReleaseFiles) -> None:
        self._ledger, self._releases = ledger, releases
        self._looks = Looks()
        self._state = self._read()

    def lets_through(self, prompt: Prompt, /) -> bool:
        """Tells whether a run may use a prompt."""
        if not 0 <= ctx.monotonic() - self._looks.at < LOOK_EVERY:
            self._looks.take(self._look)
        if self._has(prompt):
            return True
        self._look()
        return self._has(prompt)

    def _has(self, prompt: Prompt) -> bool:
        state = self._state
        return any(name in found for found in state[:2] for name in (prompt.id, f"{prompt.name}:{prompt.version}"))

    def _look(self) -> None:
        if self._signatures() == self._state.seen:
            return
        try:
            self._state = self._read(self._state.passed)
        except InvalidSetting as wrong:
            guard.warn_once("golden gate", "%s; what had passed before holds", wrong)

    def _read(self, before: frozenset[str] = frozenset()) -> _State:
        """Reads the files; what had passed before holds where a line is damaged, for it may be that one."""
        seen = self._signatures()
        ledger = read_ledger(self._ledger)
        for damage in ledger.damaged:
            guard.warn_once(f"ledger:{damage.field}", "%s; the other lines hold, and what had passed before", damage)
        passed = ledger.passed()
        return _State(passed | before if ledger.damaged else passed, let_out(self._history().changes), seen)

    def _history(self) -> History:
        """Reads the history; a broken override file, which is the selector's to tell of, hides no line of it."""
        try:
            return self._releases.read_history()
        except InvalidSetting:
            return read_history(self._releases.history)

    def _signatures(self) -> tuple[Signature, ...]:
        files = (self._ledger, self._releases.override, self._releases.history)
        return tuple(signature_of(file) for file in files)
