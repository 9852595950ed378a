"""What one worker holds of requests whose peers are slow or silent, on either side: no more than docs/concepts/identity-and-trust.md says."""

import gzip
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hpack
import pytest

from client import Http2, Identity, frame
from gate import Certificates, Gate
from neighbour import MIB, Memory, Neighbour
from quick import Quick
from sink import GRPC_PATHS, HTTP_PATHS
from volley import ready
from wire import field, request, resource, scope, span, traces

CONFIG = """\
apiVersion: otlp-gate/v1
gateway: {provider: istio, name: otel-gateway, namespace: otel, hostname: localhost}
backend: {collector: {}}
clients:
  - name: "{word}"
    match: {spiffe: "spiffe://memory.example/{word}"}
    attributes: {tenant.id: "{word}"}
"""
# By the default limits: what arrives (`held`), what is forwarded (twice `inflated`), what waits to be read, and what inflating one
# message takes beside it.
BOUND = 64 + 128 + 16 + 128
PATHS = {"grpc": (GRPC_PATHS["traces"], "application/grpc"), "http": (HTTP_PATHS["traces"], "application/x-protobuf")}


class Silent(Http2):
    """A client that sends requests by the thousand and reads nothing of what comes."""

    def __init__(self, address: str, identity: Identity, *, window: int = 65535):
        super().__init__(address, identity)
        ready(self)
        self.next = self.h2.get_next_available_stream_id()
        # SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, 6.5.2): how much of an answer's body may come.
        self.socket.sendall(b"\0\0\6\4\0\0\0\0\0" + struct.pack(">HI", 4, window))
        self.socket.settimeout(5)

    def send(self, head: bytes, body: bytes | None, *, end: bool = True) -> None:
        stream, self.next = self.next, self.next + 2
        frames = self.frame(1, 4 | (body is None), stream, head)
        if body is not None:
            frames += b"".join(self.frame(0, 0, stream, body[at : at + 16384]) for at in range(0, len(body), 16384))
            frames += self.frame(0, int(end), stream, b"")
        self.socket.sendall(frames)

    @staticmethod
    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(kind: str, size: int, **more: str) -> bytes:
    """The headers of a request, in a form that does not change what the peer remembers, with so many bytes of no use."""
    path, content_type = PATHS[kind]
    headers = {":method": "POST", ":scheme": "https", ":path": path, ":authority": "localhost"}
    headers |= {"content-type": content_type, "te": "trailers"} | more
    headers |= {f"x-{number}": "y" * (size // 4) for number in range(4)}
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in headers.items()], huffman=False)


@pytest.fixture
def identity(certificates: Certificates) -> Callable[[str], Identity]:
    return lambda word: certificates.client(f"memory-{word}", "--spiffe", f"spiffe://memory.example/{word}")


@pytest.fixture
def start(tmp_path: Path, certificates: Certificates) -> Iterator[Callable[[int], Gate]]:
    with ExitStack() as stack:

        def start(port: int) -> Gate:
            file = tmp_path / "otlp-gate.yaml"
            file.write_text(CONFIG)
            gate = Gate(file, certificates.folder, port, port, "--concurrency", 1).ready()
            stack.callback(gate.stop)
            return gate

        yield start


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a backend that takes connections, and never reads."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        yield server.getsockname()[1]


BODY = frame(traces("a"))
LARGE = gzip.compress(request(resource(), scope(span("large", field(1999, bytes(4 * MIB))))))
# What each request has for headers and body, and whether the body ends.
CASES = {
    "large headers": (head("grpc", 15_000), BODY, True),
    "headers that are too large": (head("grpc", 15_900), BODY, True),
    "bodies that do not end": (head("grpc", 15_000), BODY, False),
    "large bodies": (head("grpc", 100, **{"grpc-encoding": "gzip"}), frame(LARGE, compressed=True), True),
    "large headers over HTTP": (head("http", 15_000), BODY[5:], True),
    "invalid messages": (head("http", 15_000), b"\xff", True),
}


def attack(gate: Gate, words: list[str], identity: Callable, case: str, window: int, stack: ExitStack) -> Memory:
    """Two clients, each with thousands of requests; what Envoy holds when it has seen them all."""
    top, body, end = CASES[case]
    memory = Memory(gate)
    sent, each = 0, 700 if len(body) < 4000 else 100
    for word in words:
        for _ in range(6):
            client = stack.enter_context(Silent(gate.grpc, identity(word), window=window))
            try:
                for _ in range(each):
                    client.send(top, body, end=end)
                    sent += 1
            except OSError:
                # Envoy closes a connection, or does not read on, where too much waits for its client.
                pass
    deadline = time.monotonic() + 20
    seen, before = -1, -2
    while seen != before and time.monotonic() < deadline:
        # The requests are counted as they come; they have come when no more do.
        time.sleep(0.5)
        seen, before = sum(gate.stats("http.grpc.downstream_rq_total").values()), seen
    print(f"{sent} requests sent, {seen} seen")
    return memory


@pytest.mark.parametrize("case", CASES)
def test_a_silent_backend_costs_a_bounded_amount_of_memory(
    start: Callable, silent: int, identity: Callable, case: str
) -> None:
    gate = start(silent)
    with ExitStack() as stack:
        memory = attack(gate, ["a", "b"], identity, case, 65535, stack)
        assert memory.grew() < BOUND


@pytest.mark.parametrize("case", CASES)
def test_clients_that_never_read_cost_a_bounded_amount_of_memory(
    start: Callable, quick: Quick, identity: Callable, case: str
) -> None:
    gate = start(quick.port)
    with ExitStack() as stack:
        neighbour = Neighbour(gate, identity("neighbour"))
        memory = attack(gate, ["a", "b"], identity, case, 0, stack)
        with neighbour:
            pass
        assert memory.grew() < BOUND
