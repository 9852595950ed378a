"""Client CAs as trust domains, and what they revoke: no CA can stand in for another one, and a revocation ends open
connections."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Answer, Http2, Identity, frame, handshake_fails
from support.config import SHARED
from support.gate import Certificates, Gate
from support.openssl import openssl
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

URI = "spiffe://acme.example/edge/7"

POLICY = """\
apiVersion: otlp-gate/v1
clientCAs:
  - name: own
  - {name: partners, certificates: partners.pem}
clients:
  - {name: acme, match: {spiffe: "spiffe://acme.example/edge/*", ca: own}}
  - {name: partner, match: {spiffe: "spiffe://acme.example/edge/*", ca: partners}}
attributes: {tenant.id: "{name}", ca: "{ca}"}
"""


def send(connection: Http2, **headers: str) -> Answer:
    return connection.grpc(GRPC_PATHS["traces"], frame(traces("a")), headers=headers)


EXAMPLE = Path(__file__).parents[1] / "examples/client-cas/otlp-gate.yaml"
VERIFY = "spiffe://otlp-gate/verify"


class Authority:
    """A CA by OpenSSL: a root, or one that another CA issued."""

    def __init__(self, folder: Path, subject: str, *, key: str = "ec", issuer: "Authority | None" = None):
        folder.mkdir()
        self.folder, self.certificate, self.key = folder, folder / "ca.crt", folder / "ca.key"
        new = {"ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("rsa:2048",)}[key]
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        self._issue(self.certificate, self.key, subject, extensions, new, issuer)
        self.chain = "" if issuer is None else self.certificate.read_text() + issuer.chain

    @staticmethod
    def _issue(
        certificate: Path, key: Path, subject: str, extensions: list[str], new: tuple, issuer: "Authority | None"
    ) -> None:
        # The system's own configuration would add extensions.
        config = certificate.with_suffix(".cnf")
        config.write_text("[req]\ndistinguished_name = name\n[name]\n")
        extensions = [*extensions, "subjectKeyIdentifier=hash", *(["authorityKeyIdentifier=keyid"] if issuer else [])]
        added = [word for extension in extensions for word in ("-addext", extension)]
        by = ("-CA", issuer.certificate, "-CAkey", issuer.key) if issuer else ()
        files = ("-keyout", key, "-out", certificate, "-subj", subject, "-days", "9")
        openssl("req", "-config", config, "-x509", "-newkey", *new, "-nodes", *files, *added, *by)

    def revocation_list(self) -> str:
        """A list without entries."""
        (self.folder / "index.txt").touch()
        config = self.folder / "list.cnf"
        config.write_text("[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ndefault_md = sha256\n")
        files = ("-keyfile", self.key, "-cert", self.certificate)
        return openssl("ca", "-gencrl", "-config", config, *files, "-crldays", "9", cwd=self.folder)

    def client(self, name: str, server_ca: Path, *, chain: str | None = None, san: str = f"URI:{URI}") -> Identity:
        """A client of this CA, which presents the intermediate CAs."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        extensions = [f"subjectAltName={san}", "extendedKeyUsage=clientAuth", "basicConstraints=critical,CA:FALSE"]
        new = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        self._issue(certificate, key, f"/CN={name}", extensions, new, self)
        certificate.write_text(certificate.read_text() + (self.chain if chain is None else chain))
        return Identity(certificate, key, server_ca)


@pytest.fixture
def own(tmp_path: Path, config: Path) -> Certificates:
    return Certificates(tmp_path / "certs", config).init()


def tenant(gate: Gate, identity: Identity, sink: Sink) -> tuple[str, str]:
    with Http2(gate.grpc, identity) as connection:
        assert send(connection).grpc_status == 0
    resource = sink.take().resources()[0]
    return resource["tenant.id"], resource["ca"]


