"""What the gate counts, as Prometheus reads it."""

from collections.abc import Callable

from client import Identity, frame
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
