"""A client that floods a gate."""

import multiprocessing
import time

from support.client import Http2, Identity, frame
from support.protobuf import traces
from support.sink import GRPC_PATHS


class Flood:
    """A client that sends as fast as it can and ignores retry delays.

    It has a process for each connection, so that it does not slow the test's own process.
    """

    CONNECTIONS = 4

    def __init__(self, address: str, identity: Identity) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._stop, self._begun, self._throttled = spawn.Event(), spawn.Semaphore(0), spawn.Value("q", 0)
        shared = (address, identity, self._stop, self._begun, self._throttled)
        self._processes = [spawn.Process(target=flood, args=shared, daemon=True) for _ in range(self.CONNECTIONS)]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            assert self._begun.acquire(timeout=60), "a connection was not throttled"
        self._since = time.monotonic()
        self._before = self._throttled.value

    def __enter__(self) -> "Flood":
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._since
        self.count = self._throttled.value - self._before
        self._stop.set()
        for process in self._processes:
            process.join(30)

    def throttled(self) -> int:
        """The number of throttled requests. Asserts that each had a retry delay, and that nothing else failed."""
        assert [process.exitcode for process in self._processes] == [0] * self.CONNECTIONS
        return self.count


def flood(address: str, identity: Identity, stop, begun, throttled) -> None:
    message, first = frame(traces(*(f"flood {number}" for number in range(15)))), True
    with Http2(address, identity) as connection:
        while not stop.is_set():
            answer = connection.grpc(GRPC_PATHS["traces"], message)
            if answer.grpc_status == 0:
                continue
            assert answer.grpc_status == 8 and answer.retry_infos()
            with throttled.get_lock():
                throttled.value += 1
            if first:
                begun.release()
                first = False
