"""Clients that can send what libraries would not: TLS by Python, HTTP/2 by `h2`, HTTP/1.1 by hand."""

import base64
import gzip
import hashlib
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import zstandard
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

TIMEOUT = 20
# The headers of a gRPC call.
GRPC = {"content-type": "application/grpc", "te": "trailers"}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress}


@dataclass
class Identity:
    """A client's certificate and key, and the CA of the servers that it trusts."""

    certificate: Path
    key: Path
    ca: Path

    def context(self, *alpn: str) -> ssl.SSLContext:
        context = trusting(self.ca, *alpn)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def copy(self, folder: Path) -> "Identity":
        """The same identity in files of its own."""
        folder.mkdir()
        return Identity(*(Path(shutil.copy(file, folder)) for file in (self.certificate, self.key, self.ca)))

    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in hex."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), self.key.read_bytes(), self.certificate.read_bytes())


def trusting(ca: Path, *alpn: str) -> ssl.SSLContext:
    """TLS without a client certificate."""
    context = ssl.create_default_context(cafile=str(ca))
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


@dataclass
class Answer:
    """A response. gRPC's status is in the trailers, or in the headers of a response without a body."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers[":status"])

    @property
    def grpc_status(self) -> int:
        return int((self.headers | self.trailers)["grpc-status"])

    @property
    def grpc_message(self) -> str:
        return (self.headers | self.trailers).get("grpc-message", "")

    def retry_infos(self) -> list[float]:
        """The retry delays in seconds: from the status details, and from the trailer `google.rpc.retryinfo-bin`."""
        found = []
        trailers = self.headers | self.trailers
        if details := trailers.get("grpc-status-details-bin"):
            status = status_pb2.Status.FromString(unbase64(details))
            assert status.code == self.grpc_status
            found += retry_infos(status)
        if info := trailers.get("google.rpc.retryinfo-bin"):
            found.append(seconds(error_details_pb2.RetryInfo.FromString(unbase64(info))))
        return found

    def rpc_status(self) -> status_pb2.Status:
        """The Status in the body of an HTTP error."""
        if self.headers["content-type"] == "application/json":
            return json_format.Parse(self.body, status_pb2.Status())
        assert self.headers["content-type"] == "application/x-protobuf"
        return status_pb2.Status.FromString(self.body)


def retry_infos(status: status_pb2.Status) -> list[float]:
    infos = []
    for detail in status.details:
        info = error_details_pb2.RetryInfo()
        assert detail.Unpack(info), detail.type_url
        infos.append(seconds(info))
    return infos


def seconds(info: Message) -> float:
    return info.retry_delay.seconds + info.retry_delay.nanos / 1e9


def unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def frame(message: bytes, *, compressed: bool = False, length: int | None = None) -> bytes:
    """A gRPC message with its prefix. `length` is written instead of the true length."""
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


def handshake_fails(address: str, context: ssl.SSLContext) -> bool:
    """Whether the TLS handshake fails. With TLS 1.3 the client learns of it at its first read."""
    host, port = address.rsplit(":", 1)
    try:
        with (
            socket.create_connection((host, int(port)), timeout=TIMEOUT) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            # The connection preface and an empty SETTINGS frame (RFC 9113, 3.4), which the server answers.
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            return not connection.recv(1)
    except (ssl.SSLError, ConnectionError):
        return True


class Http2:
    """One HTTP/2 connection over mutual TLS."""

    def __init__(self, address: str, identity: Identity):
        host, port = address.rsplit(":", 1)
        raw = socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT)
        # Else small writes would wait for the gate's delayed acknowledgements.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = identity.context("h2").wrap_socket(raw, server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"
        # The gate checks what is sent, not this library.
        config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.ended: set[int] = set()
        self.flush()

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def grpc(self, path: str, body: bytes, headers: dict[str, str] | None = None, **how) -> Answer:
        """A gRPC call. `body` contains the frames."""
        return self.request(path, body, GRPC | (headers or {}), **how)

    def http(self, path: str, body: bytes, headers: dict[str, str] | None = None, **how) -> Answer:
        """A POST of protobuf."""
        return self.request(path, body, {"content-type": "application/x-protobuf"} | (headers or {}), **how)

    def json(self, path: str, body: bytes, headers: dict[str, str] | None = None, **how) -> Answer:
        """A POST of JSON."""
        return self.request(path, body, {"content-type": "application/json"} | (headers or {}), **how)

    def request(
        self,
        path: str,
        body: bytes,
        headers: dict[str, str],
        *,
        method: str = "POST",
        trailers: dict[str, str] | None = None,
        chunk: int = 16384,
    ) -> Answer:
        """Sends the body until an answer comes, and waits for the answer's end."""
        stream = self.open(path, headers, method=method, end=not body and not trailers)
        return self.finish(stream, body, trailers=trailers, chunk=chunk)

    def open(self, path: str, headers: dict[str, str], *, method: str = "POST", end: bool = False) -> int:
        stream = self.h2.get_next_available_stream_id()
        pseudo = {":method": method, ":path": path, ":scheme": "https", ":authority": "localhost"}
        self.h2.send_headers(stream, list((pseudo | headers).items()), end_stream=end)
        self.answers[stream] = Answer()
        self.flush()
        return stream

    def finish(self, stream: int, body: bytes, *, trailers: dict[str, str] | None = None, chunk: int = 16384) -> Answer:
        deadline = time.monotonic() + TIMEOUT
        answer = self.answers[stream]
        position, sent = 0, not body and not trailers
        while stream not in self.ended:
            assert time.monotonic() < deadline, f"no answer within {TIMEOUT} s"
            # After an early answer the rest of the body is not sent.
            if not sent and not answer.headers:
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, chunk)
                if room > 0 or position == len(body):
                    piece = body[position : position + room]
                    position += len(piece)
                    sent = position == len(body)
                    self.h2.send_data(stream, piece, end_stream=sent and not trailers)
                    if sent and trailers:
                        self.h2.send_headers(stream, list(trailers.items()), end_stream=True)
                    self.flush()
                    if not sent:
                        self.receive(block=False)
                        continue
            self.receive()
        return answer

    def await_settings(self) -> "Http2":
        """Waits for the gate's SETTINGS, which limit the number of streams."""
        while not self.h2.remote_settings.max_concurrent_streams < 2**31:
            self.receive()
        return self

    def await_status(self, stream: int) -> int:
        """Waits for the end of a stream; returns its gRPC status."""
        while stream not in self.ended:
            self.receive()
        return self.answers[stream].grpc_status

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def receive(self, *, block: bool = True) -> None:
        self.socket.settimeout(TIMEOUT if block else 0.0)
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        finally:
            self.socket.settimeout(TIMEOUT)
        if not data:
            raise ConnectionError("the gate closed the connection")
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            # After GOAWAY `h2` accepts no more frames, although the gate may still send answers.
            raise ConnectionError("the gate ended the connection") from error
        for event in events:
            self.on(event)
        self.flush()

    def on(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None)
        answer = self.answers.get(stream)
        match event:
            case h2.events.ResponseReceived():
                answer.headers = decoded(event.headers)
            case h2.events.DataReceived():
                answer.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
            case h2.events.TrailersReceived():
                answer.trailers = decoded(event.headers)
            case h2.events.StreamEnded():
                self.ended.add(stream)
            case h2.events.StreamReset():
                answer.reset = event.error_code
                self.ended.add(stream)
            case h2.events.ConnectionTerminated():
                raise ConnectionError(f"the gate ended the connection: {event.error_code}")


