"""Hostile clients: whatever they send, they get an answer, the others are served, and Envoy's memory is bounded."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client import Answer, Http2, Identity, frame
from gate import Certificates, Gate
from neighbour import MIB, Memory, Neighbour
from quick import Quick
from sink import GRPC_PATHS, HTTP_PATHS
from volley import ready
from wire import field, request, resource, scope, span, traces

TRACES, V1_TRACES = GRPC_PATHS["traces"], HTTP_PATHS["traces"]
GRPC = {"content-type": "application/grpc", "te": "trailers"}
CONFIG = """\
apiVersion: otlp-gate/v1
gateway: {provider: istio, name: otel-gateway, namespace: otel, hostname: localhost}
backend: {collector: {}}
clients:
  - name: "{word}"
    match: {spiffe: "spiffe://hostile.example/{word}"}
    attributes: {tenant.id: "{word}"}
limits: {wire: 2MiB, inflated: 8MiB, held: 8MiB}
"""
HELD = 8 * MIB
WORKERS = 2


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    quick = Quick(tmp_path_factory.mktemp("quick")).ready()
    yield quick
    quick.stop()


@pytest.fixture(scope="module")
def attacked(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, quick: Quick
) -> Iterator[Gate]:
    """A gate that lives through all of this, with a small bound on what it holds."""
    file = tmp_path_factory.mktemp("hostile") / "otlp-gate.yaml"
    file.write_text(CONFIG)
    gate = Gate(file, certificates.folder, quick.port, quick.port, "--concurrency", WORKERS).ready()
    yield gate
    reloads = gate.stats("vm_reload")
    assert gate.stop() == 0, gate.rest_of_stderr()
    assert reloads and set(reloads.values()) == {0}, reloads


@pytest.fixture(scope="module")
def identity(certificates: Certificates) -> Callable[[str], Identity]:
    return lambda word: certificates.client(f"hostile-{word}", "--spiffe", f"spiffe://hostile.example/{word}")


@pytest.fixture
def neighbour(attacked: Gate, identity: Callable) -> Neighbour:
    return Neighbour(attacked, identity("neighbour"))


@pytest.fixture
def open_connections(attacked: Gate, identity: Callable) -> Iterator[Callable[[int], list[Http2]]]:
    """Connections of the hostile client, which workers share."""
    opened: list[Http2] = []

    def connections(count: int, word: str = "hostile") -> list[Http2]:
        some = [ready(Http2(attacked.grpc, identity(word))) for _ in range(count)]
        opened.extend(some)
        return some

    yield connections
    for connection in opened:
        connection.socket.close()


def of_size(size: int) -> bytes:
    return request(resource(), scope(span("large", field(1999, bytes(size)))))


def begin(connection: Http2, body: bytes) -> int:
    """Opens an export and sends some of its body."""
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


def test_bodies_that_do_not_end_leave_room_for_others(
    attacked: Gate, open_connections: Callable, identity: Callable
) -> None:
    memory = Memory(attacked)
    with Neighbour(attacked, identity("neighbour"), 100_000):
        # Four times more than all workers may hold.
        connections = open_connections(16)
        unfinished = frame(of_size(MIB))[:-1]
        streams = [(connection, begin(connection, unfinished)) for connection in connections * 4]
    refused = [answer for connection, stream in streams if (answer := connection.answers[stream]).headers]
    assert {answer.grpc_status for answer in refused} == {14}
    print(f"{len(streams) - len(refused)} of {len(streams)} unfinished bodies are held")
    assert memory.grew() < 3 * WORKERS * HELD / MIB
    # What is held can still be finished.
    for connection, stream in streams:
        if not connection.answers[stream].headers:
            assert connection.finish(stream, b"\0").grpc_status == 0
