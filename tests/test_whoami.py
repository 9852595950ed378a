"""`otlp-gate whoami` with a running gate."""

import json
from collections.abc import Callable
from pathlib import Path

from support.client import Identity
from support.config import SHARED
from support.gate import Certificates, Gate, otlp_gate
from support.sink import Sink


def whoami(gate: Gate, identity: Identity, config: Path | None = None, *more: str) -> tuple[int, dict]:
    """The exit code and the output of `whoami --address`."""
    files = ("--cert", identity.certificate, "--key", identity.key, "--ca", identity.ca)
    port = gate.grpc.rsplit(":", 1)[1]
    command = ("-f", config or gate.config, "whoami", "--address", f"127.0.0.1:{port}", *files, "-o", "json", *more)
    done = otlp_gate(*command, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_running_gate_answers_as_the_config_says(
    gate: Gate, acme: Identity, stranger: Identity, foreign: Identity, sink: Sink
) -> None:
    sink.rest()
    code, answer = whoami(gate, acme)
    assert (code, answer["client"]) == (0, "acme-edge"), answer
    assert answer["live"]["accepted"] and answer["live"]["agrees"] and answer["live"]["answer"] == "accepted"
    # The backend receives an export without telemetry.
    assert sink.take().body == b""
    code, answer = whoami(gate, stranger)
    assert (code, answer["client"], answer["live"]["agrees"]) == (1, None, True), answer
    assert answer["live"]["answer"] == "PERMISSION_DENIED (7)"
    assert "matches no configured client" in answer["live"]["message"]
    # The config does not know which CAs the gate trusts.
    code, answer = whoami(gate, foreign)
    assert (code, answer["live"]["accepted"], answer["live"]["agrees"]) == (1, False, None)
    assert answer["live"]["message"].startswith("the gate rejects the client's certificate: "), answer


def test_a_gate_with_another_policy_than_the_config_is_told(
    tmp_path: Path, gate: Gate, acme: Identity, stranger: Identity, sink: Sink
) -> None:
    config = tmp_path / "otlp-gate.yaml"
    rule = {"name": "stranger", "match": {"spiffe": "spiffe://stranger.example/*"}}
    config.write_text(str(SHARED.replace(clients=[rule], headers={})))
    for identity, client in ((acme, None), (stranger, "stranger")):
        code, answer = whoami(gate, identity, config)
        assert (code, answer["client"], answer["live"]["agrees"]) == (1, client, False), answer
    sink.rest()


def test_what_is_wrong_with_the_servers_certificate_is_told(
    tmp_path: Path, gate: Gate, acme: Identity, certificates: Certificates
) -> None:
    code, answer = whoami(gate, acme, None, "--server-name", "otel.example.com")
    assert code == 1 and "the server's certificate is for " in answer["live"]["message"], answer
    assert "not for otel.example.com" in answer["live"]["message"] and "--server-name" in answer["live"]["hint"]
    other = Certificates(tmp_path / "certs", gate.config).init()
    code, answer = whoami(gate, Identity(acme.certificate, acme.key, other.folder / "server-ca.crt"))
    assert code == 1 and "of another CA" in answer["live"]["message"], answer


def test_a_revoked_and_an_expired_client_are_told(
    tmp_path: Path, start: Callable[..., Gate], certificates: Certificates
) -> None:
    certs = certificates.copy(tmp_path / "certs")
    revoked = certs.client("revoked", "--spiffe", "spiffe://acme.example/edge/9")
    certs.run("revoke", "revoked")
    gate = start(certs=certs.folder).ready()
    code, answer = whoami(gate, revoked)
    assert code == 1 and answer["live"]["message"].endswith("its CA has revoked it"), answer
