"""One HTTP request: which endpoint it means, what the script says to it, and how much of that reaches the client.

Decides status codes, headers and the order of things:

    body -> endpoint -> dialect.read -> script -> delay -> settle -> dialect.body or .events -> ledger -> last bytes

The ledger is written before the last bytes leave, so that a client finds its own answer in it.
"""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from math import ceil
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from otel_agent.testing.server.answer import Answer, count_input, settle
from otel_agent.testing.server.chat import CHAT
from otel_agent.testing.server.dialect import CREATED, Dialect, Refused, dump
from otel_agent.testing.server.ledger import Served
from otel_agent.testing.server.listener import Listener
from otel_agent.testing.server.messages import MESSAGES
from otel_agent.testing.server.responses import RESPONSES
from otel_agent.testing.server.script import Reply, Request, ScriptExhausted, seconds

__all__ = ["Handler"]

_DIALECTS = {"/v1/chat/completions": CHAT, "/v1/responses": RESPONSES, "/v1/messages": MESSAGES}
_MODELS = "/v1/models"
_SECRET = re.compile("auth|key|cookie|token|secret")
_NO_RETRY = {"x-should-retry": "false"}
_DRAIN_READS, _DRAIN_SECONDS = 1024, 0.2


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def _listener(self) -> Listener:
        return cast(Listener, self.server)

    def handle(self) -> None:
        """Serves until either side hangs up, which is no error here."""
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what is no HTTP, or has no method of ours, as JSON too."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else code
        self._refuse(Refused(status, message or _phrase(status), connection="close"))

    def do_GET(self) -> None:
        """Answers any method."""
        try:
            raw = self._read_body()
            path = urlsplit(self.path).path.rstrip("/")
            if path in _DIALECTS:
                self._allow("POST")
                self._answer_call(path, _DIALECTS[path], raw)
            elif path == _MODELS or path.startswith(_MODELS + "/"):
                self._allow("GET")
                self._send(_head_and(200, self._models(unquote(path[len(_MODELS) + 1 :]))))
            else:
                raise Refused(404, f"there is no {path}; there are {', '.join([*_DIALECTS, _MODELS])}")
        except Refused as refused:
            self._refuse(refused)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def _allow(self, method: str) -> None:
        if self.command != method:
            raise Refused(405, f"{self.command} is not allowed here, {method} is", allow=method)

    def _read_body(self) -> bytes:
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers:
            raise Refused(411, "a body needs a content-length", connection="close")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise Refused(400, "the content-length is not a number of bytes", connection="close")
        most = self._listener.service.max_body_bytes
        if int(length) > most:
            raise Refused(413, f"the body has {length} bytes, at most {most} are allowed", connection="close")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError
        return body

    def _models(self, wanted: str) -> dict[str, Any]:
        known = self._listener.service.models
        if not wanted:
            ends = {"first_id": known[0], "last_id": known[-1]} if known else {"first_id": None, "last_id": None}
            return {"object": "list", "data": [_model(name) for name in known], "has_more": False, **ends}
        if wanted not in known:
            raise Refused(404, f"there is no model {wanted}")
        return _model(wanted)

    def _answer_call(self, path: str, dialect: Dialect, raw: bytes) -> None:
        number = self._listener.service.next_number()
        served = Served(number=number, path=path)
        headers = {dialect.request_id: f"req_{number + 1:06d}"}
        try:
            request = _read_request(number, path, dialect, raw, self._safe_headers())
            served = replace(served, model=request.model, stream=request.stream)
            reply = self._ask(request)
        except Refused as refused:
            document = dialect.failure(refused.status, str(refused))
            served = replace(served, status=refused.status, completed=True)
            return self._write([_head_and(refused.status, document, **headers, **refused.headers)], served)
        self._give(request, reply, dialect, served, headers)
        return None

    def _safe_headers(self) -> dict[str, str]:
        named = {name.lower(): value for name, value in self.headers.items()}
        return {name: value for name, value in named.items() if not _SECRET.search(name)}

    def _ask(self, request: Request) -> Reply:
        try:
            reply: Any = self._listener.service.script(request)
        except ScriptExhausted as exhausted:
            raise Refused(500, str(exhausted), **_NO_RETRY) from None
        except BaseException as error:  # what a test fails with is not always an Exception
            raise Refused(500, f"the script raised {type(error).__name__}", **_NO_RETRY) from None
        if isinstance(reply, Reply):
            return reply
        raise Refused(500, f"the script gave a {type(reply).__name__}, not a Reply", **_NO_RETRY)

    def _give(self, request: Request, reply: Reply, dialect: Dialect, served: Served, headers: dict[str, str]) -> None:
        """Gives a reply, or as much of it as the reply itself and the client allow."""
        try:
            self._pause(seconds(reply.delay))
            if reply.drop == "before":
                raise ConnectionAbortedError
        except OSError:
            self._listener.service.ledger.write(served)
            raise
        served = replace(served, status=reply.status, completed=reply.drop is None)
        if reply.status == 200:
            answer = settle(request, reply)
            served = _charged(served, answer)
            frames = _frames(answer, dialect, headers)
        else:
            document = dialect.failure(reply.status, reply.text or _phrase(reply.status))
            frames = [_head_and(reply.status, document, **headers, **_retry_after(reply))]
        self._write(_first_half(frames) if reply.drop else frames, served, seconds(reply.chunk_delay))

    def _write(self, frames: list[bytes], served: Served, pause: float = 0.0) -> None:
        ledger = self._listener.service.ledger
        try:
            for index, frame in enumerate(frames):
                if index:
                    self._pause(pause)
                if index == len(frames) - 1:
                    ledger.write(served)
                self.connection.sendall(frame)
        except OSError:
            ledger.write(replace(served, completed=False))
            raise
        self.close_connection = self.close_connection or not served.completed

    def _pause(self, time_s: float) -> None:
        """Waits, and raises the moment the client hangs up or the server stops."""
        end = time.monotonic() + time_s
        self.connection.settimeout(time_s)
        try:
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError
        except (TimeoutError, BlockingIOError):
            return
        finally:
            self.connection.settimeout(None)
        if self._listener.stopping.wait(max(0.0, end - time.monotonic())):
            raise ConnectionAbortedError

    def _refuse(self, refused: Refused) -> None:
        headers: Any = getattr(self, "headers", None) or {}
        dialect = MESSAGES if "anthropic-version" in headers else CHAT
        self._send(_head_and(refused.status, dialect.failure(refused.status, str(refused)), **refused.headers))
        if "connection" in refused.headers:
            self.close_connection = True
            self._drain()

    def _send(self, message: bytes) -> None:
        head, end, _ = message.partition(b"\r\n\r\n")
        self.connection.sendall(head + end if self.command == "HEAD" else message)

    def _drain(self) -> None:
        """Reads what is still on its way, or the reset of the connection would overtake the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_DRAIN_SECONDS)
        for _ in range(_DRAIN_READS):
            if not self.connection.recv(65_536):
                break


def _read_request(number: int, path: str, dialect: Dialect, raw: bytes, headers: dict[str, str]) -> Request:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not valid JSON") from None
    try:
        model, stream, asked = body["model"], body.get("stream") or False, dialect.read(body)
        tokens = count_input(asked.messages, asked.tools)
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        missing = f": {error} is missing" if isinstance(error, KeyError) else ""
        raise Refused(400, f"the body does not have the shape of this endpoint{missing}") from None
    if not isinstance(model, str) or not model or not isinstance(stream, bool) or not asked.messages:
        raise Refused(400, "a request needs a model, at least one message, and stream as true or false")
    return Request(
        number=number,
        path=path,
        model=model,
        messages=asked.messages,
        tools=asked.tools,
        stream=stream,
        include_usage=asked.include_usage,
        input_tokens=tokens,
        max_output_tokens=asked.max_output_tokens,
        body=body,
        headers=headers,
    )


def _frames(answer: Answer, dialect: Dialect, headers: dict[str, str]) -> list[bytes]:
    """Encodes an answer: one message, or its head, then each event, the last together with the end of the stream."""
    if not answer.request.stream:
        return [_head_and(200, dialect.body(answer), **headers)]
    head = _head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **headers})
    *events, last = (b"%x\r\n%s\r\n" % (len(event), event) for event in dialect.events(answer))
    return [head, *events, last + b"0\r\n\r\n"]


def _first_half(frames: list[bytes]) -> list[bytes]:
    if len(frames) > 1:
        return frames[: (len(frames) + 1) // 2]
    head, end, body = frames[0].partition(b"\r\n\r\n")
    return [head + end + body[: len(body) // 2]]


def _head_and(status: int, document: dict[str, Any], **headers: str) -> bytes:
    body = dump(document).encode()
    return _head(status, {"content-type": "application/json", "content-length": str(len(body)), **headers}) + body


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_phrase(status)}\r\n{lines}\r\n".encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded" if status == 529 else "Error"


def _retry_after(reply: Reply) -> dict[str, str]:
    if reply.retry_after is None:
        return {}
    after = seconds(reply.retry_after)
    return {"retry-after": str(ceil(after)), "retry-after-ms": str(ceil(after * 1000))}


def _charged(served: Served, answer: Answer) -> Served:
    return replace(
        served,
        model=answer.model,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cached_input_tokens=answer.cached_input_tokens,
        cache_write_tokens=answer.cache_write_tokens,
        reasoning_tokens=answer.reasoning_tokens,
        tool_calls=len(answer.tool_calls),
    )


def _model(name: str) -> dict[str, Any]:
    """Describes a model for the clients of both providers."""
    created_at = datetime.fromtimestamp(CREATED, UTC).isoformat()
    openai = {"id": name, "object": "model", "created": CREATED, "owned_by": "otel-agent"}
    return openai | {"type": "model", "display_name": name, "created_at": created_at, "lifecycle": "active"}
