"""A client that floods a gate."""

import multiprocessing
import time

from client import Http2, Identity, frame
from sink import GRPC_PATHS
from wire import traces


class Flood:
    """A client that sends as fast as it can over several connections, and heeds nothing that it is told. It has processes of its
    own, so that it takes no time from the test's."""

    CONNECTIONS = 4

    def __init__(self, address: str, identity: Identity) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._stop, self._begun, self._refused = spawn.Event(), spawn.Semaphore(0), spawn.Value("q", 0)
        shared = (address, identity, self._stop, self._begun, self._refused)
        self._processes = [spawn.Process(target=flood, args=shared, daemon=True) for _ in range(self.CONNECTIONS)]
        for process in self._processes:
            process.start()
        for process in self._processes:
            assert self._begun.acquire(timeout=30), "no connection was refused anything"
        self._since = time.monotonic()
        self._before = self._refused.value

    def __enter__(self) -> "Flood":
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._since
        self.count = self._refused.value - self._before
        self._stop.set()
        for process in self._processes:
            process.join(30)

    def ended(self) -> int:
        """How many requests were refused meanwhile, each with a time to come again; and nothing else went wrong."""
        assert [process.exitcode for process in self._processes] == [0] * self.CONNECTIONS
        return self.count


def flood(address: str, identity: Identity, stop, begun, refused) -> None:
    message, begins = frame(traces(*(f"flood {number}" for number in range(15)))), True
    with Http2(address, identity) as connection:
        while not stop.is_set():
            answer = connection.grpc(GRPC_PATHS["traces"], message)
            if answer.grpc_status == 0:
                continue
            assert answer.grpc_status == 8 and answer.retry_infos()
            with refused.get_lock():
                refused.value += 1
            if begins:
                begun.release()
                begins = False
