"""gRPC health checks. The Collector's receiver has none, so the gate answers from whether it accepts exports."""

from support.client import frame
from support.cluster.installation import Installation

CHECK = "/grpc.health.v1.Health/Check"
SERVING = frame(b"\x08\x01")


def test_a_known_client_gets_the_state_and_others_are_rejected(gate: Installation) -> None:
    with gate.connect(gate.acme()) as connection:
        answer = connection.grpc(CHECK, frame(b""))
        assert (answer.grpc_status, answer.body) == (0, SERVING), answer
        assert connection.grpc(CHECK, frame(b"\n\x03abc")).grpc_status == 5
    with gate.connect(gate.stranger()) as connection:
        assert connection.grpc(CHECK, frame(b"")).grpc_status == 7
