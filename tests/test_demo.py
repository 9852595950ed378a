"""`otlp-gate demo`."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from support.client import Identity
from support.gate import COMMAND, ENVOY, otlp_gate


def test_the_outcome_is_one_json_object_on_one_line(tmp_path: Path) -> None:
    done = otlp_gate("demo", "--json", "--envoy", ENVOY, cwd=tmp_path)
    (line,) = done.stdout.splitlines()
    outcome = json.loads(line)
    assert set(outcome) == {"ok", "clients", "refused", "forged_attributes_removed"}
    assert outcome["ok"] is True
    acme, globex = outcome["clients"]
    for client in (acme, globex):
        assert set(client) == {"name", "identity", "sent", "accepted", "rejected", "attributes"}
        assert client["sent"] == client["accepted"] + client["rejected"]
    assert acme["rejected"] > 0 < acme["accepted"]
    assert (globex["rejected"], globex["attributes"]["tenant.id"]) == (0, "globex")
    assert len(outcome["refused"]) == 5
    for refusal in outcome["refused"]:
        assert set(refusal) == {"case", "expected", "seen"}
        assert refusal["seen"].startswith(refusal["expected"])
    assert outcome["forged_attributes_removed"] > 0
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_tables_are_plain_text_without_a_terminal() -> None:
    done = otlp_gate("demo", "--envoy", ENVOY)
    for word in (
        "Valid clients",
        "Rejected",
        "tenant.id=globex",
        "RESOURCE_EXHAUSTED (8)",
        "forged attributes removed",
    ):
        assert word in done.stdout
    assert "\x1b" not in done.stdout


def test_a_missing_envoy_is_an_error_with_a_hint(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "demo", "--json"],
        env=os.environ | {"PATH": "", "OTLP_GATE_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "envoy is not on PATH" in done.stderr and "--envoy" in done.stderr


def test_a_demo_that_is_kept_running_accepts_an_sdks_exports() -> None:
    demo = subprocess.Popen(
        [COMMAND, "demo", "--keep", "--envoy", ENVOY], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    # Ends the loops over stderr below if a line is missing.
    guard = threading.Timer(90, demo.kill)
    guard.start()
    try:
        environment: dict[str, str] = {}
        for line in demo.stderr:
            if line.startswith("  export "):
                name, value = line.removeprefix("  export ").strip().split("=", 1)
                environment[name] = value
            if "Press Ctrl-C" in line:
                break
        prefix = "OTEL_EXPORTER_OTLP_"
        assert environment[prefix + "PROTOCOL"] == "grpc"
        identity = Identity(
            Path(environment[prefix + "CLIENT_CERTIFICATE"]),
            Path(environment[prefix + "CLIENT_KEY"]),
            Path(environment[prefix + "CERTIFICATE"]),
        )
        provider = TracerProvider(shutdown_on_exit=False)
        exporter = OTLPSpanExporter(environment[prefix + "ENDPOINT"], credentials=identity.credentials())
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("test").start_span("one").end()
        provider.shutdown()
        received = next(line for line in demo.stderr if line.startswith("received: "))
        assert "1 spans, " in received and "tenant.id=acme" in received

        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
        assert not identity.ca.parent.exists(), "the demo did not remove its folder"
    finally:
        guard.cancel()
        demo.kill()
        demo.wait()
