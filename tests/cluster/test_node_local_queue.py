"""Which acknowledged telemetry node-local gateways keep when something fails, by the mode of their queue."""

import time
from collections.abc import Callable
from typing import ClassVar

import grpc
import pytest

from support.cluster.installation import PROVIDER, Kubectl, kill, wait_until
from support.cluster.load import SteadyLoad
from support.cluster.node_gateways import NAME, NodeGateways, outside
from support.sink import Sink

pytestmark = pytest.mark.skipif(PROVIDER != "istio", reason="it does not depend on the provider")


@pytest.fixture(scope="class")
def kept(request: pytest.FixtureRequest, node_gateways: Callable[[str], NodeGateways], backend: Sink) -> NodeGateways:
    """Node-local gateways with the settings of the class."""
    edge = node_gateways(f"kept-{request.cls.mode.replace(' ', '-')}")
    edge.configure(outside(backend), **request.cls.settings)
    edge.installation.apply()
    return edge


def restarted(edge: NodeGateways, kubectl: Kubectl, node: str, _: Sink) -> None:
    before = edge.pods()[node]["metadata"]["uid"]
    kubectl("rollout", "restart", "daemonset", NAME, "-n", edge.namespace)
    kubectl("rollout", "status", "daemonset", NAME, "-n", edge.namespace, "--timeout=100s")
    assert edge.pods()[node]["metadata"]["uid"] != before


def killed(edge: NodeGateways, kubectl: Kubectl, node: str, _: Sink) -> None:
    before = edge.pods()[node]["metadata"]
    kill(kubectl, before["name"], "-n", edge.namespace)
    replaced = lambda: (it := edge.pods().get(node)) and it["metadata"]["uid"] != before["uid"]
    wait_until(replaced, "the node has a new gateway")
    kubectl("rollout", "status", "daemonset", NAME, "-n", edge.namespace, "--timeout=100s")


def backend_unavailable(edge: NodeGateways, _: Kubectl, __: str, backend: Sink) -> None:
    """Unavailable for twenty seconds."""
    backend.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    try:
        # Rejected spans are sent again and arrive more than once. The outcome counts names.
        time.sleep(20)
    finally:
        backend.fail = None


FAULTS = {"restarted": restarted, "killed": killed, "backend unavailable": backend_unavailable}


class Mode:
    """The tests of one mode."""

    mode: str
    settings: ClassVar[dict[str, str]] = {}

    @pytest.mark.parametrize("fault", FAULTS)
    def test_acknowledged_spans_are_kept_as_documented(
        self, kept: NodeGateways, kubectl: Kubectl, nodes: list[str], backend: Sink, fault: str
    ) -> None:
        sender = kept.ready_sender("team-a", nodes[0])
        with SteadyLoad(backend, sender.channel(), "a") as load:
            FAULTS[fault](kept, kubectl, nodes[0], backend)
            load.wait_for()
            outcome = load.outcome(timeout=30)
        print(f"{self.mode}, {fault}: {outcome}")
        assert not outcome.unattributed
        # The only case with a documented loss.
        assert not outcome.lost or (self.mode, fault) == ("in memory", "killed"), outcome


class TestInMemory(Mode):
    mode = "in memory"


class TestInMemoryAcknowledgedWhenDelivered(Mode):
    mode = "delivered"
    settings: ClassVar = {"acknowledge": "delivered"}


class TestDurable(Mode):
    mode = "durable"
    settings: ClassVar = {"queue": "durable"}
