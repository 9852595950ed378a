"""Everything that may change changes while clients send: nothing that was accepted is lost, and no worker starts anew."""

import itertools
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client import Http2, Identity, frame, refused
from conftest import CONFIG
from gate import Certificates, Gate
from sink import GRPC_PATHS, Sink
from test_reload import fingerprint
from wire import traces

TRACES = GRPC_PATHS["traces"]
RELOADS = 25


class Load:
    """A client that sends one numbered span after the other, over connections of its own that all workers share, and takes
    what it sends for lost unless it is acknowledged."""

    def __init__(self, address: str, identity: Identity, name: str, connections: int = 8):
        self.address, self.name = address, name
        self.identity = identity
        self.connections = [Http2(address, identity) for _ in range(connections)]
        self.acknowledged: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.trouble: list[str] = []
        self.again = threading.Event()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.send)

    def send(self) -> None:
        for number in itertools.count():
            for index, connection in enumerate(self.connections):
                if self.stopped.is_set():
                    return
                span = f"{self.name} {number} {index}"
                try:
                    answer = connection.grpc(TRACES, frame(traces(span)))
                except Exception as error:
                    self.trouble.append(repr(error))
                    return
                self.answers[answer.grpc_status] += 1
                if answer.grpc_status == 0:
                    self.acknowledged.add(span)
            if self.again.is_set():
                # As exporters do that read their certificate anew: a new connection, and then the old one goes.
                old = self.connections
                self.connections = [Http2(self.address, self.identity) for _ in old]
                for connection in old:
                    connection.socket.close()
                self.again.clear()

    def rounds(self, count: int = 2) -> None:
        """Waits until each connection has been answered so many times more."""
        answered = self.answers.total() + count * len(self.connections)
        while self.answers.total() < answered and not self.trouble:
            self.stopped.wait(0.005)

    def connect_anew(self) -> None:
        self.again.set()
        while self.again.is_set() and not self.trouble:
            self.stopped.wait(0.005)

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join(30)
        for connection in self.connections:
            connection.socket.close()


@contextmanager
def load(gate: Gate, identity: Identity, name: str) -> Iterator[Load]:
    load = Load(gate.grpc, identity, name)
    load.thread.start()
    try:
        load.rounds()
        yield load
    finally:
        load.stop()


class Life:
    """What shows whether Envoy, a worker's VM or the VM that they are copied from started anew. Envoy tries each policy that it has
    not seen yet in one VM more, which it then drops."""

    def __init__(self, gate: Gate):
        self.gate = gate
        self.before = self.look()

    def look(self) -> dict[str, int]:
        stats = self.gate.stats("v8.(active|created)$|vm_reload|server.hot_restart_epoch")
        assert {"wasm.envoy.wasm.runtime.v8.active", "wasm.envoy.wasm.runtime.v8.created"} <= stats.keys()
        return stats

    def goes_on(self, policies: int = 0) -> None:
        """Asserts that nothing did, while so many new policies came."""
        expected = dict(self.before)
        expected["wasm.envoy.wasm.runtime.v8.created"] += policies
        assert self.look() == expected


def arrived(sink: Sink) -> dict[str, dict[str, str]]:
    """The spans that the backend took, and what their Resource says."""
    found = {}
    for request in sink.rest():
        (resource,) = request.resources()
        for name in request.names():
            assert name not in found, f"{name} arrived twice"
            found[name] = resource
    return found


def test_policies_that_change_under_load_lose_nothing(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    with load(gate, acme, "acme") as client:
        life = Life(gate)
        for number in range(RELOADS):
            gate.write_config(CONFIG.replace("{tenant.id: acme}", f"{{tenant.id: acme, number: n{number}}}"))
            gate.says("policy updated")
            client.rounds(1)
        client.rounds()
        life.goes_on(policies=RELOADS)
    assert client.trouble == [] and set(client.answers) == {0}
    found = arrived(sink)
    assert found.keys() == client.acknowledged
    numbers = Counter(resource.get("number") for resource in found.values())
    print(f"{len(found)} spans, by policy: {numbers}")
    # Each was stamped by one of the policies, of which most acted.
    assert set(numbers) <= {None, *(f"n{number}" for number in range(RELOADS))} and len(numbers) > RELOADS / 2
    assert {resource["tenant.id"] for resource in found.values()} == {"acme"}


def test_who_is_denied_is_out_at_once_and_for_nobody_else_anything_changes(
    start: Callable[..., Gate], acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    gate = start().ready()
    name = "a.other.partners.example"
    with load(gate, acme, "acme") as denied, load(gate, certificates.client(name, "--dns", name), "other") as other:
        life = Life(gate)
        for _ in range(5):
            gate.write_config(CONFIG + f'deny: ["sha256:{fingerprint(acme)}"]\n')
            gate.says("policy updated")
            # Each worker takes it within a round or so; from then on nothing of it passes.
            for _ in range(100):
                passed = denied.answers[0]
                denied.rounds(1)
                if denied.answers[0] == passed:
                    break
            passed, turned_away = denied.answers[0], denied.answers[7]
            denied.rounds(3)
            assert denied.answers[0] == passed and denied.answers[7] > turned_away
            gate.write_config(CONFIG)
            gate.says("policy updated")
            while denied.answers[0] == passed and not denied.trouble:
                denied.rounds(1)
        # The one without the denial was there before.
        life.goes_on(policies=1)
    # Its connections stayed open all the while.
    assert denied.trouble == [] and set(denied.answers) == {0, 7}
    assert other.trouble == [] and set(other.answers) == {0}
    assert arrived(sink).keys() == denied.acknowledged | other.acknowledged


def test_certificates_and_their_ca_change_under_load(
    start: Callable[..., Gate], tmp_path: Path, config: Path, acme: Identity, sink: Sink
) -> None:
    folder = tmp_path / "certs"
    shutil.copytree(acme.ca.parent, folder)
    certificates = Certificates(folder, config)
    mine = certificates.client("rotates", "--spiffe", "spiffe://acme.example/edge/rotates")
    gate = start(CONFIG, certs=folder).ready()
    old = mine.copy(tmp_path / "old")
    with load(gate, mine, "rotates") as client:
        life = Life(gate)
        # The client's own certificate, with a new key.
        for _ in range(3):
            certificates.run("renew", "rotates", "--new-key")
            client.connect_anew()
            client.rounds()
        # The CA of all clients.
        certificates.run("rotate", "client")
        gate.says("certificates updated")
        client.rounds()
        certificates.run("renew", "--all", "--new-key")
        gate.says("certificates updated")
        client.connect_anew()
        client.rounds()
        certificates.run("rotate", "client", "--finish")
        gate.says("certificates updated")
        client.connect_anew()
        client.rounds()
        life.goes_on()
    assert client.trouble == [] and set(client.answers) == {0}
    assert arrived(sink).keys() == client.acknowledged
    assert refused(gate.grpc, old.context("h2")), "a certificate of the old CA is let in"
