"""Hostile clients: they get an answer to everything that they send, other clients are served, and Envoy's memory is
bounded."""

import gzip
import os
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import zstandard

from support.client import GRPC, Answer, Http2, Identity, frame
from support.config import any_client
from support.counting_backend import CountingBackend
from support.gate import Certificates, Gate
from support.other_client import MIB, EnvoyMemory, OtherClient
from support.protobuf import attribute, field, request, resource, scope, span, traces
from support.sink import GRPC_PATHS, HTTP_PATHS
from support.waiting import wait_until

TRACES, V1_TRACES = GRPC_PATHS["traces"], HTTP_PATHS["traces"]
PSEUDO = {":method": "POST", ":path": TRACES, ":scheme": "https", ":authority": "localhost"}
CONFIG = any_client("hostile.example", limits={"wire": "2MiB", "inflated": "8MiB", "held": "8MiB"})
HELD = 8 * MIB
WORKERS = 2


@pytest.fixture(scope="module")
def attacked(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, counting_backend: CountingBackend
) -> Iterator[Gate]:
    """One gate for all tests here, with small limits. Its filter must never have failed."""
    file = tmp_path_factory.mktemp("hostile") / "otlp-gate.yaml"
    file.write_text(str(CONFIG))
    port = counting_backend.port
    gate = Gate(file, certificates.folder, port, port, "--concurrency", WORKERS).ready()
    yield gate
    crashes = gate.crashes()
    assert gate.stop() == 0, gate.rest_of_log()
    assert crashes == 0


@pytest.fixture(scope="module")
def identity(certificates: Certificates) -> Callable[[str], Identity]:
    return lambda word: certificates.client(f"hostile-{word}", "--spiffe", f"spiffe://hostile.example/{word}")


@pytest.fixture
def other_client(attacked: Gate, identity: Callable) -> OtherClient:
    """A client that must be served during the attack."""
    return OtherClient(attacked, identity("other"))


@pytest.fixture
def open_connections(attacked: Gate, identity: Callable, connect: Callable) -> Callable[[int], list[Http2]]:
    """Opens connections of the hostile client; they are spread over the workers.

    Envoy has freed what the test before held: it deletes the streams of closed connections a moment later.
    """
    active = "^http.(grpc|http).downstream_rq_active$"
    wait_until(lambda: not any(attacked.stats(active).values()), "all earlier requests have ended")
    return lambda count: [connect(identity("hostile"), attacked.grpc).await_settings() for _ in range(count)]


def of_size(size: int) -> bytes:
    return request(resource(), scope(span("large", field(1999, bytes(size)))))


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """A DATA frame (RFC 9113, 6.1). The library is too slow for the number of frames here."""
    return struct.pack(">I", len(payload))[1:] + bytes([0, end]) + struct.pack(">I", stream) + payload


def begin(connection: Http2, body: bytes) -> int:
    """Opens an export and sends this part of its body, or less if an answer comes."""
    stream = connection.open(TRACES, GRPC)
    while body and not connection.answers[stream].headers:
        room = min(connection.h2.local_flow_control_window(stream), 16384)
        if room:
            connection.h2.send_data(stream, body[:room])
            connection.flush()
            body = body[room:]
        else:
            connection.receive()
    return stream


def test_unfinished_bodies_leave_room_for_other_clients(
    attacked: Gate, open_connections: Callable, identity: Callable
) -> None:
    memory = EnvoyMemory(attacked)
    with OtherClient(attacked, identity("other_client"), 100_000):
        # Four times what all workers may hold.
        connections = open_connections(16)
        unfinished = frame(of_size(MIB))[:-1]
        streams = [(connection, begin(connection, unfinished)) for connection in connections * 4]
    rejected = [answer for connection, stream in streams if (answer := connection.answers[stream]).headers]
    assert {answer.grpc_status for answer in rejected} == {14}
    print(f"{len(streams) - len(rejected)} of {len(streams)} unfinished bodies are held")
    assert memory.growth() < 3 * WORKERS * HELD / MIB
    # The bodies that are held can be finished.
    for connection, stream in streams:
        if not connection.answers[stream].headers:
            assert connection.finish(stream, b"\0").grpc_status == 0


