"""An Envoy in front of a backend, as a service mesh deploys it."""

from pathlib import Path

from support.envoy import Envoy, address, http2_cluster, http_manager, listener, route_to
from support.sink import Sink


class Sidecar(Envoy):
    """Listens at the backend's address and forwards to the backend. All other settings are Envoy's defaults."""

    def __init__(self, folder: Path, sink: Sink):
        backend = {**http2_cluster("sink", address(sink.grpc_port, sink.host)), "connect_timeout": "2s"}
        resources = {
            "listeners": [listener(http_manager("sidecar", [route_to("sink")]), at=address(0, sink.host))],
            "clusters": [backend],
        }
        super().__init__(folder, {"static_resources": resources}, "--concurrency", "1")
        self.port = self.listener_port()

    def count(self, name: str) -> int:
        """A statistic of its listener."""
        return self.stat(f"^http.sidecar.{name}$")
