"""Where node-local gateways export to: the gate's own Collector, or the gate of another cluster."""

import json
from collections.abc import Callable

from support.client import frame
from support.cluster.installation import Installation, Kubectl, kill, wait_until
from support.cluster.node_gateways import NodeGateways, arrival
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, Sink


def test_telemetry_from_pods_and_from_outside_arrives_in_one_collector(
    node_gateways: Callable[[str], NodeGateways], nodes: list[str], backend: Sink
) -> None:
    both = node_gateways("both")
    rules = [{"name": "acme", "match": {"namespace": "team-acme"}, "attributes": {"tenant.id": "acme"}}]
    both.installation.change(lambda config: config.update(nodeLocal={"enabled": True, "clients": rules}))
    applied = both.installation.apply()
    assert {part["name"] for part in applied["standing"]["parts"]} >= {"daemonset/otel-gateway-node", "filter"}
    assert {one["change"] for one in both.installation.apply()["objects"]} == {"unchanged"}
    sender = both.ready_sender("team-acme", nodes[1])
    backend.rest()
    forged = attribute("tenant.id", "globex")
    assert sender.sent("from a pod", attributes=(forged,))
    inside = arrival(backend, "from a pod")
    with both.installation.connect(both.installation.acme()) as connection:
        message = frame(traces("from outside", attributes=(forged,)))
        assert connection.grpc(GRPC_PATHS["traces"], message).grpc_status == 0
    outside = arrival(backend, "from outside")
    for resource in (inside, outside):
        assert (resource["tenant.id"], resource["otlp_gate.client"]) == ("acme", "acme")


def test_an_edge_cluster_is_a_client_of_another_clusters_gate(
    gate: Installation, node_gateways: Callable[[str], NodeGateways], kubectl: Kubectl, nodes: list[str], backend: Sink
) -> None:
    """Two installations in one cluster. Forged attributes of pods are replaced twice; the gate's values arrive."""
    edge = node_gateways("far")
    gate.acme()
    gate.globex()
    address = f"{gate.address()}:4317"
    kubectl("create", "namespace", edge.namespace)
    secret = "otlp-gate-client"

    def certificate(client: str) -> None:
        made = json.loads(gate.run("client-config", client, "--for", "secret", "-o", "json").stdout)
        made["metadata"] = {"name": secret, "namespace": edge.namespace}
        kubectl.apply(made)

    certificate("acme")
    remote = {"endpoint": address, "serverName": "localhost", "clientSecret": secret}
    edge.configure({"gate": remote})
    edge.installation.apply()
    sender = edge.ready_sender("team-a", nodes[0])
    backend.rest()
    assert sender.sent("from far", attributes=(attribute("tenant.id", "b"),))
    assert arrival(backend, "from far")["tenant.id"] == "acme"

    before = edge.uids()
    certificate("globex")
    # A change of the pod makes the kubelet update the Secret's files.
    pods = [pod["metadata"]["name"] for pod in edge.pods().values()]
    kubectl("annotate", "pods", *pods, "-n", edge.namespace, "looked-at=again")

    def renewed() -> bool:
        # The certificate is read when a connection is opened.
        kill(kubectl, *gate.proxies())
        wait_until(lambda: gate.json("status")["ready"], "the gate is ready")
        # A connection to the killed pod may hang for 20 s before the exporter opens another one.
        return sender.sent("renewed") and arrival(backend, "renewed", 60)["tenant.id"] == "globex"

    wait_until(renewed, "the new certificate is used")
    assert edge.uids() == before, "a pod was restarted"


def test_a_missing_client_secret_is_named(node_gateways: Callable[[str], NodeGateways], kubectl: Kubectl) -> None:
    edge = node_gateways("lacking")
    edge.configure({"gate": {"endpoint": "gate.example.com:4317", "clientSecret": "nowhere"}})
    output = edge.installation.run("apply", code=1).stderr
    assert "nodeLocal.export.gate.clientSecret" in output, output
    assert "there is no secret/nowhere in namespace lacking-node" in output, output
    assert "`kubectl create namespace lacking-node`" in output, output
    assert not kubectl.attempt("get", "namespace", edge.namespace).stdout, "nothing is changed"
    checks = {check["subject"]: check for check in edge.installation.json("doctor", code=1)["checks"]}
    assert checks["nodeLocal.export.gate.clientSecret"]["verdict"] == "fail", checks