def test_bodies_that_arrive_byte_by_byte_are_accepted(open_connections: Callable, other_client: OtherClient) -> None:
    body = frame(traces("slow"))
    with other_client:
        slow = [(connection, connection.open(TRACES, GRPC)) for connection in open_connections(8) for _ in range(30)]
        for position in range(len(body)):
            piece, end = body[position : position + 1], position + 1 == len(body)
            for connection, stream in slow:
                connection.socket.sendall(data(stream, piece, end=end))
        assert Counter(connection.await_status(stream) for connection, stream in slow) == {0: len(slow)}


def test_a_body_in_very_many_chunks_is_accepted(
    attacked: Gate, open_connections: Callable, other_client: OtherClient
) -> None:
    memory = EnvoyMemory(attacked)
    body = frame(of_size(200_000))
    with other_client:
        (connection,) = open_connections(1)
        stream = connection.open(TRACES, GRPC)
        frames = [data(stream, body[at : at + 1]) for at in range(len(body))]
        connection.socket.sendall(b"".join(frames) + data(stream, b"", end=True))
        assert connection.await_status(stream) == 0
    assert memory.growth() < 100


def test_thousands_of_open_streams_leave_room_for_other_clients(
    attacked: Gate, open_connections: Callable, other_client: OtherClient
) -> None:
    memory = EnvoyMemory(attacked)
    with other_client:
        opened = []
        for connection in open_connections(6):
            for _ in range(900):
                stream = connection.h2.get_next_available_stream_id()
                connection.answers[stream] = Answer()
                connection.h2.send_headers(stream, list((PSEUDO | GRPC).items()))
                opened.append((connection, stream))
            connection.flush()
        # When the last request of a connection is answered, the gate has handled all before it.
        for connection in {id(connection): connection for connection, _ in opened}.values():
            assert connection.grpc("/nothing", b"").grpc_status == 12
    rejected = Counter(answer.grpc_status for c, stream in opened if (answer := c.answers[stream]).headers)
    held = len(opened) - rejected.total()
    print(f"{held} of {len(opened)} streams are open, {dict(rejected)}")
    assert set(rejected) == {14} and held <= WORKERS * HELD / (16 << 10)
    assert memory.growth() < 200
    # The streams that are held can be finished.
    connection, stream = next((c, stream) for c, stream in opened if not c.answers[stream].headers)
    assert connection.finish(stream, frame(traces("late"))).grpc_status == 0


def test_streams_that_are_reset_halfway_do_not_harm_other_clients(
    attacked: Gate, open_connections: Callable, other_client: OtherClient
) -> None:
    half = frame(of_size(1000))[:-1]
    resets = ended = 0
    with other_client:
        for number in range(10):
            (connection,) = open_connections(1)
            try:
                for _ in range(40 if number % 2 else 2000):
                    stream = connection.open(TRACES, GRPC)
                    connection.socket.sendall(data(stream, half))
                    connection.h2.reset_stream(stream)
                    resets += 1
                assert connection.grpc(TRACES, frame(traces("after"))).grpc_status == 0
            except (ConnectionError, OSError):
                # Envoy closes a connection on which nearly all streams are reset.
                ended += 1
    print(f"{resets} streams were reset, {ended} of 10 connections were closed")
    (connection,) = open_connections(1)
    assert connection.grpc(TRACES, frame(traces("after"))).grpc_status == 0