def decoded(headers: list[tuple]) -> dict[str, str]:
    """Headers by name. The values of a header that occurs several times are joined by commas (RFC 9110, 5.3)."""
    values: dict[str, str] = {}
    for pair in headers:
        name, value = (part.decode() if isinstance(part, bytes) else part for part in pair)
        values[name] = f"{values[name]}, {value}" if name in values else value
    return values


def http1(address: str, identity: Identity, head: str, *pieces: bytes) -> Answer:
    """Sends these bytes over HTTP/1.1 and reads one answer. Each call opens a connection."""
    host, port = address.rsplit(":", 1)
    raw = socket.create_connection((host, int(port)), timeout=TIMEOUT)
    with identity.context("http/1.1").wrap_socket(raw, server_hostname="localhost") as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n")
        for piece in pieces:
            connection.sendall(piece)
        reader = connection.makefile("rb")
        answer = Answer({":status": reader.readline().split()[1].decode()})
        while line := reader.readline().strip():
            name, value = line.decode().split(":", 1)
            answer.headers[name.lower()] = value.strip()
        answer.body = reader.read(int(answer.headers.get("content-length", 0)))
        return answer


def call(channel: grpc.Channel, path: str, message: bytes, **how) -> grpc.RpcError | None:
    """A unary call of bytes with Python's gRPC library; returns the error, if any."""
    method = channel.unary_unary(path, request_serializer=None, response_deserializer=None)
    try:
        assert method(message, timeout=TIMEOUT, **how) == b""
        return None
    except grpc.RpcError as error:
        return error


def secure_channel(address: str, credentials: grpc.ChannelCredentials, **how) -> grpc.Channel:
    """A channel with a connection of its own: else channels of equal settings would share one, and its identity. The
    server's certificate is for `localhost`."""
    options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(address, credentials, options=options, **how)
