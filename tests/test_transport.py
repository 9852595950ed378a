"""Bodies in all the ways that they may come in."""

import gzip
import os
from collections.abc import Callable

import pytest

from client import COMPRESS, Http2, Identity, frame, http1
from gate import Gate
from sink import GRPC_PATHS, HTTP_PATHS, Sink
from wire import field, request, resource, scope, span, traces

TRACES, V1_TRACES = GRPC_PATHS["traces"], HTTP_PATHS["traces"]
STAMP = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}


def of_size(size: int) -> bytes:
    """A message of about this size that does not compress."""
    return request(resource(), scope(span("large", field(1999, os.urandom(size)))))


@pytest.mark.parametrize("size", [100, 60_000, 1_100_000, 5_000_000, 15_000_000])
def test_bodies_of_any_size_pass_whatever_envoy_buffers(
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
            assert received.resources() == [STAMP]
            assert message[-size:] in received.body


@pytest.mark.parametrize("encoding", COMPRESS)
def test_what_inflates_to_more_than_envoy_buffers_passes(
    connect: Callable, acme: Identity, sink: Sink, encoding: str
) -> None:
    message = request(resource(), scope(span("large", field(1999, os.urandom(16_000) * 180))))
    body = COMPRESS[encoding](message)
    assert len(body) * 20 < len(message)
    connection = connect(acme)
    assert connection.http(V1_TRACES, body, {"content-encoding": encoding}).status == 200
    assert connection.grpc(TRACES, frame(body, compressed=True), {"grpc-encoding": encoding}).grpc_status == 0
    for _ in range(2):
        assert sink.take().resources() == [STAMP]


def test_a_body_may_come_byte_by_byte(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    assert connection.grpc(TRACES, frame(traces("slow")), chunk=1).grpc_status == 0
    assert sink.take().names() == ["slow"]
    assert (
        connection.http(V1_TRACES, gzip.compress(traces("slow")), {"content-encoding": "gzip"}, chunk=1).status == 200
    )
    assert sink.take().names() == ["slow"]


def test_a_request_that_ends_with_trailers_is_refused(connect: Callable, acme: Identity, sink: Sink) -> None:
    # No OTLP client sends any, and a body that has been read cannot be handed back to Envoy then.
    connection = connect(acme)
    trailers = {"x-checksum": "1", "x-scope-orgid": "someone else"}
    for body in (traces("a"), of_size(100_000)):
        answer = connection.grpc(TRACES, frame(body), trailers=trailers)
        assert answer.grpc_status == 3, answer
        assert "trailers" in answer.grpc_message
        assert connection.http(V1_TRACES, body, trailers=trailers).status == 400
    assert connection.grpc(TRACES, b"", trailers=trailers).grpc_status == 3
    assert connection.grpc(TRACES, frame(traces("a"))).grpc_status == 0
    assert [request.names() for request in (sink.take(), *sink.rest())] == [["a"]]


@pytest.mark.parametrize(
    "trailers", [b"", b"x-scope-orgid: someone else\r\nx-other: 1\r\n"], ids=["plain", "with trailers"]
)
def test_http_1_chunks_are_put_together(gate: Gate, acme: Identity, sink: Sink, trailers: bytes) -> None:
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
    assert received.resources()[0].items() >= STAMP.items()
    assert received.headers["x-scope-orgid"] == "acme"


def test_requests_on_one_connection_do_not_mix(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    headers = {"content-type": "application/grpc", "te": "trailers"}
    streams = [connection.open(TRACES, headers) for _ in range(20)]
    bodies = [frame(traces(f"stream {number}")) for number in range(20)]
    # A piece of each in turn, and the ends in reverse.
    for stream, body in zip(streams, bodies):
        connection.h2.send_data(stream, body[:30])
    connection.flush()
    for stream, body in reversed(list(zip(streams, bodies))):
        assert connection.finish(stream, body[30:]).grpc_status == 0
    names = sorted(name for _ in streams for name in sink.take().names())
    assert names == sorted(f"stream {number}" for number in range(20))


def test_a_client_that_hangs_up_leaves_nothing_behind(
    connect: Callable, gate: Gate, acme: Identity, sink: Sink
) -> None:
    headers = {"content-type": "application/grpc", "te": "trailers"}
    for _ in range(20):
        connection = Http2(gate.grpc, acme)
        for _ in range(10):
            stream = connection.open(TRACES, headers)
            connection.h2.send_data(stream, frame(of_size(5000))[:4000])
        connection.flush()
        connection.socket.close()
    assert connect(acme).grpc(TRACES, frame(traces("after"))).grpc_status == 0
    assert [request.names() for request in (sink.take(), *sink.rest())] == [["after"]]


def test_no_input_so_far_has_crashed_the_module(gate: Gate) -> None:
    counters = gate.stats("vm_reload")
    assert counters and set(counters.values()) == {0}
