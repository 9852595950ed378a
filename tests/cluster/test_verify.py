"""`otlp-gate verify` against a gate in a cluster: from outside, and with the telemetry in its Collector."""

import json

from support.cluster.installation import PROVIDER, Installation, wait_until
from support.sink import Sink


def by_result(gate: Installation, result: str, code: int = 0) -> dict[tuple[str, str], dict]:
    outcome = gate.verify(code)
    return {(it["listener"], it["case"]): it for it in outcome["cases"] if it["result"] == result}


def verified(gate: Installation) -> bool:
    outcome = gate.verify()
    assert outcome["ok"] and outcome["seconds"] < 30, outcome
    assert not [case for case in outcome["cases"] if case["result"] != "pass"]
    arrived = {case["case"] for case in outcome["cases"] if " at the backend: " in case["case"]}
    profiles = PROVIDER == "istio"
    signals = ("traces", "metrics", "logs", *(["profiles"] if profiles else []))
    what = "accepted" if profiles else "rejected as unsupported"
    assert f"valid client sends profiles: {what}" in {case["case"] for case in outcome["cases"]}
    assert arrived == {
        *(f"{signal} at the backend: configured attributes" for signal in signals),
        "forged attributes at the backend: removed",
    }
    return True


def test_a_new_gate_passes_every_case(gate: Installation) -> None:
    assert verified(gate)


def test_what_verify_sends_does_not_reach_the_backend(gate: Installation, backend: Sink) -> None:
    backend.rest()
    verified(gate)
    assert not [it for it in backend.rest() if b"otlp-gate-verify" in it.body]


def test_a_backend_that_is_a_service_is_not_inspected(gate: Installation) -> None:
    before = gate.config
    try:
        gate.change(lambda config: config.update(backend={"service": {"name": "otel-gateway-collector"}}))
        skipped = by_result(gate, "skipped")
        if PROVIDER != "istio":
            sent = skipped.pop(("grpc", "valid client sends profiles: accepted"))
            assert "the Service takes no profiles" in sent["seen"]
        assert len(skipped) == (8 if PROVIDER == "istio" else 7), skipped
        assert all("only a Collector that otlp-gate deploys can be read" in case["seen"] for case in skipped.values())
    finally:
        gate.config = before


def test_a_revocation_list_that_was_not_applied_is_found(gate: Installation) -> None:
    files = gate.folder / "certs" / "verify"
    kept = {file: file.read_bytes() for file in [*files.iterdir(), gate.folder / "certs" / "client.crl"]}
    try:
        gate.run("certs", "verify", "--force")
        failed = by_result(gate, "fail", code=1)
        assert set(failed) == {(on, "revoked certificate: connection rejected") for on in ("grpc", "http")}, json.dumps(
            failed
        )
        assert (
            "hint: the gateway may have an older revocation list"
            in gate.run("verify", "--address", gate.address(), code=1).stderr
        )
        gate.apply()
        wait_until(lambda: verified(gate), "verify passes")
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
        gate.apply()
