"""A durable queue: the switch to it, Collectors that are killed while the backend is unreachable, and the volumes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from support.cluster.installation import PROVIDER, Installation, Kubectl, kill, wait_until
from support.cluster.load import GateLoad
from support.sink import Sink

pytestmark = pytest.mark.skipif(PROVIDER != "istio", reason="it does not depend on the provider")
CLASS = "otlp-gate-test"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@pytest.fixture
def storage_class(kubectl: Kubectl, nodes: list[str], tmp_path: Path) -> Iterator[str | None]:
    """The StorageClass of a volume on each node. Where the cluster creates volumes by itself, none."""
    classes = kubectl.json("get", "storageclasses")["items"]
    if any(it["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true" for it in classes):
        yield None
        return
    volumes = [volume(node, tmp_path / node) for node in nodes]
    kubectl.apply(*volumes)
    yield CLASS
    kubectl("delete", "pv", *(it["metadata"]["name"] for it in volumes), "--wait=false")


def volume(node: str, folder: Path) -> dict:
    """A folder of this machine, which the nodes share, as a volume of a node."""
    folder.mkdir()
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{CLASS}-{node}"},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": "2Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
        },
    }


def test_nothing_acknowledged_is_lost(
    deploy: Callable[..., Installation], kubectl: Kubectl, backend: Sink, storage_class: str | None
) -> None:
    gate = deploy("durable")
    gate.change(lambda config: config["backend"]["collector"].update(replicas=2))
    gate.apply()
    of_gate = ("-n", gate.namespace, "-l", "otlp-gate.io/gate=otel-gateway")
    pods = ("-n", gate.namespace, "-l", "app.kubernetes.io/name=opentelemetry-collector")
    with GateLoad(gate, backend) as load:
        # The Deployment is removed when the StatefulSet that replaces it is ready.
        own = {"storageClassName": storage_class} if storage_class else {}
        durable = {"queue": "durable", "queueVolume": {"size": "2GiB", "fsync": False, **own}}
        gate.change(lambda config: config["backend"]["collector"].update(durable))
        applied = gate.apply()
        assert [it for it in applied["removed"] if "collector" in it] == [
            f"deployment/otel-gateway-collector in {gate.namespace}"
        ]
        assert "statefulset/otel-gateway-collector" in {it["name"] for it in gate.json("status")["parts"]}
        load.wait_for()
        backend.fail = (grpc.StatusCode.UNAVAILABLE, 503)
        try:
            load.wait_for()
            kill(kubectl, *(f"otel-gateway-collector-{it}" for it in range(2)), "-n", gate.namespace)
            load.wait_for()
        finally:
            backend.fail = None
        load.wait_for()
        outcome = load.outcome(timeout=60)
    print(f"durable queue, switched to and killed: {outcome}")
    assert outcome.ok, outcome
    # The volumes stay as they are, and remain when the gate is deleted.
    before = gate.config
    gate.change(lambda config: config["backend"]["collector"]["queueVolume"].update(size="3GiB"))
    assert "--cascade=orphan" in gate.run("apply", code=1).stderr
    gate.config = before
    assert f"kubectl delete pvc -n {gate.namespace}" in gate.run("delete", "--yes").stderr
    wait_until(lambda: not kubectl.json("get", "pods", *pods)["items"], "the Collectors are gone")
    claims = kubectl.json("get", "pvc", *of_gate)["items"]
    assert len(claims) == 2 and {it["status"]["phase"] for it in claims} == {"Bound"}
    kubectl("delete", "pvc", *of_gate, "--wait=false")
