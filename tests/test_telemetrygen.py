"""telemetrygen, OpenTelemetry's load generator, which uses the Go SDK."""

import os
import shutil
import subprocess

import pytest

from support.client import Identity
from support.gate import Gate
from support.sink import Sink


@pytest.mark.parametrize(("signal", "flag"), [("traces", "--traces"), ("metrics", "--metrics"), ("logs", "--logs")])
def test_all_that_telemetrygen_sends_arrives_with_the_clients_attributes(
    gate: Gate, acme: Identity, sink: Sink, signal: str, flag: str
) -> None:
    generator = os.environ.get("TELEMETRYGEN") or shutil.which("telemetrygen")
    if not generator:
        pytest.skip("telemetrygen is not installed; run `cargo xtask setup`")
    done = subprocess.run(
        [generator, signal, flag, "300", "--workers", "2", "--rate", "0",
         "--otlp-endpoint", f"localhost:{gate.grpc.rsplit(':', 1)[1]}",
         "--ca-cert", acme.ca, "--mtls", "--client-cert", acme.certificate, "--client-key", acme.key,
         "--otlp-attributes", 'tenant.id="forged"', "--otlp-attributes", 'service.name="load"'],
        capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    received = sink.rest()
    names = [name for request in received for name in request.names()]
    # Two workers; each trace has a parent and a child span.
    assert len(names) == 300 * 2 * (2 if signal == "traces" else 1)
    for request in received:
        for attributes in request.resources():
            assert attributes["tenant.id"] == "acme"
            assert attributes["otlp_gate.client"] == "acme-edge"
