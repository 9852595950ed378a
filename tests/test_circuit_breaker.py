"""One client's requests wait for a backend that is silent: no count of all clients together fails another one's."""

import socket
import struct
import time
from pathlib import Path

import pytest

from client import Http2, Identity, frame
from gate import Certificates, Gate
from sink import GRPC_PATHS, HTTP_PATHS
from wire import traces

HEADERS = {
    "grpc": (GRPC_PATHS["traces"], {"content-type": "application/grpc", "te": "trailers"}, frame(traces("waits"))),
    # Each takes a connection of its own to the backend.
    "http": (HTTP_PATHS["traces"], {"content-type": "application/x-protobuf"}, traces("waits")),
}
# Envoy's own breakers let 1024 through.
CONNECTIONS, EACH = 2, 600


@pytest.mark.parametrize("protocol", HEADERS)
def test_waiting_requests_of_one_client_do_not_fail_another(
    protocol: str, config: Path, certificates: Certificates, acme: Identity, request: pytest.FixtureRequest
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as silent:
        port = silent.getsockname()[1]
        gate = Gate(config, certificates.folder, port, port).ready()
        request.addfinalizer(gate.stop)
        address = {"grpc": gate.grpc, "http": gate.http}[protocol]
        opened = []
        for _ in range(CONNECTIONS):
            opened.append(Http2(address, acme))
            for _ in range(EACH):
                send(opened[-1], protocol)
        waiting = lambda: gate.stats(f"cluster.{protocol}.upstream_rq_active")[f"cluster.{protocol}.upstream_rq_active"]
        pending = lambda: gate.stats(f"cluster.{protocol}.upstream_rq_pending_active")[
            f"cluster.{protocol}.upstream_rq_pending_active"
        ]
        deadline = time.monotonic() + 20
        while waiting() + pending() < CONNECTIONS * EACH:
            assert time.monotonic() < deadline, (waiting(), pending())
            time.sleep(0.1)
        partner = certificates.client("breaker", "--dns", "berlin.globex.partners.example")
        other = Http2(address, partner)
        send(other, protocol)
        while waiting() + pending() < CONNECTIONS * EACH + 1:
            assert time.monotonic() < deadline, "another client's request does not wait for the backend as well"
            time.sleep(0.1)
        overflow = gate.stats(f"cluster.{protocol}.upstream_.*_overflow")
        assert set(overflow.values()) == {0}, overflow


def send(connection: Http2, protocol: str) -> None:
    """A whole request, whose answer is not waited for. The connection's window lets more through than is sent here."""
    path, headers, body = HEADERS[protocol]
    stream = connection.open(path, headers)
    connection.socket.sendall(struct.pack(">I", len(body))[1:] + b"\0\1" + struct.pack(">I", stream) + body)
