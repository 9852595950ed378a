"""The admin interface of a gateway's proxy. It listens on the pod's loopback address only."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from support.cluster.installation import KUBECTL, PROVIDER, Installation, Kubectl

PORT = {"istio": 15000, "envoy-gateway": 19000}[PROVIDER]


@contextmanager
def admin(gate: Installation, kubectl: Kubectl) -> Iterator[str]:
    """Forwards a port of this machine to the admin interface of one of the gate's proxies; yields the address."""
    pod = next(
        it for it in kubectl.json("get", "pods", *gate.proxies())["items"] if "deletionTimestamp" not in it["metadata"]
    )
    metadata = pod["metadata"]
    command = [*KUBECTL.split(), "port-forward", "-n", metadata["namespace"], f"pod/{metadata['name']}", f":{PORT}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as forward:
        try:
            line = forward.stdout.readline()
            match = re.match(r"Forwarding from (127\.0\.0\.1:\d+)", line)
            assert match, line or forward.stderr.read()
            yield match.group(1)
        finally:
            forward.terminate()


def config_dump(address: str) -> dict:
    with urllib.request.urlopen(f"http://{address}/config_dump", timeout=30) as response:
        return json.load(response)
