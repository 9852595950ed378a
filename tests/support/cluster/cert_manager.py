"""What cert-manager's controllers would write: the tests have its CRDs only."""

import base64
import json
from pathlib import Path

from support.cluster.installation import Kubectl


def issue(kubectl: Kubectl, namespace: str, name: str, certificate: Path, ca: Path) -> None:
    """Writes the Secret of a Certificate."""
    files = {"tls.crt": certificate, "tls.key": certificate.with_suffix(".key"), "ca.crt": ca}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: base64.b64encode(file.read_bytes()).decode() for key, file in files.items()},
        }
    )


def issue_internal(kubectl: Kubectl, namespace: str, certs: Path) -> None:
    """Writes the Secrets of the internal Certificates, from a folder with certificates."""
    for name, certificate in (("otel-gateway-collector", "collector"), ("otel-gateway-backend-client", "gateway")):
        issue(kubectl, namespace, name, certs / f"{certificate}.crt", certs / "internal-ca.crt")


def set_ready(kubectl: Kubectl, namespace: str) -> None:
    """Sets the condition Ready of all Certificates in a namespace."""
    for one in kubectl.json("get", "certificates", "-n", namespace)["items"]:
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
        kubectl("patch", "certificate", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