# A frame with a window of 8 MiB and no size (RFC 8878, 3.1.1.1).
ZSTD_WINDOW = b"\x28\xb5\x2f\xfd\0\x68"
PADDED = of_size(0) + field(1999, os.urandom(40_000))
BOMBS = {
    "larger than the limit": ("gzip", gzip.compress(bytes(9 * MIB)), 8),
    "compressed a thousand times": ("gzip", gzip.compress(bytes(2 * MIB)), 3),
    "in many members": ("gzip", gzip.compress(bytes(MIB)) * 20, 8),
    "a gzip in a gzip": ("gzip", gzip.compress(gzip.compress(bytes(MIB))), 3),
    "just within the limits": ("gzip", gzip.compress(PADDED + field(1999, bytes(7 * MIB))), 0),
    "zstd that is larger than the limit": ("zstd", zstandard.compress(bytes(9 * MIB)), 8),
    "zstd of an unknown size": ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(bytes(9 * MIB)), 8),
    "zstd of 32,000 times": ("zstd", ZSTD_WINDOW + b"\x02\x00\x10\x07" * 40 + b"\x01\0\0", 3),
    "zstd in many frames": ("zstd", zstandard.compress(bytes(MIB)) * 20, 8),
    "zstd with a window of 2 TiB": ("zstd", b"\x28\xb5\x2f\xfd\0\xf8\x01\0\0", 8),
    "zstd of a million blocks of nothing": ("zstd", ZSTD_WINDOW + bytes(2_000_000), 3),
    "zstd just within the limits": ("zstd", zstandard.compress(PADDED + field(1999, bytes(7 * MIB))), 0),
}


def test_hundreds_of_decompression_bombs_are_rejected(
    attacked: Gate, open_connections: Callable, other_client: OtherClient
) -> None:
    memory = EnvoyMemory(attacked)
    with other_client:
        sent = []
        for connection in open_connections(4):
            for case in list(BOMBS) * 10:
                encoding, bomb, status = BOMBS[case]
                sent.append((connection, export(connection, encoding, bomb), case, status))
        got = [(case, status, connection.await_status(stream)) for connection, stream, case, status in sent]
    print(f"{len(sent)} bombs of up to {8 * MIB >> 20} MiB each")
    assert not Counter((case, status) for case, want, status in got if status not in (want, 14))
    assert memory.growth() < 300


def export(connection: Http2, encoding: str, message: bytes) -> int:
    """Sends a compressed export without waiting; returns its stream."""
    stream = connection.open(TRACES, GRPC | {"grpc-encoding": encoding})
    body = frame(message, compressed=True)
    pieces = (data(stream, body[at : at + 16384]) for at in range(0, len(body), 16384))
    connection.socket.sendall(b"".join(pieces) + data(stream, b"", end=True))
    return stream


def test_a_backend_that_does_not_read_costs_a_bounded_amount_of_memory(
    start: Callable[..., Gate], identity: Callable
) -> None:
    encoding, bomb, _ = BOMBS["just within the limits"]
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as stack:
        gate = start(CONFIG, "--concurrency", WORKERS, backend=silent.getsockname()[1])
        memory = EnvoyMemory(gate.ready())
        connections = [stack.enter_context(Http2(gate.grpc, identity("hostile"))) for _ in range(8)]
        for connection in connections:
            connection.await_settings()
        sent = [(connection, export(connection, encoding, bomb)) for connection in connections * 12]
        for connection in connections:
            assert connection.grpc("/nothing", b"").grpc_status == 12
        held = len([1 for connection, stream in sent if stream not in connection.ended])
        print(f"{held} of {len(sent)} messages of 7 MiB wait for the backend")
        # One client may use half of the four messages of 8 MiB that a worker may hold, and one more is being rewritten.
        assert 0 < held <= WORKERS * 4
        assert memory.growth() < 300


def nested() -> bytes:
    """An AnyValue in the array (5) of an AnyValue, and so on."""
    message = b""
    while len(message) < 200_000:
        message = field(1, field(5, message))
    return request(resource(field(1, field(1, b"k") + field(2, message))))


DEEP = {
    "groups in groups": (b"\x0b" * MIB, 3),
    "groups in groups that end": (b"\x0b" * 500_000 + b"\x0c" * 500_000, 3),
    # The gate does not check the contents of values.
    "messages in messages": (nested(), 0),
    "very many empty entries": (b"\x0a\x00" * 900_000, 8),
    "very many attributes": (request(resource(*[attribute("", "")] * 200_000), scope(span("a"))), 0),
    "very many forged attributes": (request(resource(*[attribute("tenant.id", "")] * 100_000), scope(span("a"))), 0),
    "very many unknown fields": (b"\xf8\x7c\x01" * 600_000, 0),
}


