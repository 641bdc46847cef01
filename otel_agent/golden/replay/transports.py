"""The model boundary: requests that httpx sends inside an `llm_call` of a trial.

Decides what of a request is its key: the method, the path without its host, and the body as canonical JSON, without
what looks like a secret. Both packages of the name are meant, httpx and httpx2; of clients of another make nothing
comes by here, which the recorder tells.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import wrapt

from otel_agent import context as ctx
from otel_agent import hashing, redaction
from otel_agent.checks import is_mapping
from otel_agent.golden.replay import bodies
from otel_agent.golden.replay.player import Asked, tape_here
from otel_agent.golden.replay.recording import Answer
from otel_agent.run.llm import LLMCall

__all__ = ["failed", "wrapped_transports"]

PACKAGES = ("httpx", "httpx2")
KEPT_HEADERS = ("content-type", "x-should-retry")


@contextmanager
def wrapped_transports() -> Generator[None]:
    """Lets requests come by here while the block runs."""
    put: list[tuple[Any, str, Any, Any]] = []
    try:
        for name in PACKAGES:
            if importlib.util.find_spec(name) is not None:
                module = importlib.import_module(name)
                put.append(_wrap(module.HTTPTransport, "handle_request", _Sync(module)))
                put.append(_wrap(module.AsyncHTTPTransport, "handle_async_request", _Async(module)))
        yield
    finally:
        for owner, name, before, ours in reversed(put):
            if owner.__dict__.get(name) is ours:  # somebody who wrapped it meanwhile finds no tape in ours
                setattr(owner, name, before)


def _wrap(owner: Any, name: str, wrapper: Any) -> tuple[Any, str, Any, Any]:
    before = owner.__dict__[name]
    ours = wrapt.FunctionWrapper(before, wrapper)
    setattr(owner, name, ours)
    return owner, name, before, ours


class _Sync:
    """What is put around a transport's `handle_request`."""

    def __init__(self, module: Any) -> None:
        self.http = _Http(module)

    def __call__(self, handle: Any, transport: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        call = _call_here()
        request = args[0] if args else kwargs["request"]
        asked = None if call is None else _ask(request, request.read(), call)
        if asked is None:
            return handle(*args, **kwargs)
        if asked.answer is not None:
            return self.http.response(asked.answer, request)
        try:
            response = handle(*args, **kwargs)
        except Exception as exc:
            asked.answered(failed(exc))
            raise
        return self.http.copying(response, asked)


class _Async:
    """What is put around a transport's `handle_async_request`."""

    def __init__(self, module: Any) -> None:
        self.http = _Http(module)

    async def __call__(self, handle: Any, transport: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        call = _call_here()
        request = args[0] if args else kwargs["request"]
        asked = None if call is None else _ask(request, await request.aread(), call)
        if asked is None:
            return await handle(*args, **kwargs)
        if asked.answer is not None:
            return self.http.response(asked.answer, request)
        try:
            response = await handle(*args, **kwargs)
        except Exception as exc:
            asked.answered(failed(exc))
            raise
        return self.http.copying(response, asked)


def _call_here() -> LLMCall | None:
    """Gives the LLM call that this request belongs to, where it is one of a trial."""
    frame = ctx.current_frame()
    return frame if type(frame) is LLMCall and tape_here() is not None else None


def _ask(request: Any, body: bytes, call: LLMCall) -> Asked | None:
    tape = tape_here()
    content = bodies.content(body)
    model = content.get("model") if is_mapping(content) else None
    key = hashing.digest([request.method, request.url.path, redaction.redacted(content)])
    name = model if isinstance(model, str) and model else request.url.path
    return None if tape is None else tape.model(name, key, len(body), call)


def failed(exc: BaseException) -> Answer:
    """Gives the answer that an error is."""
    kind = type(exc)
    return Answer(outcome="raises", value=str(exc), error=f"{kind.__module__}.{kind.__qualname__}")


class _Http:
    """Responses of one of the packages: copied while they are read, or made from what was recorded."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._copy, self._said = _copying(module), _said(module)

    def copying(self, response: Any, asked: Asked) -> Any:
        response.stream = self._copy(response.stream, _Copy(self._module, response, asked))
        return response

    def response(self, answer: Answer, request: Any) -> Any:
        if answer.outcome == "raises":
            raise self._error(answer.error, answer.value, request)
        cut = None if not answer.cut else self._error(answer.cut, "as it was recorded", request)
        stream = self._said(bodies.pieces(answer), cut)
        return self._module.Response(answer.status, headers=dict(answer.headers), stream=stream, request=request)

    def _error(self, name: str, message: str, request: Any) -> Exception:
        base = self._module.TransportError
        kind = getattr(self._module, name.rpartition(".")[2], base)
        kind = kind if isinstance(kind, type) and issubclass(kind, base) else base
        error: Exception = kind(message, request=request)
        return error


class _Copy:
    """The body of one response, kept while it is read, and told when it ends, in whatever way."""

    def __init__(self, module: Any, response: Any, asked: Asked) -> None:
        self._module = module
        self._status, self._headers = response.status_code, response.headers
        self._asked = asked
        self._parts: list[bytes] = []

    def add(self, part: bytes) -> None:
        self._parts.append(part)

    def end(self, cut: str | None) -> None:
        """Tells the answer, the first time; later ends of the same body are none."""
        asked, self._asked = self._asked, _NOBODY
        if asked is not _NOBODY:
            asked.answered(self._answer(cut))

    def _answer(self, cut: str | None) -> Answer:
        try:
            content = b"".join(self._parts)
            body = self._module.Response(200, headers=self._headers, content=content).content.decode()
        except (self._module.DecodingError, UnicodeDecodeError):
            return Answer(outcome="missing", value="its answer is no text")
        headers = {name: self._headers[name] for name in KEPT_HEADERS if name in self._headers}
        return Answer(outcome="gives", value=body, status=self._status, headers=headers, cut=cut)


_NOBODY: Any = object()


@contextmanager
def _told(copy: _Copy) -> Generator[None]:
    try:
        yield
    except Exception as exc:
        copy.end(failed(exc).error)
        raise
    copy.end(None)


def _copying(module: Any) -> Any:
    """Gives the class of a body on its way, as a package wants its bodies to be."""

    class Copying(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any, copy: _Copy) -> None:
            self.inner, self.copy = inner, copy

        def __iter__(self) -> Iterator[bytes]:
            with _told(self.copy):
                for part in self.inner:
                    self.copy.add(part)
                    yield part

        async def __aiter__(self) -> AsyncIterator[bytes]:
            with _told(self.copy):
                async for part in self.inner:
                    self.copy.add(part)
                    yield part

        def close(self) -> None:
            self.inner.close()
            self.copy.end("")

        async def aclose(self) -> None:
            await self.inner.aclose()
            self.copy.end("")

    return Copying


def _said(module: Any) -> Any:
    """Gives the class of a body as it was recorded."""

    class Said(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, pieces: list[bytes], cut: Exception | None) -> None:
            self.pieces, self.cut = pieces, cut

        def __iter__(self) -> Iterator[bytes]:
            yield from self.pieces
            if self.cut is not None:
                raise self.cut

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self:
                yield piece

    return Said
