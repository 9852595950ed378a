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


@pytest.fixture(scope="class")
def kept(request: pytest.FixtureRequest, on_nodes: Callable[[str], OnNodes], backend: Sink) -> OnNodes:
    """Gateways in the mode of the class."""
    edge = on_nodes(f"kept-{request.cls.mode.replace(' ', '-')}")
    edge.configure(outside(backend), **request.cls.settings)
    edge.place.apply()
    return edge


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


class Mode:
    """The tests of one mode, which differ from those of the others in nothing but its settings."""

    mode: str
    settings: dict[str, str] = {}

    @pytest.mark.parametrize("fault", FAULTS)
    def test_what_was_acknowledged_is_kept_as_the_mode_says(
        self, kept: OnNodes, kubectl: Kubectl, nodes: list[str], backend: Sink, fault: str
    ) -> None:
        sender = kept.sender("team-a", nodes[0])
        eventually(lambda: sender.sent("warm"))
        with Steady(backend, sender.channel(), "a") as load:
            FAULTS[fault](kept, kubectl, nodes[0], backend)
            load.flow()
            ledger = load.ledger(patience=30)
        print(f"{self.mode}, {fault}: {ledger}")
        assert not ledger.unstamped
        # The only case in which the docs say that something is lost.
        assert not ledger.lost or (self.mode, fault) == ("in memory", "killed"), ledger


class TestInMemory(Mode):
    mode = "in memory"


class TestInMemoryAcknowledgedWhenDelivered(Mode):
    mode = "delivered"
    settings = {"acknowledge": "delivered"}


class TestDurable(Mode):
    mode = "durable"
    settings = {"queue": "durable"}
