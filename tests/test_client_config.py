"""The environment variables that `client-config` prints are all that an SDK's exporter needs."""

import os
import subprocess
import sys

import pytest

from support.client import Identity
from support.gate import COMMAND, Gate
from support.sink import Sink

# The exporter gets no arguments.
EXPORT = """
import importlib, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
exporter = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{sys.argv[1]}.trace_exporter").OTLPSpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
provider.get_tracer("test").start_span("configured").end()
provider.shutdown()
"""


@pytest.mark.parametrize(("protocol", "package"), [("grpc", "grpc"), ("http/protobuf", "http")])
def test_an_exporter_with_the_printed_variables_is_accepted(
    gate: Gate, acme: Identity, sink: Sink, protocol: str, package: str
) -> None:
    port = (gate.http if package == "http" else gate.grpc).rsplit(":", 1)[1]
    script = f"""
        variables=$("{COMMAND}" -f "{gate.config}" client-config acme-edge --for sdk --protocol {protocol} \\
            --address localhost:{port} --certs "{acme.ca.parent}") || exit 1
        eval "$variables"
        exec "{sys.executable}" -c "$0" {package}
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(["sh", "-c", script, EXPORT], env=plain, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    [request] = sink.rest()
    assert request.names() == ["configured"]
    assert request.resources()[0]["tenant.id"] == "acme"
