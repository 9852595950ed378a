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


def test_clients_of_a_rule_with_captures_are_counted_together(
    start: Callable[..., Gate], connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    gate = start().ready()
    for word in ("one", "two"):
        identity = certificates.client(f"few-metrics-{word}", "--spiffe", f"spiffe://few.example/metrics-{word}")
        assert connect(identity, gate.grpc).grpc(TRACES, frame(traces("a"))).grpc_status == 0
    labels = frozenset({("client", "other"), ("signal", "traces"), ("result", "accepted")})
    assert gate.counters()["otlp_gate_requests_total", labels] == 2


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
