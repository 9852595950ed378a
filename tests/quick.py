"""A backend that takes everything at once and only counts it: Python's own would be what a flood of requests waits for."""

from pathlib import Path

from proxy import ANYWHERE, Envoy

FILTERS = "type.googleapis.com/envoy.extensions.filters.http."
ACCEPTED = {
    "status": 200,
    "headers": {"content-type": "application/grpc", "grpc-status": "0"},
}


class Quick(Envoy):
    """An Envoy that answers every gRPC call with OK."""

    def __init__(self, folder: Path):
        super().__init__(folder, config(), "--concurrency", "1")
        self.port = self.listens()

    def count(self) -> int:
        """The requests so far that came whole."""
        return self.stat("^http.quick.downstream_rq_2xx$")


def config() -> dict:
    headers = [{"header": {"key": key, "value": value}} for key, value in ACCEPTED["headers"].items()]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "quick",
        "codec_type": "AUTO",
        "route_config": {
            "response_headers_to_add": headers,
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": ACCEPTED["status"]}}],
                }
            ],
        },
        "http_filters": [
            # Without it, the answer would come at the headers, before the gate has decided.
            {"name": "buffer", "typed_config": {"@type": FILTERS + "buffer.v3.Buffer", "max_request_bytes": 1 << 24}},
            {"name": "router", "typed_config": {"@type": FILTERS + "router.v3.Router"}},
        ],
    }
    filters = [{"filters": [{"name": "http", "typed_config": manager}]}]
    return {"static_resources": {"listeners": [{"name": "quick", **ANYWHERE, "filter_chains": filters}]}}