def test_a_revocation_ends_the_open_connection_of_its_client_only(
    start: Callable[..., Gate], own: Certificates, sink: Sink
) -> None:
    gate = start(SHARED, certs=own.folder).ready()
    identities = [own.client(f"acme-{number}", "--spiffe", f"spiffe://acme.example/edge/{number}") for number in (1, 2)]
    revoked, other = (Http2(gate.grpc, identity) for identity in identities)
    assert [send(connection).grpc_status for connection in (revoked, other)] == [0, 0]
    own.run("revoke", "acme-1")
    gate.wait_for_log("certificates updated")

    def rejection() -> str:
        answer = send(revoked)
        assert answer.grpc_status == 16
        return answer.grpc_message

    assert "client certificate is revoked" in wait_until(rejection, "the open connection is rejected")
    assert send(other).grpc_status == 0
    assert handshake_fails(gate.grpc, identities[0].context("h2"))
    assert gate.results()["certificate_revoked"] >= 1


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_no_ca_can_stand_in_for_another(
    start: Callable[..., Gate], own: Certificates, tmp_path: Path, sink: Sink, key: str
) -> None:
    partners = Authority(tmp_path / "partners", "/CN=Partners", key=key)
    (tmp_path / "partners.pem").write_text(partners.certificate.read_text())
    gate = start(POLICY, certs=own.folder).ready()
    server_ca = own.folder / "server-ca.crt"
    acme = own.client("acme-7", "--spiffe", URI)
    assert tenant(gate, acme, sink) == ("acme", "own")
    assert tenant(gate, partners.client("direct", server_ca), sink) == ("partner", "partners")

    # An intermediate CA of the partner with the name of the other CA.
    name = openssl("x509", "-in", own.folder / "client-ca.crt", "-noout", "-subject", "-nameopt", "RFC2253")
    disguised = Authority(tmp_path / "disguised", "/" + name.strip().removeprefix("subject="), issuer=partners)
    assert tenant(gate, disguised.client("leaf", server_ca), sink) == ("partner", "partners")

    # A certificate that another client issued.
    insider = Authority.__new__(Authority)
    insider.folder, insider.certificate, insider.key = own.folder, acme.certificate, acme.key
    insider.chain = acme.certificate.read_text()
    assert handshake_fails(gate.grpc, insider.client("by-a-client", server_ca).context("h2"))

    # A certificate with the name of the reserved client, whose certificate the folder's CA issues.
    reserved = Identity(own.folder / "verify/client.crt", own.folder / "verify/client.key", server_ca)
    for identity, status in ((reserved, 0), (partners.client("verify", server_ca, san=f"URI:{VERIFY}"), 7)):
        with Http2(gate.grpc, identity) as connection:
            assert send(connection).grpc_status == status
    sink.rest()

    # A chain in a header of the client's own.
    ca = (own.folder / "client-ca.crt").read_text().replace("\n", "%0A").replace("+", "%2B")
    forged = f'Hash={"0" * 64};Cert="{ca}";Chain="{ca}";URI={URI}'
    with Http2(gate.grpc, partners.client("forger", server_ca)) as connection:
        assert send(connection, **{"x-forwarded-client-cert": forged}).grpc_status == 0
    assert sink.take().resources()[0]["ca"] == "partners"

    # The partner's CA has no list, so that Envoy gets none, and the filter alone enforces the other CA's.
    own.run("revoke", "acme-7")
    gate.wait_for_log("certificates updated")

    def status() -> int:
        with Http2(gate.grpc, acme) as connection:
            return send(connection).grpc_status

    wait_until(lambda: status() == 16, "the revoked client is rejected after its handshake")


def test_the_example_gives_each_ca_its_own_tenant(start: Callable[..., Gate], tmp_path: Path, sink: Sink) -> None:
    config = tmp_path / "otlp-gate.yaml"
    config.write_text(EXAMPLE.read_text().replace("otel.example.com", "localhost"))
    acme, globex = (Certificates(tmp_path / name, config).init() for name in ("certs", "globex"))
    server_ca = acme.folder / "server-ca.crt"

    def of(folder: Certificates, option: str, name: str) -> Identity:
        client = folder.client(option.strip("-"), option, name)
        return Identity(client.certificate, client.key, server_ca)

    root = Authority.__new__(Authority)
    root.certificate, root.key, root.chain = globex.folder / "client-ca.crt", globex.folder / "client-ca.key", ""
    laptops = Authority(tmp_path / "laptops", "/CN=Globex Laptops", issuer=root)
    # Envoy requires a list of each CA in a client's chain.
    with (globex.folder / "client.crl").open("a") as lists:
        lists.write(laptops.revocation_list())
    gate = start(config.read_text(), certs=acme.folder).ready()
    zurich = ("--spiffe", "spiffe://acme.example/edge/zurich")
    laptop = "a.laptops.globex.example"
    for identity, tenant_id in (
        (of(acme, *zurich), "acme"),
        (of(globex, *zurich), "globex"),
        (laptops.client("laptop", server_ca, san=f"DNS:{laptop}"), "globex"),
    ):
        with Http2(gate.grpc, identity) as connection:
            assert send(connection).grpc_status == 0
        received = sink.take().resources()[0]
        assert (received["tenant.id"], received["client.ca"]) == (tenant_id, tenant_id)
    for folder in (acme, globex):
        with Http2(gate.grpc, of(folder, "--dns", laptop)) as connection:
            assert send(connection).grpc_status == 7
    sink.rest()


def test_two_cas_of_the_same_name_revoke_their_own_clients(
    start: Callable[..., Gate], own: Certificates, tmp_path: Path, config: Path, sink: Sink
) -> None:
    other = Certificates(tmp_path / "other", config).init()
    named = "{name: partners, certificates: other/client-ca.crt, revocationList: other/client.crl}"
    gate = start(POLICY.replace("{name: partners, certificates: partners.pem}", named), certs=own.folder).ready()
    ca = own.folder / "server-ca.crt"
    clients = [folder.client("acme-7", "--spiffe", URI) for folder in (own, other)]
    identities = [Identity(client.certificate, client.key, ca) for client in clients]
    assert [tenant(gate, identity, sink)[1] for identity in identities] == ["own", "partners"]
    connections = [Http2(gate.grpc, identity) for identity in identities]
    assert [send(connection).grpc_status for connection in connections] == [0, 0]
    other.run("revoke", "acme-7")
    gate.wait_for_log("certificates updated")

    def statuses() -> list[int]:
        return [send(connection).grpc_status for connection in connections]

    wait_until(lambda: statuses() == [0, 16], "the client of the partner is rejected, and the other one is not")
    assert [handshake_fails(gate.grpc, identity.context("h2")) for identity in identities] == [False, True]
