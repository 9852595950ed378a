"""What the OpenTelemetry guide to an exposed Collector with mTLS shows, and what must not work: from outside, as its reader does it."""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from client import Identity, frame, refused, trusting
from deployed import Deployed
from sink import GRPC_PATHS, Sink
from wire import traces

OTELCOL = os.environ.get("OTELCOL", "otelcol")


class External:
    """A Collector outside of the cluster, configured by `client-config`."""

    def __init__(self, gate: Deployed, client: str, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen | None = None
        given = gate.run("client-config", client, "--address", f"{gate.address()}:4317", "-o", "json").stdout
        self.config = json.loads(given)
        # Only one reader of this machine's port 4317 at a time.
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.endpoint = f"127.0.0.1:{free.getsockname()[1]}"
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


@pytest.fixture
def external(gate: Deployed, tmp_path: Path) -> Iterator[Callable[[str], External]]:
    """Makes Collectors outside of the cluster, each a client's."""
    made: list[External] = []

    def external(client: str) -> External:
        made.append(External(gate, client, tmp_path))
        return made[-1]

    yield external
    for one in made:
        one.stop()


def test_an_external_collector_sends_its_hosts_metrics(
    gate: Deployed, backend: Sink, external: Callable[[str], External]
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
    gate: Deployed, backend: Sink, external: Callable[[str], External]
) -> None:
    """Five times what its quota lets through at once, from a real Collector's exporter with the settings that it is given."""
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
    # The bucket holds 20, so that the others need 4 s at least.
    assert taken > 3.5


def test_a_certificate_without_its_key_is_refused_by_the_exporter_itself(
    gate: Deployed, external: Callable[[str], External]
) -> None:
    gate.acme()
    collector = external("acme")
    del collector.config["exporters"]["otlp_grpc"]["tls"]["key_file"]
    assert collector.start().wait(30) != 0
    assert "must include both certificate and key" in collector.log.read_text()


def expired(folder: Path, identity: Identity, certs: Path) -> Identity:
    """A certificate that was the client's until 2020, from the gate's own CA; by openssl, since the command makes none."""
    (folder / "index").write_text("")
    (folder / "serial").write_text("4242")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        f"default_md=sha256\npolicy=p\ncopy_extensions=copy\nemail_in_dn=no\n[p]\ncommonName=optional\n"
    )
    run = lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    request, certificate = folder / "request", folder / "expired.crt"
    san = "subjectAltName=URI:spiffe://acme.example/1"
    run("req", "-new", "-key", identity.key, "-subj", "/CN=acme", "-addext", san, "-out", request)
    run(
        *("ca", "-batch", "-notext", "-config", folder / "ca.cnf", "-in", request, "-out", certificate),
        *("-cert", certs / "client-ca.crt", "-keyfile", certs / "client-ca.key"),
        *("-startdate", "20200101000000Z", "-enddate", "20200102000000Z"),
    )
    return Identity(certificate, identity.key, identity.ca)


def test_who_has_no_valid_certificate_does_not_get_as_far_as_a_request(
    gate: Deployed, deploy: Callable[..., Deployed], tmp_path: Path
) -> None:
    gate.connect(gate.acme()).socket.close()
    address, certs = f"{gate.address()}:4317", gate.folder / "certs"
    with socket.create_connection(address.rsplit(":", 1), timeout=10) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        try:
            assert raw.recv(1) == b"", "plain text is no TLS, and the connection ends"
        except ConnectionResetError:
            pass
    assert refused(address, trusting(certs / "server-ca.crt", "h2"))
    others = deploy("foreign").acme()
    assert refused(address, Identity(others.certificate, others.key, certs / "server-ca.crt").context("h2"))
    assert refused(address, expired(tmp_path, gate.acme(), certs).context("h2"))


def test_a_revoked_certificate_is_refused_and_the_others_are_not(gate: Deployed) -> None:
    doomed = gate.client("doomed", "--spiffe", "spiffe://acme.example/doomed")
    gate.connect(doomed).socket.close()
    gate.run("certs", "revoke", "doomed")
    begun = time.monotonic()
    gate.apply()
    gate.shuts_out(doomed)
    print(f"a revocation acts on new connections after {time.monotonic() - begun:.1f} s")
    with gate.connect(gate.acme()) as connection:
        assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0


def test_a_flood_does_not_slow_another_client(gate: Deployed) -> None:
    """And what is over quota is told when to come again."""

    def median(connection, count: int = 25) -> float:
        taken = []
        for _ in range(count):
            begun = time.perf_counter()
            assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0
            taken.append(time.perf_counter() - begun)
        return sorted(taken)[count // 2]

    flood = frame(traces(*(f"flood {number}" for number in range(1000))))
    with gate.connect(gate.acme()) as acme, gate.connect(gate.globex()) as globex:
        answer = globex.grpc(GRPC_PATHS["traces"], flood)
        assert answer.grpc_status == 8, "more than the quota could ever allow"
        alone = median(acme)
        # The first one fits, and no other for ten seconds.
        small = frame(traces(*(f"flood {number}" for number in range(15))))
        stop, refusals = threading.Event(), []

        def flooding() -> None:
            while not stop.is_set():
                refusals.append(globex.grpc(GRPC_PATHS["traces"], small))

        thread = threading.Thread(target=flooding)
        thread.start()
        try:
            beside = median(acme)
        finally:
            stop.set()
            thread.join()
    over = [answer for answer in refusals if answer.grpc_status == 8]
    assert len(over) > 10 and all(answer.retry_infos() for answer in over)
    print(f"a request takes {alone * 1e3:.2f} ms alone, {beside * 1e3:.2f} ms beside {len(over)} refusals")
    # One core of two is the flooder's own here: what matters is that nothing queues behind it.
    assert beside < 10 * alone
