"""Steady load on a gate, and the ledger of what was acknowledged."""

import itertools
import threading
import time
from dataclasses import dataclass
from typing import Self

import grpc

from client import Identity, secure_channel
from deployed import Deployed, eventually
from sink import GRPC_PATHS, Sink
from wire import traces

# As exporters do.
DEADLINE = 5


@dataclass
class Ledger:
    """What became of what was sent."""

    acknowledged: int
    lost: int
    unstamped: int
    refused: int
    # The longest time between two acknowledgements, in seconds.
    gap: float

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {self.lost} of them lost, {self.unstamped} unstamped, "
            f"{self.refused} refused, {self.gap:.1f} s without service"
        )

    @property
    def kept(self) -> bool:
        """Nothing that was acknowledged is lost, and nothing arrived unstamped."""
        return not self.lost and not self.unstamped


class Steady:
    """Sends one span after the other, some at a time, and keeps the names of those that were acknowledged, and when."""

    workers = 16

    def __init__(self, backend: Sink, channel: grpc.Channel, tenant: str) -> None:
        backend.rest()
        self.backend = backend
        self.tenant = tenant
        self.acknowledged: list[tuple[float, str]] = []
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._channels: list[grpc.Channel] = []
        self.use(channel)
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), daemon=True) for worker in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()

    def use(self, channel: grpc.Channel) -> None:
        """On with another connection."""
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
                self.refused.append(error.code().name)
            time.sleep(0.01)

    def flow(self, count: int = 300) -> None:
        """Waits until so many more are acknowledged."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) > before + count)

    def __enter__(self) -> Self:
        self.flow(200)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for channel in self._channels:
            channel.close()

    def ledger(self, patience: float = 0) -> Ledger:
        """Stops, and compares with what arrived, of which every resource must be its tenant's. What is in a queue may take
        so many seconds to arrive."""
        self.stop()
        missing, unstamped, until = {name for _, name in self.acknowledged}, 0, time.monotonic() + patience
        while True:
            for received in self.backend.rest():
                missing.difference_update(received.names() if received.taken else ())
                unstamped += sum(one.get("tenant.id") != self.tenant for one in received.resources())
            if not missing or time.monotonic() > until:
                break
            time.sleep(0.1)
        times = sorted(when for when, _ in self.acknowledged)
        gap = max((after - before for before, after in itertools.pairwise(times)), default=0)
        return Ledger(len(self.acknowledged), len(missing), unstamped, len(self.refused), gap)


class Load(Steady):
    """The same through a gate, as its client acme."""

    # The gate's Collector gathers for 200 ms before it answers.
    workers = 48

    def __init__(self, gate: Deployed, backend: Sink) -> None:
        # What was killed before may still be on its way back.
        eventually(lambda: gate.connect(gate.acme()).socket.close() or True)
        self.address = f"{gate.address()}:4317"
        super().__init__(backend, self.channel(gate.acme()), "acme")

    def channel(self, identity: Identity) -> grpc.Channel:
        return secure_channel(self.address, identity.credentials())

    def reconnect(self, identity: Identity) -> None:
        """On with another connection, as a client does that is started anew with a new certificate."""
        self.use(self.channel(identity))
