"""gRPC's health checks: answered from the backend's state, for clients that the gate knows and nobody else."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from client import COMPRESS, TIMEOUT, Http2, Identity, frame, secure_channel
from conftest import CONFIG
from gate import Certificates, Gate
from raw import OK, Raw
from sink import GRPC_PATHS, Sink
from wire import field, traces

HEALTH = "/grpc.health.v1.Health/"
CHECK, WATCH = HEALTH + "Check", HEALTH + "Watch"
# HealthCheckResponse{status: SERVING}
SERVING = b"\x08\x01"
SERVICES = [path.split("/")[1] for path in GRPC_PATHS.values()]
CODES = grpc.StatusCode


def named(service: str) -> bytes:
    """A HealthCheckRequest."""
    return field(1, service.encode()) if service else b""


def code(channel: grpc.Channel, path: str = CHECK, service: str = "", **how) -> grpc.StatusCode:
    """What Python's gRPC hears of a check."""
    call = channel.unary_unary(path, request_serializer=None, response_deserializer=None)
    try:
        answer = call(named(service), timeout=TIMEOUT, **how)
    except grpc.RpcError as error:
        assert error.code() != CODES.UNIMPLEMENTED, "clients take it for healthy"
        return error.code()
    assert answer == SERVING
    return CODES.OK


@pytest.fixture
def raw(tmp_path: Path, certificates: Certificates) -> Iterator[tuple[Raw, Gate]]:
    """A backend that answers what a test likes, behind a gate with one worker."""
    backend = Raw()
    config = tmp_path / "otlp-gate.yaml"
    config.write_text(CONFIG)
    gate = Gate(config, certificates.folder, backend.port, backend.port, "--concurrency", "1").ready()
    yield backend, gate
    gate.stop()
    backend.stop()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_backend_that_takes_an_empty_export_is_serving(
    channel: Callable, acme: Identity, sink: Sink, compression: grpc.Compression
) -> None:
    for service in ("", *SERVICES):
        assert code(channel(acme), service=service, compression=compression) == CODES.OK
        received = sink.take()
        # Of the signal that the backend took last.
        assert received.path in GRPC_PATHS.values() and received.body == b""
        assert received.headers["x-scope-orgid"] == "acme"
    assert code(channel(acme), service="shop") == CODES.NOT_FOUND
    assert sink.rest() == []


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_check_inflates_to_no_more_than_a_check_may_have(
    connect: Callable, acme: Identity, sink: Sink, encoding: str
) -> None:
    """A field that is not the service's name, millions of times, in a few bytes."""
    bomb = frame(COMPRESS[encoding](b"\x10\x10" * 30_000), compressed=True)
    assert len(bomb) < 4096
    assert connect(acme).grpc(CHECK, bomb, {"grpc-encoding": encoding}).grpc_status == 8
    assert sink.rest() == []


def test_a_watch_hears_the_state_and_stays_open(channel: Callable, acme: Identity, sink: Sink) -> None:
    watch = channel(acme).unary_stream(WATCH, request_serializer=None, response_deserializer=None)
    stream = watch(named(""), timeout=3)
    started = time.monotonic()
    assert next(stream) == SERVING
    assert time.monotonic() - started < 2
    with pytest.raises(grpc.RpcError) as ended:
        next(stream)
    # Its own time was up; the gate would have kept it.
    assert ended.value.code() == CODES.DEADLINE_EXCEEDED and time.monotonic() - started > 2.5
    with pytest.raises(grpc.RpcError) as unknown:
        next(watch(named("shop"), timeout=TIMEOUT))
    assert unknown.value.code() == CODES.NOT_FOUND


def test_a_backend_that_is_down_or_refuses_is_not_serving(
    raw: tuple[Raw, Gate], acme: Identity, certificates: Certificates, tmp_path: Path
) -> None:
    backend, gate = raw
    errors = {
        "an error by headers alone": (OK + [("grpc-status", "13")], None, None),
        "an error by trailers": (OK, None, [("grpc-status", "8"), ("grpc-message", "memory")]),
        "an error behind a message": (OK, frame(b""), [("grpc-status", "2")]),
        "no message": (OK, None, [("grpc-status", "0")]),
        "no message, by headers alone": (OK + [("grpc-status", "0")], None, None),
        "no gRPC": ([(":status", "404"), ("content-type", "text/plain")], b"not found", None),
        "no gRPC, and no body": ([(":status", "503")], None, None),
    }
    with secure_channel(gate.grpc, acme.credentials()) as channel:
        assert code(channel) == CODES.OK
        for case, answer in errors.items():
            backend.answer(*answer)
            for path in (CHECK, WATCH):
                assert code(channel, path) == CODES.UNAVAILABLE, (case, path)
        backend.answer(OK, frame(b"") * 2, [("grpc-status", "0")])
        assert code(channel) == CODES.OK
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = closed.getsockname()[1]
    config = tmp_path / "down.yaml"
    config.write_text(CONFIG)
    down = Gate(config, certificates.folder, nowhere, nowhere).ready()
    try:
        with secure_channel(down.grpc, acme.credentials()) as channel:
            assert code(channel) == code(channel, WATCH) == CODES.UNAVAILABLE
    finally:
        down.stop()


