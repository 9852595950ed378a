"""What an operator watches: `otlp-gate top` over all proxies, and their access logs."""

import json
import threading
from collections.abc import Iterator

import pytest

from support.client import frame
from support.cluster.installation import STRANGER, Installation, Kubectl, wait_until
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, Sink

TRACES = GRPC_PATHS["traces"]


@pytest.fixture
def load(gate: Installation) -> Iterator[None]:
    """A client that sends and forges, and one that no rule matches, on several connections: each proxy has some."""
    ended = threading.Event()
    forged = frame(traces("a", "b", attributes=(attribute("tenant.id", "forged"),)))
    identities = (*[gate.acme()] * 4, gate.stranger())
    connections = [gate.connect(identity) for identity in identities]

    def send() -> None:
        while not ended.wait(0.05):
            for number, identity in enumerate(identities):
                try:
                    connections[number].grpc(TRACES, forged)
                # A listener with another access log ends its connections.
                except OSError:
                    connections[number].socket.close()
                    connections[number] = gate.connect(identity)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    ended.set()
    thread.join()
    for connection in connections:
        connection.socket.close()


def logged(gate: Installation, kubectl: Kubectl) -> list[dict]:
    """The entries of the gate's log that the proxies have written."""
    lines = kubectl("logs", *gate.proxies(), "--all-containers", "--tail=-1").splitlines()
    found = []
    for line in lines:
        if line.startswith("{") and '"certificate_sha256"' in line:
            found.append(json.loads(line))
    return found


def test_top_and_the_access_log_show_who_sends(gate: Installation, kubectl: Kubectl, backend: Sink, load: None) -> None:
    def sampled() -> dict:
        """A sample in which both clients have sent: on a busy machine that takes longer than its 3 s."""
        sample = gate.json("top", "--interval", "3")
        sent = {client["client"]: client["requests"] for client in sample["clients"]}
        assert sent["acme"].get("accepted") and sent[None].get("unknown_client"), sent
        return sample

    sample = wait_until(sampled, "both clients have sent", retry_on=(AssertionError, KeyError))
    assert len(sample["replicas"]) == gate.config["gateway"].get("replicas", 2)
    assert not any("error" in replica for replica in sample["replicas"]), sample["replicas"]
    clients = {client["client"]: client for client in sample["clients"]}
    acme = clients["acme"]
    accepted = acme["requests"]["accepted"]
    # One request may be under way at each of the two readings: what it has forged is counted before its result.
    under_way = 1 / sample["seconds"]
    assert acme["items"]["traces"] == pytest.approx(2 * accepted, abs=2 * under_way)
    assert acme["forgedAttributes"] == pytest.approx(accepted, abs=under_way)
    assert "acme" in gate.run("top", "--interval", "1", "--filter", "acme").stdout

    gate.change(lambda config: config["gateway"].update(accessLog="all"))
    gate.apply()

    def shown() -> dict[str, dict]:
        return {entry["result"]: entry for entry in logged(gate, kubectl) if entry.get("result")}

    entries = wait_until(
        lambda: (found := shown()).keys() >= {"accepted", "unknown_client"} and found, "both are logged"
    )
    assert entries["accepted"]["client"] == "acme"
    assert entries["accepted"]["certificate_uri"] == "spiffe://acme.example/1"
    unknown = entries["unknown_client"]
    assert not unknown.get("client") and unknown["reason"] and unknown["certificate_uri"] == STRANGER

    gate.change(lambda config: config["gateway"].update(accessLog="rejected"))
    gate.apply()

    def last() -> list[str]:
        return [entry.get("result") for entry in logged(gate, kubectl)[-20:]]

    wait_until(lambda: last() == ["unknown_client"] * 20, "only rejected requests are logged")
    gate.change(lambda config: config["gateway"].pop("accessLog"))
    gate.apply()
