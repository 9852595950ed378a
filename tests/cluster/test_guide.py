"""The cases of the OpenTelemetry guide to exposing a Collector with mTLS, from outside the cluster."""

import datetime
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from support.client import Http2, Identity, frame, handshake_fails, trusting
from support.cluster.flood import Flood
from support.cluster.installation import PROVIDER, Installation, wait_until
from support.openssl import issue
from support.ports import ReservedPort
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

OTELCOL = os.environ.get("OTELCOL", "otelcol")


class External:
    """A Collector outside the cluster with the configuration of `client-config`."""

    def __init__(self, gate: Installation, client: str, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen | None = None
        given = gate.run("client-config", client, "--address", f"{gate.address()}:4317", "-o", "json").stdout
        self.config = json.loads(given)
        # Tests that run at the same time must not use the same port.
        self._port = ReservedPort()
        self.endpoint = self._port.address
        self.config["receivers"]["otlp"]["protocols"] = {"grpc": {"endpoint": self.endpoint}}
        self.config["service"]["telemetry"] = {"metrics": {"level": "none"}}

    def start(self) -> subprocess.Popen:
        file = self.folder / "otelcol.yaml"
        file.write_text(json.dumps(self.config))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([OTELCOL, "--config", file], stdout=log, stderr=log)
        return self.process

    @property
    def log(self) -> Path:
        return self.folder / "otelcol.log"

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(30)
        self._port.close()


@pytest.fixture
def external(gate: Installation, tmp_path: Path) -> Iterator[Callable[..., External]]:
    """Creates Collectors outside the cluster, each for a client."""
    made: list[External] = []

    def external(client: str, installation: Installation = gate) -> External:
        made.append(External(installation, client, tmp_path))
        return made[-1]

    yield external
    for one in made:
        one.stop()


# The guide's commands: one CA for both sides, RSA, a server certificate with its name, and a client certificate with a
# subject only.
GUIDE = r"""
openssl req -x509 -sha256 -nodes -days 365 -newkey rsa:2048 -subj "/CN=MyDemoRootCA" -keyout rootCA.key -out rootCA.crt
openssl req -newkey rsa:4096 -nodes -keyout server.key -out server.csr -subj "/CN=localhost" \
    -addext "subjectAltName = DNS:localhost"
echo "subjectAltName=DNS:localhost" > server.ext
openssl x509 -req -in server.csr -CA rootCA.crt -CAkey rootCA.key -CAcreateserial -out server.crt -days 365 -sha256 \
    -extfile server.ext
openssl req -newkey rsa:4096 -nodes -keyout client.key -out client.csr -subj "/CN=external-otel-client"
openssl x509 -req -in client.csr -CA rootCA.crt -CAkey rootCA.key -CAcreateserial -out client.crt -days 365 -sha256
"""


def test_the_guides_certificates_are_accepted(
    deploy: Callable[..., Installation], backend: Sink, external: Callable[..., External]
) -> None:
    installation = deploy("guide")
    subprocess.run(["sh", "-ec", GUIDE], cwd=installation.folder, check=True, capture_output=True, timeout=120)
    shutil.rmtree(installation.folder / "certs")
    given = {"--client-ca": "rootCA.crt", "--client-ca-key": "rootCA.key", "--server-ca": "rootCA.crt"}
    given |= {"--server-cert": "server.crt", "--server-key": "server.key"}
    installation.run("certs", "init", *(word for pair in given.items() for word in pair))
    rule = {
        "name": "external",
        "match": {"subject": {"CN": "external-otel-client"}},
        "attributes": {"tenant.id": "guide"},
    }
    installation.change(lambda config: config["clients"].append(rule))
    assert "external" in installation.run("whoami", "client.crt").stdout
    assert installation.apply()["ok"]
    clients = installation.folder / "certs" / "clients"
    clients.mkdir(exist_ok=True)
    for ending in ("crt", "key"):
        shutil.copy(installation.folder / f"client.{ending}", clients / f"external.{ending}")
    collector = external("external", installation)
    collector.config["receivers"]["host_metrics"]["collection_interval"] = "1s"
    backend.rest()
    collector.start()
    received = backend.take(30)
    assert received.signal == "metrics" and {one["tenant.id"] for one in received.resources()} == {"guide"}
    outcome = wait_until(lambda: (it := installation.verify())["ok"] and it, "verify passes")
    assert not [case for case in outcome["cases"] if case["result"] != "pass"]


def test_an_external_collector_sends_its_hosts_metrics(
    gate: Installation, backend: Sink, external: Callable[..., External]
) -> None:
    gate.acme()
    collector = external("acme")
    collector.config["receivers"]["host_metrics"]["collection_interval"] = "1s"
    backend.rest()
    collector.start()
    received = backend.take(30)
    while received.signal != "metrics":
        received = backend.take(30)
    assert {one["tenant.id"] for one in received.resources()} == {"acme"}
    assert any(name.startswith("system.") for name in received.names())


def test_a_flooding_exporter_slows_down_and_loses_nothing(
    gate: Installation, backend: Sink, external: Callable[..., External]
) -> None:
    """Five times its burst, from a real Collector's exporter with the settings of `client-config`."""
    gate.initech()
    collector = external("initech")
    backend.rest()
    collector.start()
    names = {f"flood {number}" for number in range(100)}
    with grpc.insecure_channel(collector.endpoint) as channel:
        grpc.channel_ready_future(channel).result(30)
        export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
        begun = time.monotonic()
        for first in range(0, 100, 10):
            export(traces(*(f"flood {first + number}" for number in range(10))), timeout=10)
    arrived: list[str] = []
    while len(names & set(arrived)) < len(names):
        received = backend.take(60)
        if received.signal == "traces":
            assert {one["tenant.id"] for one in received.resources()} == {"initech"}
            arrived += received.names()
    taken = time.monotonic() - begun
    print(f"100 spans at 20 a second arrived after {taken:.1f} s, none lost, {len(arrived) - 100} twice")
    # The bucket holds 20, so the other 80 take 4 s.
    assert taken > 3.5


def test_the_exporter_rejects_a_certificate_without_a_key(
    gate: Installation, external: Callable[..., External]
) -> None:
    gate.acme()
    collector = external("acme")
    del collector.config["exporters"]["otlp_grpc"]["tls"]["key_file"]
    assert collector.start().wait(30) != 0
    assert "must include both certificate and key" in collector.log.read_text()


def test_connections_without_a_valid_certificate_are_rejected(
    gate: Installation, deploy: Callable[..., Installation], tmp_path: Path
) -> None:
    gate.connect(gate.acme()).socket.close()
    address, certs = f"{gate.address()}:4317", gate.folder / "certs"
    with socket.create_connection(address.rsplit(":", 1), timeout=10) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        with suppress(ConnectionResetError):
            assert raw.recv(1) == b"", "a connection without TLS must end"
    assert handshake_fails(address, trusting(certs / "server-ca.crt", "h2"))
    foreign = deploy("foreign").acme()
    assert handshake_fails(address, Identity(foreign.certificate, foreign.key, certs / "server-ca.crt").context("h2"))
    start, end = (datetime.datetime(2020, 1, day, tzinfo=datetime.UTC) for day in (1, 2))
    expired = issue(tmp_path / "expired", certs, "spiffe://acme.example/1", start, end)
    assert handshake_fails(address, expired.context("h2"))


def test_a_revoked_certificate_is_rejected_and_others_are_accepted(gate: Installation) -> None:
    """Also on the connections that are open."""

    def send(connection: Http2) -> int:
        return connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status

    def ended(connection: Http2) -> bool:
        try:
            return send(connection) == 16
        except ConnectionError:
            # It closes connections when a policy changes.
            assert PROVIDER == "envoy-gateway"
            return True

    doomed = gate.client("doomed", "--spiffe", "spiffe://acme.example/doomed")
    with gate.connect(doomed) as revoked, gate.connect(gate.acme()) as other:
        assert send(revoked) == send(other) == 0
        gate.run("certs", "revoke", "doomed")
        begun = time.monotonic()
        gate.apply()
        gate.wait_until_rejected(doomed)
        print(f"a revocation applies to new connections after {time.monotonic() - begun:.1f} s")
        wait_until(lambda: ended(revoked), "the open connection of the revoked certificate is rejected", retry_on=())
        print(f"a revocation applies to open connections after {time.monotonic() - begun:.1f} s")
        if PROVIDER == "istio":
            assert send(other) == 0
    with gate.connect(gate.acme()) as connection:
        assert send(connection) == 0


@pytest.mark.alone
def test_a_flood_does_not_slow_another_client(gate: Installation) -> None:
    """Throttled requests get a retry delay."""

    def latencies(count: int = 25) -> list[float]:
        taken = []
        with gate.connect(gate.acme()) as acme:
            for _ in range(count):
                begun = time.perf_counter()
                assert acme.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0
                taken.append((time.perf_counter() - begun) * 1e3)
        return sorted(taken)

    with gate.connect(gate.globex()) as globex:
        answer = globex.grpc(GRPC_PATHS["traces"], frame(traces(*(f"flood {number}" for number in range(1000)))))
        assert answer.grpc_status == 8, "more than the burst"
    alone = latencies()
    with Flood(f"{gate.address()}:4317", gate.globex()) as flood:
        beside = latencies()
    throttled = flood.throttled()
    show = lambda taken: f"{taken[len(taken) // 2]:.0f} ms (slowest of {len(taken)}: {taken[-1]:.0f} ms)"
    print(
        f"a request takes {show(alone)} alone, {show(beside)} beside {throttled / flood.seconds:.0f} throttled a second"
    )
    assert throttled > 100
    # The flood uses the machine's cores as well. The test is that requests do not wait behind it.
    assert beside[12] < 3 * alone[12]


# Mistakes in a client's settings, and what its Collector logs.
WRONG: dict[str, tuple[Callable[[dict], object], str]] = {
    "no tls": (lambda exporter: exporter.pop("tls"), "authentication handshake failed"),
    "no ca_file": (lambda exporter: exporter["tls"].pop("ca_file"), "certificate signed by unknown authority"),
    "plain text": (lambda exporter: exporter.update(tls={"insecure": True}), "error reading server preface"),
    "no certificate": (
        lambda exporter: [exporter["tls"].pop(key) for key in ("cert_file", "key_file")],
        "certificate required",
    ),
    "another server name": (
        lambda exporter: exporter["tls"].update(server_name_override="elsewhere.example"),
        "authentication handshake failed",
    ),
    # The certificate of another gate's client.
    "a certificate of another CA": (lambda _: None, "unknown certificate authority"),
}


def test_a_collector_with_wrong_settings_sends_nothing_and_logs_why(
    gate: Installation, backend: Sink, deploy: Callable[..., Installation], tmp_path: Path
) -> None:
    """The guide's failure cases with a real Collector."""
    gate.acme()
    foreign = deploy("foreign").acme()
    backend.rest()
    collectors = {}
    try:
        for number, (what, (spoil, _)) in enumerate(WRONG.items()):
            folder = tmp_path / str(number)
            folder.mkdir()
            collector = External(gate, "acme", folder)
            spoil(collector.config["exporters"]["otlp_grpc"])
            if what == "a certificate of another CA":
                files = {"cert_file": str(foreign.certificate), "key_file": str(foreign.key)}
                collector.config["exporters"]["otlp_grpc"]["tls"].update(files)
            collector.config["receivers"]["host_metrics"]["collection_interval"] = "1s"
            collector.start()
            collectors[what] = collector
        for what, collector in collectors.items():
            expected = WRONG[what][1]
            wait_until(lambda: expected in collector.log.read_text(), f"the Collector with {what} logs: {expected}")
    finally:
        for collector in collectors.values():
            collector.stop()
    assert not [it for it in backend.rest() if it.signal == "metrics"]
