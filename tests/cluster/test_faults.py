"""Parts fail, and are changed, under steady load: nothing that was acknowledged is lost, and nothing arrives unstamped."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from client import secure_channel
from deployed import CONTROL_PLANE, Deployed, Kubectl, eventually
from sink import GRPC_PATHS, Sink
from wire import traces

# As exporters do: some at once, each with a deadline. The Collector gathers for 200 ms before it answers.
DEADLINE, WORKERS = 5, 16


class Load:
    """Sends one span after the other, some at a time, and keeps the names of those that were acknowledged, and when."""

    def __init__(self, address: str, identity) -> None:
        self.channel = secure_channel(address, identity.credentials())
        self.acknowledged: list[tuple[float, str]] = []
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(worker,)) for worker in range(WORKERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, worker: int) -> None:
        export = self.channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
        for number in itertools.count():
            if self._stop.is_set():
                return
            name = f"span {id(self)} {worker} {number}"
            try:
                export(traces(name), timeout=DEADLINE, wait_for_ready=True)
                self.acknowledged.append((time.monotonic(), name))
            except grpc.RpcError as error:
                self.refused.append(error.code().name)
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.channel.close()

    def longest_gap(self) -> float:
        times = sorted(when for when, _ in self.acknowledged)
        return max(after - before for before, after in itertools.pairwise(times))


@pytest.fixture
def load(gate: Deployed, backend: Sink) -> Iterator[Load]:
    gate.connect(gate.acme()).socket.close()
    backend.rest()
    load = Load(f"{gate.address()}:4317", gate.acme())
    eventually(lambda: len(load.acknowledged) > 200, 60)
    yield load
    load.stop()


def ready(kubectl: Kubectl, *deployment: str) -> bool:
    """Whether the selected Deployments, of which there is one at least, have all their pods and no other."""
    found = kubectl.json("get", "deployments", *deployment)["items"]
    return bool(found) and all(
        one["status"].get("availableReplicas", 0) >= 1
        and not one["status"].get("unavailableReplicas")
        and one["status"].get("observedGeneration") == one["metadata"]["generation"]
        for one in found
    )


def kill(kubectl: Kubectl, *pods: str) -> None:
    kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--wait=false")


def control_plane() -> tuple[str, ...]:
    namespace, selector = CONTROL_PLANE
    return ("-n", namespace, "-l", selector)


def collector(gate: Deployed) -> tuple[str, ...]:
    return ("-n", gate.namespace, "-l", "app.kubernetes.io/name=opentelemetry-collector")


FAULTS: dict[str, Callable[[Deployed, Kubectl], object]] = {
    "gateway pod killed": lambda gate, kubectl: kill(kubectl, *gate.proxies()),
    "Collector pod killed": lambda gate, kubectl: kill(kubectl, *collector(gate)),
    "control plane killed": lambda gate, kubectl: kill(kubectl, *control_plane()),
    "policy changed": lambda gate, kubectl: (
        gate.change(lambda config: config["attributes"].update(changed="{name}")),
        gate.apply(),
    ),
    "server certificate rotated": lambda gate, kubectl: (gate.run("certs", "server", "--local", "--force"), gate.apply()),
    "gateway rolled": lambda gate, kubectl: kubectl("rollout", "restart", "deployment", *gate.proxies()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_acknowledged_is_lost(gate: Deployed, kubectl: Kubectl, backend: Sink, load: Load, fault: str) -> None:
    FAULTS[fault](gate, kubectl)
    for deployment in (control_plane(), gate.proxies(), collector(gate)):
        eventually(lambda: ready(kubectl, *deployment))
    before = len(load.acknowledged)
    eventually(lambda: len(load.acknowledged) > before + 300)
    load.stop()
    arrived, unstamped = set(), 0
    for received in backend.rest():
        arrived.update(received.names())
        unstamped += sum(one.get("tenant.id") != "acme" for one in received.resources())
    acknowledged = {name for _, name in load.acknowledged}
    print(
        f"{fault}: {len(acknowledged)} acknowledged, {len(acknowledged & arrived)} of them arrived, "
        f"{unstamped} unstamped, {len(load.refused)} refused, {load.longest_gap():.1f} s without service"
    )
    assert acknowledged <= arrived
    assert unstamped == 0
