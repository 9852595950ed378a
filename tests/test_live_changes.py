"""Policies and certificates change while clients send: nothing acknowledged is lost, and no worker restarts."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.client import Http2, Identity, frame, handshake_fails
from support.config import SHARED
from support.gate import NATIVE_MODULE, Certificates, Gate
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

TRACES = GRPC_PATHS["traces"]
RELOADS = 25


class Load:
    """A client that sends one numbered span after the other, over connections that are spread over all workers."""

    def __init__(self, address: str, identity: Identity, name: str, connections: int = 8):
        self.address, self.name = address, name
        self.identity = identity
        self.connections = [Http2(address, identity) for _ in range(connections)]
        self.acknowledged: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.errors: list[str] = []
        self.reconnecting = threading.Event()
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
                    self.errors.append(repr(error))
                    return
                self.answers[answer.grpc_status] += 1
                if answer.grpc_status == 0:
                    self.acknowledged.add(span)
            if self.reconnecting.is_set():
                # Exporters that reload their certificate do the same: they open a connection, then close the old one.
                old = self.connections
                self.connections = [Http2(self.address, self.identity) for _ in old]
                for connection in old:
                    connection.socket.close()
                self.reconnecting.clear()

    def rounds(self, count: int = 2) -> None:
        """Waits until each connection has had this many answers more."""
        answered = self.answers.total() + count * len(self.connections)
        self._wait_until(lambda: self.answers.total() >= answered, f"{answered} answers")

    def reconnect(self) -> None:
        self.reconnecting.set()
        self._wait_until(lambda: not self.reconnecting.is_set(), "the client has reconnected")

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(lambda: condition() or self.errors, what, interval=0.005)

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


class Restarts:
    """Statistics that show whether Envoy, a worker's VM or the base VM was restarted. Envoy creates one more VM to
    validate each policy that it has not seen yet, and then drops it."""

    def __init__(self, gate: Gate):
        self.gate = gate
        self.before = self.look()

    def look(self) -> dict[str, int]:
        stats = self.gate.stats("v8.(active|created)$|vm_reload|server.hot_restart_epoch")
        if NATIVE_MODULE:
            return stats
        assert {"wasm.envoy.wasm.runtime.v8.active", "wasm.envoy.wasm.runtime.v8.created"} <= stats.keys()
        return stats

    def none(self, policies: int = 0, between: int = 0) -> None:
        """Asserts that there was no restart while this many new policies arrived, and at most as many as `between` in
        between."""
        created, after = "wasm.envoy.wasm.runtime.v8.created", self.look()
        if NATIVE_MODULE:
            assert after == self.before
            return
        assert 0 <= after[created] - self.before[created] - policies <= between, after
        assert after | {created: 0} == self.before | {created: 0}


def arrived(sink: Sink) -> dict[str, dict[str, str]]:
    """The attributes of the Resource of each span that arrived, by the span's name."""
    found = {}
    for request in sink.rest():
        (resource,) = request.resources()
        for name in request.names():
            assert name not in found, f"{name} arrived twice"
            found[name] = resource
    return found


def test_policy_updates_under_load_lose_nothing(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    with load(gate, acme, "acme") as client:
        restarts = Restarts(gate)
        for number in range(RELOADS):
            gate.update_policy(SHARED.client("acme-edge", attributes={"tenant.id": "acme", "number": f"n{number}"}))
            client.rounds(1)
        client.rounds()
        restarts.none(policies=RELOADS)
    assert client.errors == [] and set(client.answers) == {0}
    found = arrived(sink)
    assert found.keys() == client.acknowledged
    numbers = Counter(resource.get("number") for resource in found.values())
    print(f"{len(found)} spans, by policy: {numbers}")
    # Each span was handled by one of the policies, and most policies handled some.
    assert set(numbers) <= {None, *(f"n{number}" for number in range(RELOADS))} and len(numbers) > RELOADS / 2
    assert {resource["tenant.id"] for resource in found.values()} == {"acme"}


def test_denying_a_client_takes_effect_at_once_and_changes_nothing_for_others(
    start: Callable[..., Gate], acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    gate = start().ready()
    name = "a.other.partners.example"
    with load(gate, acme, "acme") as denied, load(gate, certificates.client(name, "--dns", name), "other") as other:
        restarts = Restarts(gate)
        for _ in range(5):
            gate.update_policy(SHARED.replace(deny=[f"sha256:{acme.fingerprint()}"]))

            def all_are_rejected() -> bool:
                before = denied.answers[0]
                denied.rounds(1)
                return denied.answers[0] == before

            # Workers apply a policy within a round or so. From then on no request is accepted.
            wait_until(all_are_rejected, "the policy applies in all workers")
            accepted, rejected = denied.answers[0], denied.answers[7]
            denied.rounds(3)
            assert denied.answers[0] == accepted and denied.answers[7] > rejected
            gate.update_policy(SHARED)
            wait_until(lambda: denied.answers[0] > accepted or denied.errors, "the client is accepted again")
        # Envoy has seen the policy without the denial before.
        restarts.none(policies=1)
    # Its connections stayed open.
    assert denied.errors == [] and set(denied.answers) == {0, 7}
    assert other.errors == [] and set(other.answers) == {0}
    assert arrived(sink).keys() == denied.acknowledged | other.acknowledged


def test_rotating_certificates_and_their_ca_under_load_loses_nothing(
    start: Callable[..., Gate], tmp_path: Path, certificates: Certificates, sink: Sink
) -> None:
    certificates = certificates.copy(tmp_path / "certs")
    identity = certificates.client("rotates", "--spiffe", "spiffe://acme.example/edge/rotates")
    gate = start(SHARED, certs=certificates.folder).ready()
    old = identity.copy(tmp_path / "old")
    with load(gate, identity, "rotates") as client:
        restarts = Restarts(gate)
        # The client's own certificate, with a new key.
        for _ in range(3):
            certificates.run("renew", "rotates", "--new-key")
            client.reconnect()
            client.rounds()
        # The CA of all clients.
        certificates.run("rotate", "client")
        gate.wait_for_log("certificates updated")
        client.rounds()
        certificates.run("renew", "--all", "--new-key")
        gate.wait_for_log("certificates updated")
        client.reconnect()
        client.rounds()
        certificates.run("rotate", "client", "--finish")
        gate.wait_for_log("certificates updated")
        client.reconnect()
        client.rounds()
        # The policy has the keys of the CAs and their lists. A rotation writes several files, and `local` may read them
        # when only some are new.
        restarts.none(policies=2, between=2)
    assert client.errors == [] and set(client.answers) == {0}
    assert arrived(sink).keys() == client.acknowledged
    wait_until(lambda: handshake_fails(gate.grpc, old.context("h2")), "certificates of the old CA are rejected")
