"""The durable queue of the Collector that otlp-gate deploys, in a real Collector: what it has acknowledged arrives."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from support.collector import OTELCOL, Collector, rendered
from support.config import any_client
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(not OTELCOL, reason="no Collector")
DOWN = (grpc.StatusCode.UNAVAILABLE, 503)


class Ledger:
    """Sends spans with names of their own until `stop`: which were acknowledged, and why others were not."""

    def __init__(self, port: int, senders: int = 4):
        self.acknowledged: list[str] = []
        self.rejected: dict[grpc.StatusCode, str] = {}
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(port, it), daemon=True) for it in range(senders)]
        for thread in self._threads:
            thread.start()

    def _send(self, port: int, sender: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            export = channel.unary_unary(GRPC_PATHS["traces"])
            for number in range(1_000_000):
                if self._stopped.is_set():
                    return
                names = [f"{sender}-{number}-{it}" for it in range(50)]
                try:
                    export(traces(*names), timeout=20)
                    self.acknowledged += names
                except grpc.RpcError as error:
                    self.rejected[error.code()] = error.details()
                    time.sleep(0.05)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, count: int) -> None:
        """Waits until so many more spans are acknowledged."""
        count += len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) >= count, f"{count} spans are acknowledged", 30)


@pytest.fixture
def backend() -> Iterator[Sink]:
    sink = Sink().start()
    yield sink
    sink.stop()


@pytest.fixture
def collector(tmp_path: Path, backend: Sink) -> Iterator[Collector]:
    """A Collector with the rendered configuration, except for the folder of its queue."""
    exporter = {"endpoint": f"127.0.0.1:{backend.grpc_port}", "tls": {"insecure": True}}
    durable = {"queue": "durable", "exporters": {"otlp_grpc": exporter}}
    file = rendered(tmp_path, any_client("a.example").replace(backend={"collector": durable}))
    folder = {f"extensions::file_storage::{key}": tmp_path / "queue" for key in ("directory", "compaction::directory")}
    fast = {"exporters::otlp_grpc::retry_on_failure::max_interval": "1s"}
    # Two rejected batches fill it.
    small = {"exporters::otlp_grpc::sending_queue::queue_size": 2_000_000}
    collector = Collector(tmp_path, file, **folder, **fast, **small)
    yield collector
    collector.process.kill()
    collector.process.wait(10)


def lost(ledger: Ledger, backend: Sink) -> set[str]:
    """The acknowledged spans that do not arrive."""
    missing = set(ledger.acknowledged)
    deadline = time.monotonic() + 60
    while missing and time.monotonic() < deadline:
        for received in backend.rest():
            if received.accepted:
                missing -= set(received.names())
        time.sleep(0.05)
    return missing


def test_nothing_acknowledged_is_lost_when_the_collector_is_killed(collector: Collector, backend: Sink) -> None:
    ledger = Ledger(collector.grpc_port)
    for _ in range(3):
        ledger.wait_for(2000)
        # What is queued, and what is being sent.
        backend.fail = DOWN
        ledger.wait_for(2000)
        collector.kill()
        collector.start()
        ledger.wait_for(500)
        backend.fail = None
    ledger.stop()
    assert len(ledger.acknowledged) > 10_000
    assert lost(ledger, backend) == set()


def test_a_full_queue_rejects_as_retryable_and_loses_nothing(collector: Collector, backend: Sink) -> None:
    backend.fail = DOWN
    ledger = Ledger(collector.grpc_port)
    wait_until(lambda: ledger.rejected, "the queue is full", 60)
    assert ledger.rejected == {grpc.StatusCode.UNAVAILABLE: "sending queue is full"}
    # The files are larger than what is in them, by less than the volume is larger than the queues.
    assert sum(file.stat().st_size for file in (collector.log.parent / "queue").iterdir()) < 4 * 4_000_000
    backend.fail = None
    ledger.wait_for(1000)
    ledger.stop()
    assert lost(ledger, backend) == set()


def test_a_stopped_collector_keeps_its_queue(collector: Collector, backend: Sink) -> None:
    backend.fail = DOWN
    ledger = Ledger(collector.grpc_port)
    ledger.wait_for(2000)
    collector.stop()
    ledger.stop()
    backend.fail = None
    collector.start()
    assert lost(ledger, backend) == set()
