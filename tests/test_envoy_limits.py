"""The limits that `local` sets in Envoy are those in docs/reference/gateway-bounds.md."""

import json
import urllib.request

from support.envoy_limits import RunningEnvoy, documented
from support.gate import Gate


def test_envoy_runs_with_the_documented_limits(gate: Gate) -> None:
    with urllib.request.urlopen(f"http://{gate.admin}/config_dump", timeout=10) as response:
        running = RunningEnvoy(json.load(response), "^(grpc|http)$")
    assert len(running.chains) == 2 and len(running.clusters) == 2
    assert running.rows() == documented("local")
