"""Fixtures of the integration tests: real clients, a gate, and a backend that keeps the raw bytes it receives."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from support.client import Http2, Identity, secure_channel
from support.config import SHARED, Config
from support.counting_backend import CountingBackend
from support.gate import NATIVE_MODULE, Certificates, Gate
from support.sink import Sink

# Settings of this machine for other hosts must not apply to connections to itself.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
    os.environ.pop(name, None)
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests that are about Wasm, where the gates run the native module."""
    for item in items:
        if NATIVE_MODULE and (marker := item.get_closest_marker("wasm_only")):
            item.add_marker(pytest.mark.skip(reason=f"Wasm only: {marker.args[0]}"))


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "otlp-gate.yaml"
    file.write_text(str(SHARED))
    return file


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certs"), config).init()


@pytest.fixture(scope="session")
def acme(certificates: Certificates) -> Identity:
    """A client without a quota."""
    return certificates.client("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")


@pytest.fixture(scope="session")
def stranger(certificates: Certificates) -> Identity:
    """A valid certificate that matches no rule."""
    return certificates.client("stranger", "--spiffe", "spiffe://stranger.example/x")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, config: Path, certificates: Certificates) -> Identity:
    """A certificate with acme's name from a CA that the gate does not trust."""
    others = Certificates(tmp_path_factory.mktemp("foreign"), config).init()
    identity = others.client("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")
    return Identity(identity.certificate, identity.key, certificates.folder / "server-ca.crt")


@pytest.fixture(scope="session")
def one_sink() -> Iterator[Sink]:
    sink = Sink().start()
    yield sink
    sink.stop()


@pytest.fixture(scope="session")
def counting_backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingBackend]:
    """The backend for tests with many requests."""
    backend = CountingBackend(tmp_path_factory.mktemp("backend"))
    yield backend
    backend.stop()


@pytest.fixture
def sink(one_sink: Sink) -> Iterator[Sink]:
    """The shared backend. It is empty and accepts everything."""
    one_sink.rest()
    one_sink.fail = None
    yield one_sink
    one_sink.fail = None
    one_sink.answering.set()


@pytest.fixture(scope="session")
def gate(config: Path, certificates: Certificates, one_sink: Sink) -> Iterator[Gate]:
    """The gate that most tests share."""
    gate = Gate(config, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    assert gate.stop() == 0, gate.rest_of_log()


@pytest.fixture
def start(tmp_path: Path, certificates: Certificates, one_sink: Sink) -> Iterator[Callable[..., Gate]]:
    """Starts gates for one test, with a config of its own. Does not wait until they are ready."""
    started: list[Gate] = []

    def start(
        config: Config = SHARED, *args: object, certs: Path = certificates.folder, backend: int | None = None
    ) -> Gate:
        """`backend` is the port of another backend than the shared one."""
        file = tmp_path / "otlp-gate.yaml"
        file.write_text(str(config))
        ports = (backend, backend) if backend else (one_sink.grpc_port, one_sink.http_port)
        started.append(Gate(file, certs, *ports, *args))
        return started[-1]

    yield start
    for gate in started:
        gate.stop()


@pytest.fixture
def connect(gate: Gate) -> Iterator[Callable[..., Http2]]:
    """Opens HTTP/2 connections, to the shared gate unless an address is given."""
    connections: list[Http2] = []

    def connect(identity: Identity, address: str | None = None) -> Http2:
        connections.append(Http2(address or gate.grpc, identity))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.socket.close()


@pytest.fixture
def channel(gate: Gate) -> Iterator[Callable[..., grpc.Channel]]:
    """Opens channels of Python's gRPC library, to the shared gate unless an address is given."""
    channels: list[grpc.Channel] = []

    def channel(identity: Identity, address: str | None = None, **how) -> grpc.Channel:
        channels.append(secure_channel(address or gate.grpc, identity.credentials(), **how))
        return channels[-1]

    yield channel
    for opened in channels:
        opened.close()
