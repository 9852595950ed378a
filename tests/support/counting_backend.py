"""A backend for many requests: it accepts each one, and counts them. A backend in Python would be too slow."""

from pathlib import Path

from support.envoy import FILTERS, Envoy, http_manager, listener

HEADERS = {"content-type": "application/grpc", "grpc-status": "0"}


class CountingBackend(Envoy):
    """An Envoy that answers every gRPC call with OK."""

    def __init__(self, folder: Path):
        added = [{"header": {"key": key, "value": value}} for key, value in HEADERS.items()]
        # Without this filter the response would be sent at the headers, before the gate has decided.
        buffer = {"@type": f"{FILTERS}.http.buffer.v3.Buffer", "max_request_bytes": 1 << 24}
        http = http_manager(
            "backend",
            [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
            {"name": "buffer", "typed_config": buffer},
            codec_type="AUTO",
            route_config={"response_headers_to_add": added},
        )
        super().__init__(folder, {"static_resources": {"listeners": [listener(http)]}}, "--concurrency", "1")
        self.port = self.listener_port()

    def count(self) -> int:
        """How many complete requests have arrived."""
        return self.stat("^http.backend.downstream_rq_2xx$")
