"""A backend that is itself behind an Envoy, which takes many streams that end early for an attack, and closes their connection."""

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import Http2, Identity, frame
from conftest import CONFIG
from gate import ENVOY, Certificates, Gate
from sink import GRPC_PATHS, Sink
from wire import field, request, resource, scope, span, traces

TRACES = GRPC_PATHS["traces"]
HTTP = "type.googleapis.com/envoy.extensions.filters"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
REFUSED = 1000


class Sidecar:
    """An Envoy in front of the backend, as a mesh puts it there: everything else is as it is by default."""

    def __init__(self, folder: Path, sink: Sink):
        self.folder = folder
        manager = {
            "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "sidecar",
            "route_config": {
                "virtual_hosts": [
                    {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "sink"}}]}
                ]
            },
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}],
        }
        to = lambda port: {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
        bootstrap = {
            "node": {"id": "sidecar", "cluster": "sidecar"},
            "admin": to(0),
            "static_resources": {
                "listeners": [{"name": "all", **to(0), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
                "clusters": [
                    {
                        "name": "sink",
                        "connect_timeout": "2s",
                        "typed_extension_protocol_options": {
                            OPTIONS: {
                                "@type": f"type.googleapis.com/{OPTIONS}",
                                "explicit_http_config": {"http2_protocol_options": {}},
                            }
                        },
                        "load_assignment": {
                            "cluster_name": "sink",
                            "endpoints": [{"lb_endpoints": [{"endpoint": to(sink.grpc_port)}]}],
                        },
                    }
                ],
            },
        }
        (folder / "sidecar.json").write_text(json.dumps(bootstrap))
        command = [ENVOY, "-c", folder / "sidecar.json", "--concurrency", "1", "--admin-address-path", folder / "admin"]
        self.process = subprocess.Popen([*command, "--use-dynamic-base-id", "-l", "error"])
        self.port = self.listens()

    def listens(self) -> int:
        deadline = time.monotonic() + 20
        while True:
            try:
                listeners = json.loads(self.admin("listeners?format=json"))["listener_statuses"]
                return listeners[0]["local_address"]["socket_address"]["port_value"]
            except (OSError, KeyError, IndexError):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def admin(self, path: str) -> str:
        address = (self.folder / "admin").read_text()
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=10) as answer:
            return answer.read().decode()

    def count(self, name: str) -> int:
        """One of its listener's statistics."""
        return int(self.admin(f"stats?filter=^http.sidecar.{name}$").rsplit(": ", 1)[1])


@pytest.fixture
def sidecar(tmp_path: Path, sink: Sink) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path, sink)
    yield sidecar
    sidecar.process.terminate()
    sidecar.process.wait(20)


@pytest.fixture
def gate(tmp_path: Path, certificates: Certificates, sidecar: Sidecar) -> Iterator[Gate]:
    config = tmp_path / "otlp-gate.yaml"
    config.write_text(CONFIG + "limits: {wire: 64KiB}\n")
    gate = Gate(config, certificates.folder, sidecar.port, sidecar.port).ready()
    yield gate
    gate.stop()


@pytest.mark.parametrize("why", ["malformed", "over quota", "too large"])
def test_refused_requests_never_reach_the_backend_and_cost_nobody_else_anything(
    gate: Gate, certificates: Certificates, acme: Identity, sidecar: Sidecar, why: str
) -> None:
    few = certificates.client("few-refused", "--spiffe", "spiffe://few.example/refused")
    body, status = frame(b"\xff"), 3
    if why == "over quota":
        body, status = frame(traces(*(f"span {number}" for number in range(21)))), 8
    if why == "too large":
        body, status = frame(request(resource(), scope(span("large", field(1999, b"x" * 70_000))))), 8
    ended, statuses = threading.Event(), []

    def send(connection: Http2) -> None:
        while not ended.is_set():
            statuses.append(connection.grpc(TRACES, frame(traces("innocent"))).grpc_status)

    # Connections spread over both workers, each of which has one of its own to the backend.
    innocents = [Http2(gate.grpc, acme) for _ in range(4)]
    threads = [threading.Thread(target=send, args=(connection,)) for connection in innocents]
    for thread in threads:
        thread.start()
    for number in range(REFUSED):
        if number % 100 == 0:
            connection = Http2(gate.grpc, few)
        assert connection.grpc(TRACES, body).grpc_status == status
    ended.set()
    for thread in threads:
        thread.join(30)
    for connection in innocents:
        connection.socket.close()

    lost = [status for status in statuses if status != 0]
    assert (len(lost), sidecar.count("downstream_rq_rx_reset")) == (0, 0), f"of {len(statuses)}"
    assert sidecar.count("downstream_rq_total") == len(statuses)
