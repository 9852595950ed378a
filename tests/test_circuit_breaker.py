"""The requests of one client that wait for a silent backend do not fail another client's: Envoy has no circuit breaker
for all clients together."""

import socket
import struct
from collections.abc import Callable

import pytest

from support.client import GRPC, Http2, Identity, frame
from support.config import SHARED
from support.gate import Certificates, Gate
from support.protobuf import traces
from support.sink import GRPC_PATHS, HTTP_PATHS
from support.waiting import wait_until

REQUESTS = {
    "grpc": (GRPC_PATHS["traces"], GRPC, frame(traces("waits"))),
    # Each of these takes a connection of its own to the backend.
    "http": (HTTP_PATHS["traces"], {"content-type": "application/x-protobuf"}, traces("waits")),
}
# Together more than the 1024 of Envoy's default circuit breakers.
CONNECTIONS, EACH = 2, 600


@pytest.mark.parametrize("protocol", REQUESTS)
def test_waiting_requests_of_one_client_do_not_fail_another(
    start: Callable[..., Gate], certificates: Certificates, acme: Identity, protocol: str
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as silent:
        gate = start(SHARED, backend=silent.getsockname()[1]).ready()
        address = {"grpc": gate.grpc, "http": gate.http}[protocol]
        connections = [Http2(address, acme) for _ in range(CONNECTIONS)]
        for connection in connections:
            for _ in range(EACH):
                send(connection, protocol)

        def waiting(count: int) -> bool:
            assert sum(gate.stats(f"cluster.{protocol}.upstream_rq_(pending_)?active$").values()) >= count
            return True

        wait_until(lambda: waiting(CONNECTIONS * EACH), "all requests of the first client wait", 90)
        partner = certificates.client("breaker", "--dns", "berlin.globex.partners.example")
        other = Http2(address, partner)
        send(other, protocol)
        wait_until(lambda: waiting(CONNECTIONS * EACH + 1), "the request of the second client waits as well")
        overflow = gate.stats(f"cluster.{protocol}.upstream_.*_overflow")
        assert set(overflow.values()) == {0}, overflow


def send(connection: Http2, protocol: str) -> None:
    """Sends a request and does not wait for the answer. The total is less than the connection's flow-control window."""
    path, headers, body = REQUESTS[protocol]
    stream = connection.open(path, headers)
    connection.socket.sendall(struct.pack(">I", len(body))[1:] + b"\0\1" + struct.pack(">I", stream) + body)
