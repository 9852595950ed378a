"""gRPC health checks: the gate answers from the backend's state, and only to clients that match a rule."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from support.client import COMPRESS, GRPC, TIMEOUT, Http2, Identity, frame, secure_channel
from support.config import BURST, SHARED
from support.gate import Certificates, Gate
from support.ports import ReservedPort
from support.protobuf import field, traces
from support.scripted_backend import OK, ScriptedBackend
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

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
    """The result of a check with Python's gRPC library."""
    call = channel.unary_unary(path, request_serializer=None, response_deserializer=None)
    try:
        answer = call(named(service), timeout=TIMEOUT, **how)
    except grpc.RpcError as error:
        if error.code() == CODES.UNIMPLEMENTED:
            pytest.fail("clients treat UNIMPLEMENTED as healthy")
        return error.code()
    assert answer == SERVING
    return CODES.OK


@pytest.fixture
def scripted(start: Callable[..., Gate]) -> Iterator[tuple[ScriptedBackend, Gate]]:
    """A backend whose answers the test sets, behind a gate with one worker."""
    backend = ScriptedBackend()
    yield backend, start(SHARED, "--concurrency", 1, backend=backend.port).ready()
    backend.stop()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_backend_that_accepts_an_empty_export_is_serving(
    channel: Callable, acme: Identity, sink: Sink, compression: grpc.Compression
) -> None:
    for service in ("", *SERVICES):
        assert code(channel(acme), service=service, compression=compression) == CODES.OK
        received = sink.take()
        # An export of the signal that the backend accepted last.
        assert received.path in GRPC_PATHS.values() and received.body == b""
        assert received.headers["x-scope-orgid"] == "acme"
    assert code(channel(acme), service="shop") == CODES.NOT_FOUND
    assert sink.rest() == []


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_check_that_inflates_to_more_than_its_limit_is_rejected(
    connect: Callable, acme: Identity, sink: Sink, encoding: str
) -> None:
    # An unknown field, repeated 30,000 times.
    bomb = frame(COMPRESS[encoding](b"\x10\x10" * 30_000), compressed=True)
    assert len(bomb) < 4096
    assert connect(acme).grpc(CHECK, bomb, {"grpc-encoding": encoding}).grpc_status == 8
    assert sink.rest() == []


def test_a_watch_gets_the_state_and_stays_open(channel: Callable, acme: Identity, sink: Sink) -> None:
    opened = channel(acme)
    watch = opened.unary_stream(WATCH, request_serializer=None, response_deserializer=None)
    stream = watch(named(""), timeout=10)
    assert next(stream) == SERVING
    # A check that is sent later on the same connection is answered first.
    assert code(opened) == CODES.OK
    # Only its own deadline ends the stream.
    with pytest.raises(grpc.RpcError) as ended:
        next(stream)
    assert ended.value.code() == CODES.DEADLINE_EXCEEDED
    with pytest.raises(grpc.RpcError) as unknown:
        next(watch(named("shop"), timeout=TIMEOUT))
    assert unknown.value.code() == CODES.NOT_FOUND


def test_a_backend_that_is_unreachable_or_rejects_exports_is_not_serving(
    scripted: tuple[ScriptedBackend, Gate], acme: Identity, certificates: Certificates, tmp_path: Path
) -> None:
    backend, gate = scripted
    errors = {
        "an error by headers alone": ([*OK, ("grpc-status", "13")], None, None),
        "an error by trailers": (OK, None, [("grpc-status", "8"), ("grpc-message", "memory")]),
        "an error behind a message": (OK, frame(b""), [("grpc-status", "2")]),
        "no message": (OK, None, [("grpc-status", "0")]),
        "no message, by headers alone": ([*OK, ("grpc-status", "0")], None, None),
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
    config = tmp_path / "unreachable.yaml"
    config.write_text(str(SHARED))
    with ReservedPort() as closed:
        unreachable = Gate(config, certificates.folder, closed.number, closed.number).ready()
        try:
            with secure_channel(unreachable.grpc, acme.credentials()) as channel:
                assert code(channel) == code(channel, WATCH) == CODES.UNAVAILABLE
        finally:
            unreachable.stop()


def test_a_backend_without_traces_gets_another_signal(scripted: tuple[ScriptedBackend, Gate], acme: Identity) -> None:
    backend, gate = scripted
    with secure_channel(gate.grpc, acme.credentials()) as channel:
        backend.answer([*OK, ("grpc-status", "12")])
        for signal in ("traces", "metrics", "logs", "profiles", "traces"):
            assert code(channel) == CODES.UNAVAILABLE
            assert dict(backend.take())[":path"] == GRPC_PATHS[signal]
        backend.answer(OK, frame(b""), [("grpc-status", "0")])
        export = channel.unary_unary(GRPC_PATHS["logs"], request_serializer=None, response_deserializer=None)
        export(b"", timeout=TIMEOUT)
        backend.take()
        assert code(channel) == CODES.OK
        assert dict(backend.take())[":path"] == GRPC_PATHS["logs"]


def test_only_known_clients_get_the_state(
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


def test_a_check_counts_as_a_request_of_its_clients_quota(
    channel: Callable, certificates: Certificates, sink: Sink, gate: Gate
) -> None:
    calls = channel(certificates.client("calls-health", "--spiffe", "spiffe://calls.example/health"))
    began = time.monotonic()
    accepted = 0
    while (last := code(calls)) == CODES.OK:
        accepted += 1
    assert last == CODES.RESOURCE_EXHAUSTED
    # The bucket earns one request a second.
    assert BURST <= accepted <= BURST + time.monotonic() - began
    # A client without items left may still check.
    few = channel(certificates.client("few-health", "--spiffe", "spiffe://few.example/health"))
    export = few.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
    export(traces(*(f"span {number}" for number in range(BURST))), timeout=TIMEOUT)
    assert code(few) == CODES.OK
    results = gate.results()
    assert results["serving"] >= BURST and results["over_quota"] >= 1


def test_open_watches_of_one_client_leave_room_for_others(
    start: Callable, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    """A worker may hold 64 requests, each of 16 KiB; the watches of one client may take half of them."""
    gate = start(SHARED.replace(limits={"inflated": "512KiB"}), "--concurrency", 1).ready()
    other = certificates.client("few-watch", "--spiffe", "spiffe://few.example/watch")
    with Http2(gate.grpc, acme) as watching, Http2(gate.grpc, other) as another:
        streams = []
        for _ in range(60):
            streams.append(watching.open(WATCH, GRPC))
            watching.h2.send_data(streams[-1], frame(b""), end_stream=True)
        watching.flush()
        while not all(
            (answer := watching.answers[stream]).body or answer.headers.get("grpc-status") for stream in streams
        ):
            watching.receive()
        answers = [watching.answers[stream] for stream in streams]
        held = [answer for answer in answers if answer.body == frame(SERVING) and not answer.trailers]
        busy = [answer for answer in answers if answer.headers.get("grpc-status") == "14"]
        assert len(held) + len(busy) == 60 and 25 <= len(held) <= 35, (len(held), len(busy))
        assert another.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0
        assert another.grpc(CHECK, frame(b"")).grpc_status == 0
    # When the client closes its connection, the room is free again.
    with Http2(gate.grpc, acme) as again:
        wait_until(lambda: again.grpc(CHECK, frame(b"")).grpc_status == 0, "the closed watches leave room")
