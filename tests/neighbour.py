"""What an attack must not change: another client is served all the while, and Envoy's memory stays within bounds."""

import threading
from collections import Counter
from pathlib import Path

from client import Http2, Identity, frame
from gate import Gate
from sink import GRPC_PATHS
from wire import field, request, resource, scope, span

MIB = 1 << 20


class Neighbour:
    """A well-behaved client on connections of its own, which both workers share; sends one export after the other."""

    def __init__(self, gate: Gate, identity: Identity, size: int = 1000):
        self.message = frame(request(resource(), scope(span("mine", field(1999, bytes(size))))))
        self.connections = [Http2(gate.grpc, identity) for _ in range(8)]
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.send)

    def send(self) -> None:
        while not self.stopped.is_set():
            for connection in self.connections:
                try:
                    answer = connection.grpc(GRPC_PATHS["traces"], self.message)
                    self.sent += 1
                    self.answers[f"{answer.grpc_status} {answer.grpc_message}".strip()] += 1
                except Exception as error:
                    self.answers[repr(error)] += 1
                    return

    def __enter__(self) -> "Neighbour":
        self.round()
        self.thread.start()
        return self

    def round(self) -> None:
        """One export over each connection, before the attack: all of them are good."""
        for connection in self.connections:
            assert connection.grpc(GRPC_PATHS["traces"], self.message).grpc_status == 0
            self.sent += 1

    def __exit__(self, failed: type | None, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        for connection in self.connections:
            connection.socket.close()
        if not failed:
            served = self.answers.pop("0", 0)
            print(f"another client was served {served} times, otherwise: {dict(self.answers)}")
            assert served and not self.answers


class Memory:
    """What Envoy holds, in MiB."""

    def __init__(self, gate: Gate):
        parent = gate.process.pid
        (self.envoy,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        # proc(5): from now on, the peak is that of what follows.
        Path(f"/proc/{self.envoy}/clear_refs").write_text("5")
        self.before = self.read("VmRSS")

    def read(self, what: str) -> float:
        lines = Path(f"/proc/{self.envoy}/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith(what)]
        return int(line.split()[1]) / 1024

    def grew(self) -> float:
        """By how much, at most, since this was made."""
        grew = self.read("VmHWM") - self.before
        print(f"Envoy held {self.before:.0f} MiB, and {grew:.0f} MiB more at most")
        return grew
