"""Parts fail, and are changed, under steady load: nothing that was acknowledged is lost, and nothing arrives unstamped."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from deployed import CONTROL_PLANE, Deployed, Kubectl, eventually, kill
from load import Load
from sink import Sink


@pytest.fixture
def load(gate: Deployed, backend: Sink) -> Iterator[Load]:
    with Load(gate, backend) as load:
        yield load


def ready(kubectl: Kubectl, *deployment: str) -> bool:
    """Whether the selected Deployments, of which there is one at least, have all their pods and no other."""
    found = kubectl.json("get", "deployments", *deployment)["items"]
    return bool(found) and all(
        one["status"].get("availableReplicas", 0) >= 1
        and not one["status"].get("unavailableReplicas")
        and one["status"].get("observedGeneration") == one["metadata"]["generation"]
        for one in found
    )


def control_plane() -> tuple[str, ...]:
    namespace, selector = CONTROL_PLANE
    return ("-n", namespace, "-l", selector)


def collector(gate: Deployed) -> tuple[str, ...]:
    return ("-n", gate.namespace, "-l", "app.kubernetes.io/name=opentelemetry-collector")


def restart_kubelets(kubectl: Kubectl) -> None:
    if not (xtask := os.environ.get("CLUSTER_XTASK")):
        pytest.skip("the kubelets of a cluster that is not ours")
    for number, _ in enumerate(kubectl.json("get", "nodes")["items"], 1):
        subprocess.run([xtask, "cluster", "restart-kubelet", "--node", str(number)], check=True, timeout=60)


def move(gate: Deployed, kubectl: Kubectl) -> None:
    """As for a node that is to be replaced: the gateway's pod may be made on another one only, and ends here."""
    if len(kubectl.json("get", "nodes")["items"]) < 2:
        pytest.skip("there is no other node")
    (pod,) = kubectl.json("get", "pods", *gate.proxies())["items"]
    node = pod["spec"]["nodeName"]
    kubectl("cordon", node)
    try:
        kubectl("delete", "pod", pod["metadata"]["name"], "-n", pod["metadata"]["namespace"], "--wait=false")
        others = lambda: [
            it for it in kubectl.json("get", "pods", *gate.proxies())["items"] if it["spec"].get("nodeName") != node
        ]
        eventually(lambda: others() and ready(kubectl, *gate.proxies()))
    finally:
        kubectl("uncordon", node)


def revoke(gate: Deployed) -> None:
    revoked = gate.client("revoked", "--spiffe", "spiffe://acme.example/revoked")
    gate.connect(revoked).socket.close()
    gate.run("certs", "revoke", "revoked")
    gate.apply()
    gate.shuts_out(revoked)


def rotate_client_ca(gate: Deployed, load: Load) -> None:
    """As docs/guides/certificates.md says: both CAs, new certificates once the gate takes them, then the new CA alone."""
    old = gate.acme().copy(gate.folder / "old")
    gate.run("certs", "rotate", "client")
    gate.apply()
    eventually(lambda: gate.json("verify", "--address", gate.address())["ok"])
    load.flow()
    gate.run("certs", "renew", "--all")
    load.reconnect(gate.acme())
    load.flow()
    gate.run("certs", "rotate", "client", "--finish")
    gate.apply()
    gate.shuts_out(old)


FAULTS: dict[str, Callable[[Deployed, Kubectl, Load], object]] = {
    "gateway pod killed": lambda gate, kubectl, _: kill(kubectl, *gate.proxies()),
    "Collector pod killed": lambda gate, kubectl, _: kill(kubectl, *collector(gate)),
    "control plane killed": lambda gate, kubectl, _: kill(kubectl, *control_plane()),
    "kubelets killed": lambda _, kubectl, __: restart_kubelets(kubectl),
    "gateway moved to another node": lambda gate, kubectl, _: move(gate, kubectl),
    "policy changed": lambda gate, *_: (
        gate.change(lambda config: config["attributes"].update(policy="{name}")),
        gate.apply(),
    ),
    "client revoked": lambda gate, *_: revoke(gate),
    "server certificate rotated": lambda gate, *_: (gate.run("certs", "server", "--local", "--force"), gate.apply()),
    "client CA rotated": lambda gate, _, load: rotate_client_ca(gate, load),
    "gateway rolled": lambda gate, kubectl, _: kubectl("rollout", "restart", "deployment", *gate.proxies()),
}


@pytest.mark.alone
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_acknowledged_is_lost(gate: Deployed, kubectl: Kubectl, load: Load, fault: str) -> None:
    FAULTS[fault](gate, kubectl, load)
    for deployment in (control_plane(), gate.proxies(), collector(gate)):
        eventually(lambda: ready(kubectl, *deployment))
    load.flow()
    ledger = load.ledger()
    print(f"{fault}: {ledger}")
    assert ledger.kept, ledger
