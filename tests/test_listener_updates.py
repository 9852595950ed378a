"""Policies in the listener itself, as Envoy Gateway sends them: each update makes a filter chain beside the one before."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from h2.exceptions import ProtocolError

from client import Http2, Identity, call, secure_channel
from gate import Certificates, otlp_gate
from proxy import Envoy
from sink import GRPC_PATHS, HTTP_PATHS, Received, Sink
from wire import traces

TYPES = "type.googleapis.com/envoy"
HTTP = f"{TYPES}.extensions.filters"
# How long connections of the filter chain before may stay.
DRAIN = 3


class Proxy(Envoy):
    """An Envoy whose only listener has the policy inside; what it lets in is answered by itself, and gRPC by the backend."""

    def __init__(
        self, folder: Path, certs: Path, backend: int, change: Callable[[bytes], bytes] = lambda module: module
    ):
        self.folder, self.certs = folder, certs
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        module = folder / "otlp-gate.wasm"
        otlp_gate("wasm", "export", module)
        module.write_bytes(change(module.read_bytes()))
        self.policy("acme")
        listeners = {"path_config_source": {"path": str(folder / "listeners.json")}, "resource_api_version": "V3"}
        drain = ["--drain-time-s", str(DRAIN), "--drain-strategy", "immediate"]
        bootstrap = {
            "dynamic_resources": {"lds_config": listeners},
            "static_resources": {"clusters": [cluster(backend)]},
        }
        super().__init__(folder, bootstrap, "--concurrency", "2", *drain)

    def policy(self, client: str, **attributes: str) -> None:
        """Lets this client in and nobody else; its revision is the number of letters of its name."""
        rule = {"name": client, "match": {"spiffe": f"spiffe://{client}.example/**"}, "attributes": attributes}
        policy = json.dumps({"clients": [rule], "gate": "test", "revision": f"{len(client):012x}"})
        new = self.folder / "new"
        new.write_text(json.dumps({"resources": [self.listener(policy)]}))
        new.rename(self.folder / "listeners.json")

    def listener(self, policy: str) -> dict:
        file = lambda name: {"filename": str(self.certs / name)}
        code = {"local": {"filename": str(self.folder / "otlp-gate.wasm")}}
        wasm = {
            "name": "otlp-gate",
            "root_id": "otlp-gate",
            "vm_config": {"vm_id": "one", "runtime": "envoy.wasm.runtime.v8", "code": code},
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy},
        }
        tls = {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{"certificate_chain": file("server.crt"), "private_key": file("server.key")}],
            "validation_context": {"trusted_ca": file("client-ca.crt")},
        }
        context = f"{TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        manager = {
            "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "test",
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"cert": True},
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [
                            {"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": "sink"}},
                            {"match": {"prefix": "/"}, "direct_response": {"status": 204}},
                        ],
                    }
                ]
            },
            "http_filters": [
                {"name": "wasm", "typed_config": {"@type": f"{HTTP}.http.wasm.v3.Wasm", "config": wasm}},
                {"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}},
            ],
        }
        return {
            "@type": f"{TYPES}.config.listener.v3.Listener",
            "name": "test",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": self.port}},
            "filter_chains": [
                {
                    "name": "test",
                    "transport_socket": {
                        "name": "tls",
                        "typed_config": {
                            "@type": context,
                            "require_client_certificate": True,
                            "common_tls_context": tls,
                        },
                    },
                    "filters": [{"name": "http", "typed_config": manager}],
                }
            ],
        }

    def revision(self) -> int:
        """Of the policy that the filter says it has."""
        return self.stat("otlp_gate_policy_revision")

    def status(self, identity: Identity) -> int:
        """What an export over a new connection is answered."""
        with Http2(f"127.0.0.1:{self.port}", identity) as connection:
            return connection.http(HTTP_PATHS["traces"], traces("a")).status


def cluster(port: int) -> dict:
    """The backend."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "name": "sink",
        "typed_extension_protocol_options": {options: http2},
        "load_assignment": {
            "cluster_name": "sink",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


@pytest.fixture
def proxy(tmp_path: Path, certificates: Certificates, sink: Sink) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path, certificates.folder, sink.grpc_port)
    yield proxy
    proxy.stop()


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            if what():
                return
        # It does not listen yet, or asks a connection of the policy before to end.
        except (OSError, ProtocolError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_policy_that_comes_back_while_connections_of_it_remain_acts_again(proxy: Proxy, acme: Identity) -> None:
    """Envoy takes the plugin that it still has, and does not configure it again."""
    eventually(lambda: proxy.status(acme) == 204)
    proxy.policy("another")
    eventually(lambda: proxy.status(acme) == 403)
    assert proxy.revision() == len("another")
    proxy.policy("acme")
    eventually(lambda: proxy.status(acme) == 204)
    # And it is told once the connections of the other one are gone.
    eventually(lambda: proxy.revision() == len("acme"))
    assert proxy.status(acme) == 204


def test_clients_that_send_while_policies_come_lose_nothing(proxy: Proxy, acme: Identity, sink: Sink) -> None:
    """Connections end, and clients connect anew: gRPC's own sees to it that each call is answered once."""
    eventually(lambda: proxy.status(acme) == 204)
    acknowledged: list[str] = []
    errors: list[object] = []
    stopped = threading.Event()

    def send(number: int) -> None:
        with secure_channel(f"127.0.0.1:{proxy.port}", acme.credentials()) as channel:
            for count in itertools.count():
                if stopped.is_set():
                    return
                span = f"{number} {count}"
                error = call(channel, GRPC_PATHS["traces"], traces(span), wait_for_ready=True)
                errors.append(error) if error else acknowledged.append(span)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    arrived: list[Received] = []

    def acts(version: str) -> bool:
        arrived.extend(sink.rest())
        return bool(errors) or bool(arrived) and arrived[-1].resources()[0].get("version") == version

    for version in map(str, range(8)):
        proxy.policy("acme", version=version)
        eventually(lambda: acts(version))
    stopped.set()
    for thread in threads:
        thread.join(30)
    arrived.extend(sink.rest())
    assert errors == []
    names = [name for request in arrived for name in request.names()]
    assert sorted(names) == sorted(acknowledged)
