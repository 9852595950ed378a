"""Request bodies of all sizes, in all the ways in which HTTP can transfer them."""

import gzip
import os
from collections.abc import Callable

import pytest

from support.client import COMPRESS, GRPC, Http2, Identity, frame, http1
from support.gate import Gate
from support.protobuf import field, request, resource, scope, span, traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

TRACES, V1_TRACES = GRPC_PATHS["traces"], HTTP_PATHS["traces"]
OWNED = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}


def of_size(size: int) -> bytes:
    """A message of about this size with random content, which does not compress."""
    return request(resource(), scope(span("large", field(1999, os.urandom(size)))))


@pytest.mark.parametrize("size", [100, 60_000, 1_100_000, 5_000_000, 15_000_000])
def test_bodies_larger_than_envoys_buffers_are_accepted(
    connect: Callable, gate: Gate, acme: Identity, sink: Sink, size: int
) -> None:
    message = of_size(size)
    for address in (gate.grpc, gate.http):
        connection = connect(acme, address)
        assert connection.grpc(TRACES, frame(message)).grpc_status == 0
        assert connection.http(V1_TRACES, message, {"content-length": str(len(message))}).status == 200
        for encoding, compress in COMPRESS.items():
            assert connection.http(V1_TRACES, compress(message), {"content-encoding": encoding}).status == 200
        for _ in range(2 + len(COMPRESS)):
            received = sink.take()
            assert received.resources() == [OWNED]
            assert message[-size:] in received.body


@pytest.mark.parametrize("encoding", COMPRESS)
def test_bodies_that_inflate_to_more_than_envoys_buffers_are_accepted(
    connect: Callable, acme: Identity, sink: Sink, encoding: str
) -> None:
    message = request(resource(), scope(span("large", field(1999, os.urandom(16_000) * 180))))
    body = COMPRESS[encoding](message)
    assert len(body) * 20 < len(message)
    connection = connect(acme)
    assert connection.http(V1_TRACES, body, {"content-encoding": encoding}).status == 200
    assert connection.grpc(TRACES, frame(body, compressed=True), {"grpc-encoding": encoding}).grpc_status == 0
    for _ in range(2):
        assert sink.take().resources() == [OWNED]


def test_a_body_may_arrive_byte_by_byte(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    assert connection.grpc(TRACES, frame(traces("slow")), chunk=1).grpc_status == 0
    assert sink.take().names() == ["slow"]
    assert (
        connection.http(V1_TRACES, gzip.compress(traces("slow")), {"content-encoding": "gzip"}, chunk=1).status == 200
    )
    assert sink.take().names() == ["slow"]


def test_a_request_with_trailers_is_rejected(connect: Callable, acme: Identity, sink: Sink) -> None:
    # No OTLP client sends trailers, and with trailers a body that was read cannot be given back to Envoy.
    connection = connect(acme)
    trailers = {"x-checksum": "1", "x-scope-orgid": "someone else"}
    for body in (traces("a"), of_size(100_000)):
        answer = connection.grpc(TRACES, frame(body), trailers=trailers)
        assert answer.grpc_status == 3, answer
        assert "trailers" in answer.grpc_message
        assert connection.http(V1_TRACES, body, trailers=trailers).status == 400
    assert connection.grpc(TRACES, b"", trailers=trailers).grpc_status == 3
    assert connection.grpc(TRACES, frame(traces("a"))).grpc_status == 0
    sink.only("a")


@pytest.mark.parametrize(
    "trailers", [b"", b"x-scope-orgid: someone else\r\nx-other: 1\r\n"], ids=["plain", "with trailers"]
)
def test_chunks_of_http_1_are_one_body(gate: Gate, acme: Identity, sink: Sink, trailers: bytes) -> None:
    message = traces("a", "b")
    chunks = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (message[:1], message[1:50], message[50:])]
    head = (
        f"POST {V1_TRACES} HTTP/1.1\nhost: localhost\n"
        "content-type: application/x-protobuf\ntransfer-encoding: chunked\ntrailer: x-other\n"
    )

    answer = http1(gate.http, acme, head, *chunks, b"0\r\n" + trailers + b"\r\n")

    assert answer.status == 200, answer
    received = sink.take()
    assert received.names() == ["a", "b"]
    assert received.resources()[0].items() >= OWNED.items()
    assert received.headers["x-scope-orgid"] == "acme"


def test_requests_on_one_connection_do_not_mix(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    streams = [connection.open(TRACES, GRPC) for _ in range(20)]
    bodies = [frame(traces(f"stream {number}")) for number in range(20)]
    # A piece of each body in turn, then the rests in reverse order.
    for stream, body in zip(streams, bodies, strict=True):
        connection.h2.send_data(stream, body[:30])
    connection.flush()
    for stream, body in reversed(list(zip(streams, bodies, strict=True))):
        assert connection.finish(stream, body[30:]).grpc_status == 0
    names = sorted(name for _ in streams for name in sink.take().names())
    assert names == sorted(f"stream {number}" for number in range(20))


def test_unfinished_requests_of_a_closed_connection_are_not_forwarded(
    connect: Callable, gate: Gate, acme: Identity, sink: Sink
) -> None:
    for _ in range(20):
        connection = Http2(gate.grpc, acme)
        for _ in range(10):
            stream = connection.open(TRACES, GRPC)
            connection.h2.send_data(stream, frame(of_size(5000))[:4000])
        connection.flush()
        connection.socket.close()
    assert connect(acme).grpc(TRACES, frame(traces("after"))).grpc_status == 0
    sink.only("after")


def test_no_input_has_crashed_the_filter(gate: Gate) -> None:
    assert gate.crashes() == 0
