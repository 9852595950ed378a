"""What the gateways on the nodes keep of what they have answered, and what not, when something fails."""

import time
from collections.abc import Callable

import grpc
import pytest

from deployed import PROVIDER, Kubectl, eventually, kill
from load import Steady
from on_nodes import NAME, OnNodes, outside
from sink import Sink

pytestmark = pytest.mark.skipif(PROVIDER != "istio", reason="it has nothing to do with who makes Gateways real")

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
