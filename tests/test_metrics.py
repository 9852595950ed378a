"""The filter's metrics, as Prometheus reads them."""

import time
from collections.abc import Callable

from support.client import Identity, frame
from support.config import BURST, SHARED
from support.gate import Certificates, Gate
from support.protobuf import attribute, request, resource, scope, span, traces
from support.sink import GRPC_PATHS, Sink

TRACES = GRPC_PATHS["traces"]


def test_requests_items_and_forged_attributes_are_counted_per_client(
    start: Callable[..., Gate], connect: Callable, acme: Identity, stranger: Identity, sink: Sink
) -> None:
    gate = start().ready()
    connection = connect(acme, gate.grpc)
    forged = request(resource(attribute("tenant.id", "x")), scope(*map(span, "abc")))
    assert connection.grpc(TRACES, frame(forged)).grpc_status == 0
    assert connection.grpc(TRACES, frame(traces("a", "b"))).grpc_status == 0
    assert connection.grpc(TRACES, frame(b"\xff")).grpc_status == 3
    assert connect(stranger, gate.grpc).grpc(TRACES, frame(forged)).grpc_status == 7

    counted = gate.counters()

    def count(name: str, **labels: str) -> int:
        return counted[f"otlp_gate_{name}_total", frozenset(labels.items())]

    assert count("requests", client="acme-edge", signal="traces", result="accepted") == 2
    assert count("requests", client="acme-edge", signal="traces", result="invalid") == 1
    assert count("requests", signal="traces", result="unknown_client") == 1
    assert count("items", client="acme-edge", signal="traces") == 5
    assert count("forged_attributes", client="acme-edge") == 1


def accepted(gate: Gate, client: str) -> int:
    labels = frozenset({("client", client), ("signal", "traces"), ("result", "accepted")})
    return gate.counters().get(("otlp_gate_requests_total", labels), 0)


def test_the_busiest_clients_of_patterns_get_metrics_of_their_own(
    start: Callable[..., Gate], connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    # Half of the names are given at once, one a report: a worker that serves the others alone may report first.
    gate = start(SHARED.replace(metrics={"busiestClients": 4})).ready()
    clients = {}
    for word in ("one", "two", "three"):
        identity = certificates.client(f"calls-m-{word}", "--spiffe", f"spiffe://calls.example/m-{word}")
        # Several connections: both workers serve each client.
        clients[f"calls-m-{word}"] = [connect(identity, gate.grpc) for _ in range(4)]
    sent = dict.fromkeys(clients, 0)

    def send(client: str, requests: int) -> None:
        for number in range(requests):
            answer = clients[client][number % 4].grpc(TRACES, frame(traces("a")))
            sent[client] += answer.grpc_status == 0

    for client in clients:
        send(client, 2)
    assert accepted(gate, "other") == 6
    busy, deadline = "calls-m-two", time.monotonic() + 30
    while not accepted(gate, busy):
        assert time.monotonic() < deadline, gate.counters()
        # Two thirds of all that clients of patterns send.
        send(busy, 4)
        for client in clients.keys() - {busy}:
            send(client, 1)
        time.sleep(1)
    # The other worker learns it within 5 s. A new policy keeps it.
    time.sleep(5.1)
    send(busy, 8)
    before, others = accepted(gate, busy), accepted(gate, "other")
    send(busy, 8)
    gate.update_policy(SHARED.replace(metrics={"busiestClients": 4}, deny=["name:nobody"]))
    send(busy, 8)
    assert accepted(gate, busy) == before + 16 and accepted(gate, "other") == others
    named = {dict(labels).get("client") for name, labels in gate.counters() if name == "otlp_gate_items_total"}
    assert busy in named and len(named - {"other"}) <= 2
    # Nothing is lost or counted twice.
    assert sum(sent.values()) == sum(accepted(gate, client) for client in [*clients, "other"])


def test_the_limits_of_a_quota_are_gauges(
    start: Callable[..., Gate], connect: Callable, acme: Identity, sink: Sink
) -> None:
    config = SHARED.tier("gold", spans="1000/s", bytes="8MiB/s").client("acme-edge", quota="gold")
    gate = start(config).ready()

    def limits() -> dict[str, int]:
        found = gate.counters().items()
        return {name[16:]: value for (name, _), value in found if name.endswith("_per_second")}

    assert connect(acme, gate.grpc).grpc(TRACES, frame(traces("a"))).grpc_status == 0
    assert limits() == {"spans_per_second": 1000, "bytes_per_second": 8 << 20}
    gate.update_policy(config.tier("gold", spans="500/s"))
    # The other worker's gauges are the same ones.
    for _ in range(8):
        assert connect(acme, gate.grpc).grpc(TRACES, frame(traces("a"))).grpc_status == 0
    assert limits()["spans_per_second"] == 500


def test_the_used_share_of_a_quota_is_a_gauge(
    start: Callable[..., Gate], connect: Callable, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    quotas = SHARED.quotas(total={"spans": "1/s", "burst": f"{5 * BURST}s"})
    gate = start(quotas.client("acme-edge", quota="few")).ready()
    connection = connect(acme, gate.grpc)
    name = "otlp_gate_quota_used_percent"
    own, total = (name, frozenset({("client", "acme-edge")})), (name, frozenset())
    began = time.monotonic()
    assert connection.grpc(TRACES, frame(traces(*"a" * (BURST // 2)))).grpc_status == 0
    gauges = gate.counters()
    # The buckets earn one span a second: 100/BURST and 100/(5 * BURST) percent.
    earned = 100 / BURST * (time.monotonic() - began) + 1
    assert 50 - earned <= gauges[own] <= 50
    assert 10 - earned <= gauges[total] <= 10
    assert connection.grpc(TRACES, frame(traces(*"a" * BURST))).grpc_status == 8
    assert gate.counters()[own] == 100
    # A client without a gauge of its own counts only in the total.
    few = certificates.client("few-gauge", "--spiffe", "spiffe://few.example/gauge")
    assert connect(few, gate.grpc).grpc(TRACES, frame(traces(*"a" * (BURST // 4)))).grpc_status == 0
    gauges = {key: value for key, value in gate.counters().items() if key[0] == name}
    earned = 100 / (5 * BURST) * (time.monotonic() - began) + 1
    assert gauges.keys() == {own, total} and gauges[total] >= 15 - earned
