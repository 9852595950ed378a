"""examples/tail-sampling with real Collectors: whole traces are together while sampling Collectors come and go."""

import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from support.collector import OTELCOL, Collector, extracted
from support.gate import otlp_gate
from support.ports import ReservedPort
from support.protobuf import attribute, field, request, resource, uint
from support.sink import GRPC_PATHS, Sink

pytestmark = pytest.mark.skipif(not OTELCOL, reason="no Collector")

EXAMPLE = Path(__file__).parents[1] / "examples/tail-sampling"
# What the example says, and what the test waits for.
DECISION_WAIT, SHORT = "decision_wait: 10s", "decision_wait: 3s"
SPANS = 4
# Go reads /etc/hosts anew after five seconds, and the Collector asks each second.
RESOLVED = 8


def can_unshare() -> bool:
    unshare = shutil.which("unshare")
    return (
        bool(unshare) and subprocess.run([unshare, "--map-root-user", "--mount", "true"], check=False).returncode == 0
    )


class Hosts:
    """A name for a changing list of addresses, in an /etc/hosts of its own."""

    def __init__(self, folder: Path, name: str):
        self.file, self.name = folder / "hosts", name
        self.file.write_text("")

    def set(self, *addresses: str) -> None:
        # The file stays the same one: it is mounted.
        self.file.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {self.name}\n" for address in addresses))

    def program(self, folder: Path) -> str:
        """The Collector, which reads this file as /etc/hosts."""
        script = folder / "otelcol"
        mount = f"mount --bind {self.file} /etc/hosts"
        command = f'exec unshare --map-root-user --mount sh -c \'{mount} && exec "$0" "$@"\' {OTELCOL} "$@"'
        script.write_text(f"#!/bin/sh\n{command}\n")
        script.chmod(0o755)
        return str(script)


class Sampling:
    """The sampling Collectors of the example, and the gate's Collector in front of them."""

    def __init__(self, folder: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.sink = folder, sink
        self.hosts = Hosts(folder, "sampling.test")
        example = extracted(EXAMPLE / "sampling.yaml", folder / "sampling.yaml")
        text = example.read_text()
        assert DECISION_WAIT in text
        example.write_text(text.replace(DECISION_WAIT, SHORT))
        self.config = example
        with ReservedPort() as port:
            self.port = port.number
        self.replicas: dict[str, Collector] = {}
        for address in ("127.0.0.11", "127.0.0.12"):
            self.add(address)
        gate = EXAMPLE / "otlp-gate.yaml"
        otlp_gate("-f", gate, "render", "--out", folder / "rendered")
        rendered = extracted(folder / "rendered/configmap-otel-gateway-collector.yaml", folder / "gate.yaml")
        monkeypatch.setattr("support.collector.OTELCOL", self.hosts.program(folder))
        self.gate = Collector(
            folder,
            rendered,
            **{
                "exporters::loadbalancing::resolver::dns::hostname": self.hosts.name,
                "exporters::loadbalancing::resolver::dns::port": f'"{self.port}"',
            },
        )
        monkeypatch.undo()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.gate.grpc_port}")
        self.export = self.channel.unary_unary(GRPC_PATHS["traces"])

    def add(self, address: str) -> None:
        folder = self.folder / address
        folder.mkdir(exist_ok=True)
        self.replicas[address] = Collector(
            folder,
            self.config,
            **{
                "receivers::otlp::protocols::grpc::endpoint": f"{address}:{self.port}",
                "exporters::otlp_grpc::endpoint": f"127.0.0.1:{self.sink.grpc_port}",
                "exporters::otlp_grpc::compression": "none",
            },
        )
        self.hosts.set(*self.replicas)

    def send(self, trace: int, number: int) -> None:
        """One span of a trace in a request of its own. Even traces begin with an error. A client tries again."""
        failed = trace % 2 == 0 and number == 0
        status = field(15, uint(3, 2)) if failed else b""
        name = f"{trace}/{number}".encode()
        span = field(
            2, field(1, trace.to_bytes(16, "big")) + field(2, bytes([number + 1] * 8)) + field(5, name) + status
        )
        message = request(resource(attribute("service.name", "s")), field(2, span))
        for _ in range(100):
            try:
                self.export(message, timeout=10)
                return
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                time.sleep(0.1)
        raise AssertionError(f"{name!r} was not accepted")

    def send_part(self, traces: range, numbers: range) -> None:
        """Some spans of each trace, at the same time: an answer takes the time to gather a batch."""
        work = [(trace, number) for number in numbers for trace in traces]

        def some(first: int) -> None:
            for trace, number in work[first::32]:
                self.send(trace, number)

        threads = [threading.Thread(target=some, args=(first,)) for first in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def kept(self) -> Counter[int]:
        """How many spans of each trace have arrived at the backend by now."""
        names = [name for received in self.sink.rest() for name in received.names()]
        assert len(names) == len(set(names)), "a span arrived twice"
        return Counter(int(name.split("/")[0]) for name in names)

    def settled(self) -> Counter[int]:
        """The same when every trace has been decided, and nothing arrives any more."""
        time.sleep(6)
        kept = more = self.kept()
        while more:
            time.sleep(3)
            more = self.kept()
            kept += more
        return kept

    def stop(self) -> None:
        self.channel.close()
        for collector in (self.gate, *self.replicas.values()):
            collector.process.kill()
            collector.process.wait(10)


@pytest.fixture
def sampling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sampling]:
    if not can_unshare():
        pytest.skip("cannot give the Collector an /etc/hosts of its own")
    sink = Sink().start()
    sampling = Sampling(tmp_path, sink, monkeypatch)
    yield sampling
    sampling.stop()
    sink.stop()


