"""Expiry and denial are checked with each request: a certificate is accepted until its last second, and a denied client
cannot get around the denial by changing its certificate's signature."""

import base64
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Answer, Http2, Identity, frame, handshake_fails
from support.config import SHARED
from support.gate import Certificates, Gate, otlp_gate
from support.openssl import issue_for, openssl
from support.protobuf import traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink
from support.waiting import wait_until

CURVES = ["secp224r1", "prime256v1", "secp384r1", "secp521r1"]


def group_order(curve: str) -> int:
    """The order of a curve's group, by OpenSSL."""
    text = openssl("ecparam", "-name", curve, "-param_enc", "explicit", "-text", "-noout")
    digits = text.split("Order:")[1].split("Cofactor:")[0]
    return int("".join(digits.replace(":", "").split()), 16)


def with_other_signature(certificate: Path, folder: Path, curve: str = "prime256v1") -> Path:
    """The certificate with the other valid ECDSA signature: (r, n - s). Its CA's key must be of this curve."""
    pem = certificate.read_text()
    der = base64.b64decode("".join(line for line in pem.splitlines() if "-----" not in line))
    signed, end = whole(der, element(der, 0)[1])
    algorithm, end = whole(der, end)
    bits = element(der, end)[1] + 1
    pair = element(der, bits)[1]
    r, at = whole(der, pair)
    start, end = element(der, at)[1:]
    s = group_order(curve) - int.from_bytes(der[start:end], "big")
    signature = encode(0x30, r + encode(2, s.to_bytes(s.bit_length() // 8 + 1, "big")))
    made = encode(0x30, signed + algorithm + encode(3, b"\0" + signature))
    folder.mkdir()
    file = folder / "other.crt"
    file.write_text("-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(made).decode() + "-----END CERTIFICATE-----\n")
    return file


def element(der: bytes, at: int) -> tuple[int, int, int]:
    """The tag of the DER element at a position, and where its content starts and ends."""
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(der[at + 2 : start], "big")
    return der[at], start, start + length


def whole(der: bytes, at: int) -> tuple[bytes, int]:
    """The DER element at a position with its header, and where it ends."""
    end = element(der, at)[2]
    return der[at:end], end


def encode(tag: int, content: bytes) -> bytes:
    """A DER element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


@pytest.fixture
def own_gate(start: Callable[..., Gate], tmp_path: Path, config: Path, sink: Sink) -> tuple[Gate, Certificates]:
    """A gate with a client CA of its own."""
    certs = Certificates(tmp_path / "certs", config).init()
    return start(SHARED, certs=certs.folder).ready(), certs


def test_a_certificate_is_accepted_until_its_last_second(own_gate: tuple[Gate, Certificates], tmp_path: Path) -> None:
    gate, certs = own_gate
    identity, end = issue_for(tmp_path / "short", certs.folder, "spiffe://acme.example/edge/7", 6)
    # Valid through the last second: notAfter has no fractions.
    over = end.timestamp() + 1
    connections = {"http": Http2(gate.http, identity), "grpc": Http2(gate.grpc, identity)}
    send: dict[str, Callable[[Http2], Answer]] = {
        "http": lambda connection: connection.http(HTTP_PATHS["traces"], traces()),
        "grpc": lambda connection: connection.grpc(GRPC_PATHS["traces"], frame(traces())),
    }
    assert [accepted(send[kind](connection)) for kind, connection in connections.items()] == [True, True]
    last: dict[str, Answer] = {}
    while len(last) < 2:
        for kind in send.keys() - last.keys():
            sent = time.time()
            answer = send[kind](connections[kind])
            if accepted(answer):
                # The gate read the clock after this request was sent.
                assert sent < over, "accepted after the end"
            else:
                assert time.time() >= end.timestamp(), "rejected before the end"
                last[kind] = answer
        time.sleep(0.05)
    assert not any(accepted(send[kind](connection)) for kind, connection in connections.items())
    assert (last["http"].status, last["grpc"].grpc_status) == (401, 16)
    assert "client certificate expired at 20" in last["grpc"].grpc_message
    assert last["http"].rpc_status().message == last["grpc"].grpc_message
    assert handshake_fails(gate.http, identity.context("h2"))
    assert gate.results()["certificate_expired"] >= 2


def accepted(answer: Answer) -> bool:
    return answer.status == 200 and ("grpc-status" not in answer.headers | answer.trailers or answer.grpc_status == 0)


@pytest.mark.parametrize("entry", ["fingerprint", "serial", "key", "name"])
def test_a_denied_client_is_rejected_also_with_the_other_signature(
    own_gate: tuple[Gate, Certificates], tmp_path: Path, entry: str
) -> None:
    gate, certs = own_gate
    identity = certs.client("acme-7", "--spiffe", "spiffe://acme.example/edge/7")
    other = Identity(with_other_signature(identity.certificate, tmp_path / "other"), identity.key, identity.ca)
    openssl("verify", "-CAfile", certs.folder / "client-ca.crt", other.certificate)
    connections = [Http2(gate.http, each) for each in (identity, other)]

    def statuses() -> list[int]:
        return [connection.http(HTTP_PATHS["traces"], traces()).status for connection in connections]

    assert statuses() == [200, 200]

    def show(*args: str) -> str:
        return openssl("x509", "-in", identity.certificate, "-noout", *args)

    public = "".join(line for line in show("-pubkey").splitlines() if "-----" not in line)
    deny = {
        "fingerprint": f"sha256:{identity.fingerprint()}",
        "serial": "serial:" + show("-serial").strip().split("=")[1],
        "key": "key:" + hashlib.sha256(base64.b64decode(public)).hexdigest(),
        "name": "name:acme-edge",
    }
    gate.update_policy(SHARED.replace(deny=[deny[entry]]))
    connections += [Http2(gate.http, each) for each in (identity, other)]
    wait_until(lambda: statuses() == [403] * 4, "old and new connections of both certificates are rejected")


@pytest.mark.parametrize("curve", CURVES)
def test_a_denied_fingerprint_matches_both_signatures_on_every_curve(tmp_path: Path, curve: str) -> None:
    ca, key, csr, certificate = (tmp_path / name for name in ("ca.crt", "ca.key", "c.csr", "c.crt"))
    new = ("-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes")
    openssl("req", "-x509", *new, "-keyout", key, "-out", ca, "-subj", "/CN=ca")
    openssl("req", *new, "-keyout", tmp_path / "c.key", "-out", csr, "-subj", "/CN=acme")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-out", certificate)
    other = with_other_signature(certificate, tmp_path / "other", curve)
    openssl("verify", "-CAfile", ca, other)
    fingerprint = openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]
    config = tmp_path / "otlp-gate.yaml"
    for entry, verdict in [(fingerprint, "denied"), (fingerprint[::-1], "unknown")]:
        config.write_text(f'apiVersion: otlp-gate/v1\nclients: []\ndeny: ["sha256:{entry}"]\n')
        for shown in (certificate, other):
            done = otlp_gate("-f", config, "whoami", shown, "-o", "json", check=False)
            assert json.loads(done.stdout)["verdict"] == verdict, (shown, done)
