"""A capture of what nodes send and receive, in a cluster that the recipe started on this machine."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

# Writes the frames that contain an IPv4 address.
SNIFF = """
import socket, sys
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
address = bytes.fromhex(sys.argv[1])
print("capturing", file=sys.stderr, flush=True)
while True:
    frame = frames.recv(1 << 16)
    if address in frame[:64]:
        sys.stdout.buffer.write(frame)
        sys.stdout.buffer.flush()
"""


class Capture:
    """Captures the frames of one address at the network devices of all nodes, and of the links between them."""

    def __init__(self, folder: Path, address: str, nodes: int):
        self.files = [folder / f"{time.monotonic_ns()}-{number}" for number in range(1, nodes + 1)]
        self.processes = []
        for number, file in enumerate(self.files, 1):
            command = ["nsenter", f"--net=/run/netns/otlp-gate-{number}", "--", sys.executable, "-c", SNIFF]
            with file.open("wb") as output:
                self.processes.append(
                    subprocess.Popen(
                        [*command, socket.inet_aton(address).hex()], stdout=output, stderr=subprocess.PIPE, text=True
                    )
                )

    def __enter__(self) -> Self:
        for process in self.processes:
            assert process.stderr.readline() == "capturing\n"
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def of_each_node(self) -> list[bytes]:
        return [file.read_bytes() for file in self.files]
