"""Where the gateways on the nodes lead: to this gate's own Collector, and through the gate of another cluster."""

import json
from collections.abc import Callable

from client import frame
from deployed import Deployed, Kubectl, eventually, kill
from on_nodes import OnNodes, arrival
from sink import GRPC_PATHS, Sink
from wire import attribute, traces


def test_both_roads_lead_to_one_collector_and_one_tenant(
    on_nodes: Callable[[str], OnNodes], nodes: list[str], backend: Sink
) -> None:
    both = on_nodes("both")
    rules = [{"name": "acme", "match": {"namespace": "team-acme"}, "attributes": {"tenant.id": "acme"}}]
    both.place.change(lambda config: config.update(nodeLocal={"enabled": True, "clients": rules}))
    applied = both.place.apply()
    assert {part["name"] for part in applied["standing"]["parts"]} >= {"daemonset/otel-gateway-node", "filter"}
    assert {one["change"] for one in both.place.apply()["objects"]} == {"unchanged"}
    sender = both.sender("team-acme", nodes[1])
    eventually(lambda: sender.sent("warm"))
    backend.rest()
    forged = attribute("tenant.id", "globex")
    assert sender.sent("from a pod", attributes=(forged,))
    inside = arrival(backend, "from a pod")
    with both.place.connect(both.place.acme()) as connection:
        message = frame(traces("from outside", attributes=(forged,)))
        assert connection.grpc(GRPC_PATHS["traces"], message).grpc_status == 0
    outside = arrival(backend, "from outside")
    for resource in (inside, outside):
        assert (resource["tenant.id"], resource["otlp_gate.client"]) == ("acme", "acme")


def test_an_edge_cluster_is_one_client_of_anothers_gate(
    gate: Deployed, on_nodes: Callable[[str], OnNodes], kubectl: Kubectl, nodes: list[str], backend: Sink
) -> None:
    """Two installations in one cluster. What pods of the edge claim is replaced twice, and the gate has the last word."""
    edge = on_nodes("far")
    gate.acme(), gate.globex()
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
    edge.place.apply()
    sender = edge.sender("team-a", nodes[0])
    eventually(lambda: sender.sent("warm"))
    backend.rest()
    assert sender.sent("from far", attributes=(attribute("tenant.id", "b"),))
    assert arrival(backend, "from far")["tenant.id"] == "acme"

    before = edge.uids()
    certificate("globex")
    # The kubelet looks at a pod's Secrets when it looks at the pod.
    pods = [pod["metadata"]["name"] for pod in edge.pods().values()]
    kubectl("annotate", "pods", *pods, "-n", edge.namespace, "looked-at=again")

    def renewed() -> bool:
        # The certificate is shown when a connection begins.
        kill(kubectl, *gate.proxies())
        eventually(lambda: gate.json("status")["ready"])
        # A connection to the pod that was killed may hang for 20 s, before the exporter tries another one.
        return sender.sent("renewed") and arrival(backend, "renewed", 60)["tenant.id"] == "globex"

    assert eventually(renewed)
    assert edge.uids() == before, "nothing was restarted"


def test_what_an_edge_needs_is_told_where_it_is_not_there(on_nodes: Callable[[str], OnNodes]) -> None:
    edge = on_nodes("lacking")
    edge.configure({"gate": {"endpoint": "gate.example.com:4317", "clientSecret": "nowhere"}})
    said = edge.place.apply_fails('secret "nowhere" not found')
    assert "the gate is not up after 1 s" in said and 'secret "nowhere" not found' in said, said
