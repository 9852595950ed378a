"""What `local` has Envoy bound and switch off is what docs/reference/gateway-bounds.md says, by the configuration that it runs."""

import json
import urllib.request

from bounds import Running, documented
from gate import Gate


def test_envoy_runs_what_the_table_says(gate: Gate) -> None:
    with urllib.request.urlopen(f"http://{gate.admin}/config_dump", timeout=10) as answer:
        running = Running(json.load(answer), "^(grpc|http)$")
    assert len(running.chains) == 2 and len(running.clusters) == 2
    assert running.rows() == documented("local")
