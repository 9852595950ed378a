"""`whoami`, `check` and `certs` warn about exactly the keys and signatures that Envoy does not verify."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.client import Http2, Identity, frame
from support.config import SHARED
from support.gate import NATIVE_MODULE, Certificates, Gate, otlp_gate
from support.openssl import openssl
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

URI = "spiffe://acme.example/edge/1"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REQUEST = (
    b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    b"connection: close\r\n\r\n{}"
)
KEYS = {
    "rsa-1024": "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
    "rsa-2048": "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    "rsa-4096": "-algorithm RSA -pkeyopt rsa_keygen_bits:4096",
    "rsa-pss": "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
    "p-224": "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
    "p-256": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "p-384": "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    "p-521": "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
    "secp256k1": "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
    "ed25519": "-algorithm ED25519",
    "ed448": "-algorithm ED448",
}
PSS = "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:"
LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectAltName="


class Issuer:
    """Issues certificates with OpenSSL."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, args: str) -> None:
        openssl(*args.split(), cwd=self.folder)

    def key(self, kind: str) -> Path:
        file = self.folder / f"{kind}.key"
        if not file.exists():
            self.run(f"genpkey {KEYS[kind]} -out {file.name}")
        return file

    def ca(self, name: str, kind: str, how: str) -> Path:
        extensions = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign"
        key = self.key(kind).name
        self.run(f"req -x509 -new -key {key} {how} -subj /CN={name} -days 9 -out {name}.crt {extensions}")
        return self.folder / f"{name}.crt"

    def leaf(self, name: str, kind: str, ca: str, ca_kind: str, how: str, names: str) -> Path:
        (self.folder / "leaf.cnf").write_text(LEAF + names)
        self.run(f"req -new -key {self.key(kind).name} -subj /CN={name} -out {name}.csr")
        signed = f"-CA {ca}.crt -CAkey {self.key(ca_kind).name} -set_serial 1 {how} -days 9 -extfile leaf.cnf"
        self.run(f"x509 -req -in {name}.csr {signed} -out {name}.crt")
        return self.folder / f"{name}.crt"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("keys"))


# CAs by name: the kind of key, OpenSSL's options to sign, and whether Envoy verifies their signatures.
CAS = {
    "sha256-by-p-256": ("p-256", "-sha256", True),
    "sha512-by-p-521": ("p-521", "-sha512", True),
    "sha256-by-rsa-1024": ("rsa-1024", "-sha256", True),
    "sha512-by-rsa": ("rsa-2048", "-sha512", True),
    "sha1-by-rsa": ("rsa-2048", "-sha1", True),
    "md5-by-rsa": ("rsa-2048", "-md5", False),
    "pss-by-rsa": ("rsa-2048", PSS + "32", True),
    "short-salt-by-rsa": ("rsa-2048", PSS + "20", False),
    "ed25519-itself": ("ed25519", "", True),
    "ed448-itself": ("ed448", "", False),
    "sha256-by-secp256k1": ("secp256k1", "-sha256", False),
}


@pytest.fixture(scope="module")
def open_gate(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory, one_sink: Sink) -> Iterator[Gate]:
    """A gate that trusts all of these CAs, without revocation lists."""
    folder = tmp_path_factory.mktemp("open")
    config = folder / "otlp-gate.yaml"
    config.write_text(str(SHARED))
    certs = Certificates(folder / "certs", config).init().folder
    authorities = [issuer.ca(name, kind, how).read_text() for name, (kind, how, _) in CAS.items()]
    (certs / "client-ca.crt").write_text("".join(authorities))
    (certs / "client.crl").unlink()
    gate = Gate(config, certs, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    assert gate.stop() == 0, gate.rest_of_log()


def is_accepted(gate: Gate, identity: Identity, version: ssl.TLSVersion) -> bool:
    """Whether a request with this certificate is accepted. OpenSSL supports all kinds of keys here."""
    context = ssl.create_default_context(cafile=str(identity.ca))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(identity.certificate, identity.key)
    host, port = gate.http.rsplit(":", 1)
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as tls,
        ):
            tls.sendall(REQUEST)
            return tls.recv(64).startswith(b"HTTP/1.1 200")
    except (ssl.SSLError, ConnectionError):
        return False


def warnings(gate: Gate, certificate: Path) -> list[str]:
    done = otlp_gate("-f", gate.config, "whoami", certificate, "-o", "json", check=False)
    return json.loads(done.stdout)["warnings"]


@pytest.mark.parametrize(
    ("kind", "in_1_2", "in_1_3"),
    [
        ("rsa-1024", True, True),
        ("rsa-2048", True, True),
        ("rsa-4096", True, True),
        ("p-256", True, True),
        ("p-384", True, True),
        # In TLS 1.2 a signature scheme does not name the curve.
        ("p-521", True, False),
        ("rsa-pss", False, False),
        ("p-224", False, False),
        ("secp256k1", False, False),
        ("ed25519", False, False),
        ("ed448", False, False),
    ],
)
def test_keys_that_envoy_does_not_verify_are_rejected_and_whoami_warns_about_them(
    issuer: Issuer, open_gate: Gate, kind: str, in_1_2: bool, in_1_3: bool
) -> None:
    certificate = issuer.leaf(f"client-{kind}", kind, "sha256-by-p-256", "p-256", "-sha256", f"URI:{URI}")
    identity = Identity(certificate, issuer.key(kind), open_gate.config.parent / "certs/server-ca.crt")
    assert [is_accepted(open_gate, identity, version) for version in (TLS_1_2, TLS_1_3)] == [in_1_2, in_1_3]
    warned = any("does not accept" in warning for warning in warnings(open_gate, certificate))
    assert warned == (not in_1_3)


