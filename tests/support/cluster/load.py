"""Steady load, and a comparison of the acknowledged spans with those that arrived."""

import itertools
import threading
import time
from dataclasses import dataclass
from typing import Self

import grpc

from support.client import Identity, secure_channel
from support.cluster.installation import Installation, wait_until
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

# Seconds for each export.
DEADLINE = 5


@dataclass
class Outcome:
    """Numbers of spans."""

    acknowledged: int
    lost: int
    # Arrived without the tenant's attributes.
    unattributed: int
    failed: int
    # The longest time between two acknowledgements, in seconds.
    gap: float

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {self.lost} of them lost, {self.unattributed} unattributed, "
            f"{self.failed} failed, {self.gap:.1f} s without service"
        )

    @property
    def ok(self) -> bool:
        """Whether nothing acknowledged was lost, and nothing arrived unattributed."""
        return not self.lost and not self.unattributed


class SteadyLoad:
    """Sends one span after the other from several threads, and records which were acknowledged, and when."""

    workers = 16

    def __init__(self, backend: Sink, channel: grpc.Channel, tenant: str) -> None:
        backend.rest()
        self.backend = backend
        self.tenant = tenant
        self.acknowledged: list[tuple[float, str]] = []
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._channels: list[grpc.Channel] = []
        self.use(channel)
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), daemon=True) for worker in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()

    def use(self, channel: grpc.Channel) -> None:
        """Continues with another connection."""
        self._channels.append(channel)
        self._export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)

    def _run(self, worker: int) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            name = f"span {id(self)} {worker} {number}"
            try:
                self._export(traces(name), timeout=DEADLINE, wait_for_ready=True)
                self.acknowledged.append((time.monotonic(), name))
            except grpc.RpcError as error:
                self.failed.append(error.code().name)
            time.sleep(0.01)

    def wait_for(self, count: int = 300) -> None:
        """Waits until this many more spans are acknowledged."""
        before = len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) > before + count, f"{count} more spans are acknowledged")

    def __enter__(self) -> Self:
        self.wait_for(200)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for channel in self._channels:
            channel.close()

    def outcome(self, timeout: float = 0) -> Outcome:
        """Stops, and compares the acknowledged spans with those that arrive within `timeout` seconds: some may be in a
        queue."""
        self.stop()
        missing, unattributed, until = {name for _, name in self.acknowledged}, 0, time.monotonic() + timeout
        while True:
            for received in self.backend.rest():
                missing.difference_update(received.names() if received.accepted else ())
                unattributed += sum(one.get("tenant.id") != self.tenant for one in received.resources())
            if not missing or time.monotonic() > until:
                break
            time.sleep(0.1)
        times = sorted(when for when, _ in self.acknowledged)
        gap = max((after - before for before, after in itertools.pairwise(times)), default=0)
        return Outcome(len(self.acknowledged), len(missing), unattributed, len(self.failed), gap)


class GateLoad(SteadyLoad):
    """Steady load through a gate, as its client acme."""

    # The gate's Collector collects a batch for 200 ms before it answers.
    workers = 48

    def __init__(self, gate: Installation, backend: Sink) -> None:
        # Pods that a test before has killed may not be ready yet.
        wait_until(lambda: gate.connect(gate.acme()), "the gate accepts connections").socket.close()
        self.address = f"{gate.address()}:4317"
        super().__init__(backend, self.channel(gate.acme()), "acme")

    def channel(self, identity: Identity) -> grpc.Channel:
        return secure_channel(self.address, identity.credentials())

    def reconnect(self, identity: Identity) -> None:
        """Continues with another connection, like a client that is restarted with a new certificate."""
        self.use(self.channel(identity))
