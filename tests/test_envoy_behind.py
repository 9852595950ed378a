"""A backend that is itself behind an Envoy, which takes many streams that end early for an attack, and closes their connection."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import Http2, Identity, frame
from conftest import CONFIG
from gate import Certificates, Gate
from sidecar import Sidecar
from sink import GRPC_PATHS, Sink
from wire import field, request, resource, scope, span, traces

TRACES = GRPC_PATHS["traces"]
REFUSED = 1000


@pytest.fixture
def sidecar(tmp_path: Path, sink: Sink) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path, sink)
    yield sidecar
    sidecar.stop()


@pytest.fixture
def gate(tmp_path: Path, certificates: Certificates, sidecar: Sidecar) -> Iterator[Gate]:
    config = tmp_path / "otlp-gate.yaml"
    config.write_text(CONFIG + "limits: {wire: 64KiB}\n")
    gate = Gate(config, certificates.folder, sidecar.port, sidecar.port).ready()
    yield gate
    gate.stop()


@pytest.mark.parametrize("why", ["malformed", "over quota", "too large"])
def test_refused_requests_never_reach_the_backend_and_cost_nobody_else_anything(
    gate: Gate, certificates: Certificates, acme: Identity, sidecar: Sidecar, why: str
) -> None:
    few = certificates.client("few-refused", "--spiffe", "spiffe://few.example/refused")
    # Who has a quota is refused at the headers once it has had too much refused.
    sender = acme if why == "malformed" else few
    body, status = frame(b"\xff"), 3
    if why == "over quota":
        body, status = frame(traces(*(f"span {number}" for number in range(21)))), 8
    if why == "too large":
        body, status = frame(request(resource(), scope(span("large", field(1999, b"x" * 70_000))))), 8
    ended, statuses = threading.Event(), []

    def send(connection: Http2) -> None:
        while not ended.is_set():
            statuses.append(connection.grpc(TRACES, frame(traces("innocent"))).grpc_status)

    # Connections spread over both workers, each of which has one of its own to the backend.
    innocents = [Http2(gate.grpc, acme) for _ in range(4)]
    threads = [threading.Thread(target=send, args=(connection,)) for connection in innocents]
    for thread in threads:
        thread.start()
    for number in range(REFUSED):
        if number % 100 == 0:
            connection = Http2(gate.grpc, sender)
        assert connection.grpc(TRACES, body).grpc_status == status
    ended.set()
    for thread in threads:
        thread.join(30)
    for connection in innocents:
        connection.socket.close()

    lost = [status for status in statuses if status != 0]
    assert (len(lost), sidecar.count("downstream_rq_rx_reset")) == (0, 0), f"of {len(statuses)}"
    assert sidecar.count("downstream_rq_total") == len(statuses)
