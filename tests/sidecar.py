"""An Envoy in front of a backend, as a mesh puts it there."""

from pathlib import Path

from proxy import Envoy
from sink import Sink

HTTP = "type.googleapis.com/envoy.extensions.filters"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Sidecar(Envoy):
    """Listens where the backend does. Everything that need not be said is as it is by default."""

    def __init__(self, folder: Path, sink: Sink):
        manager = {
            "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "sidecar",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "sink"}}],
                    }
                ]
            },
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}],
        }
        backend = {"address": {"socket_address": {"address": sink.host, "port_value": sink.grpc_port}}}
        here = {"address": {"socket_address": {"address": sink.host, "port_value": 0}}}
        resources = {
            "listeners": [
                {"name": "all", **here, "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
            ],
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
                        "endpoints": [{"lb_endpoints": [{"endpoint": backend}]}],
                    },
                }
            ],
        }
        super().__init__(folder, {"static_resources": resources}, "--concurrency", "1")
        self.port = self.listens()

    def count(self, name: str) -> int:
        """One of its listener's statistics."""
        return self.stat(f"^http.sidecar.{name}$")
