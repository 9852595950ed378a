"""`otlp-gate verify` against a gate in a cluster: from outside, and with what arrives in its Collector."""

import json

from deployed import Deployed, eventually
from sink import Sink


def verify(gate: Deployed, code: int = 0) -> dict:
    return gate.json("verify", "--address", gate.address(), code=code)


def by_result(gate: Deployed, result: str, code: int = 0) -> dict[tuple[str, str], dict]:
    outcome = verify(gate, code)
    return {(it["listener"], it["case"]): it for it in outcome["cases"] if it["result"] == result}


def verified(gate: Deployed) -> bool:
    outcome = verify(gate)
    assert outcome["ok"] and outcome["seconds"] < 10, outcome
    assert {case["result"] for case in outcome["cases"]} == {"pass"}, outcome
    arrived = {case["case"] for case in outcome["cases"] if case["case"].endswith(" in the backend")}
    signals = ("traces", "metrics", "logs", "forged attributes")
    assert arrived == {f"{signal} in the backend" for signal in signals}
    return True


def test_a_new_gate_passes_every_case(gate: Deployed) -> None:
    assert verified(gate)


def test_what_verify_sends_does_not_reach_the_backend(gate: Deployed, backend: Sink) -> None:
    backend.rest()
    verified(gate)
    assert not [it for it in backend.rest() if b"otlp-gate-verify" in it.body]


def test_a_backend_of_ones_own_is_not_looked_into(gate: Deployed) -> None:
    before = gate.config
    try:
        gate.change(lambda config: config.update(backend={"service": {"name": "otel-gateway-collector"}}))
        skipped = by_result(gate, "skipped")
        assert len(skipped) == 5, skipped
        assert all("does not look into" in case["seen"] for case in skipped.values())
    finally:
        gate.config = before


def test_a_list_of_revocations_that_was_not_applied_is_found(gate: Deployed) -> None:
    files = gate.folder / "certs" / "verify"
    kept = {file: file.read_bytes() for file in [*files.iterdir(), gate.folder / "certs" / "client.crl"]}
    try:
        gate.run("certs", "verify", "--force")
        failed = by_result(gate, "fail", code=1)
        assert set(failed) == {(on, "revoked certificate") for on in ("grpc", "http")}, json.dumps(failed)
        assert (
            "hint: the gateway may have an older revocation list"
            in gate.run("verify", "--address", gate.address(), code=1).stderr
        )
        gate.apply()
        eventually(lambda: verified(gate))
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
        gate.apply()
