"""Envoys of the tests' own: backends, trusted hops, sidecars and gateways."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from support.gate import ENVOY
from support.waiting import wait_until

TYPES = "type.googleapis.com/envoy"
FILTERS = f"{TYPES}.extensions.filters"
TLS = f"{TYPES}.extensions.transport_sockets.tls.v3"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def address(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    """An `envoy.config.core.v3.Address`; with port 0 the kernel chooses one."""
    return {"address": {"socket_address": {"address": host, "port_value": port}}}


# A listener at a port that the kernel chooses.
ANY_PORT = address(0)


def file(path: Path) -> dict[str, str]:
    """A `DataSource` that reads a file."""
    return {"filename": str(path)}


def router() -> dict[str, Any]:
    return {"name": "router", "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"}}


def http_manager(stat_prefix: str, routes: list[dict], *http_filters: dict, **more: Any) -> dict[str, Any]:
    """A network filter with these routes and HTTP filters; `more` are fields of the HttpConnectionManager."""
    route_config = more.pop("route_config", {})
    manager = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}], **route_config},
        "http_filters": [*http_filters, router()],
        **more,
    }
    return {"name": "http", "typed_config": manager}


def route_to(cluster: str) -> dict[str, Any]:
    """A route of all requests to a cluster."""
    return {"match": {"prefix": "/"}, "route": {"cluster": cluster}}


def listener(http: dict, *, name: str = "all", at: dict = ANY_PORT, tls: dict | None = None) -> dict[str, Any]:
    """A listener with one filter chain."""
    chain = {"name": name, "filters": [http], **({"transport_socket": tls} if tls else {})}
    return {"name": name, **at, "filter_chains": [chain]}


def http2_cluster(name: str, at: dict, *, tls: dict | None = None) -> dict[str, Any]:
    """A cluster with one HTTP/2 endpoint."""
    options = {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "name": name,
        "typed_extension_protocol_options": {HTTP_OPTIONS: options},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": at}]}]},
        **({"transport_socket": tls} if tls else {}),
    }


def server_tls(certs: Path) -> dict[str, Any]:
    """TLS of a listener with the server's certificate in a folder of `otlp-gate certs`. It requires a client's."""
    context = {
        "@type": f"{TLS}.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": _common(certs / "server.crt", certs / "server.key", certs / "client-ca.crt"),
    }
    return {"name": "tls", "typed_config": context}


def client_tls(certificate: Path, key: Path, ca: Path) -> dict[str, Any]:
    """TLS of a cluster that shows this certificate and trusts servers of this CA."""
    context = {
        "@type": f"{TLS}.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": _common(certificate, key, ca),
    }
    return {"name": "tls", "typed_config": context}


def _common(certificate: Path, key: Path, ca: Path) -> dict[str, Any]:
    return {
        "alpn_protocols": ["h2"],
        "tls_certificates": [{"certificate_chain": file(certificate), "private_key": file(key)}],
        "validation_context": {"trusted_ca": file(ca)},
    }


class Envoy:
    """A running Envoy with this bootstrap and its files in `folder`."""

    def __init__(self, folder: Path, bootstrap: dict, *args: str, env: dict[str, str] | None = None):
        """`env` are more variables of its environment."""
        self._admin = folder / "admin"
        config = folder / "bootstrap.json"
        config.write_text(json.dumps({"node": {"id": "test", "cluster": "test"}, "admin": ANY_PORT, **bootstrap}))
        command = [ENVOY, "-c", config, "--admin-address-path", self._admin, "--disable-hot-restart", "-l", "error"]
        self.process = subprocess.Popen([*command, *args], stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})

    def listener_port(self) -> int:
        """The port of the first listener; waits until there is one."""

        def port() -> int:
            assert self.process.poll() is None, "Envoy has ended"
            listeners = json.loads(self.admin("listeners?format=json"))["listener_statuses"]
            return listeners[0]["local_address"]["socket_address"]["port_value"]

        missing = (OSError, ValueError, KeyError, IndexError)
        return wait_until(port, "Envoy listens", retry_on=missing)

    def stat(self, name: str) -> int:
        """The value of the statistic that matches this regular expression."""
        return int(self.admin(f"stats?filter={name}").rsplit(": ", 1)[1])

    def admin(self, path: str) -> str:
        """The response of the admin interface."""
        with urllib.request.urlopen(f"http://{self._admin.read_text()}/{path}", timeout=10) as response:
            return response.read().decode()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