@pytest.mark.parametrize("case", DEEP)
def test_messages_made_to_be_slow_or_deep_end_with_a_status(
    open_connections: Callable, other_client: OtherClient, case: str
) -> None:
    message, status = DEEP[case]
    with other_client:
        connections = open_connections(4)
        assert {connection.grpc(TRACES, frame(message)).grpc_status for connection in connections} == {status}


DEEP_JSON = {
    "arrays in arrays": (b"[" * MIB, 400),
    "objects in objects": (b'{"a":' * 300_000 + b"1" + b"}" * 300_000, 400),
    "arrays in an unknown member": (b'{"resourceSpans":[],"x":' + b"[" * 900_000 + b"]" * 900_000 + b"}", 400),
    "a number of a million digits": (b'{"x":' + b"1" * MIB + b"}", 200),
    "a string of very many escapes": (b'{"x":"' + b"\\u0000" * 200_000 + b'"}', 200),
    "very many members": (b'{"resourceSpans":[{' + b",".join([b'"a":0'] * 200_000) + b"}]}", 200),
    "very many empty entries": (b'{"resourceSpans":[' + b",".join([b"{}"] * 500_000) + b"]}", 413),
}


@pytest.mark.parametrize("case", DEEP_JSON)
def test_json_made_to_be_slow_or_deep_ends_with_a_status(
    open_connections: Callable, other_client: OtherClient, case: str
) -> None:
    message, status = DEEP_JSON[case]
    with other_client:
        assert {connection.json(V1_TRACES, message).status for connection in open_connections(4)} == {status}


# Envoy ends the stream or the connection: this is no valid HTTP/2, or larger than its limits.
CUT = "no answer"
ODD_HEADERS: dict[str, tuple[dict[str, str | bytes | None], list[tuple[str, str | bytes]], str]] = {
    "no :authority": ({":authority": None}, [], CUT),
    "an odd :authority": ({":authority": "a b\\@/:x"}, [], CUT),
    "no :path": ({":path": None}, [], CUT),
    "a :path without a slash": ({":path": "*"}, [], CUT),
    "a whole URL": ({":path": "https://localhost" + TRACES}, [], CUT),
    "two :paths": ({}, [(":path", "/")], CUT),
    "a query": ({":path": TRACES + "?x=" + "y" * 20_000}, [], "gRPC 8"),
    "a fragment": ({":path": TRACES + "#x"}, [], "gRPC 13"),
    "an escaped :path": ({":path": TRACES.replace("E", "%45")}, [], "gRPC 12"),
    "a :path of any bytes": ({":path": b"/\xff\xfe"}, [], "gRPC 12"),
    "no :method": ({":method": None}, [], CUT),
    "a method in lower case": ({":method": "post"}, [], "gRPC 12"),
    "a tunnel": ({":method": "CONNECT"}, [], CUT),
    "no :scheme": ({":scheme": None}, [], CUT),
    "an unknown pseudo-header": ({":x": "1"}, [], CUT),
    "a pseudo-header of answers": ({":status": "200"}, [], CUT),
    "no content type": ({"content-type": None}, [], "HTTP 404"),
    "an empty content type": ({"content-type": ""}, [], "HTTP 404"),
    "two content types": ({}, [("content-type", "application/json")], "HTTP 404"),
    "a content type of any bytes": ({"content-type": b"application/grpc\xff"}, [], "HTTP 404"),
    # Envoy would answer these as plain HTTP, with status 200 for every gRPC status.
    "gRPC's type with a parameter": ({"content-type": "application/grpc;x=y"}, [], "HTTP 404"),
    "gRPC's type in upper case": ({"content-type": "Application/gRPC"}, [], "HTTP 404"),
    "gRPC-Web": ({"content-type": "application/grpc-web+proto"}, [], "HTTP 404"),
    "no te": ({"te": None}, [], "gRPC 0"),
    "another te": ({"te": "gzip"}, [], CUT),
    "a connection header": ({}, [("connection", "keep-alive")], CUT),
    "a transfer encoding": ({}, [("transfer-encoding", "chunked")], CUT),
    "an upgrade": ({}, [("upgrade", "websocket")], CUT),
    "a name in upper case": ({}, [("X-Upper", "1")], CUT),
    "a name with a space": ({}, [("x y", "1")], CUT),
    "an empty name": ({}, [("", "1")], CUT),
    "a value with a NUL": ({}, [("x", "a\0b")], CUT),
    "a value with a line break": ({}, [("x", "a\r\nx-scope-orgid: b")], CUT),
    "a value of any bytes": ({}, [("x", b"\xff\xfe"), ("y", "")], "gRPC 0"),
    "a long value": ({}, [("x", "y" * 20_000)], "gRPC 8"),
    "too long a value": ({}, [("x", "y" * 40_000)], CUT),
    "one header many times": ({}, [("x", "1")] * 80, "gRPC 0"),
    "many headers": ({}, [(f"x-{number}", "1") for number in range(90)], "gRPC 0"),
    "too many headers": ({}, [(f"x-{number}", "1") for number in range(1000)], CUT),
    "a timeout in words": ({}, [("grpc-timeout", "soon")], "gRPC 0"),
    "a timeout of ages": ({}, [("grpc-timeout", "99999999H")], "gRPC 0"),
    "a negative timeout": ({}, [("grpc-timeout", "-1S")], "gRPC 0"),
    "a length that is too short": ({}, [("content-length", "3")], CUT),
    "a length that is too long": ({}, [("content-length", "3000")], CUT),
    "a length in words": ({}, [("content-length", "abc")], CUT),
    "two encodings": ({}, [("grpc-encoding", "gzip")] * 2, "gRPC 12"),
    "an expectation": ({}, [("expect", "100-continue")], "gRPC 0"),
}


