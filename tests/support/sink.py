"""A backend that keeps the raw bytes of every request, over gRPC and over HTTP."""

import queue
import threading
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SERVICE = "/opentelemetry.proto.collector."
GRPC_PATHS = {
    "traces": SERVICE + "trace.v1.TraceService/Export",
    "metrics": SERVICE + "metrics.v1.MetricsService/Export",
    "logs": SERVICE + "logs.v1.LogsService/Export",
    "profiles": SERVICE + "profiles.v1development.ProfilesService/Export",
}
HTTP_PATHS = {
    "traces": "/v1/traces",
    "metrics": "/v1/metrics",
    "logs": "/v1/logs",
    "profiles": "/v1development/profiles",
}
REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "profiles": ExportProfilesServiceRequest,
}
SIGNALS = {path: signal for paths in (GRPC_PATHS, HTTP_PATHS) for signal, path in paths.items()}


@dataclass
class Received:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    # Whether it was answered with success.
    accepted: bool = True

    @property
    def signal(self) -> str:
        return SIGNALS[self.path]

    def decode(self) -> Message:
        """The message as protobuf's own implementation reads it."""
        message = REQUESTS[self.signal]
        if self.headers.get("content-type") == "application/json":
            return json_format.Parse(self.body, message())
        return message.FromString(self.body)

    def resources(self) -> list[dict[str, str]]:
        """The attributes of every Resource. A key that occurs twice fails the test: backends differ in which one they
        read."""
        resources = []
        message = self.decode()
        table = message.dictionary.string_table if self.signal == "profiles" else []
        for entry in message.ListFields()[0][1] if message.ListFields() else []:
            # In profiles a key may be an index into the table of strings.
            keys = [(a.key or table[a.key_strindex]) if table else a.key for a in entry.resource.attributes]
            assert len(keys) == len(set(keys)), f"a key occurs twice: {keys}"
            resources.append({key: text(a.value) for key, a in zip(keys, entry.resource.attributes, strict=True)})
        return resources

    def names(self) -> list[str]:
        """Names of spans and of metrics (once per data point), or bodies of log records, in order."""
        message = self.decode()
        if self.signal == "traces":
            scopes = [scope for entry in message.resource_spans for scope in entry.scope_spans]
            return [span.name for scope in scopes for span in scope.spans]
        if self.signal == "logs":
            scopes = [scope for entry in message.resource_logs for scope in entry.scope_logs]
            return [record.body.string_value for scope in scopes for record in scope.log_records]
        scopes = [scope for entry in message.resource_metrics for scope in entry.scope_metrics]
        return [metric.name for scope in scopes for metric in scope.metrics for _ in points(metric)]


def points(metric: Message) -> list[Message]:
    return getattr(metric, metric.WhichOneof("data")).data_points


def text(value: Message) -> str:
    kind = value.WhichOneof("value")
    return value.string_value if kind == "string_value" else f"{kind}: {getattr(value, kind)}"


@dataclass
class Sink:
    """The requests in the order of arrival.

    `fail` makes the next answers errors: (gRPC status, HTTP status). `http_headers` are added to answers over HTTP.
    Over gRPC, requests are answered only while `answering` is set.
    """

    received: "queue.Queue[Received]" = field(default_factory=queue.Queue)
    fail: tuple[grpc.StatusCode, int] | None = None
    http_headers: dict[str, str] = field(default_factory=dict)
    grpc_port: int = 0
    http_port: int = 0
    host: str = "127.0.0.1"
    answering: threading.Event = field(default_factory=threading.Event)
    # How many gRPC requests have been answered, or were cancelled by the gate.
    finished: int = 0

    def __post_init__(self) -> None:
        self.answering.set()

    def take(self, timeout: float = 20) -> Received:
        """The next request; waits for it."""
        return self.received.get(timeout=timeout)

    def rest(self) -> list[Received]:
        """The requests that have arrived by now."""
        found = []
        while True:
            try:
                found.append(self.received.get_nowait())
            except queue.Empty:
                return found

    def only(self, *names: str) -> None:
        """Asserts that the next request has these names, and that no other has arrived before or with it."""
        assert [received.names() for received in (self.take(), *self.rest())] == [list(names)]

    def start(self) -> "Sink":
        self._grpc = grpc.server(
            # A stream that waits for its body holds a thread.
            futures.ThreadPoolExecutor(max_workers=256),
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        self._grpc.add_generic_rpc_handlers([GrpcHandler(self)])
        self.grpc_port = self._grpc.add_insecure_port(f"{self.host}:0")
        self._grpc.start()
        self._http = ThreadingHTTPServer((self.host, 0), HttpHandler)
        self._http.daemon_threads = True
        self._http.sink = self
        self.http_port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._grpc.stop(None).wait(5)
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


class GrpcHandler(grpc.GenericRpcHandler):
    """Handles every method, without decoding the message."""

    def __init__(self, sink: Sink):
        self.sink = sink

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def export(messages, context):
            for message in messages:
                headers = dict(context.invocation_metadata())
                self.sink.received.put(Received(details.method, headers, message, accepted=not self.sink.fail))
                self.sink.answering.wait(30)
                try:
                    if self.sink.fail:
                        context.abort(self.sink.fail[0], "rejected by the test backend")
                    yield b""
                finally:
                    self.sink.finished += 1

        # A stream, so that the test would see several messages if the gate forwarded them.
        return grpc.stream_stream_rpc_method_handler(export)


class HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        try:
            body = self.chunks() if chunked else self.rfile.read(int(self.headers.get("content-length", 0)))
        except ConnectionError:
            # The gate rejected a request that it had begun to forward.
            self.close_connection = True
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        sink = self.server.sink
        sink.received.put(Received(self.path, headers, body, accepted=not sink.fail))
        self.send_response(sink.fail[1] if sink.fail else 200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        for name, value in sink.http_headers.items():
            self.send_header(name, value)
        self.end_headers()

    def chunks(self) -> bytes:
        body = b""
        while size := self.chunk_size():
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def chunk_size(self) -> int:
        line = self.rfile.readline()
        if not line:
            raise ConnectionResetError
        return int(line.split(b";")[0], 16)

    def log_message(self, *_: object) -> None:
        pass
