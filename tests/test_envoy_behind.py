"""A backend behind an Envoy of its own. Such an Envoy closes a connection on which many streams are reset, so the gate
must not open streams for requests that it rejects."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.client import Http2, Identity, frame
from support.config import BURST, SHARED
from support.gate import Certificates, Gate
from support.protobuf import field, request, resource, scope, span, traces
from support.sidecar import Sidecar
from support.sink import GRPC_PATHS, Sink

TRACES = GRPC_PATHS["traces"]
REJECTED = 1000


@pytest.fixture
def sidecar(tmp_path: Path, sink: Sink) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path, sink)
    yield sidecar
    sidecar.stop()


@pytest.fixture
def gate(start: Callable[..., Gate], sidecar: Sidecar) -> Gate:
    return start(SHARED.replace(limits={"wire": "64KiB"}), backend=sidecar.port).ready()


@pytest.mark.parametrize("why", ["malformed", "over quota", "too large"])
def test_rejected_requests_do_not_reach_the_backend_and_do_not_harm_other_clients(
    gate: Gate, certificates: Certificates, acme: Identity, sidecar: Sidecar, why: str
) -> None:
    few = certificates.client("few-rejected", "--spiffe", "spiffe://few.example/rejected")
    # A client with a quota is rejected at the headers after too many rejections, so malformed requests come from one
    # without a quota.
    sender = acme if why == "malformed" else few
    body, status = frame(b"\xff"), 3
    if why == "over quota":
        body, status = frame(traces(*(f"span {number}" for number in range(BURST + 1)))), 8
    if why == "too large":
        body, status = frame(request(resource(), scope(span("large", field(1999, b"x" * 70_000))))), 8
    ended, statuses = threading.Event(), []

    def send(connection: Http2) -> None:
        while not ended.is_set():
            statuses.append(connection.grpc(TRACES, frame(traces("accepted"))).grpc_status)

    # The connections are spread over both workers, each of which has a connection of its own to the backend.
    others = [Http2(gate.grpc, acme) for _ in range(4)]
    threads = [threading.Thread(target=send, args=(connection,)) for connection in others]
    for thread in threads:
        thread.start()
    for number in range(REJECTED):
        if number % 100 == 0:
            connection = Http2(gate.grpc, sender)
        assert connection.grpc(TRACES, body).grpc_status == status
    ended.set()
    for thread in threads:
        thread.join(30)
    for connection in others:
        connection.socket.close()

    lost = [status for status in statuses if status != 0]
    assert (len(lost), sidecar.count("downstream_rq_rx_reset")) == (0, 0), f"of {len(statuses)}"
    assert sidecar.count("downstream_rq_total") == len(statuses)
