"""A backend that takes everything at once and only counts it: Python's own would be what a flood of requests waits for."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

from gate import ENVOY

FILTERS = "type.googleapis.com/envoy.extensions.filters.http."
ACCEPTED = {
    "status": 200,
    "headers": {"content-type": "application/grpc", "grpc-status": "0"},
}


class Quick:
    """An Envoy that answers every gRPC call with OK."""

    def __init__(self, folder: Path):
        bootstrap, self.address_file = folder / "quick.json", folder / "quick.admin"
        bootstrap.write_text(json.dumps(config()))
        command = [ENVOY, "-c", bootstrap, "--admin-address-path", self.address_file, "--concurrency", "1"]
        command += ["--use-dynamic-base-id", "--log-level", "error"]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL)

    def ready(self) -> "Quick":
        deadline = time.monotonic() + 20
        while not (self.address_file.exists() and self.address_file.read_text()):
            assert time.monotonic() < deadline and self.process.poll() is None
            time.sleep(0.02)
        listeners = json.loads(self.ask("/listeners?format=json"))["listener_statuses"]
        self.port = listeners[0]["local_address"]["socket_address"]["port_value"]
        return self

    def count(self) -> int:
        """The requests so far that came whole."""
        return int(self.ask("/stats?filter=^http.quick.downstream_rq_2xx$").rsplit(": ", 1)[1])

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address_file.read_text()}{path}", timeout=10) as answer:
            return answer.read().decode()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


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
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    filters = [{"filters": [{"name": "http", "typed_config": manager}]}]
    return {
        "admin": {"address": address},
        "static_resources": {"listeners": [{"name": "quick", "address": address, "filter_chains": filters}]},
    }
