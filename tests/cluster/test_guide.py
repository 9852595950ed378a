"""What the OpenTelemetry guide to an exposed Collector with mTLS shows, and what must not work: from outside, as its reader does it."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from client import Identity, frame, refused, trusting
from deployed import Deployed, eventually
from flood import Flood
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
def external(gate: Deployed, tmp_path: Path) -> Iterator[Callable[..., External]]:
    """Makes Collectors outside of the cluster, each a client's."""
    made: list[External] = []

    def external(client: str, place: Deployed = gate) -> External:
        made.append(External(place, client, tmp_path))
        return made[-1]

    yield external
    for one in made:
        one.stop()


# As the guide types it: one CA for both sides, RSA, a server's certificate with its name, and a client's with nothing but a subject.
GUIDE = """
openssl req -x509 -sha256 -nodes -days 365 -newkey rsa:2048 -subj "/CN=MyDemoRootCA" -keyout rootCA.key -out rootCA.crt
openssl req -newkey rsa:4096 -nodes -keyout server.key -out server.csr -subj "/CN=localhost" -addext "subjectAltName = DNS:localhost"
echo "subjectAltName=DNS:localhost" > server.ext
openssl x509 -req -in server.csr -CA rootCA.crt -CAkey rootCA.key -CAcreateserial -out server.crt -days 365 -sha256 -extfile server.ext
openssl req -newkey rsa:4096 -nodes -keyout client.key -out client.csr -subj "/CN=external-otel-client"
openssl x509 -req -in client.csr -CA rootCA.crt -CAkey rootCA.key -CAcreateserial -out client.crt -days 365 -sha256
"""


def test_the_certificates_that_the_guide_makes_are_taken(
    deploy: Callable[..., Deployed], backend: Sink, external: Callable[..., External]
) -> None:
    place = deploy("guide")
    subprocess.run(["sh", "-ec", GUIDE], cwd=place.folder, check=True, capture_output=True, timeout=120)
    shutil.rmtree(place.folder / "certs")
    given = {"--client-ca": "rootCA.crt", "--client-ca-key": "rootCA.key", "--server-ca": "rootCA.crt"}
    given |= {"--server-cert": "server.crt", "--server-key": "server.key"}
    place.run("certs", "init", *(word for pair in given.items() for word in pair))
    rule = {
        "name": "external",
        "match": {"subject": {"CN": "external-otel-client"}},
        "attributes": {"tenant.id": "guide"},
    }
    place.change(lambda config: config["clients"].append(rule))
    assert "external" in place.run("whoami", "client.crt").stdout
    assert place.apply()["ok"]
    clients = place.folder / "certs" / "clients"
    clients.mkdir(exist_ok=True)
    for ending in ("crt", "key"):
        shutil.copy(place.folder / f"client.{ending}", clients / f"external.{ending}")
    collector = external("external", place)
    collector.config["receivers"]["host_metrics"]["collection_interval"] = "1s"
    backend.rest()
    collector.start()
    received = backend.take(30)
    assert received.signal == "metrics" and {one["tenant.id"] for one in received.resources()} == {"guide"}
    outcome = eventually(lambda: (it := place.json("verify", "--address", place.address()))["ok"] and it)
    assert {case["result"] for case in outcome["cases"]} == {"pass"}, outcome


def test_an_external_collector_sends_its_hosts_metrics(
    gate: Deployed, backend: Sink, external: Callable[..., External]
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
    gate: Deployed, backend: Sink, external: Callable[..., External]
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
    gate: Deployed, external: Callable[..., External]
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


@pytest.mark.alone
def test_a_flood_does_not_slow_another_client(gate: Deployed) -> None:
    """And what is over quota is told when to come again."""

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
        assert answer.grpc_status == 8, "more than the quota could ever allow"
    alone = latencies()
    with Flood(f"{gate.address()}:4317", gate.globex()) as flood:
        beside = latencies()
    refused = flood.ended()
    shown = lambda taken: f"{taken[len(taken) // 2]:.0f} ms (slowest of {len(taken)}: {taken[-1]:.0f} ms)"
    print(
        f"a request takes {shown(alone)} alone, {shown(beside)} beside {refused / flood.seconds:.0f} refusals a second"
    )
    assert refused > 100
    # The flooders have the machine's cores as well: what matters is that nothing queues behind them.
    assert beside[12] < 3 * alone[12]


# What is wrong with a client's settings, and what its Collector then says.
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
    # Its files are another gate's.
    "a certificate of another CA": (lambda _: None, "unknown certificate authority"),
}


def test_a_collector_with_wrong_settings_sends_nothing_and_says_why(
    gate: Deployed, backend: Sink, deploy: Callable[..., Deployed], tmp_path: Path
) -> None:
    """The guide's failure cases, in its own client."""
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
            eventually(lambda: WRONG[what][1] in collector.log.read_text(), 30)
    finally:
        for collector in collectors.values():
            collector.stop()
    assert not [it for it in backend.rest() if it.signal == "metrics"]
