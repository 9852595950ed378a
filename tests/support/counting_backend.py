"""A backend for many requests: it accepts each one, and counts them. A backend in Python would be too slow."""

from pathlib import Path

from support.envoy import FILTERS, Envoy, http_manager, listener

# A client that sends this header is told to try again: UNAVAILABLE.
UNAVAILABLE = "x-unavailable"


class CountingBackend(Envoy):
    """An Envoy that answers every gRPC call with OK, or with UNAVAILABLE if its client wants that."""

    def __init__(self, folder: Path):
        # Without this filter the response would be sent at the headers, before the gate has decided.
        buffer = {"@type": f"{FILTERS}.http.buffer.v3.Buffer", "max_request_bytes": 1 << 24}
        http = http_manager(
            "backend",
            [answer(14, headers=[{"name": UNAVAILABLE, "present_match": True}]), answer(0)],
            {"name": "buffer", "typed_config": buffer},
            codec_type="AUTO",
        )
        super().__init__(folder, {"static_resources": {"listeners": [listener(http)]}}, "--concurrency", "1")
        self.port = self.listener_port()

    def count(self) -> int:
        """How many complete requests have arrived."""
        return self.stat("^http.backend.downstream_rq_2xx$")


def answer(status: int, **match: object) -> dict:
    """The route that answers these requests with this gRPC status."""
    headers = {"content-type": "application/grpc", "grpc-status": str(status)}
    return {
        "match": {"prefix": "/", **match},
        "direct_response": {"status": 200},
        "response_headers_to_add": [{"header": {"key": key, "value": value}} for key, value in headers.items()],
    }
