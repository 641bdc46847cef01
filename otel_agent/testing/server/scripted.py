"""The scripted model server as a user holds it: start, addresses, ledger, stop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from otel_agent import checks
from otel_agent.stop import InvalidSetting
from otel_agent.testing.server.handler import Handler
from otel_agent.testing.server.ledger import Ledger
from otel_agent.testing.server.listener import LOOPBACK, Listener, Service
from otel_agent.testing.server.script import Reply, Script, in_order

__all__ = ["ScriptedModelServer"]


T = TypeVar("T")


@checks.known_keywords
class ScriptedModelServer:
    """A model server on the loopback address that says what a script says, the same every time.

    It speaks OpenAI's chat completions and Responses API and Anthropic's messages, streamed or not, and lists models.
    `with ScriptedModelServer(script) as server:` starts and stops it.

    Args:
        script: a function from `Request` to `Reply`, called from several threads at once; or the replies in order.
        port: the TCP port; 0 takes a free one, and keeps it when the server is started again.
        models: the names that `/v1/models` lists. Any other model is answered as well.
        max_body_bytes: the largest request, in bytes.

    Raises:
        InvalidSetting: a value that can never work.
    """

    def __init__(
        self,
        script: Script | Iterable[Reply],
        *,
        port: int = 0,
        models: Sequence[str] = ("gpt-5-mini",),
        max_body_bytes: int = 16_777_216,
    ) -> None:
        name = type(self).__name__
        self._port = checks.count(f"{name}.port", port, most=65_535)
        most = checks.count(f"{name}.max_body_bytes", max_body_bytes, least=1)
        listed = [checks.text(f"{name}.models", model) for model in _several(f"{name}.models", models)]
        asked = script if callable(script) else in_order(_several(f"{name}.script", script))
        self._service = Service(script=asked, models=tuple(listed), max_body_bytes=most)
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"<ScriptedModelServer port={self._port} {'running' if self._listener else 'stopped'}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """The address for OpenAI clients; it stays the same after a stop. RuntimeError before the first start."""
        return self.anthropic_base_url + "/v1"

    @property
    def anthropic_base_url(self) -> str:
        """The address for Anthropic clients, which add the version themselves. RuntimeError before the first start."""
        if not self._port:
            raise RuntimeError("the server has no address before it is started")
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def ledger(self) -> Ledger:
        """What was really served, in all starts together."""
        return self._service.ledger

    def start(self) -> Self:
        """Starts to listen; does nothing when it listens already.

        Raises:
            OSError: the port is taken.
        """
        if self._listener is None:
            self._listener = Listener(self._port, Handler, self._service)
            self._port = self._listener.port
        return self

    def stop(self) -> None:
        """Ends all connections, also those in a `delay`, and frees the port; does nothing when it is stopped."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()


def _several(field: str, value: Iterable[T]) -> Iterable[T]:
    """Refuses one value where several are meant; a text would pass for its letters."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise InvalidSetting(field=field, value=value, allowed="a sequence, not one value")
    return value
