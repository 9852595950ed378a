"""A gate whose server certificate is of another issuer than its clients', as with a public CA. cert-manager's CRDs are
there without its controllers: the test writes the Secret that they would write."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Http2, Identity, frame, handshake_fails
from support.cluster.cert_manager import issue, issue_internal, set_ready
from support.cluster.installation import Installation, Kubectl, wait_until
from support.openssl import issue_for
from support.protobuf import traces
from support.sink import GRPC_PATHS

NAMESPACE = "public-server"
ISSUER = {"name": "web", "kind": "Issuer"}
# The CA of the server's certificate, and another CA of clients.
WEB, PARTNERS = "web", "partners"


def grpc_status(gate: Installation, identity: Identity) -> int:
    with gate.connect(identity) as connection:
        return connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status


@pytest.mark.alone
def test_clients_have_other_cas_than_the_server(
    deploy: Callable[..., Installation], kubectl: Kubectl, cert_manager: None, tmp_path: Path
) -> None:
    gate = deploy(NAMESPACE)
    for folder in (WEB, PARTNERS):
        gate.run("certs", "init", "--local", "--dir", folder)
    web, partners = gate.folder / WEB, gate.folder / PARTNERS

    def of(certs: Path, name: str, uri: str) -> Identity:
        """A client of the CA in a folder, who trusts the server's CA."""
        identity, _ = issue_for(tmp_path / name, certs, uri, 3600)
        return Identity(identity.certificate, identity.key, web / "server-ca.crt")

    own = gate.folder / "certs"
    acme, revoked = (Identity(it.certificate, it.key, web / "server-ca.crt") for it in (gate.acme(), gate.globex()))

    def change(config: dict) -> None:
        config["certificates"] = {"certManager": {"server": ISSUER}}
        config["clientCAs"] = [{"name": "own"}]

    gate.change(change)

    # A missing issuer is found before anything is changed.
    kubectl.ensure_namespace(NAMESPACE)
    told = gate.run("apply", code=1).stderr
    assert "certManager.server" in told and "issuer/web" in told, told
    assert not kubectl("get", "gateways", "-n", NAMESPACE, "-o", "name")
    spec = {"selfSigned": {}}
    metadata = {"name": ISSUER["name"], "namespace": NAMESPACE}
    kubectl.apply({"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata, "spec": spec})

    gate.run("apply", "--no-wait")
    issue(kubectl, NAMESPACE, "otel-gateway-server", web / "server.crt", web / "server-ca.crt")
    issue_internal(kubectl, NAMESPACE, own)
    set_ready(kubectl, NAMESPACE)
    outcome = gate.apply()
    assert outcome["ok"], outcome
    wait_until(lambda: grpc_status(gate, acme) == 0, "a client of the folder's CA is accepted")
    assert grpc_status(gate, revoked) == 0

    # The server's issuer is no CA of clients, though its certificate is the `ca.crt` in the server's Secret.
    web_clients = tmp_path / "web-clients"
    web_clients.mkdir()
    for end in ("crt", "key"):
        (web_clients / f"client-ca.{end}").write_bytes((web / f"server-ca.{end}").read_bytes())
    (web_clients / "server-ca.crt").write_bytes((web / "server-ca.crt").read_bytes())
    minted = of(web_clients, "minted", "spiffe://acme.example/1")
    address = f"{gate.address()}:4317"
    assert handshake_fails(address, minted.context("h2"))
    verified = gate.verify()
    assert verified["ok"], verified
    skipped = {case["case"] for case in verified["cases"] if case["result"] == "skipped"}
    assert not skipped, skipped

    parts = {part["name"]: part["detail"] for part in gate.json("status")["parts"]}
    assert "from cert-manager (Issuer web)" in parts["server certificate"], parts
    checks = {check["subject"]: check for check in gate.json("doctor")["checks"]}
    assert checks["server certificate"]["verdict"] == "pass", checks

    gate.run("certs", "revoke", "globex")
    gate.apply()
    gate.wait_until_rejected(revoked)
    assert grpc_status(gate, acme) == 0

    # A ConfigMap that something else writes. The gateway follows it without `apply`.
    def write_bundle(*cas: Path) -> None:
        text = "".join((ca / "client-ca.crt").read_text() for ca in cas)
        metadata = {"name": "bundle", "namespace": NAMESPACE}
        kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": text}})

    def follow_bundle(config: dict) -> None:
        config["clientCAs"] = [{"name": "bundled", "configMap": "bundle"}]
        partner = {"name": "partner", "match": {"spiffe": "spiffe://partner.example/*", "ca": "bundled"}}
        config["clients"].append(partner)

    gate.change(follow_bundle)
    told = gate.run("apply", code=1).stderr
    assert "clientCAs[0].configMap" in told and "configmap/bundle" in told, told
    write_bundle(own)
    gate.apply()
    assert gate.json("status")["ready"]
    partner = of(partners, "partner", "spiffe://partner.example/1")
    other = of(partners, "other", "spiffe://acme.example/2")
    wait_until(lambda: grpc_status(gate, acme) == 0, "a client of the bundle's CA is accepted")
    gate.wait_until_rejected(partner)

    write_bundle(own, partners)
    wait_until(lambda: grpc_status(gate, other) == 0, "a client of the CA that was added is accepted")
    # The rule with `ca` needs the CA's key in the policy.
    assert grpc_status(gate, partner) == 7
    drift = {part["name"]: part for part in gate.json("status", code=1)["parts"]}["client CA bundled"]
    assert not drift["ready"] and "lacks 1 of the CAs in configmap/bundle" in drift["detail"], drift
    gate.apply()
    wait_until(lambda: grpc_status(gate, partner) == 0, "the rule with `ca` matches")

    write_bundle(partners)
    gate.wait_until_rejected(acme)
    assert grpc_status(gate, partner) == 0

    # Without the ConfigMap, no client is admitted: neither its own nor those of another CA.
    kubectl("delete", "configmap", "bundle", "-n", NAMESPACE)

    def is_shut(identity: Identity) -> bool:
        try:
            with Http2(address, identity) as connection:
                return connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status != 0
        except (OSError, AssertionError):
            return True

    wait_until(lambda: is_shut(partner), "the gateway is shut")
    assert is_shut(minted) and is_shut(acme)
    gate.run("delete", "--yes")