def test_a_backend_without_traces_is_asked_by_what_it_takes(raw: tuple[Raw, Gate], acme: Identity) -> None:
    backend, gate = raw
    with secure_channel(gate.grpc, acme.credentials()) as channel:
        backend.answer(OK + [("grpc-status", "12")])
        for signal in ("traces", "metrics", "logs", "profiles", "traces"):
            assert code(channel) == CODES.UNAVAILABLE
            assert dict(backend.take())[":path"] == GRPC_PATHS[signal]
        backend.answer(OK, frame(b""), [("grpc-status", "0")])
        export = channel.unary_unary(GRPC_PATHS["logs"], request_serializer=None, response_deserializer=None)
        export(b"", timeout=TIMEOUT)
        backend.take()
        assert code(channel) == CODES.OK
        assert dict(backend.take())[":path"] == GRPC_PATHS["logs"]


def test_only_known_clients_hear_anything(
    channel: Callable, connect: Callable, stranger: Identity, acme: Identity, sink: Sink
) -> None:
    for path in (CHECK, WATCH):
        assert code(channel(stranger), path) == CODES.PERMISSION_DENIED
    connection = connect(acme)
    for body, status in ((b"", 3), (frame(b"hello"), 3), (frame(named("a") * 2), 3), (frame(bytes(5000)), 8)):
        assert connection.grpc(CHECK, body).grpc_status == status, body[:20]
    gzip = {"grpc-encoding": "gzip"}
    assert connection.grpc(CHECK, frame(COMPRESS["gzip"](bytes(5 << 20)), compressed=True), gzip).grpc_status == 8
    assert connection.grpc(CHECK, frame(b""), {"grpc-encoding": "br"}).grpc_status == 12
    assert connection.grpc(CHECK, frame(b""), method="PUT").grpc_status == 12
    assert connection.http(CHECK, b"").status == 404
    assert sink.rest() == []


def test_a_check_is_a_request_of_its_clients_quota(
    channel: Callable, certificates: Certificates, sink: Sink, gate: Gate
) -> None:
    """Five in a row, and one a second."""
    asks = channel(certificates.client("calls-health", "--spiffe", "spiffe://calls.example/health"))
    codes = [code(asks) for _ in range(8)]
    assert codes[:5] == [CODES.OK] * 5 and CODES.RESOURCE_EXHAUSTED in codes[5:]
    # Who has no items left may still ask.
    few = channel(certificates.client("few-health", "--spiffe", "spiffe://few.example/health"))
    export = few.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
    export(traces(*(f"span {number}" for number in range(20))), timeout=TIMEOUT)
    assert code(few) == CODES.OK
    results = {dict(labels)["result"]: value for (name, labels), value in gate.counters().items() if "requests" in name}
    assert results["serving"] >= 5 and results["over_quota"] >= 1


def test_held_watches_of_one_client_leave_room_for_others(
    start: Callable, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    """Of 64 requests that a worker may hold, each of 16 KiB, one client's watches take half."""
    gate = start(CONFIG + "limits: {inflated: 512KiB}\n", "--concurrency", "1").ready()
    headers = {"content-type": "application/grpc", "te": "trailers"}
    other = certificates.client("few-watch", "--spiffe", "spiffe://few.example/watch")
    with Http2(gate.grpc, acme) as hog, Http2(gate.grpc, other) as innocent:
        streams = []
        for _ in range(60):
            streams.append(hog.open(WATCH, headers))
            hog.h2.send_data(streams[-1], frame(b""), end_stream=True)
        hog.flush()
        heard = lambda answer: answer.body or answer.headers.get("grpc-status")
        while not all(heard(hog.answers[stream]) for stream in streams):
            hog.receive()
        answers = [hog.answers[stream] for stream in streams]
        held = [answer for answer in answers if answer.body == frame(SERVING) and not answer.trailers]
        busy = [answer for answer in answers if answer.headers.get("grpc-status") == "14"]
        assert len(held) + len(busy) == 60 and 25 <= len(held) <= 35, (len(held), len(busy))
        assert innocent.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0
        assert innocent.grpc(CHECK, frame(b"")).grpc_status == 0
    # What a client that goes away held is there again.
    with Http2(gate.grpc, acme) as again:
        deadline = time.monotonic() + TIMEOUT
        while again.grpc(CHECK, frame(b"")).grpc_status != 0:
            assert time.monotonic() < deadline
