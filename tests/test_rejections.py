"""Requests that the gate rejects, in both protocols, with the status that OTLP specifies. None reaches the backend."""

import gzip
import re
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator

import grpc
import pytest
import zstandard

from support.client import (
    COMPRESS,
    GRPC,
    TIMEOUT,
    Answer,
    Http2,
    Identity,
    call,
    frame,
    http1,
    secure_channel,
    trusting,
)
from support.config import SHARED
from support.gate import Gate
from support.protobuf import attribute, field, request, resource, scope, span, traces, uint, varint
from support.scripted_backend import ScriptedBackend
from support.sink import GRPC_PATHS, HTTP_PATHS, SIGNALS, Sink

TRACES, LOGS = GRPC_PATHS["traces"], GRPC_PATHS["logs"]
V1_TRACES = HTTP_PATHS["traces"]
VALID = traces("a")

BAD_MESSAGES = {
    "cut in a length": field(1, b"abc")[:1],
    "cut in a field": VALID[:-3],
    "cut in a Resource": request(b"\x0a\x7f" + attribute("k", "v")),
    "a length beyond its parent": field(1, b"\x0a\x20" + attribute("tenant.id", "x")),
    "a length of 2^32": b"\x0a" + varint(2**32) + b"x",
    "a length of 2^64-1": b"\x0a" + varint(2**64 - 1) + b"x",
    "a varint of eleven bytes": b"\x0a" + b"\xff" * 10 + b"\x01",
    "field number 0": b"\x02\x00",
    "wire type 7": b"\x0f\x00",
    "a Resource that is no message": request(uint(1, 5)),
    "an attribute that is no message": request(resource(uint(1, 5))),
    "a group that does not end": b"\x0b\x08\x01",
    "text": b"this is no protobuf at all",
    "JSON": b'{"resourceSpans": []}',
}


def nothing_arrived(sink: Sink, connection: Http2) -> None:
    """Asserts that the backend gets a request that is sent now, and none before it."""
    assert connection.grpc(TRACES, frame(traces("the last"))).grpc_status == 0
    sink.only("the last")


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_an_invalid_message_is_rejected_and_not_forwarded(
    connect: Callable, acme: Identity, sink: Sink, case: str
) -> None:
    connection = connect(acme)
    bad = BAD_MESSAGES[case]

    answer = connection.grpc(TRACES, frame(bad))
    assert answer.grpc_status == 3, answer
    assert answer.grpc_message
    assert answer.retry_infos() == []

    answer = connection.http(V1_TRACES, bad)
    assert answer.status == 400, answer
    assert answer.rpc_status().code == 3
    assert answer.rpc_status().message
    assert "retry-after" not in answer.headers

    nothing_arrived(sink, connection)


