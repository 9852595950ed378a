"""Two client CAs of the same name in one gate: a rule with `ca` is for the clients of one of them only."""

from collections.abc import Callable
from pathlib import Path

from support.client import Identity, frame
from support.cluster.installation import Installation, wait_until
from support.openssl import issue_for
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

URI = "spiffe://acme.example/1"


def test_the_ca_that_signed_a_certificate_decides(
    deploy: Callable[..., Installation], backend: Sink, tmp_path: Path
) -> None:
    gate = deploy("client-cas")
    gate.run("certs", "init", "--dir", "partners")

    def change(config: dict) -> None:
        files = {"certificates": "partners/client-ca.crt", "revocationList": "partners/client.crl"}
        config["clientCAs"] = [{"name": "own"}, {"name": "partners", **files}]
        match = {"spiffe": "spiffe://acme.example/*"}
        config["clients"] = [
            {"name": "partner", "match": {**match, "ca": "partners"}},
            {"name": "acme", "match": {**match, "ca": "own"}},
        ]
        config["attributes"]["tenant.id"] = "{ca}"

    gate.change(change)
    gate.apply()
    partner, _ = issue_for(tmp_path / "partner", gate.folder / "partners", URI, 3600)
    partner = Identity(partner.certificate, partner.key, gate.folder / "certs" / "server-ca.crt")

    def tenant(identity: Identity) -> tuple[str, str]:
        backend.rest()
        with gate.connect(identity) as connection:
            assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0
        (resource,) = backend.take().resources()
        return resource["otlp_gate.client"], resource["tenant.id"]

    assert wait_until(lambda: tenant(gate.acme()), "a client of the folder's CA is accepted") == ("acme", "own")
    assert wait_until(lambda: tenant(partner), "a client of the partner's CA is accepted") == ("partner", "partners")