def test_unusual_headers_get_an_answer_or_end_the_stream(
    open_connections: Callable, other_client: OtherClient, counting_backend: CountingBackend
) -> None:
    before = counting_backend.count()
    with other_client:
        sent = {}
        for case, (changed, more, _) in ODD_HEADERS.items():
            (connection,) = open_connections(1)
            headers = {name: value for name, value in (PSEUDO | GRPC | changed).items() if value is not None}
            # Pseudo-headers come first.
            ordered = sorted([*headers.items(), *more], key=lambda header: not header[0].startswith(":"))
            stream = connection.h2.get_next_available_stream_id()
            connection.answers[stream] = Answer()
            connection.h2.send_headers(stream, ordered)
            connection.socket.sendall(connection.h2.data_to_send() + data(stream, frame(traces("a")), end=True))
            sent[case] = (connection, stream)
        # Envoy takes a second to close a connection, so all requests are sent before the first answer is read.
        seen = {case: outcome(connection, stream) for case, (connection, stream) in sent.items()}
    assert seen == {case: expected for case, (_, _, expected) in ODD_HEADERS.items()}
    # Exactly the accepted requests have reached the backend.
    assert counting_backend.count() - before == list(seen.values()).count("gRPC 0") + other_client.sent


def outcome(connection: Http2, stream: int) -> str:
    """The status of a request, or `CUT`."""
    try:
        while stream not in connection.ended:
            connection.receive()
    except (ConnectionError, ssl.SSLError):
        return CUT
    answer = connection.answers[stream]
    if not answer.headers:
        return CUT
    status = (answer.headers | answer.trailers).get("grpc-status")
    return f"gRPC {status}" if status else f"HTTP {answer.status}"


WITHOUT_BODY = {
    "nothing": ({}, 3),
    "nothing in gzip": ({"grpc-encoding": "gzip"}, 3),
    "nothing to an unknown path": ({":path": "/x"}, 12),
}


@pytest.mark.parametrize("case", WITHOUT_BODY)
def test_requests_without_a_body_are_rejected(open_connections: Callable, case: str) -> None:
    headers, status = WITHOUT_BODY[case]
    (connection,) = open_connections(1)
    stream = connection.open(TRACES, GRPC | headers, end=True)
    assert connection.await_status(stream) == status
