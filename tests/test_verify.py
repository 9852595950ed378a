"""`otlp-gate verify` against gates that are as they should be, and against some that are not."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import CONFIG
from gate import Certificates, Gate, otlp_gate
from sink import Sink

GOOD = ["good client, traces", "good client, metrics", "good client, logs", "good client, forged attributes"]
SHUT_OUT = ["no certificate", "certificate of another CA", "expired certificate", "revoked certificate"]


def verify(config: Path, certificates: Path, gate: Gate) -> dict:
    """Its outcome, by listener and case; exit code and `ok` agree."""
    args = ["--address", gate.grpc, "--http", gate.http, "--certs", certificates, "--no-cluster", "-o", "json"]
    done = otlp_gate("-f", config, "verify", *args, check=False)
    assert done.stdout.count("\n") == 1, done.stderr
    outcome = json.loads(done.stdout)
    assert done.returncode == (0 if outcome["ok"] else 1), done.stderr
    outcome["cases"] = {(case["listener"], case["case"]): case for case in outcome["cases"]}
    return outcome


def results(outcome: dict, result: str) -> set[tuple[str, str]]:
    return {key for key, case in outcome["cases"].items() if case["result"] == result}


def test_a_gate_as_it_should_be_passes(config: Path, certificates: Certificates, gate: Gate, sink: Sink) -> None:
    for _ in range(2):  # the second finds the quota empty
        outcome = verify(config, certificates.folder, gate)
        assert outcome["ok"] and outcome["seconds"] < 15, outcome
        shut_out = {(listener, case) for case in SHUT_OUT for listener in ("grpc", "http")}
        expected = {("grpc", case) for case in [*GOOD, "no TLS", "over quota", "larger than the quota"]}
        expected |= shut_out | {("http", "good client, traces")}
        expected |= {(listener, "certificate of no client") for listener in ("grpc", "http")}
        assert results(outcome, "pass") == expected, outcome
        skipped = results(outcome, "skipped")
        assert all(case.endswith("in the backend") for _, case in skipped) and len(skipped) == 5
        for key in skipped:
            assert outcome["cases"][key]["seen"] == "--no-cluster"
    # What arrived is stamped, and nothing of what was forged is left.
    received = [sink.take() for _ in range(5)]
    for request in received:
        (resource,) = request.resources()
        assert resource["otlp_gate.verify"] == "true" and resource["otlp_gate.client"] == "otlp-gate/verify"
        assert "tenant.id" not in resource and "site.id" not in resource
        assert request.headers.get("x-scope-orgid") is None


def test_the_reserved_certificates_client_is_told_by_whoami(config: Path, certificates: Certificates) -> None:
    done = otlp_gate("-f", config, "whoami", certificates.folder / "verify" / "client.crt")
    assert "otlp-gate/verify" in done.stdout and "reserved for `otlp-gate verify`" in done.stdout
    assert "items: 20/s, 100 at once" in done.stdout


def test_a_revoked_certificate_that_gets_in_fails(
    config: Path, certificates: Certificates, start: Callable[..., Gate], tmp_path: Path
) -> None:
    certs = shutil.copytree(certificates.folder, tmp_path / "certs")
    (certs / "client.crl").unlink()
    gate = start(certs=certs).ready()
    outcome = verify(config, certificates.folder, gate)
    assert not outcome["ok"]
    assert results(outcome, "fail") == {("grpc", "revoked certificate"), ("http", "revoked certificate")}
    assert outcome["cases"]["grpc", "revoked certificate"]["seen"] == "accepted: let in"


def test_a_gate_that_lets_anybody_in_fails(
    certificates: Certificates, start: Callable[..., Gate], config: Path
) -> None:
    """Its policy is not the one that it should have."""
    other = CONFIG.replace("clients:\n", 'clients:\n  - {name: all, match: {spiffe: "spiffe://**"}}\n')
    outcome = verify(config, certificates.folder, start(other).ready())
    assert results(outcome, "fail") == {(on, "certificate of no client") for on in ("grpc", "http")}


def test_what_cannot_be_tried_is_skipped_with_the_reason(
    certificates: Certificates, start: Callable[..., Gate], tmp_path: Path
) -> None:
    certs = shutil.copytree(certificates.folder, tmp_path / "certs")
    for name in ("expired", "revoked"):
        (certs / "verify" / f"{name}.crt").unlink()
    text = CONFIG.replace("quotas:\n", "unknown: few\nquotas:\n  mode: shadow\n")
    gate = start(text, certs=certs).ready()
    outcome = verify(gate.config, certs, gate)
    assert outcome["ok"], outcome
    reasons = {key: outcome["cases"][key]["seen"] for key in results(outcome, "skipped")}
    for listener in ("grpc", "http"):
        for name in ("expired", "revoked"):
            assert f"verify/{name}.crt: `otlp-gate certs verify` makes it" in reasons[listener, f"{name} certificate"]
        assert "makes any certificate a client" in reasons[listener, "certificate of no client"]
    for case in ("over quota", "larger than the quota"):
        assert reasons["grpc", case] == "quotas.mode is shadow, which refuses nothing"


@pytest.fixture
def mute() -> Iterator[str]:
    """Something that takes connections and hangs up at once, whoever it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_that_nobody_gets_in_where_nobody_serves_proves_nothing(
    config: Path, certificates: Certificates, mute: str, tmp_path: Path
) -> None:
    args = ["--address", mute, "--http", mute, "--no-cluster", "-o", "json"]
    certs = shutil.copytree(certificates.folder, tmp_path / "certs")
    (certs / "verify" / "client.crt").unlink()
    cases = json.loads(otlp_gate("-f", config, "verify", *args, "--certs", certs, check=False).stdout)["cases"]
    assert not [case for case in cases if case["result"] == "pass"], "not even without a good client's certificate"

    done = otlp_gate("-f", config, "verify", *args, "--certs", certificates.folder, check=False)
    assert done.returncode == 1
    cases = json.loads(done.stdout)["cases"]
    assert not [case for case in cases if case["result"] == "pass"], cases
    assert {case["case"] for case in cases if case["result"] == "fail"} >= set(GOOD)
    assert all("proves nothing" in case["seen"] for case in cases if case["case"] in SHUT_OUT)


def test_without_a_good_clients_certificate_the_others_are_tried_all_the_same(
    config: Path, certificates: Certificates, gate: Gate, tmp_path: Path
) -> None:
    certs = shutil.copytree(certificates.folder, tmp_path / "certs")
    (certs / "verify" / "client.crt").unlink()
    outcome = verify(config, certs, gate)
    assert outcome["ok"] and {case for _, case in results(outcome, "pass")} >= {*SHUT_OUT, "no TLS"}, outcome


def test_a_gate_that_cannot_be_found_is_told_with_the_cure(tmp_path: Path, certificates: Certificates) -> None:
    config = tmp_path / "otlp-gate.yaml"
    config.write_text(CONFIG.replace("hostname: localhost", "hostname: gate.invalid"))
    done = otlp_gate("-f", config, "verify", "--certs", certificates.folder, "--no-cluster", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "gate.invalid is not in the DNS" in done.stderr and "hint: `--address HOST`" in done.stderr
    done = otlp_gate("-f", config, "verify", "--certs", tmp_path, "--no-cluster", check=False)
    assert done.returncode == 1 and "server-ca.crt" in done.stderr and "hint: " in done.stderr
    assert "KUBECONFIG" not in os.environ, "these tests are of a machine without a cluster"
