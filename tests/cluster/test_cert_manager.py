"""A gate with certificates of cert-manager. The test has its CRDs only, and writes the Secrets and conditions that its
controllers would write."""

from collections.abc import Callable, Iterator

import pytest

from support.cluster.cert_manager import issue, issue_internal, set_ready
from support.cluster.installation import PROVIDER, Installation, Kubectl, wait_until

NAMESPACE = "cert-managed"


@pytest.fixture
def installation(deploy: Callable[..., Installation], cert_manager: None) -> Iterator[Installation]:
    installation = deploy(NAMESPACE)
    installation.change(lambda config: config.update(certificates={"certManager": {}}))
    yield installation
    installation.run("delete", "--yes")


@pytest.mark.alone
def test_clients_are_rejected_until_the_secret_with_their_issuer_exists(
    installation: Installation, kubectl: Kubectl
) -> None:
    certs = installation.folder / "certs"
    installation.run("apply", "--no-wait")
    assert "has not created Secret" in installation.run("verify", "--address", "127.0.0.1", code=1).stderr
    issue(kubectl, NAMESPACE, "otel-gateway-server", certs / "server.crt", certs / "server-ca.crt")
    issue_internal(kubectl, NAMESPACE, certs)

    def not_ready() -> dict[str, str]:
        return {
            part["name"]: part["detail"] for part in installation.json("status", code=1)["parts"] if not part["ready"]
        }

    trust = "certificate/otel-gateway-client-trust"
    wait_until(
        lambda: "Ready is not reported yet" in not_ready()[trust],
        "status reports the Certificate",
        retry_on=(AssertionError, KeyError, OSError),
    )
    if PROVIDER == "istio":
        wait_until(
            lambda: "InvalidCACertificateRef" in not_ready()["gateway/otel-gateway"],
            "status reports the Gateway",
            retry_on=(AssertionError, KeyError, OSError),
        )

    issue(kubectl, NAMESPACE, "otel-gateway-client-trust", certs / "verify" / "client.crt", certs / "client-ca.crt")
    set_ready(kubectl, NAMESPACE)
    outcome = installation.apply()
    assert outcome["ok"], outcome

    def verified() -> bool:
        outcome = installation.verify()
        assert outcome["ok"], outcome
        skipped = {case["case"] for case in outcome["cases"] if case["result"] == "skipped"}
        assert skipped == {
            "certificate matches no rule: permission denied",
            "expired certificate: connection rejected",
            "revoked certificate: connection rejected",
        }
        return True

    wait_until(verified, "verify passes")
    assert [it["change"] for it in installation.apply()["objects"] if it["change"] != "unchanged"] == []
    # `apply` does not remove what cert-manager created.
    assert not installation.json("apply")["removed"]
    secrets = kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name").split()
    assert {"secret/otel-gateway-server", "secret/otel-gateway-client-trust"} <= set(secrets)
