"""What is wrong with a file: every problem with its line and column, and the one error that tells them all.

Decides how a problem reads. Never shows what may be a secret or a prompt: who finds a problem says whether to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from otel_agent.stop import InvalidSetting

__all__ = ["InvalidFile", "Kind", "Problem"]

Kind = Literal["syntax", "key", "value", "together"]
MOST_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        line: the line, from 1.
        column: the column, from 1.
        field: the setting, such as `budgets.max_steps`; empty for the file as a whole.
        value: what stands there, as a short text, or None where it is not shown.
        allowed: what should stand there instead, or what is wrong.
        kind: `syntax` (it is not read at all), `key` (unknown, twice, missing), `value`, or `together` (each value
            may be so, but not beside the others).
    """

    line: int
    column: int
    field: str
    value: str | None
    allowed: str
    kind: Kind

    def __str__(self) -> str:
        what = self.field if self.value is None else f"{self.field} = {self.value}"
        said = f"must be {self.allowed}" if self.kind in ("value", "together") else self.allowed
        return ": ".join(part for part in (f"{self.line}:{self.column}", what, said) if part)

    def as_json(self) -> dict[str, Any]:
        """Gives the problem as JSON has it."""
        return asdict(self)


class InvalidFile(InvalidSetting):
    """A file has problems, and nothing of it was taken.

    Attributes:
        file: the file.
        problems: all of them, in the order of the file.
        field: the setting of the first problem, as on every `InvalidSetting`.
        value: what stands there.
        allowed: what should stand there.
    """

    _names = ("file", "problems")
    file: str
    problems: tuple[Problem, ...]

    def __init__(self, *, file: str, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        ValueError.__init__(self)
        self._set({"file": file, "problems": found})
        self.field, self.value, self.allowed = found[0].field or file, found[0].value or "", found[0].allowed

    def __str__(self) -> str:
        lines = [f"{self.file}:{problem}" for problem in self.problems[:MOST_SHOWN]]
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, f"and {more} more"] if more else lines)