BAD_FRAMES = {
    "no frame": b"",
    "cut in the prefix": frame(VALID)[:3],
    "cut in the message": frame(VALID)[:-1],
    "a length that is too short": frame(VALID, length=len(VALID) - 1),
    "a length that is too long": frame(VALID, length=len(VALID) + 1),
    "a length of 4 GiB": frame(VALID, length=2**32 - 1),
    "a flag that is no flag": b"\x02" + frame(VALID)[1:],
    "compressed, but no encoding": frame(gzip.compress(VALID), compressed=True),
    "two messages": frame(VALID) * 2,
    "an empty message and another": frame(b"") + frame(VALID),
    "a byte behind it": frame(VALID) + b"\0",
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_a_stream_that_is_not_exactly_one_message_is_rejected(
    connect: Callable, acme: Identity, sink: Sink, case: str
) -> None:
    connection = connect(acme)
    answer = connection.grpc(TRACES, BAD_FRAMES[case])
    assert answer.grpc_status == 3, answer
    nothing_arrived(sink, connection)


def test_several_messages_on_one_stream_are_rejected_also_when_sent_by_a_library(
    channel: Callable, acme: Identity, sink: Sink
) -> None:
    stream = channel(acme).stream_unary(TRACES, request_serializer=None, response_deserializer=None)
    with pytest.raises(grpc.RpcError) as rejected:
        stream(iter([VALID, VALID]), timeout=TIMEOUT)
    assert rejected.value.code() == grpc.StatusCode.INVALID_ARGUMENT, rejected.value
    assert sink.rest() == []


def test_a_second_message_is_rejected_before_the_stream_ends(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    stream = connection.open(TRACES, GRPC)
    connection.h2.send_data(stream, frame(VALID) * 2)
    connection.flush()
    assert connection.await_status(stream) == 3
    nothing_arrived(sink, connection)


ARROW = "/opentelemetry.proto.experimental.arrow.v1."


@pytest.mark.parametrize("service", ["ArrowTraces", "ArrowMetrics", "ArrowLogs", "ArrowStream"])
def test_arrow_streams_are_rejected_at_once_so_that_the_exporter_falls_back_to_otlp(
    channel: Callable, acme: Identity, sink: Sink, service: str
) -> None:
    over = threading.Event()

    def batches() -> Iterator[bytes]:
        yield VALID
        over.wait(TIMEOUT)

    stream = channel(acme).stream_stream(f"{ARROW}{service}Service/{service}", None, None)
    try:
        with pytest.raises(grpc.RpcError) as rejected:
            next(stream(batches(), timeout=TIMEOUT))
    finally:
        over.set()
    assert rejected.value.code() == grpc.StatusCode.UNIMPLEMENTED, rejected.value
    assert sink.rest() == []


@pytest.mark.parametrize("at_once", [True, False], ids=["with the headers", "in a piece of its own"])
def test_an_empty_body_is_accepted_where_it_encodes_an_empty_message(
    connect: Callable, acme: Identity, sink: Sink, at_once: bool
) -> None:
    connection = connect(acme)
    gzipped = {"content-encoding": "gzip"}
    for path, kind, more, status in (
        (V1_TRACES, "application/x-protobuf", {}, 200),
        (V1_TRACES, "application/x-protobuf", gzipped, 400),
        # Go's zstd library compresses an empty message to an empty body.
        (V1_TRACES, "application/x-protobuf", {"content-encoding": "zstd"}, 200),
        (V1_TRACES, "application/json", {}, 400),
        (V1_TRACES, "application/json", gzipped, 400),
        (TRACES, "application/grpc", {"te": "trailers"}, 200),
    ):
        stream = connection.open(path, {"content-type": kind} | more, end=at_once)
        if not at_once:
            connection.h2.send_data(stream, b"", end_stream=True)
            connection.flush()
        answer = connection.finish(stream, b"")
        assert answer.status == status, (kind, more, answer)
        if path == TRACES:
            assert answer.grpc_status == 3
    assert [received.body for received in sink.rest()] == [b"", b""]


ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress(VALID)
BAD_ENCODINGS = {
    "no gzip": ("gzip", VALID),
    "zlib instead of gzip": ("gzip", zlib.compress(VALID)),
    "zstd instead of gzip": ("gzip", ZSTD),
    "a cut gzip": ("gzip", gzip.compress(VALID)[:-9]),
    "a gzip without its checksum": ("gzip", gzip.compress(VALID)[:-8]),
    "a gzip with a wrong checksum": ("gzip", gzip.compress(VALID)[:-8] + b"\0" * 8),
    "bytes after a gzip": ("gzip", gzip.compress(VALID) + b"rubbish"),
    "nothing instead of gzip": ("gzip", b""),
    "no zstd": ("zstd", VALID),
    "gzip instead of zstd": ("zstd", gzip.compress(VALID)),
    "a cut zstd": ("zstd", ZSTD[:-5]),
    "a zstd without its checksum": ("zstd", ZSTD[:-4]),
    "a zstd with a wrong checksum": ("zstd", ZSTD[:-4] + b"\0" * 4),
    "bytes after a zstd": ("zstd", ZSTD + b"rubbish"),
    "a zstd with a dictionary": (
        "zstd",
        zstandard.ZstdCompressor(dict_data=zstandard.train_dictionary(1024, [VALID * 9] * 99)).compress(VALID),
    ),
}


@pytest.mark.parametrize("case", BAD_ENCODINGS)
def test_a_body_that_does_not_inflate_is_rejected(connect: Callable, acme: Identity, sink: Sink, case: str) -> None:
    connection = connect(acme)
    encoding, bad = BAD_ENCODINGS[case]
    answer = connection.grpc(TRACES, frame(bad, compressed=True), {"grpc-encoding": encoding})
    assert answer.grpc_status == 3, answer
    answer = connection.http(V1_TRACES, bad, {"content-encoding": encoding})
    assert (answer.status, answer.rpc_status().code) == (400, 3), answer
    nothing_arrived(sink, connection)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_body_in_several_compressed_parts_is_one_message(
    connect: Callable, acme: Identity, sink: Sink, encoding: str
) -> None:
    message = traces(*(f"span {number}" for number in range(100)))
    parts = [COMPRESS[encoding](message[start : start + 1000]) for start in range(0, len(message), 1000)]
    assert connect(acme).http(V1_TRACES, b"".join(parts), {"content-encoding": encoding}).status == 200
    assert len(sink.take().names()) == 100


BOMBS = {
    "larger than 64 MiB": lambda compress: compress(b"\0" * (65 << 20)),
    "in many parts": lambda compress: compress(b"\0" * (1 << 20)) * 100,
}


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("case", BOMBS)
def test_a_decompression_bomb_is_rejected_at_the_limit(
    connect: Callable, acme: Identity, sink: Sink, case: str, encoding: str
) -> None:
    bomb = BOMBS[case](COMPRESS[encoding])
    connection = connect(acme)
    answer = connection.grpc(TRACES, frame(bomb, compressed=True), {"grpc-encoding": encoding})
    assert answer.grpc_status == 8, answer
    assert answer.retry_infos() == []
    answer = connection.http(V1_TRACES, bomb, {"content-encoding": encoding})
    assert (answer.status, answer.rpc_status().code) == (413, 8), answer
    assert "retry-after" not in answer.headers
    nothing_arrived(sink, connection)


def test_a_body_larger_than_the_wire_limit_is_rejected(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    large = request(resource(), scope(span("x", field(1999, b"\0" * (17 << 20)))))
    answer = connection.grpc(TRACES, frame(large))
    assert answer.grpc_status == 8, answer
    assert answer.retry_infos() == []
    answer = connection.http(V1_TRACES, large)
    assert (answer.status, answer.rpc_status().code) == (413, 8), answer
    nothing_arrived(sink, connection)


def test_a_certificate_that_matches_no_rule_is_rejected(
    connect: Callable, stranger: Identity, acme: Identity, sink: Sink
) -> None:
    connection = connect(stranger)
    answer = connection.grpc(TRACES, frame(VALID))
    assert answer.grpc_status == 7, answer
    answer = connection.http(V1_TRACES, VALID)
    assert (answer.status, answer.rpc_status().code) == (403, 7), answer
    nothing_arrived(sink, connect(acme))


def test_a_client_cannot_set_its_identity_by_headers(
    connect: Callable, stranger: Identity, acme: Identity, sink: Sink
) -> None:
    headers = {"x-forwarded-client-cert": 'Hash=00;Subject="CN=acme";URI=spiffe://acme.example/edge/1'}
    assert connect(stranger).grpc(TRACES, frame(VALID), headers).grpc_status == 7
    headers |= {"x-scope-orgid": "another"}
    assert connect(acme).grpc(TRACES, frame(VALID), headers).grpc_status == 0
    received = sink.take()
    assert received.headers["x-scope-orgid"] == "acme"
    assert "x-forwarded-client-cert" not in received.headers


OTHER_SPELLINGS = {
    "x_scope_orgid": "globex",
    "x.scope.orgid": "globex",
    "x_scope-orgid": "globex",
    "x~scope+orgid": "globex",
    "x_forwarded_client_cert": "Hash=00",
    "x-forwarded_client-cert": "Hash=00",
    "x_forwarded_for": "10.0.0.1",
    "content_length": "7",
    "content_encoding": "gzip",
    "content_type": "application/json",
    "grpc_encoding": "gzip",
    "transfer_encoding": "chunked",
}


def post(path: str, body: bytes) -> str:
    """The head of an HTTP/1.1 request, for `http1`."""
    kind = "application/x-protobuf"
    return f"POST {path} HTTP/1.1\nhost: localhost\ncontent-type: {kind}\ncontent-length: {len(body)}\n"


def variable(header: str) -> str:
    """The name of a header's variable in CGI (RFC 3875, 4.1.18) and its successors."""
    return re.sub("[^A-Z0-9]", "_", header.upper())


@pytest.mark.parametrize("protocol", ["grpc", "http", "http/1.1"])
def test_other_spellings_of_owned_headers_are_removed(
    gate: Gate, connect: Callable, acme: Identity, sink: Sink, protocol: str
) -> None:
    similar = {"x_scope": "its own", "x_scope_orgid2": "its own", "x_request_id": "its own"}
    headers = OTHER_SPELLINGS | similar
    if protocol == "grpc":
        assert connect(acme).grpc(TRACES, frame(VALID), headers).grpc_status == 0
    elif protocol == "http":
        assert connect(acme).http(V1_TRACES, VALID, headers).status == 200
    else:
        lines = "".join(f"{name.title()}: {value}\n" for name, value in headers.items())
        assert http1(gate.http, acme, post(V1_TRACES, VALID) + lines, VALID).status == 200
    received = sink.take().headers
    assert received["x-scope-orgid"] == "acme"
    assert OTHER_SPELLINGS.keys().isdisjoint(received)
    assert similar.items() <= received.items()
    variables = [variable(name) for name in received]
    assert variables.count("X_SCOPE_ORGID") == 1 and "X_FORWARDED_CLIENT_CERT" not in variables


def test_owned_headers_in_trailers_are_rejected(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    for trailers in ({"x-scope-orgid": "globex"}, {"x_scope_orgid": "globex"}):
        assert connection.grpc(TRACES, frame(VALID), trailers=trailers).grpc_status == 3
        assert connection.http(V1_TRACES, VALID, trailers=trailers).status == 400
    nothing_arrived(sink, connection)


def test_a_grpc_call_reaches_the_backend_with_te(start: Callable, acme: Identity) -> None:
    backend = ScriptedBackend()
    try:
        gate = start(SHARED, backend=backend.port).ready()
        with Http2(gate.grpc, acme) as connection:
            for te in ({}, {"te": "trailers"}):
                call = connection.request(TRACES, frame(VALID), {"content-type": "application/grpc"} | te)
                assert call.grpc_status == 0, te
                assert [value for name, value in backend.take() if name == "te"] == ["trailers"], te
    finally:
        backend.stop()


def test_a_connection_without_a_certificate_is_rejected(gate: Gate, acme: Identity, sink: Sink) -> None:
    for credentials in (grpc.ssl_channel_credentials(acme.ca.read_bytes()), None):
        opened = secure_channel(gate.grpc, credentials) if credentials else grpc.insecure_channel(gate.grpc)
        with opened as channel:
            assert call(channel, TRACES, VALID).code() == grpc.StatusCode.UNAVAILABLE
    anonymous = Identity(acme.certificate, acme.key, acme.ca)
    anonymous.context = lambda *alpn: trusting(acme.ca, *alpn)
    for address in (gate.grpc, gate.http):
        with pytest.raises((ssl.SSLError, ConnectionError), match=r"(?i)certificate.required|reset|closed|broken|EOF"):
            Http2(address, anonymous).http(V1_TRACES, VALID)
    assert sink.rest() == []


def test_a_connection_with_a_certificate_of_another_ca_is_rejected(gate: Gate, foreign: Identity, sink: Sink) -> None:
    with secure_channel(gate.grpc, foreign.credentials()) as channel:
        assert call(channel, TRACES, VALID).code() == grpc.StatusCode.UNAVAILABLE
    for address in (gate.grpc, gate.http):
        with pytest.raises((ssl.SSLError, ConnectionError), match=r"(?i)unknown.ca|reset|closed|broken|EOF"):
            Http2(address, foreign).http(V1_TRACES, VALID)
    assert sink.rest() == []


def test_an_unknown_path_is_rejected_with_the_supported_paths(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    for path in (
        "/opentelemetry.proto.collector.trace.v1.TraceService/Exports",
        "/",
        "/grpc.health.v1.Health/List",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        V1_TRACES,
    ):
        answer = connection.grpc(path, frame(VALID))
        assert answer.grpc_status == 12, path
        assert all(known in answer.grpc_message for known in (f'"{path}"', *GRPC_PATHS.values())), answer
    for path in ("/", "/v1/trace", "/v1/traces/", "//v1/traces", "/v1/../v1/traces", "/V1/traces", TRACES):
        answer = connection.http(path, VALID)
        assert (answer.status, answer.rpc_status().code) == (404, 12), path
        message = answer.rpc_status().message
        assert all(known in message for known in (f'"{path}"', *HTTP_PATHS.values())), message
    nothing_arrived(sink, connection)


@pytest.mark.parametrize(
    ("path", "kind", "hint"),
    [
        ("/v1/traces/v1/traces", "application/json", "to an endpoint that has it already"),
        ("/v1/traces/v1/logs", "application/x-protobuf", "to an endpoint that has it already"),
        ("/otlp/v1/traces", "application/x-protobuf", 'the prefix "/otlp" is not supported'),
        ("/v1/traces/", "application/x-protobuf", "remove the slash at the end"),
        ("/", "application/x-protobuf", "needs the signal's path"),
        ("/metrics", "application/x-protobuf", "send metrics to /v1/metrics"),
        (TRACES, "application/x-protobuf", "this is a path of OTLP/gRPC"),
        (TRACES, "application/grpc-web+proto", "gRPC-Web is not supported"),
        (V1_TRACES, "application/grpc", "/v1/traces is a path of OTLP/HTTP"),
        (f"/otlp{TRACES}", "application/grpc", 'the prefix "/otlp" is not supported'),
    ],
)
def test_a_common_mistake_is_answered_with_a_hint(
    connect: Callable, acme: Identity, sink: Sink, path: str, kind: str, hint: str
) -> None:
    answer = connect(acme).request(path, b"{}", {"content-type": kind})
    message = answer.grpc_message if kind == "application/grpc" else answer.rpc_status().message
    assert hint in message and "hint: " in message, message
    assert sink.rest() == []


def test_a_path_is_repeated_in_a_message_shortened_and_printable(connect: Callable, acme: Identity, sink: Sink) -> None:
    answer = connect(acme).http("/" + '%\\"<script>' * 1000, VALID)
    message = answer.rpc_status().message
    assert answer.status == 404 and len(message) < 400 and message.isascii(), message
    assert sink.rest() == []


def test_other_methods_than_post_are_rejected(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    answer = connection.request(V1_TRACES, b"", {"content-type": "application/x-protobuf"}, method="GET")
    assert answer.status == 405, answer
    assert answer.headers["allow"] == "POST"
    assert answer.rpc_status().message == 'method "GET" is not allowed; hint: send OTLP exports with POST'
    nothing_arrived(sink, connection)


def test_an_unknown_content_type_is_rejected_with_the_supported_ones(
    connect: Callable, acme: Identity, sink: Sink
) -> None:
    connection = connect(acme)
    known = "application/x-protobuf or application/json"
    for kind in ("text/plain", "application/octet-stream", "application/x-protobuf2"):
        answer = connection.http(V1_TRACES, VALID, {"content-type": kind})
        assert answer.status == 415, kind
        assert answer.rpc_status().message == f'not supported: content type "{kind}"; hint: use {known}'
    answer = connection.request(V1_TRACES, VALID, {})
    assert answer.status == 415
    assert answer.rpc_status().message == f"not supported: a request without a content type; hint: use {known}"
    answer = connection.http(V1_TRACES, VALID, {"content-type": "application/grpc-web+proto"})
    assert answer.status == 415
    assert "gRPC-Web; hint: " in answer.rpc_status().message
    answer = connection.grpc(TRACES, frame(VALID), {"content-type": "application/grpc+json"})
    assert answer.grpc_status == 12, answer
    assert "application/grpc+proto" in answer.grpc_message
    nothing_arrived(sink, connection)


def test_an_unknown_encoding_is_rejected_with_the_supported_ones(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    for encoding in ("br", "deflate", "zlib", "snappy", "lz4", "x-snappy-framed", "gzip, gzip", "gzip,identity"):
        answer = connection.grpc(TRACES, frame(VALID, compressed=True), {"grpc-encoding": encoding})
        assert answer.grpc_status == 12, (encoding, answer)
        assert (answer.headers | answer.trailers)["grpc-accept-encoding"] == "identity,gzip,zstd"
        assert f'grpc-encoding "{encoding}"; hint: use one of identity,gzip,zstd' in answer.grpc_message
        if encoding in ("deflate", "zlib"):
            continue
        answer = connection.http(V1_TRACES, VALID, {"content-encoding": encoding})
        assert answer.status == 415, (encoding, answer)
        assert answer.headers["accept-encoding"] == "identity,gzip,zstd,deflate"
        assert f'content-encoding "{encoding}"; hint: use one of identity' in answer.rpc_status().message
    nothing_arrived(sink, connection)


@pytest.mark.parametrize("encoding", ["deflate", "zlib"])
@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
def test_deflate_is_accepted_over_http(connect: Callable, acme: Identity, sink: Sink, encoding: str, kind: str) -> None:
    message = VALID if kind == "application/x-protobuf" else b'{"resourceSpans":[{"resource":{},"scopeSpans":[]}]}'
    headers = {"content-type": kind, "content-encoding": encoding}
    assert connect(acme).request(V1_TRACES, zlib.compress(message), headers).status == 200
    received = sink.take()
    assert "content-encoding" not in received.headers
    assert received.resources()[0]["tenant.id"] == "acme"


@pytest.mark.parametrize(
    "bad",
    [
        VALID,
        b"",
        gzip.compress(VALID),
        zlib.compress(VALID)[2:-4],
        zlib.compress(VALID)[:-4],
        zlib.compress(VALID)[:-4] + b"\0" * 4,
        zlib.compress(VALID) + b"more",
        zlib.compress(VALID) * 2,
    ],
    ids=["plain", "nothing", "gzip", "raw", "cut", "a wrong checksum", "bytes after it", "two streams"],
)
def test_a_deflate_body_must_be_one_zlib_stream(connect: Callable, acme: Identity, sink: Sink, bad: bytes) -> None:
    connection = connect(acme)
    answer = connection.http(V1_TRACES, bad, {"content-encoding": "deflate"})
    assert (answer.status, answer.rpc_status().code) == (400, 3), answer
    nothing_arrived(sink, connection)


def test_a_deflate_bomb_is_rejected_at_the_limit(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    answer = connection.http(V1_TRACES, zlib.compress(bytes(65 << 20)), {"content-encoding": "deflate"})
    assert (answer.status, answer.rpc_status().code) == (413, 8), answer
    nothing_arrived(sink, connection)


def test_http_1_0_is_rejected_with_426(gate: Gate, acme: Identity, sink: Sink) -> None:
    head = f"POST {V1_TRACES} HTTP/1.0\ncontent-type: application/x-protobuf\ncontent-length: {len(VALID)}\n"
    assert http1(gate.http, acme, head, VALID).status == 426
    assert sink.rest() == []


def test_http_1_1_gets_the_same_answers(gate: Gate, acme: Identity, stranger: Identity, sink: Sink) -> None:
    def send(identity: Identity, path: str, body: bytes) -> Answer:
        return http1(gate.http, identity, post(path, body), body)

    assert send(acme, V1_TRACES, VALID).status == 200
    assert sink.take().names() == ["a"]
    for identity, path, body, status, code in (
        (stranger, V1_TRACES, VALID, 403, 7),
        (acme, "/v1/nothing", VALID, 404, 12),
        (acme, V1_TRACES, VALID[:-1], 400, 3),
    ):
        answer = send(identity, path, body)
        assert (answer.status, answer.rpc_status().code) == (status, code)
    assert sink.rest() == []


def test_every_path_belongs_to_one_signal() -> None:
    assert len(SIGNALS) == 8
