"""A real OTLP backend in this process, over HTTP or gRPC, that keeps what it gets, refuses it, or hangs.

with OtlpReceiver() as backend:
    ...  # OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint
    backend.wait(lambda: backend.spans)
"""

from __future__ import annotations

import gzip
import http.server
import threading
import zlib
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Literal, Self

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

__all__ = ["Mode", "OtlpReceiver", "Received", "attributes"]

Mode = Literal["ok", "refuse", "hang"]

_REQUESTS: dict[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
_REPLIES: dict[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceResponse,
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One export that was accepted: its signal, path, headers (lower case), the sender's address, and the message."""

    signal: str
    path: str
    headers: dict[str, str]
    peer: str
    message: Any

    @property
    def resource(self) -> dict[str, Any]:
        """The attributes of the first resource."""
        return attributes(self._resources[0].resource.attributes)

    @property
    def items(self) -> list[Any]:
        """The spans, metrics or log records, as protobuf messages."""
        field = {"traces": "spans", "metrics": "metrics", "logs": "log_records"}[self.signal]
        return [item for each in self._resources for scope in self._scopes(each) for item in getattr(scope, field)]

    @property
    def _resources(self) -> Any:
        field = {"traces": "resource_spans", "metrics": "resource_metrics", "logs": "resource_logs"}[self.signal]
        return getattr(self.message, field)

    def _scopes(self, resource: Any) -> Any:
        field = {"traces": "scope_spans", "metrics": "scope_metrics", "logs": "scope_logs"}[self.signal]
        return getattr(resource, field)


def attributes(pairs: Any) -> dict[str, Any]:
    """Gives the attributes of a protobuf message as a plain dict."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


class OtlpReceiver:
    """A backend on a free port of the loopback.

    Args:
        protocol: `http` or `grpc`.
        mode: `ok` keeps what comes; `refuse` answers 503, or UNAVAILABLE; `hang` answers nothing until it is closed.
            May be changed at any time.

    Attributes:
        endpoint: the URL to send to.
        received: the accepted exports, in the order they came.
        attempts: how many exports came, also those that were refused or hang.
    """

    def __init__(self, protocol: Literal["http", "grpc"] = "http", mode: Mode = "ok") -> None:
        self.mode: Mode = mode
        self.received: list[Received] = []
        self.attempts = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server: _Http | _Grpc = _Http(self) if protocol == "http" else _Grpc(self)
        self.port = self._server.port
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def spans(self) -> list[Any]:
        """The spans that came, as protobuf messages."""
        return self._items("traces")

    @property
    def metrics(self) -> list[Any]:
        """The metrics that came, as protobuf messages."""
        return self._items("metrics")

    @property
    def logs(self) -> list[Any]:
        """The log records that came, as protobuf messages."""
        return self._items("logs")

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of each export that was accepted."""
        return [each.headers for each in self.received]

    def of(self, signal: str) -> list[Received]:
        """Gives the accepted exports of one signal."""
        return [each for each in self.received if each.signal == signal]

    def wait(self, until: Callable[[], object], seconds: float = 10.0) -> None:
        """Waits until something holds, and fails when it does not in time."""
        with self._changed:
            assert self._changed.wait_for(until, seconds), f"not within {seconds} s; {self.attempts} exports came"

    def close(self) -> None:
        """Ends the server; exports that hang fail."""
        self._closing.set()
        self._server.close()

    def take(self, received: Received) -> Mode:
        """Keeps an export where the mode is to do so, and tells the mode."""
        with self._changed:
            self.attempts += 1
            mode = self.mode
            if mode == "ok":
                self.received.append(received)
            self._changed.notify_all()
        if mode == "hang":
            self._closing.wait()
        return mode

    def _items(self, signal: str) -> list[Any]:
        return [item for each in self.of(signal) for item in each.items]


class _Http:
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = receiver
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    receiver: OtlpReceiver

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: a client that leaves before its answer is what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        plain = _UNPACK.get(headers.get("content-encoding", ""), bytes)(body)
        signal = self.path.split("?")[0].rsplit("/", 1)[-1]
        peer = f"{self.client_address[0]}:{self.client_address[1]}"
        message = _REQUESTS[signal].FromString(plain)
        received = Received(signal=signal, path=self.path, headers=headers, peer=peer, message=message)
        mode = self.server.receiver.take(received)
        if mode == "hang":
            self.close_connection = True
            return
        self._answer(200 if mode == "ok" else 503, _REPLIES[signal]().SerializeToString())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


_UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}


class _Grpc:
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Service(receiver, "traces"), self._server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Service(receiver, "metrics"), self._server)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Service(receiver, "logs"), self._server)
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()


class _Service:
    def __init__(self, receiver: OtlpReceiver, signal: str) -> None:
        self._receiver = receiver
        self._signal = signal

    def Export(self, request: Any, context: Any) -> Any:
        headers = {str(name): str(value) for name, value in context.invocation_metadata()}
        peer = str(context.peer())
        received = Received(signal=self._signal, path="", headers=headers, peer=peer, message=request)
        if self._receiver.take(received) != "ok":
            context.abort(grpc.StatusCode.UNAVAILABLE, "refused")
        return _REPLIES[self._signal]()
