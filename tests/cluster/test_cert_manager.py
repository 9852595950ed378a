"""A gate whose certificates cert-manager makes. Its controllers cannot be had here: the test writes the Secrets that they would
write, and the conditions."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployed import PROVIDER, Deployed, Kubectl, eventually

NAMESPACE = "cert-managed"


@pytest.fixture
def place(deploy: Callable[..., Deployed], cert_manager: None) -> Iterator[Deployed]:
    place = deploy(NAMESPACE)
    place.change(lambda config: config.update(certificates={"certManager": {}}))
    yield place
    place.run("delete", "--yes")


def issue(kubectl: Kubectl, name: str, certificate: Path, ca: Path) -> None:
    """As cert-manager does: the Secret, then the condition."""
    files = {"tls.crt": certificate, "tls.key": certificate.with_suffix(".key"), "ca.crt": ca}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {key: base64.b64encode(file.read_bytes()).decode() for key, file in files.items()},
        }
    )


def ready(kubectl: Kubectl) -> None:
    for one in kubectl.json("get", "certificates", "-n", NAMESPACE)["items"]:
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "up to date",
            "observedGeneration": one["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        patch = json.dumps({"status": {"conditions": [condition]}})
        name = one["metadata"]["name"]
        kubectl("patch", "certificate", name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)


@pytest.mark.alone
def test_nobody_gets_in_before_the_clients_issuer_is_known_and_then_its_clients_do(
    place: Deployed, kubectl: Kubectl
) -> None:
    certs = place.folder / "certs"
    place.run("apply", "--no-wait")
    assert "has not made the secret" in place.run("verify", "--address", "127.0.0.1", code=1).stderr
    issue(kubectl, "otel-gateway-server", certs / "server.crt", certs / "server-ca.crt")

    # Of the server's issuer, and for clients. Where the gateway took one issuer for the other, this would get in.
    def status() -> dict[str, str]:
        return {part["name"]: part["detail"] for part in place.json("status", code=1)["parts"] if not part["ready"]}

    waiting = eventually(lambda: status() if any("certificate/" in name for name in status()) else None)
    assert "waits for Ready" in waiting["certificate/otel-gateway-client-trust"]
    if PROVIDER == "istio":
        eventually(lambda: "InvalidCACertificateRef" in status()["gateway/otel-gateway"])

    issue(kubectl, "otel-gateway-client-trust", certs / "verify" / "client.crt", certs / "client-ca.crt")
    ready(kubectl)
    outcome = place.apply()
    assert outcome["ok"], outcome

    def verified() -> bool:
        outcome = place.json("verify", "--address", place.address())
        assert outcome["ok"], outcome
        skipped = {case["case"] for case in outcome["cases"] if case["result"] == "skipped"}
        assert skipped == {"certificate of no client", "expired certificate", "revoked certificate"}
        return True

    eventually(verified)
    assert [it["change"] for it in place.apply()["objects"] if it["change"] != "unchanged"] == []
    # Nothing of what cert-manager made is otlp-gate's to take away.
    assert not place.json("apply")["removed"]
    secrets = kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name").split()
    assert {"secret/otel-gateway-server", "secret/otel-gateway-client-trust"} <= set(secrets)
