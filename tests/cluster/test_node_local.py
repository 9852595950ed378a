"""Node-local gateways accept telemetry from the pods of their node only, and add where it comes from."""

import json
import re
from collections.abc import Callable

import grpc
import pytest

from support.cluster.installation import Kubectl, wait_until
from support.cluster.node_gateways import NAME, NodeGateways, arrival, outside
from support.cluster.pods import IMAGE, Sender
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, Sink


@pytest.fixture(scope="module")
def edge(node_gateways: Callable[[str], NodeGateways], backend: Sink) -> NodeGateways:
    """Node-local gateways with default settings."""
    edge = node_gateways("edge")
    edge.configure(outside(backend))
    edge.installation.apply()
    return edge


def test_a_pod_reaches_only_the_gateway_of_its_node(edge: NodeGateways, nodes: list[str], backend: Sink) -> None:
    for node in nodes:
        sender = edge.ready_sender("team-a", node)
        before = {it: edge.accepted(it) for it in nodes}
        for number in range(10):
            assert sender.sent(f"{node} {number}")
        after = {it: edge.accepted(it) for it in nodes}
        assert {it: after[it] - before[it] for it in nodes} == {it: 10 * (it == node) for it in nodes}


def test_forged_attributes_of_a_pod_are_replaced(edge: NodeGateways, nodes: list[str], backend: Sink) -> None:
    sender = edge.ready_sender("team-a", nodes[0])
    keys = ("tenant.id", "k8s.namespace.name", "k8s.pod.name", "otlp_gate.client", "otlp_gate.verify")
    forged = [attribute(key, value) for key in keys for value in ("b", "c", "d")]
    backend.rest()
    assert sender.sent("claims", attributes=tuple(forged))
    resource = arrival(backend, "claims")
    seen = {key: resource.get(key) for key in (*keys, "k8s.node.name", "service.name")}
    assert seen == {
        "tenant.id": "a",
        "k8s.namespace.name": "team-a",
        "k8s.pod.name": sender.name,
        "otlp_gate.client": "a",
        "otlp_gate.verify": None,
        "k8s.node.name": nodes[0],
        "service.name": "test",
    }


def test_a_pod_that_matches_no_rule_is_unattributed(edge: NodeGateways, nodes: list[str], backend: Sink) -> None:
    sender = edge.ready_sender("elsewhere", nodes[0])
    backend.rest()
    assert sender.sent("unattributed", attributes=(attribute("tenant.id", "a"), attribute("tenant.id", "b")))
    resource = arrival(backend, "unattributed")
    assert "tenant.id" not in resource and resource["k8s.namespace.name"] == "elsewhere"


def test_senders_that_are_no_pods_of_the_node_are_rejected(
    edge: NodeGateways, kubectl: Kubectl, nodes: list[str]
) -> None:
    here, there = nodes
    inside = edge.ready_sender("team-a", here)
    address = f"{edge.pods()[here]['status']['podIP']}:4317"
    before = edge.accepted(here)
    outside = Sender.start(kubectl, "team-a", there, address)
    try:
        assert outside.send("over there") == grpc.StatusCode.UNAVAILABLE
    finally:
        outside.stop()
    # A sender that is no pod, such as this machine, is rejected with the reason.
    with grpc.insecure_channel(address) as channel:
        export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
        answer = export.future(traces("no pod"), timeout=10, wait_for_ready=True)
        assert answer.code() == grpc.StatusCode.UNAVAILABLE and "unknownSenders" in answer.details(), answer.details()
    assert edge.accepted(here) == before
    assert inside.sent("still")


@pytest.mark.alone
def test_a_pod_that_has_ended_is_removed_from_the_table_of_pods(
    edge: NodeGateways, kubectl: Kubectl, nodes: list[str]
) -> None:
    """A pod of a Job stays after its end, but its address may be given to another pod. The test counts the pods of the
    node, so no other test may create any."""
    node, metadata = nodes[1], {"name": "ended", "namespace": "team-a"}
    # The table has this pod, since it can send.
    edge.ready_sender("team-a", node)
    before = known(edge, node)
    receiver = {"receivers": {"otlp": {"protocols": {"grpc": {}}}}, "exporters": {"nop": {}}}
    pipelines = {"traces": {"receivers": ["otlp"], "exporters": ["nop"]}}
    config = json.dumps({**receiver, "service": {"pipelines": pipelines}})
    container = {"name": "ended", "image": IMAGE, "args": [f"--config=yaml:{config}"]}
    spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container]}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    pod = lambda: kubectl.json("get", "pod", "ended", "-n", "team-a")["status"]
    try:
        wait_until(lambda: known(edge, node) > before, "the gateway has the pod in its table")
        # The kubelet ends a pod that has been active for longer than this.
        kubectl("patch", "pod", "ended", "-n", "team-a", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
        wait_until(lambda: pod()["phase"] in ("Succeeded", "Failed"), "the pod has ended")
        assert pod()["podIP"]
        # The Collector updates its table every 30 s.
        wait_until(lambda: known(edge, node) <= before, "the pod is removed from the table")
    finally:
        kubectl("delete", "pod", "ended", "-n", "team-a", "--wait=false")


def known(edge: NodeGateways, node: str) -> int:
    """The size of a gateway's table of pods. Each pod is in it by address and by UID."""
    (number,) = re.findall(r"^otelcol_otelsvc_k8s_pod_table_size\S* (\S+)$", edge.metrics(node), re.M)
    return int(float(number))


def test_pods_of_a_node_without_a_gateway_do_not_reach_another_nodes(
    edge: NodeGateways, kubectl: Kubectl, nodes: list[str]
) -> None:
    here, there = nodes
    sender = edge.ready_sender("team-a", there)
    patch = ("patch", "daemonset", NAME, "-n", edge.namespace, "--type=json", "-p")
    only = f'[{{"op":"add","path":"/spec/template/spec/nodeSelector","value":{{"kubernetes.io/hostname":"{here}"}}}}]'
    kubectl(*patch, only)
    try:
        wait_until(lambda: set(edge.pods()) == {here}, "the other node has no gateway")
        wait_until(lambda: not sender.sent("detour"), "its pods cannot send")
        before = edge.accepted(here)
        assert [sender.sent("detour") for _ in range(3)] == [False] * 3
        assert edge.accepted(here) == before
    finally:
        kubectl(*patch, '[{"op":"remove","path":"/spec/template/spec/nodeSelector"}]')
        edge.installation.apply()
    wait_until(lambda: sender.sent("back"), "the pod can send")
