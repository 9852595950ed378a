"""What an attack must not change: another client is served all the while, and Envoy's memory stays bounded."""

import threading
from collections import Counter
from pathlib import Path

from support.client import Http2, Identity, frame
from support.gate import Gate
from support.protobuf import field, request, resource, scope, span
from support.sink import GRPC_PATHS

MIB = 1 << 20


class OtherClient:
    """A client that sends one export after the other while the `with` block runs. At the end all of them must have
    been accepted. Its eight connections are spread over all workers."""

    def __init__(self, gate: Gate, identity: Identity, size: int = 1000):
        self.message = frame(request(resource(), scope(span("mine", field(1999, bytes(size))))))
        self.connections = [Http2(gate.grpc, identity) for _ in range(8)]
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._stopped.is_set():
            for connection in self.connections:
                try:
                    answer = connection.grpc(GRPC_PATHS["traces"], self.message)
                    self.sent += 1
                    self.answers[f"{answer.grpc_status} {answer.grpc_message}".strip()] += 1
                except Exception as error:
                    self.answers[repr(error)] += 1
                    return

    def __enter__(self) -> "OtherClient":
        for connection in self.connections:
            assert connection.grpc(GRPC_PATHS["traces"], self.message).grpc_status == 0
            self.sent += 1
        self._thread.start()
        return self

    def __exit__(self, failed: type | None, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for connection in self.connections:
            connection.socket.close()
        if not failed:
            served = self.answers.pop("0", 0)
            print(f"another client was served {served} times, otherwise: {dict(self.answers)}")
            assert served and not self.answers


class EnvoyMemory:
    """The resident memory of a gate's Envoy, in MiB."""

    def __init__(self, gate: Gate):
        self._status = Path(f"/proc/{gate.envoy_pid()}/status")
        # proc(5): resets the peak to the present value.
        Path(f"/proc/{gate.envoy_pid()}/clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def _read(self, name: str) -> float:
        (line,) = [line for line in self._status.read_text().splitlines() if line.startswith(name)]
        return int(line.split()[1]) / 1024

    def growth(self) -> float:
        """The peak since this object was made, less the value then."""
        growth = self._read("VmHWM") - self._before
        print(f"Envoy held {self._before:.0f} MiB, and at most {growth:.0f} MiB more")
        return growth
