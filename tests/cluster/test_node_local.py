"""The gateway on every node: for its own node's pods, whose telemetry says where they are."""

from collections.abc import Callable

import pytest

from deployed import Kubectl, eventually
from on_nodes import NAME, OnNodes, arrival, outside
from sink import Sink
from wire import attribute


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
