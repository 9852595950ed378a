"""The memory of one worker stays within the limit in docs/concepts/isolation.md, also when clients or the
backend do not read."""

import gzip
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import hpack
import pytest

from support.client import Http2, Identity, frame
from support.config import any_client
from support.counting_backend import CountingBackend
from support.gate import Certificates, Gate
from support.other_client import MIB, EnvoyMemory, OtherClient
from support.protobuf import field, request, resource, scope, span, traces
from support.sink import GRPC_PATHS, HTTP_PATHS
from support.waiting import wait_until

CONFIG = any_client("memory.example")
# In MiB, by the default limits: requests that are held (`held`), messages that are forwarded (twice `inflated`), data
# that waits to be read, and the buffers for inflating one message.
LIMIT = 64 + 128 + 16 + 128
PATHS = {"grpc": (GRPC_PATHS["traces"], "application/grpc"), "http": (HTTP_PATHS["traces"], "application/x-protobuf")}


class NeverReading(Http2):
    """A client that sends thousands of requests and does not read the answers."""

    def __init__(self, address: str, identity: Identity, *, window: int = 65535):
        super().__init__(address, identity)
        self.await_settings()
        self.next = self.h2.get_next_available_stream_id()
        # SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, 6.5.2) limits the body of an answer.
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
    """Encoded headers of a request with this many bytes of padding. They do not change the peer's dynamic table."""
    path, content_type = PATHS[kind]
    headers = {":method": "POST", ":scheme": "https", ":path": path, ":authority": "localhost"}
    headers |= {"content-type": content_type, "te": "trailers"} | more
    headers |= {f"x-{number}": "y" * (size // 4) for number in range(4)}
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in headers.items()], huffman=False)


@pytest.fixture
def identity(certificates: Certificates) -> Callable[[str], Identity]:
    return lambda word: certificates.client(f"memory-{word}", "--spiffe", f"spiffe://memory.example/{word}")


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a backend that accepts connections and never reads."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        yield server.getsockname()[1]


BODY = frame(traces("a"))
LARGE = gzip.compress(request(resource(), scope(span("large", field(1999, bytes(4 * MIB))))))
# The headers and the body of each request, and whether the body ends.
CASES = {
    "large headers": (head("grpc", 15_000), BODY, True),
    "headers that are too large": (head("grpc", 15_900), BODY, True),
    "bodies that do not end": (head("grpc", 15_000), BODY, False),
    "large bodies": (head("grpc", 100, **{"grpc-encoding": "gzip"}), frame(LARGE, compressed=True), True),
    "large headers over HTTP": (head("http", 15_000), BODY[5:], True),
    "invalid messages": (head("http", 15_000), b"\xff", True),
}


def attack(gate: Gate, identity: Callable, case: str, window: int, stack: ExitStack) -> EnvoyMemory:
    """Two clients send thousands of requests each. Returns when Envoy has handled all that it reads."""
    headers, body, end = CASES[case]
    memory = EnvoyMemory(gate)
    sent, each = 0, 700 if len(body) < 4000 else 100
    for word in ("a", "b"):
        for _ in range(6):
            client = stack.enter_context(NeverReading(gate.grpc, identity(word), window=window))
            # Envoy closes a connection, or stops reading from it, when too many answers wait for its client.
            with suppress(OSError):
                for _ in range(each):
                    client.send(headers, body, end=end)
                    sent += 1
    marker = stack.enter_context(Http2(gate.grpc, identity("marker")))

    def handled() -> int:
        """The number of requests, after the only worker has gone through its event loop many times."""
        for _ in range(50):
            marker.grpc("/nothing", b"")
        return sum(gate.stats("http.grpc.downstream_rq_total").values()) - 50 * len(counts)

    counts = [-1]
    wait_until(lambda: counts.append(handled()) or counts[-1] == counts[-2], "no more requests arrive", timeout=60)
    print(f"{sent} requests sent, {counts[-1]} handled")
    return memory


@pytest.mark.parametrize("case", CASES)
def test_a_silent_backend_costs_a_bounded_amount_of_memory(
    start: Callable[..., Gate], silent: int, identity: Callable, case: str
) -> None:
    gate = start(CONFIG, "--concurrency", 1, backend=silent).ready()
    with ExitStack() as stack:
        assert attack(gate, identity, case, 65535, stack).growth() < LIMIT


@pytest.mark.parametrize("case", CASES)
def test_clients_that_never_read_cost_a_bounded_amount_of_memory(
    start: Callable[..., Gate], counting_backend: CountingBackend, identity: Callable, case: str
) -> None:
    gate = start(CONFIG, "--concurrency", 1, backend=counting_backend.port).ready()
    with ExitStack() as stack:
        other = OtherClient(gate, identity("other"))
        memory = attack(gate, identity, case, 0, stack)
        with other:
            pass
        assert memory.growth() < LIMIT
