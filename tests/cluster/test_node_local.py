"""The gateway on every node: for its own node's pods, whose telemetry says where they are."""

import re
import time
from collections.abc import Callable

import grpc
import pytest

from deployed import Kubectl, eventually
from on_nodes import NAME, OnNodes, arrival, outside
from pods import IMAGE, Sender
from sink import GRPC_PATHS, Sink
from wire import attribute, traces


@pytest.fixture(scope="module")
def edge(on_nodes: Callable[[str], OnNodes], backend: Sink) -> OnNodes:
    """Gateways with what they have by default."""
    edge = on_nodes("edge")
    edge.configure(outside(backend))
    edge.place.apply()
    return edge


def test_a_pod_reaches_the_gateway_on_its_own_node_and_no_other(edge: OnNodes, nodes: list[str], backend: Sink) -> None:
    for node in nodes:
        sender = edge.sender("team-a", node)
        eventually(lambda: sender.sent("warm"))
        before = {it: edge.accepted(it) for it in nodes}
        for number in range(10):
            assert sender.sent(f"{node} {number}")
        after = {it: edge.accepted(it) for it in nodes}
        assert {it: after[it] - before[it] for it in nodes} == {it: 10 * (it == node) for it in nodes}


def test_what_a_pod_claims_is_replaced_by_where_it_is(edge: OnNodes, nodes: list[str], backend: Sink) -> None:
    sender = edge.sender("team-a", nodes[0])
    eventually(lambda: sender.sent("warm"))
    keys = ("tenant.id", "k8s.namespace.name", "k8s.pod.name", "otlp_gate.client", "otlp_gate.verify")
    claims = [attribute(key, value) for key in keys for value in ("b", "c", "d")]
    backend.rest()
    assert sender.sent("claims", attributes=tuple(claims))
    resource = arrival(backend, "claims")
    seen = {key: resource.get(key) for key in (*keys, "k8s.node.name", "service.name")}
    assert seen == {
        "tenant.id": "a",
        "k8s.namespace.name": "team-a",
        "k8s.pod.name": sender.name,
        "otlp_gate.client": "a",
        "otlp_gate.verify": None,
        "k8s.node.name": nodes[0],
        "service.name": "by hand",
    }


def test_a_pod_of_no_rule_is_nobody(edge: OnNodes, nodes: list[str], backend: Sink) -> None:
    sender = edge.sender("elsewhere", nodes[0])
    eventually(lambda: sender.sent("warm"))
    backend.rest()
    assert sender.sent("nobody", attributes=(attribute("tenant.id", "a"), attribute("tenant.id", "b")))
    resource = arrival(backend, "nobody")
    assert "tenant.id" not in resource and resource["k8s.namespace.name"] == "elsewhere"


def test_who_dials_the_gateway_of_another_node_is_refused(edge: OnNodes, kubectl: Kubectl, nodes: list[str]) -> None:
    here, there = nodes
    inside = edge.sender("team-a", here)
    eventually(lambda: inside.sent("warm"))
    address = f"{edge.pods()[here]['status']['podIP']}:4317"
    before = edge.accepted(here)
    outside = Sender.start(kubectl, "team-a", there, address)
    try:
        assert outside.send("over there") == grpc.StatusCode.UNAVAILABLE
    finally:
        outside.stop()
    # Nor is whoever is no pod at all, such as this machine; the answer says why.
    with grpc.insecure_channel(address) as channel:
        export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
        answer = export.future(traces("no pod"), timeout=10, wait_for_ready=True)
        assert answer.code() == grpc.StatusCode.UNAVAILABLE and "unknownSenders" in answer.details(), answer.details()
    assert edge.accepted(here) == before
    assert inside.sent("still")


@pytest.mark.alone
def test_the_address_of_a_pod_that_has_ended_is_forgotten(edge: OnNodes, kubectl: Kubectl, nodes: list[str]) -> None:
    """The pod stays, as a Job's does, and its address is free for others. All pods of the node are counted, so no others may come."""
    node, metadata = nodes[1], {"name": "ended", "namespace": "team-a"}
    edge.sender("team-a", node)
    before = known(edge, node)
    container = {"name": "ended", "image": IMAGE, "args": ["--version"]}
    spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container]}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    try:
        pod = lambda: kubectl.json("get", "pod", "ended", "-n", "team-a")["status"]
        eventually(lambda: pod()["phase"] == "Succeeded")
        assert pod()["podIP"]
        # The Collector looks every 30 s.
        time.sleep(35)
        eventually(lambda: known(edge, node) <= before, 30)
    finally:
        kubectl("delete", "pod", "ended", "-n", "team-a", "--wait=false")


def known(edge: OnNodes, node: str) -> int:
    """How many pods the gateway of a node knows, each by its address and by its UID."""
    (number,) = re.findall(r"^otelcol_otelsvc_k8s_pod_table_size\S* (\S+)$", edge.metrics(node), re.M)
    return int(float(number))


def test_where_a_node_has_no_gateway_its_pods_are_refused_and_make_no_detour(
    edge: OnNodes, kubectl: Kubectl, nodes: list[str]
) -> None:
    here, there = nodes
    sender = edge.sender("team-a", there)
    eventually(lambda: sender.sent("warm"))
    patch = ("patch", "daemonset", NAME, "-n", edge.namespace, "--type=json", "-p")
    only = f'[{{"op":"add","path":"/spec/template/spec/nodeSelector","value":{{"kubernetes.io/hostname":"{here}"}}}}]'
    kubectl(*patch, only)
    try:
        eventually(lambda: set(edge.pods()) == {here})
        eventually(lambda: not sender.sent("detour"), 90)
        before = edge.accepted(here)
        assert [sender.sent("detour") for _ in range(3)] == [False] * 3
        assert edge.accepted(here) == before
    finally:
        kubectl(*patch, '[{"op":"remove","path":"/spec/template/spec/nodeSelector"}]')
        edge.place.apply()
    eventually(lambda: sender.sent("back"))
