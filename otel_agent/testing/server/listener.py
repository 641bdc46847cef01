"""The socket, its threads, and how all of them end at once.

Decides nothing about requests. Listens on the loopback address only.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from socketserver import TCPServer
from typing import Any

from otel_agent.testing.server.ledger import Ledger
from otel_agent.testing.server.script import Script

__all__ = ["LOOPBACK", "Listener", "Service"]

LOOPBACK = "127.0.0.1"

_GRACE = 0.5
"""Seconds that a stop waits for its threads; only a script that hangs takes so long."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What every connection of one server shares."""

    script: Script
    models: tuple[str, ...]
    max_body_bytes: int
    ledger: Ledger = field(default_factory=Ledger)
    _numbers: Any = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_number(self) -> int:
        """Gives the next place in the order of arrival."""
        with self._lock:
            return int(next(self._numbers))


class Listener(ThreadingHTTPServer):
    """Takes connections, one thread each, until `close()`."""

    daemon_threads = True
    allow_reuse_port = False
    request_queue_size = 256

    def __init__(self, port: int, handler: Callable[..., BaseHTTPRequestHandler], service: Service) -> None:
        self.service = service
        self.stopping = threading.Event()
        self._open: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__((LOOPBACK, port), handler)
        self._thread = threading.Thread(target=self._accept, name="scripted-model-server", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Ends every connection, whatever it is waiting for, and frees the port."""
        self.stopping.set()
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), _GRACE):  # wakes the thread
            self._thread.join(_GRACE)
        self.server_close()
        with self._changed:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, _GRACE)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            self.handle_request()

    def server_bind(self) -> None:
        """Binds without asking the network for the name of this host."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a new connection."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection, at the end of its thread."""
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keeps a failed connection from printing a traceback."""
        _log.debug("a connection failed", exc_info=True)
