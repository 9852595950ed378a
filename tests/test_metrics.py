"""What the gate counts, as Prometheus reads it."""

import time
from collections.abc import Callable

from client import Identity, frame
from conftest import CONFIG
from gate import Certificates, Gate
from sink import GRPC_PATHS, Sink
from wire import attribute, request, resource, scope, span, traces

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


def test_clients_that_a_rule_makes_are_counted_together(
    start: Callable[..., Gate], connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    gate = start().ready()
    for word in ("one", "two"):
        identity = certificates.client(f"few-metrics-{word}", "--spiffe", f"spiffe://few.example/metrics-{word}")
        assert connect(identity, gate.grpc).grpc(TRACES, frame(traces("a"))).grpc_status == 0
    labels = frozenset({("client", "other"), ("signal", "traces"), ("result", "accepted")})
    assert gate.counters()["otlp_gate_requests_total", labels] == 2


def test_how_near_a_client_is_to_its_quota_is_shown(
    start: Callable[..., Gate], connect: Callable, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    quotas = "  total: {spans: 1/s, burst: 100s}\n  tiers:"
    text = CONFIG.replace("{tenant.id: acme}", "{tenant.id: acme}\n    quota: few").replace("  tiers:", quotas)
    gate = start(text).ready()
    connection = connect(acme, gate.grpc)
    own, total = (("otlp_gate_quota_used_percent", labels) for labels in ({("client", "acme-edge")}, ()))
    own, total = ((name, frozenset(labels)) for name, labels in (own, total))
    began = time.monotonic()
    assert connection.grpc(TRACES, frame(traces(*"abcdefghij"))).grpc_status == 0
    shown = gate.counters()
    # Of twenty, one comes back each second.
    assert 50 - 5 * (time.monotonic() - began) - 1 <= shown[own] <= 50
    assert 10 - (time.monotonic() - began) - 1 <= shown[total] <= 10
    assert connection.grpc(TRACES, frame(traces(*"abcdefghijklmnopqrst"))).grpc_status == 8
    assert gate.counters()[own] == 100
    # One that metrics do not name has a quota of its own, and what it spends is only in the sum.
    few = certificates.client("few-gauge", "--spiffe", "spiffe://few.example/gauge")
    assert connect(few, gate.grpc).grpc(TRACES, frame(traces(*"abcde"))).grpc_status == 0
    gauges = {labels: value for (name, labels), value in gate.counters().items() if name == own[0]}
    assert gauges.keys() == {own[1], total[1]} and gauges[total[1]] > 10 - (time.monotonic() - began)