@pytest.mark.parametrize("ca", CAS)
def test_signatures_that_envoy_does_not_verify_are_rejected_and_whoami_warns_about_them(
    issuer: Issuer, open_gate: Gate, ca: str
) -> None:
    kind, how, verified = CAS[ca]
    certificate = issuer.leaf(f"by-{ca}", "p-256", ca, kind, how, f"URI:{URI}")
    identity = Identity(certificate, issuer.key("p-256"), open_gate.config.parent / "certs/server-ca.crt")
    assert [is_accepted(open_gate, identity, version) for version in (TLS_1_2, TLS_1_3)] == [verified, verified]
    listed = otlp_gate("certs", "list", "--dir", open_gate.config.parent / "certs", "-o", "json")
    of_ca = [row["warnings"] for row in json.loads(listed.stdout) if row["subject"] == f"CN={ca}"]
    found = warnings(open_gate, certificate) + of_ca[0]
    assert any("does not verify" in warning or "whose signatures" in warning for warning in found) == (not verified)


# Signatures by the keys of named CAs: whether the filter verifies them, and whether `whoami` does.
NAMED = {
    "sha256-p-224": ("p-224", "-sha256", True, False),
    "sha512-p-256": ("p-256", "-sha512", True, True),
    "sha512-p-384": ("p-384", "-sha512", True, True),
    "sha256-p-521": ("p-521", "-sha256", True, True),
    "sha512-p-521": ("p-521", "-sha512", True, True),
    "sha256-rsa-1024": ("rsa-1024", "-sha256", True, True),
    "sha384-rsa-1024": ("rsa-1024", "-sha384", True, False),
    "sha384-rsa-2048": ("rsa-2048", "-sha384", True, True),
    "sha512-rsa-4096": ("rsa-4096", "-sha512", True, True),
    "pss": ("rsa-2048", PSS + "32", False, False),
    "ed25519": ("ed25519", "", False, False),
}


def test_whoami_finds_the_ca_that_the_filter_finds(
    start: Callable[..., Gate], tmp_path: Path, config: Path, sink: Sink
) -> None:
    entries, rules, leaves = [{"name": "own"}], [], {}
    for name, (kind, how, *_) in NAMED.items():
        (tmp_path / name).mkdir()
        issuer = Issuer(tmp_path / name)
        entries.append({"name": name, "certificates": str(issuer.ca(name, kind, how))})
        rules.append({"name": name, "match": {"spiffe": URI, "ca": name}})
        own = "p-384" if kind == "p-256" else "p-256"
        leaves[name] = (issuer.leaf("leaf", own, name, kind, how, f"URI:{URI}"), issuer.key(own))
    rules.append({"name": "none", "match": {"spiffe": URI}})
    policy = SHARED.replace(clients=rules, clientCAs=entries, attributes={"tenant.id": "{name}"}, headers={})
    certs = Certificates(tmp_path / "certs", config).init().folder
    gate = start(policy, certs=certs).ready()
    found = {}
    for name, (certificate, key) in leaves.items():
        with Http2(gate.grpc, Identity(certificate, key, certs / "server-ca.crt")) as connection:
            assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0, name
        told = otlp_gate("-f", gate.config, "whoami", certificate, "--certs", certs, "-o", "json", check=False)
        answer, filters = json.loads(told.stdout), sink.take().resources()[0]["tenant.id"]
        found[name] = (filters == name, answer["client"] == name)
        # Where only the filter can verify the signature, the command says so.
        only_filter = NAMED[name][2:] == (True, False)
        assert ("this command does not" in told.stderr) == only_filter, told.stderr
    # The native module verifies what the command does; a Wasm filter has Envoy verify signatures.
    by_filter = 3 if NATIVE_MODULE else 2
    assert found == {name: (row[by_filter], row[3]) for name, row in NAMED.items()}


@pytest.mark.parametrize(
    ("kind", "serves"),
    [
        ("rsa-1024", False),
        ("rsa-2048", True),
        ("p-384", True),
        ("p-521", True),
        ("ed25519", True),
        ("p-224", False),
        ("ed448", False),
    ],
)
def test_a_server_key_that_envoy_does_not_support_is_rejected_before_envoy_starts(
    issuer: Issuer, start: Callable[..., Gate], tmp_path: Path, kind: str, serves: bool
) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(str(SHARED))
    certificates = Certificates(tmp_path / "certs", config).init()
    client = certificates.client("acme-edge", "--spiffe", URI)
    ca = issuer.ca("server-ca", "p-256", "-sha256")
    server = issuer.leaf(f"server-{kind}", kind, "server-ca", "p-256", "-sha256", "DNS:localhost")
    (certificates.folder / "server.crt").write_bytes(server.read_bytes())
    (certificates.folder / "server.key").write_bytes(issuer.key(kind).read_bytes())
    gate = start(SHARED, certs=certificates.folder)
    if serves:
        gate.ready()
        assert is_accepted(gate, Identity(client.certificate, client.key, ca), TLS_1_3)
    else:
        gate.wait_for_log("server.crt: its key is")
