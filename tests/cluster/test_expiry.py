"""A client's certificate expires: it is rejected on open connections, on new ones and with resumed sessions."""

import datetime
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

from support.client import GRPC, Identity, frame, handshake_fails
from support.cluster.installation import Installation
from support.openssl import issue_for, now
from support.protobuf import traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

# Seconds that a certificate is valid. If they do not suffice to connect in each way, the next one has more.
LIVES = (12, 30, 50)
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


class Resumable:
    """Sends over HTTP/1.1. Each request opens a connection, which tries to resume the TLS session of the last one."""

    def __init__(self, address: str, identity: Identity, version: ssl.TLSVersion):
        self.address = address
        self.context = identity.context("http/1.1")
        self.context.minimum_version = self.context.maximum_version = version
        self.session: ssl.SSLSession | None = None
        self.resumed = False

    def post(self, body: bytes) -> int | None:
        """The status; `None` if the handshake fails."""
        host, port = self.address.rsplit(":", 1)
        head = f"POST {HTTP_PATHS['traces']} HTTP/1.1\r\nhost: localhost\r\n"
        head += f"content-type: application/x-protobuf\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            with (
                socket.create_connection((host, int(port)), timeout=10) as raw,
                self.context.wrap_socket(raw, server_hostname="localhost", session=self.session) as tls,
            ):
                tls.sendall(head.encode() + body)
                answer = tls.recv(4096)
                self.session, self.resumed = tls.session, tls.session_reused
        except (ssl.SSLError, ConnectionError):
            return None
        return int(answer.split()[1]) if answer else None


class TooSlow(Exception):
    """The certificate expired before everything was connected."""


def test_an_expired_certificate_is_rejected_on_every_kind_of_connection(
    gate: Installation, backend: Sink, tmp_path: Path
) -> None:
    gate.connect(gate.acme()).socket.close()
    for life in LIVES:
        with suppress(TooSlow):
            return expires(gate, tmp_path / str(life), life)
    raise AssertionError(f"the machine is too slow: the certificates expired after {LIVES} s, before all was connected")


def expires(gate: Installation, folder: Path, life: int) -> None:
    grpc, http = (f"{gate.address()}:{port}" for port in (4317, 4318))
    identity, end = issue_for(folder, gate.folder / "certs", "spiffe://acme.example/short", life)
    body = traces("short")
    try:
        opened = {port: gate.connect(identity, port) for port in (4317, 4318)}
        ways = {version: Resumable(http, identity, VERSIONS[version]) for version in VERSIONS}
        accepted = [opened[4317].grpc(GRPC_PATHS["traces"], frame(body)).grpc_status]
        accepted += [opened[4318].http(HTTP_PATHS["traces"], body).status]
        # The second request offers the session of the first. The gate must not resume it.
        answered = {version: (way.post(body), way.post(body), way.resumed) for version, way in ways.items()}
        # Requests that begin before the end and whose bodies end after it.
        held = {
            4317: opened[4317].open(GRPC_PATHS["traces"], GRPC),
            4318: opened[4318].open(HTTP_PATHS["traces"], {"content-type": "application/x-protobuf"}),
        }
    finally:
        if now() >= end:
            raise TooSlow
    assert accepted == [0, 200] and answered == dict.fromkeys(VERSIONS, (200, 200, False))

    # Valid through the last second.
    time.sleep((end + datetime.timedelta(seconds=1) - now()).total_seconds())

    assert handshake_fails(grpc, identity.context("h2")) and handshake_fails(http, identity.context("h2"))
    assert {version: way.post(body) for version, way in ways.items()} == dict.fromkeys(VERSIONS, None)
    assert opened[4317].finish(held[4317], frame(body)).grpc_status == 16
    assert opened[4318].finish(held[4318], body).status == 401
    assert opened[4317].grpc(GRPC_PATHS["traces"], frame(body)).grpc_status == 16
    assert opened[4318].http(HTTP_PATHS["traces"], body).status == 401
    # Another client is accepted.
    assert gate.connect(gate.acme()).grpc(GRPC_PATHS["traces"], frame(body)).grpc_status == 0
