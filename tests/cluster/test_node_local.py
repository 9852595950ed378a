"""The gateway on every node: for its own node's pods, whose telemetry says where they are, and what is lost when."""

import time
from collections.abc import Callable

import grpc
import pytest

from deployed import PROVIDER, Kubectl, eventually, kill
from load import Steady
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


MODES: dict[str, dict[str, str]] = {
    "in memory": {},
    "in memory, acknowledged when delivered": {"acknowledge": "delivered"},
    "durable": {"queue": "durable"},
}


@pytest.fixture(scope="module")
def kept(on_nodes: Callable[[str], OnNodes], backend: Sink) -> Callable[[str], OnNodes]:
    """The same gateways in one mode after the other."""
    edge = on_nodes("kept")
    current: list[str] = []

    def kept(mode: str) -> OnNodes:
        if current != [mode]:
            edge.configure(outside(backend), **MODES[mode])
            edge.place.apply()
            current[:] = [mode]
        return edge

    return kept


def restarted(edge: OnNodes, kubectl: Kubectl, node: str, _: Sink) -> None:
    before = edge.pods()[node]["metadata"]["uid"]
    kubectl("rollout", "restart", "daemonset", NAME, "-n", edge.namespace)
    kubectl("rollout", "status", "daemonset", NAME, "-n", edge.namespace, "--timeout=100s")
    assert edge.pods()[node]["metadata"]["uid"] != before


def killed(edge: OnNodes, kubectl: Kubectl, node: str, _: Sink) -> None:
    before = edge.pods()[node]["metadata"]
    kill(kubectl, before["name"], "-n", edge.namespace)
    eventually(lambda: (it := edge.pods().get(node)) and it["metadata"]["uid"] != before["uid"])
    kubectl("rollout", "status", "daemonset", NAME, "-n", edge.namespace, "--timeout=100s")


def backend_away(edge: OnNodes, _: Kubectl, __: str, backend: Sink) -> None:
    """For twenty seconds, then back."""
    backend.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    until = time.monotonic() + 20
    try:
        # What is refused is on its way again, so that it arrives more than once; the ledger counts names.
        eventually(lambda: time.monotonic() > until, 30)
    finally:
        backend.fail = None


FAULTS = {"restarted": restarted, "killed": killed, "backend away": backend_away}


@pytest.mark.skipif(PROVIDER != "istio", reason="it has nothing to do with who makes Gateways real")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mode", MODES)
def test_what_was_acknowledged_is_kept_as_the_mode_says(
    kept: Callable[[str], OnNodes], kubectl: Kubectl, nodes: list[str], backend: Sink, mode: str, fault: str
) -> None:
    edge = kept(mode)
    sender = edge.sender("team-a", nodes[0])
    eventually(lambda: sender.sent("warm"))
    with Steady(backend, sender.channel(), "a") as load:
        FAULTS[fault](edge, kubectl, nodes[0], backend)
        load.flow()
        ledger = load.ledger(patience=30)
    print(f"{mode}, {fault}: {ledger}")
    assert not ledger.unstamped
    # The only case in which the docs say that something is lost.
    assert not ledger.lost or (mode, fault) == ("in memory", "killed"), ledger
