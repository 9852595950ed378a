"""A client's certificate ends: nobody is served by it any longer, however they are connected."""

import socket
import ssl
import time
from pathlib import Path

from brief import Brief
from client import Identity, frame, refused
from deployed import Deployed
from sink import GRPC_PATHS, HTTP_PATHS, Sink
from wire import traces

# As long as it takes to connect in each way, on a loaded machine.
LIFE = 25
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


class Resumable:
    """Sends by HTTP/1.1, each time on a connection of its own that resumes the session of the one before."""

    def __init__(self, address: str, identity: Identity, version: ssl.TLSVersion):
        self.address = address
        self.context = identity.context("http/1.1")
        self.context.minimum_version = self.context.maximum_version = version
        self.session: ssl.SSLSession | None = None
        self.resumed = False

    def post(self, body: bytes) -> int | None:
        """The status; none where the handshake fails."""
        host, port = self.address.rsplit(":", 1)
        head = f"POST {HTTP_PATHS['traces']} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            with socket.create_connection((host, int(port)), timeout=10) as raw:
                with self.context.wrap_socket(raw, server_hostname="localhost", session=self.session) as tls:
                    tls.sendall(head.encode() + body)
                    answer = tls.recv(4096)
                    self.session, self.resumed = tls.session, tls.session_reused
        except (ssl.SSLError, ConnectionError):
            return None
        return int(answer.split()[1]) if answer else None


def test_nothing_is_accepted_after_the_end_of_a_clients_certificate(
    gate: Deployed, backend: Sink, tmp_path: Path
) -> None:
    grpc, http = (f"{gate.address()}:{port}" for port in (4317, 4318))
    gate.connect(gate.acme()).socket.close()
    brief = Brief.issue(tmp_path / "brief", gate.folder / "certs", "spiffe://acme.example/brief", LIFE)
    body = traces("brief")
    opened = {port: gate.connect(brief.identity, port) for port in (4317, 4318)}
    ways = {version: Resumable(http, brief.identity, VERSIONS[version]) for version in VERSIONS}
    assert opened[4317].grpc(GRPC_PATHS["traces"], frame(body)).grpc_status == 0
    assert opened[4318].http(HTTP_PATHS["traces"], body).status == 200
    # The second time with what the first one's connection left.
    answered = {version: (way.post(body), way.post(body), way.resumed) for version, way in ways.items()}
    assert answered == dict.fromkeys(VERSIONS, (200, 200, False))
    assert brief.left() > 0, "too slow to tell anything"

    time.sleep(brief.left() + 1.5)

    assert refused(grpc, brief.identity.context("h2")) and refused(http, brief.identity.context("h2"))
    assert {version: way.post(body) for version, way in ways.items()} == dict.fromkeys(VERSIONS, None)
    assert opened[4317].grpc(GRPC_PATHS["traces"], frame(body)).grpc_status == 16
    assert opened[4318].http(HTTP_PATHS["traces"], body).status == 401
    # Another client is served.
    assert gate.connect(gate.acme()).grpc(GRPC_PATHS["traces"], frame(body)).grpc_status == 0
