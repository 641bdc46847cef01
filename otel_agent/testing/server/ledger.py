"""What a scripted model server really served: the other side's books, to compare one's own with.

Decides what counts. Written by the server's threads, read by anyone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from otel_agent.testing.server.script import seconds

__all__ = ["Ledger", "Served"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request to the model and what became of it.

    Attributes:
        number: the place in the order of arrival, from 0.
        path: the endpoint.
        model: the model that answered; the one asked for where none did, empty where the request was unreadable.
        stream: True when the answer was to be streamed.
        status: the HTTP status; None when the connection ended before there was an answer.
        input_tokens: input as billed, cached tokens inside. All counts are 0 where the status is not 200.
        output_tokens: output as billed, reasoning tokens inside, also when the stream broke before its end.
        cached_input_tokens: the part of the input read from a cache.
        cache_write_tokens: the part of the input written to a cache.
        reasoning_tokens: the part of the output that was reasoning.
        tool_calls: how many tools the answer asked for.
        completed: True when the whole answer could be written to the client.
    """

    number: int
    path: str
    model: str = ""
    stream: bool = False
    status: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    tool_calls: int = 0
    completed: bool = False


class Ledger:
    """Every request to a model endpoint that has ended, well or not."""

    def __init__(self) -> None:
        self._served: dict[int, Served] = {}
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<Ledger requests={self.requests} answered={self.answered}>"

    @property
    def entries(self) -> tuple[Served, ...]:
        """The requests, in the order in which they arrived."""
        with self._changed:
            return tuple(self._served[number] for number in sorted(self._served))

    @property
    def requests(self) -> int:
        """How many requests have ended."""
        return len(self.entries)

    @property
    def answered(self) -> int:
        """How many of them got a whole answer that is not an error."""
        return sum(entry.completed and entry.status == 200 for entry in self.entries)

    @property
    def input_tokens(self) -> int:
        """Input tokens of all entries."""
        return self._sum(lambda entry: entry.input_tokens)

    @property
    def output_tokens(self) -> int:
        """Output tokens of all entries."""
        return self._sum(lambda entry: entry.output_tokens)

    @property
    def tool_calls(self) -> int:
        """Tools asked for in all entries."""
        return self._sum(lambda entry: entry.tool_calls)

    def wait_for(self, n: int, timeout: float | timedelta = 5.0) -> tuple[Served, ...]:
        """Waits until a number of requests have ended: what a client that gave up cannot know.

        Args:
            n: how many requests.
            timeout: seconds to wait at most.

        Returns:
            The entries.

        Raises:
            TimeoutError: there are fewer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._served) >= n, seconds(timeout)):
                raise TimeoutError(f"{len(self._served)} of {n} requests have ended")
        return self.entries

    def write(self, entry: Served) -> None:
        """Writes an entry, in place of an earlier one of the same number."""
        with self._changed:
            self._served[entry.number] = entry
            self._changed.notify_all()

    def _sum(self, field: Callable[[Served], int]) -> int:
        return sum(map(field, self.entries))
