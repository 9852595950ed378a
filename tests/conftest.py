"""A gate between real clients and a backend that keeps the raw bytes of what it gets."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from client import Http2, Identity, secure_channel
from gate import Certificates, Gate
from quick import Quick
from sink import Sink

# What this machine is set to for the world outside is not for connections to itself.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
    os.environ.pop(name, None)
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"

# Bursts are long and rates small where a test spends a quota, so that what comes back while it runs does not count.
CONFIG = """\
apiVersion: otlp-gate/v1
gateway: {provider: istio, name: otel-gateway, namespace: otel, hostname: localhost}
backend: {collector: {}}
clients:
  - name: acme-edge
    match: {spiffe: "spiffe://acme.example/edge/*"}
    attributes: {tenant.id: acme}
  - name: "partner.{org}.{site}"
    match: {dns: "{site}.{org}.partners.example"}
    attributes: {tenant.id: "{org}", site.id: "{site}"}
  - name: legacy
    match: {subject: {O: "Acme, Inc.", CN: legacy}}
    attributes: {tenant.id: old}
  - name: "few-{word}"
    match: {spiffe: "spiffe://few.example/{word}"}
    attributes: {tenant.id: few}
    quota: few
  - name: "calls-{word}"
    match: {spiffe: "spiffe://calls.example/{word}"}
    attributes: {tenant.id: calls}
    quota: calls
attributes: {otlp_gate.client: "{name}"}
headers: {X-Scope-OrgID: "{tenant.id}"}
quotas:
  tiers:
    few: {spans: 1/s, burst: 20s}
    calls: {requests: 1/s, burst: 5s}
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "otlp-gate.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certs"), config).make()


@pytest.fixture(scope="session")
def acme(certificates: Certificates) -> Identity:
    """A client without any quota."""
    return certificates.client("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")


@pytest.fixture(scope="session")
def stranger(certificates: Certificates) -> Identity:
    """A valid certificate that is no client's."""
    return certificates.client("stranger", "--spiffe", "spiffe://stranger.example/x")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, config: Path, certificates: Certificates) -> Identity:
    """The same name as acme's, but from a CA that nobody here trusts."""
    others = Certificates(tmp_path_factory.mktemp("foreign"), config).make()
    identity = others.client("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")
    return Identity(identity.certificate, identity.key, certificates.folder / "server-ca.crt")


@pytest.fixture(scope="session")
def one_sink() -> Iterator[Sink]:
    sink = Sink().start()
    yield sink
    sink.stop()


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    """The backend for floods, which only counts."""
    quick = Quick(tmp_path_factory.mktemp("quick"))
    yield quick
    quick.stop()


@pytest.fixture
def sink(one_sink: Sink) -> Iterator[Sink]:
    """The backend, empty and friendly."""
    one_sink.rest()
    one_sink.fail = None
    yield one_sink
    one_sink.fail = None


@pytest.fixture(scope="session")
def gate(config: Path, certificates: Certificates, one_sink: Sink) -> Iterator[Gate]:
    """The gate that tests share."""
    gate = Gate(config, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    assert gate.stop() == 0, gate.rest_of_stderr()


@pytest.fixture
def start(tmp_path: Path, certificates: Certificates, one_sink: Sink) -> Iterator[Callable[..., Gate]]:
    """Starts gates of a test's own, with a config of its own; does not wait until they are ready."""
    started: list[Gate] = []

    def start(text: str = CONFIG, *args: object, certs: Path = certificates.folder) -> Gate:
        file = tmp_path / "otlp-gate.yaml"
        file.write_text(text)
        started.append(Gate(file, certs, one_sink.grpc_port, one_sink.http_port, *args))
        return started[-1]

    yield start
    for gate in started:
        gate.stop()


@pytest.fixture
def connect(gate: Gate) -> Iterator[Callable[..., Http2]]:
    """HTTP/2 connections to the shared gate."""
    connections: list[Http2] = []

    def connect(identity: Identity, address: str | None = None) -> Http2:
        connections.append(Http2(address or gate.grpc, identity))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.socket.close()


@pytest.fixture
def channel(gate: Gate) -> Iterator[Callable[..., grpc.Channel]]:
    """Python gRPC's channels to the shared gate."""
    channels: list[grpc.Channel] = []

    def channel(identity: Identity, address: str | None = None, **how) -> grpc.Channel:
        channels.append(secure_channel(address or gate.grpc, identity.credentials(), **how))
        return channels[-1]

    yield channel
    for opened in channels:
        opened.close()