def whole(traces: range) -> Counter[int]:
    """What must arrive of these traces: those with an error, with all spans."""
    return Counter({trace: SPANS for trace in traces if trace % 2 == 0})


# It waits for decisions and for the resolver, about 90 s.
@pytest.mark.timeout(300)
def test_whole_traces_stay_together_while_replicas_come_and_go(sampling: Sampling) -> None:
    both, rest = range(SPANS // 2), range(SPANS // 2, SPANS)

    # 1. Two replicas: every trace with an error arrives whole, no other does. Both replicas have some.
    first = range(1, 101)
    sampling.send_part(first, range(SPANS))
    assert sampling.settled() == whole(first)

    # 2. One more: traces of which a part was sent before may be split, those that begin afterwards are whole.
    split = range(101, 201)
    sampling.send_part(split, both)
    sampling.add("127.0.0.13")
    time.sleep(RESOLVED)
    after = range(201, 301)
    sampling.send_part(split, rest)
    sampling.send_part(after, range(SPANS))
    kept = sampling.settled()
    assert {trace: kept[trace] for trace in after if kept[trace]} == whole(after)
    torn = [trace for trace in split if trace % 2 == 0 and kept[trace] < SPANS]
    # The error is in the first part, so that part is kept in any case. Another replica drops the second part.
    assert all(kept[trace] == len(both) for trace in torn)
    assert 0 < len(torn) < 35, f"of 50 traces about a third moves to the third replica: {len(torn)}"

    # 3. One less, ended as Kubernetes does: first out of the Service, then stopped. Nothing is lost: what it holds is
    # decided at its end, and traces that begin afterwards are whole.
    held = range(301, 401)
    sampling.send_part(held, range(SPANS))
    gone = sampling.replicas.pop("127.0.0.12")
    sampling.hosts.set(*sampling.replicas)
    time.sleep(RESOLVED)
    gone.stop()
    after = range(401, 501)
    sampling.send_part(after, range(SPANS))
    assert sampling.settled() == whole(held) + whole(after)

    # 4. One is killed: what it has not decided yet is lost, whole traces of it. Clients' retries succeed when the
    # address is gone. They may take longer than a decision, so only traces that begin afterwards are certainly whole.
    decided = range(501, 601)
    sampling.send_part(decided, range(SPANS))
    assert sampling.settled() == whole(decided)
    held = range(601, 701)
    sampling.send_part(held, range(SPANS))
    killed = sampling.replicas.pop("127.0.0.13")
    killed.kill()
    sampling.hosts.set(*sampling.replicas)
    sampling.send_part(range(701, 751), range(SPANS))
    time.sleep(RESOLVED)
    after = range(751, 851)
    sampling.send_part(after, range(SPANS))
    kept = sampling.settled()
    lost = [trace for trace in held if trace % 2 == 0 and trace not in kept]
    assert 0 < len(lost) < 50, f"about a half was held by the killed one: {len(lost)}"
    assert {trace: kept[trace] for trace in held if kept[trace]} == {
        trace: SPANS for trace in held if trace % 2 == 0 and trace not in lost
    }
    assert {trace: kept[trace] for trace in after if kept[trace]} == whole(after)
