"""`otlp-gate verify` against correct gates and against gates with a fault."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.config import SHARED, rule
from support.gate import Certificates, Gate, otlp_gate
from support.ports import ReservedPort
from support.sink import Sink

ACCEPTED = [
    f"valid client sends {what}: accepted" for what in ("traces", "metrics", "logs", "profiles", "forged attributes")
]
NO_CERTIFICATE = "client without certificate: connection rejected"
UNTRUSTED = "certificate of an untrusted CA: connection rejected"
EXPIRED = "expired certificate: connection rejected"
AROUND = "around the gate to the Collector: connection refused"
REVOKED = "revoked certificate: connection rejected"
REJECTED_CONNECTIONS = [NO_CERTIFICATE, UNTRUSTED, EXPIRED, REVOKED]
NO_TLS = "client without TLS: connection rejected"
NO_RULE = "certificate matches no rule: permission denied"
QUOTA = ["valid client over its quota: throttled", "request larger than the quota: rejected"]


def verify(config: Path, certificates: Path, gate: Gate) -> dict:
    """The outcome, with the cases by listener and name. Asserts that the exit code and `ok` agree."""
    args = ["--address", gate.grpc, "--http", gate.http, "--certs", certificates, "--no-cluster", "-o", "json"]
    done = otlp_gate("-f", config, "verify", *args, check=False)
    assert done.stdout.count("\n") == 1, done.stderr
    outcome = json.loads(done.stdout)
    assert done.returncode == (0 if outcome["ok"] else 1), done.stderr
    outcome["cases"] = {(case["listener"], case["case"]): case for case in outcome["cases"]}
    return outcome


def results(outcome: dict, result: str) -> set[tuple[str, str]]:
    return {key for key, case in outcome["cases"].items() if case["result"] == result}


def test_a_correct_gate_passes(config: Path, certificates: Certificates, gate: Gate, sink: Sink) -> None:
    # In the second round the quota is used up.
    for _ in range(2):
        outcome = verify(config, certificates.folder, gate)
        assert outcome["ok"] and outcome["seconds"] < 30, outcome
        rejected = {(listener, case) for case in REJECTED_CONNECTIONS for listener in ("grpc", "http")}
        expected = {("grpc", case) for case in [*ACCEPTED, NO_TLS, *QUOTA]}
        expected |= rejected | {("http", ACCEPTED[0])}
        expected |= {(listener, NO_RULE) for listener in ("grpc", "http")}
        assert results(outcome, "pass") == expected, outcome
        skipped = results(outcome, "skipped")
        assert all(" at the backend: " in case or case == AROUND for _, case in skipped) and len(skipped) == 8
        for key in skipped:
            assert outcome["cases"][key]["seen"] == "--no-cluster"
    # Requests arrive with the client's attributes and without the forged ones.
    received = [sink.take() for _ in range(6)]
    for request in received:
        (resource,) = request.resources()
        assert resource["otlp_gate.verify"] == "true" and resource["otlp_gate.client"] == "otlp-gate/verify"
        assert "tenant.id" not in resource and "site.id" not in resource
        assert request.headers.get("x-scope-orgid") is None


def test_the_server_is_verified_with_the_ca_that_the_config_says(
    config: Path, certificates: Certificates, gate: Gate, tmp_path: Path
) -> None:
    public = tmp_path / "public.yaml"
    public.write_text(json.dumps(json.loads(config.read_text()) | {"certificates": {"serverCA": "public"}}))
    certs = certificates.copy(tmp_path / "certs").folder
    ca = (certs / "server-ca.crt").rename(tmp_path / "ca.crt")

    def run(config: Path, *args: object, env: dict[str, str] | None = None) -> tuple[int, str]:
        addresses = ("--address", gate.grpc, "--http", gate.http, "--certs", certs, "--no-cluster")
        done = otlp_gate("-f", config, "verify", *addresses, *args, check=False, env=env)
        return done.returncode, done.stdout + done.stderr

    # The machine's trusted CAs, here those in a file.
    code, output = run(public, env={"SSL_CERT_FILE": str(ca)})
    assert code == 0, output
    code, output = run(public, env={"SSL_CERT_FILE": str(certs / "client-ca.crt")})
    assert code == 1 and "UnknownIssuer" in output, output
    code, output = run(config, "--ca", ca)
    assert code == 0, output
    code, output = run(config)
    assert code == 1 and "`--ca FILE`" in output, output


def test_whoami_names_the_reserved_client(config: Path, certificates: Certificates) -> None:
    done = otlp_gate("-f", config, "whoami", certificates.folder / "verify" / "client.crt")
    assert "otlp-gate/verify" in done.stdout and "reserved for `otlp-gate verify`" in done.stdout
    assert "items: 20/s, burst 100" in done.stdout


def test_a_gate_that_accepts_a_revoked_certificate_fails(
    config: Path, certificates: Certificates, start: Callable[..., Gate], tmp_path: Path
) -> None:
    certs = certificates.copy(tmp_path / "certs").folder
    (certs / "client.crl").unlink()
    gate = start(certs=certs).ready()
    outcome = verify(config, certificates.folder, gate)
    assert not outcome["ok"]
    assert results(outcome, "fail") == {("grpc", REVOKED), ("http", REVOKED)}
    assert outcome["cases"]["grpc", REVOKED]["seen"] == "accepted: handshake completed"


def test_a_backend_that_is_not_started_is_named(
    config: Path, certificates: Certificates, start: Callable[..., Gate]
) -> None:
    with ReservedPort() as closed:
        gate = start(backend=closed.number).ready()
        addresses = ("--address", gate.grpc, "--http", gate.http, "--certs", certificates.folder)
        done = otlp_gate("-f", config, "verify", *addresses, "--no-cluster", check=False)
    assert done.returncode == 1 and "UNAVAILABLE (14): upstream connect error" in done.stdout
    assert "hint: the gateway cannot connect to its backend; start it" in done.stderr


def test_a_gate_with_another_policy_that_accepts_every_certificate_fails(
    certificates: Certificates, start: Callable[..., Gate], config: Path
) -> None:
    other = SHARED.replace(clients=[rule("all", {"spiffe": "spiffe://**"}), *SHARED["clients"]])
    outcome = verify(config, certificates.folder, start(other).ready())
    assert results(outcome, "fail") == {(on, NO_RULE) for on in ("grpc", "http")}


def test_cases_that_cannot_be_tried_are_skipped_with_the_reason(
    certificates: Certificates, start: Callable[..., Gate], tmp_path: Path
) -> None:
    certs = certificates.copy(tmp_path / "certs").folder
    for name in ("expired", "revoked"):
        (certs / "verify" / f"{name}.crt").unlink()
    config = SHARED.replace(unknown="few").quotas(mode="shadow")
    gate = start(config, certs=certs).ready()
    outcome = verify(gate.config, certs, gate)
    assert outcome["ok"], outcome
    reasons = {key: outcome["cases"][key]["seen"] for key in results(outcome, "skipped")}
    for listener in ("grpc", "http"):
        for name, case in (("expired", EXPIRED), ("revoked", REVOKED)):
            assert f"verify/{name}.crt; create it with `otlp-gate certs verify`" in reasons[listener, case]
        assert "every certificate of the client CA identifies a client" in reasons[listener, NO_RULE]
    for case in QUOTA:
        assert reasons["grpc", case] == "`quotas.mode` is `shadow`: requests over quota are accepted"


@pytest.fixture
def closing_server() -> Iterator[str]:
    """The address of a server that accepts connections and closes them at once."""
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


def test_rejections_of_a_server_that_rejects_everything_do_not_pass(
    config: Path, certificates: Certificates, closing_server: str, tmp_path: Path
) -> None:
    args = ["--address", closing_server, "--http", closing_server, "--no-cluster", "-o", "json"]
    certs = certificates.copy(tmp_path / "certs").folder
    (certs / "verify" / "client.crt").unlink()
    cases = json.loads(otlp_gate("-f", config, "verify", *args, "--certs", certs, check=False).stdout)["cases"]
    assert not [case for case in cases if case["result"] == "pass"], "not even without the valid client's certificate"

    done = otlp_gate("-f", config, "verify", *args, "--certs", certificates.folder, check=False)
    assert done.returncode == 1
    cases = json.loads(done.stdout)["cases"]
    assert not [case for case in cases if case["result"] == "pass"], cases
    assert {case["case"] for case in cases if case["result"] == "fail"} >= set(ACCEPTED)
    assert all("proves nothing" in case["seen"] for case in cases if case["case"] in REJECTED_CONNECTIONS)


def test_without_the_valid_clients_certificate_the_other_cases_are_tried(
    config: Path, certificates: Certificates, gate: Gate, tmp_path: Path
) -> None:
    certs = certificates.copy(tmp_path / "certs").folder
    (certs / "verify" / "client.crt").unlink()
    outcome = verify(config, certs, gate)
    assert outcome["ok"] and {case for _, case in results(outcome, "pass")} >= {*REJECTED_CONNECTIONS, NO_TLS}, outcome


def test_a_gate_that_cannot_be_found_is_an_error_with_a_hint(tmp_path: Path, certificates: Certificates) -> None:
    config = tmp_path / "otlp-gate.yaml"
    gateway = {**SHARED["gateway"], "hostname": "gate.invalid"}
    config.write_text(str(SHARED.replace(gateway=gateway)))
    done = otlp_gate("-f", config, "verify", "--certs", certificates.folder, "--no-cluster", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot resolve gate.invalid" in done.stderr
    assert "hint: pass the gate's address with `--address HOST`" in done.stderr
    done = otlp_gate("-f", config, "verify", "--certs", tmp_path, "--no-cluster", check=False)
    assert done.returncode == 1 and "server-ca.crt" in done.stderr and "hint: " in done.stderr
    assert "KUBECONFIG" not in os.environ, "these tests need a machine without a cluster"
