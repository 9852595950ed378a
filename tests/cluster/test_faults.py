"""Parts fail or change under steady load: nothing acknowledged is lost, and nothing arrives unattributed."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from support.cluster.installation import CONTROL_PLANE, PROVIDER, TIMEOUT, Installation, Kubectl, kill, wait_until
from support.cluster.load import GateLoad
from support.sink import Sink


@pytest.fixture
def load(gate: Installation, backend: Sink) -> Iterator[GateLoad]:
    with GateLoad(gate, backend) as load:
        yield load


def ready(kubectl: Kubectl, *deployment: str) -> bool:
    """Whether there is a selected Deployment, and all selected ones have exactly their pods."""
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


def collector(gate: Installation) -> tuple[str, ...]:
    return ("-n", gate.namespace, "-l", "app.kubernetes.io/name=opentelemetry-collector")


def restart_kubelets(kubectl: Kubectl) -> None:
    if not (xtask := os.environ.get("CLUSTER_XTASK")):
        pytest.skip("the test does not restart kubelets of a cluster that it did not start")
    for number, _ in enumerate(kubectl.json("get", "nodes")["items"], 1):
        subprocess.run([xtask, "cluster", "restart-kubelet", "--node", str(number)], check=True, timeout=TIMEOUT)


def move(gate: Installation, kubectl: Kubectl) -> None:
    """Drains the gateway's pod from its node, as for a replacement of the node."""
    if len(kubectl.json("get", "nodes")["items"]) < 2:
        pytest.skip("there is no other node")
    # The pod that an earlier rollout replaced may still be ending.
    pods = lambda: kubectl.json("get", "pods", *gate.proxies())["items"]
    wait_until(lambda: len(pods()) == 1, "the gateway has one pod")
    (pod,) = pods()
    node = pod["spec"]["nodeName"]
    kubectl("cordon", node)
    try:
        kubectl("delete", "pod", pod["metadata"]["name"], "-n", pod["metadata"]["namespace"], "--wait=false")
        others = lambda: [it for it in pods() if it["spec"].get("nodeName") != node]
        wait_until(lambda: others() and ready(kubectl, *gate.proxies()), "the gateway runs on another node")
    finally:
        kubectl("uncordon", node)


def revoke(gate: Installation) -> None:
    revoked = gate.client("revoked", "--spiffe", "spiffe://acme.example/revoked")
    gate.connect(revoked).socket.close()
    gate.run("certs", "revoke", "revoked")
    gate.apply()
    gate.wait_until_rejected(revoked)


def rotate_client_ca(gate: Installation, load: GateLoad) -> None:
    """As in docs/guides/certificates.md: both CAs, then new certificates, then the new CA alone."""
    old = gate.acme().copy(gate.folder / "old")
    gate.run("certs", "rotate", "client")
    gate.apply()
    wait_until(lambda: gate.verify()["ok"], "verify passes")
    load.wait_for()
    gate.run("certs", "renew", "--all")
    load.reconnect(gate.acme())
    load.wait_for()
    gate.run("certs", "rotate", "client", "--finish")
    gate.apply()
    gate.wait_until_rejected(old)


def change_extension(gate: Installation, kubectl: Kubectl, load: GateLoad) -> None:
    """From TrafficExtension to WasmPlugin and back. A second filter would reject what the first one lets through: the
    first has removed the certificate's header."""
    if PROVIDER != "istio":
        pytest.skip("only Istio has two kinds")
    kinds = lambda: [
        kind
        for kind in ("wasmplugins", "trafficextensions")
        if kubectl("get", kind, "-n", gate.namespace, "-o", "name")
    ]
    assert kinds() == ["trafficextensions"]
    for mode, kind in (("WasmPlugin", "wasmplugins"), ("auto", "trafficextensions")):
        gate.change(lambda config: config["gateway"].update(extension=mode))
        removed = gate.apply()["removed"]
        assert len(removed) == 1 and kinds() == [kind], removed
        load.wait_for()
        # Removes the reference to the filter, which the WasmPlugin needs no longer.
        again = [one["kind"] for one in gate.apply()["objects"] if one["change"] != "unchanged"]
        assert again == (["EnvoyFilter"] if mode == "WasmPlugin" else [])
        assert gate.json("status")["foreign"] == []
        load.wait_for()
    assert set(load.failed) <= {"UNAVAILABLE"}, load.failed


def rotate_internal_ca(gate: Installation, load: GateLoad) -> None:
    """As in docs/guides/certificates.md. Each `apply` returns when both ends have what the next step needs."""
    renew = "renew internal --new-key"
    for step in (renew, "rotate internal", renew, "rotate internal --finish"):
        gate.run("certs", *step.split())
        gate.apply()
        load.wait_for()
    assert gate.verify()["ok"]


FAULTS: dict[str, Callable[[Installation, Kubectl, GateLoad], object]] = {
    "gateway pod killed": lambda gate, kubectl, _: kill(kubectl, *gate.proxies()),
    "Collector pod killed": lambda gate, kubectl, _: kill(kubectl, *collector(gate)),
    "control plane killed": lambda gate, kubectl, _: kill(kubectl, *control_plane()),
    "kubelets killed": lambda _, kubectl, __: restart_kubelets(kubectl),
    "gateway moved to another node": lambda gate, kubectl, _: move(gate, kubectl),
    "policy changed": lambda gate, *_: (
        gate.change(lambda config: config["attributes"].update(policy="{name}")),
        gate.apply(),
    ),
    "filter in an object of another kind": change_extension,
    "client revoked": lambda gate, *_: revoke(gate),
    "server certificate rotated": lambda gate, *_: (gate.run("certs", "server", "--local", "--force"), gate.apply()),
    "client CA rotated": lambda gate, _, load: rotate_client_ca(gate, load),
    "internal CA rotated": lambda gate, _, load: rotate_internal_ca(gate, load),
    "gateway rolled out": lambda gate, kubectl, _: kubectl("rollout", "restart", "deployment", *gate.proxies()),
}


# Faults of parts that all gates share.
SHARED = {"control plane killed", "kubelets killed", "gateway moved to another node"}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.alone] if fault in SHARED else []) for fault in FAULTS]
)
def test_nothing_acknowledged_is_lost(gate: Installation, kubectl: Kubectl, load: GateLoad, fault: str) -> None:
    FAULTS[fault](gate, kubectl, load)
    for deployment in (control_plane(), gate.proxies(), collector(gate)):
        wait_until(lambda: ready(kubectl, *deployment), f"the Deployment is ready: {' '.join(deployment)}")
    load.wait_for()
    outcome = load.outcome()
    print(f"{fault}: {outcome}")
    assert outcome.ok, outcome
