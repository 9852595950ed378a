"""A client's certificate counts with each request: until its last second, and for whom it was issued to, not for what its holder makes of it."""

import base64
import datetime
import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from client import Answer, Http2, Identity, frame, refused
from conftest import CONFIG
from gate import Certificates, Gate, otlp_gate
from sink import GRPC_PATHS, Sink
from wire import traces

CURVES = ["secp224r1", "prime256v1", "secp384r1", "secp521r1"]


def openssl(*words: object) -> str:
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, text=True).stdout


def order(curve: str) -> int:
    """The order of a curve's group, as OpenSSL has it."""
    text = openssl("ecparam", "-name", curve, "-param_enc", "explicit", "-text", "-noout")
    digits = text.split("Order:")[1].split("Cofactor:")[0]
    return int("".join(digits.replace(":", "").split()), 16)


def short_lived(folder: Path, certs: Path, uri: str, seconds: int) -> Identity:
    """A client's certificate that ends so many seconds from now."""
    folder.mkdir()
    key, csr, crt, extensions = (folder / name for name in ("k.key", "c.csr", "c.crt", "extensions"))
    extensions.write_text(f"subjectAltName=URI:{uri}\nextendedKeyUsage=clientAuth\n")
    (folder / "index").write_text("")
    (folder / "serial").write_text("01")
    config = folder / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/index\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
    )
    openssl(
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        key,
        "-out",
        csr,
        "-subj",
        "/CN=short",
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    start, end = ((now + datetime.timedelta(seconds=at)).strftime("%Y%m%d%H%M%SZ") for at in (-300, seconds))
    ca = ("-cert", certs / "client-ca.crt", "-keyfile", certs / "client-ca.key")
    openssl(
        "ca",
        "-batch",
        "-config",
        config,
        *ca,
        "-in",
        csr,
        "-out",
        crt,
        "-notext",
        "-extfile",
        extensions,
        "-startdate",
        start,
        "-enddate",
        end,
    )
    return Identity(crt, key, certs / "server-ca.crt")


def twin(certificate: Path, folder: Path, curve: str = "prime256v1") -> Path:
    """The same certificate with the other signature that verifies: (r, n - s), where its CA has a key of this curve."""
    pem = certificate.read_text()
    der = base64.b64decode("".join(line for line in pem.splitlines() if "-----" not in line))
    signed, end = whole(der, element(der, 0)[1])
    algorithm, end = whole(der, end)
    bits = element(der, end)[1] + 1
    pair = element(der, bits)[1]
    r, at = whole(der, pair)
    start, end = element(der, at)[1:]
    other = order(curve) - int.from_bytes(der[start:end], "big")
    signature = make(0x30, r + make(2, other.to_bytes(other.bit_length() // 8 + 1, "big")))
    made = make(0x30, signed + algorithm + make(3, b"\0" + signature))
    folder.mkdir()
    file = folder / "twin.crt"
    file.write_text("-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(made).decode() + "-----END CERTIFICATE-----\n")
    return file


def element(der: bytes, at: int) -> tuple[int, int, int]:
    """The tag of the element at a place, and where its content starts and ends."""
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(der[at + 2 : start], "big")
    return der[at], start, start + length


def whole(der: bytes, at: int) -> tuple[bytes, int]:
    end = element(der, at)[2]
    return der[at:end], end


def make(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


@pytest.fixture
def own(tmp_path: Path):
    """A gate of the test's own, whose policy it may change."""
    config = tmp_path / "otlp-gate.yaml"
    config.write_text(CONFIG)
    certs = Certificates(tmp_path / "certs", config).make()
    sink = Sink().start()
    gate = Gate(config, certs.folder, sink.grpc_port, sink.http_port)
    try:
        gate.ready()
        yield gate, certs
    finally:
        gate.stop()
        sink.stop()


def test_no_request_is_accepted_after_the_certificates_end(own, tmp_path):
    gate, certs = own
    life = 6
    identity = short_lived(tmp_path / "short", certs.folder, "spiffe://acme.example/edge/7", life)
    end = time.time() + life
    http, grpc = Http2(gate.http, identity), Http2(gate.grpc, identity)
    accepted = []
    while time.time() < end + 2:
        sent = time.time()
        answers = [http.http("/v1/traces", traces()), grpc.grpc(GRPC_PATHS["traces"], frame(traces()))]
        accepted += [sent for answer in answers if taken(answer)]
        time.sleep(0.2)
    assert min(accepted) < end - life + 2
    # Up to its last second, and not a second longer: the certificate's times have no fractions.
    assert end - 2 < max(accepted) < end + 1
    last, over = http.http("/v1/traces", traces()), grpc.grpc(GRPC_PATHS["traces"], frame(traces()))
    assert (last.status, over.grpc_status) == (401, 16)
    assert "the client certificate expired at 20" in over.grpc_message
    assert last.rpc_status().message == over.grpc_message
    assert refused(gate.http, identity.context("h2"))
    results = {
        dict(labels).get("result"): count
        for (name, labels), count in gate.counters().items()
        if name == "otlp_gate_requests_total"
    }
    assert results["certificate_expired"] >= 2


def taken(answer: Answer) -> bool:
    return answer.status == 200 and ("grpc-status" not in answer.headers | answer.trailers or answer.grpc_status == 0)


@pytest.mark.parametrize("entry", ["fingerprint", "serial", "key", "name"])
def test_a_denied_client_stays_out_whatever_it_makes_of_its_certificate(own, tmp_path, entry):
    gate, certs = own
    identity = certs.client("acme-7", "--spiffe", "spiffe://acme.example/edge/7")
    other = Identity(twin(identity.certificate, tmp_path / "twin"), identity.key, identity.ca)
    openssl("verify", "-CAfile", certs.folder / "client-ca.crt", other.certificate)
    opened = [Http2(gate.http, each) for each in (identity, other)]
    assert [each.http("/v1/traces", traces()).status for each in opened] == [200, 200]
    show = lambda *words: openssl("x509", "-in", identity.certificate, "-noout", *words)
    public = show("-pubkey")
    key = base64.b64decode("".join(line for line in public.splitlines() if "-----" not in line))
    deny = {
        "fingerprint": "sha256:" + show("-fingerprint", "-sha256").strip().split("=")[1],
        "serial": "serial:" + show("-serial").strip().split("=")[1],
        "key": "key:" + hashlib.sha256(key).hexdigest(),
        "name": "name:acme-edge",
    }
    gate.write_config(CONFIG + f'deny: ["{deny[entry]}"]\n')
    gate.says("policy updated")
    opened += [Http2(gate.http, each) for each in (identity, other)]
    deadline = time.monotonic() + 5
    while True:
        answers = [each.http("/v1/traces", traces()).status for each in opened]
        if answers == [403] * 4 or time.monotonic() > deadline:
            break
    assert answers == [403] * 4


@pytest.mark.parametrize("curve", CURVES)
def test_the_other_signature_is_known_on_every_curve(tmp_path: Path, curve: str) -> None:
    ca, key, csr, certificate = (tmp_path / name for name in ("ca.crt", "ca.key", "c.csr", "c.crt"))
    new = ("-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes")
    openssl("req", "-x509", *new, "-keyout", key, "-out", ca, "-subj", "/CN=ca")
    openssl("req", *new, "-keyout", tmp_path / "c.key", "-out", csr, "-subj", "/CN=acme")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-out", certificate)
    other = twin(certificate, tmp_path / "twin", curve)
    openssl("verify", "-CAfile", ca, other)
    fingerprint = openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]
    config = tmp_path / "otlp-gate.yaml"
    for entry, verdict in [(fingerprint, "denied"), (fingerprint[::-1], "unknown")]:
        config.write_text(f'apiVersion: otlp-gate/v1\nclients: []\ndeny: ["sha256:{entry}"]\n')
        for shown in (certificate, other):
            said = otlp_gate("-f", config, "whoami", shown, "-o", "json", check=False)
            assert json.loads(said.stdout)["verdict"] == verdict, (shown, said)
