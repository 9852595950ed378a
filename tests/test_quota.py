"""Quotas: what fits goes through, what does not is refused the way OTLP wants it, and nothing in between."""

import threading
import time
from collections.abc import Callable

import grpc
import pytest

from client import Http2, Identity, call, frame, seconds, retry_infos
from conftest import CONFIG
from gate import Certificates, Gate
from google.rpc import error_details_pb2, status_pb2
from sink import GRPC_PATHS, HTTP_PATHS, Sink
from wire import traces

TRACES, V1_TRACES = GRPC_PATHS["traces"], HTTP_PATHS["traces"]
# The tier `few`: one span a second, of which 20 may come at once.
BURST = 20


def few(certificates: Certificates, word: str) -> Identity:
    """A client that has spent nothing yet."""
    return certificates.client(f"few-{word}", "--spiffe", f"spiffe://few.example/{word}")


def spans(count: int) -> bytes:
    return traces(*(f"span {number}" for number in range(count)))


def test_over_quota_is_refused_with_a_hint_when_to_try_again(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    connection = connect(few(certificates, "grpc"))
    assert connection.grpc(TRACES, frame(spans(BURST))).grpc_status == 0

    answer = connection.grpc(TRACES, frame(spans(10)))

    assert answer.grpc_status == 8, answer
    assert "few-grpc" in answer.grpc_message and "spans" in answer.grpc_message
    in_details, in_trailer = answer.retry_infos()
    assert in_details == in_trailer
    assert 0 < in_details <= 10, "longer than exporters are willing to wait"

    answer = connection.http(V1_TRACES, spans(10))
    assert answer.status == 429, answer
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert answer.rpc_status().code == 8
    assert len(retry_infos(answer.rpc_status())) == 1
    assert [len(request.names()) for request in sink.rest()] == [BURST]


def test_the_hint_is_read_by_a_library(channel: Callable, certificates: Certificates, sink: Sink) -> None:
    identity = few(certificates, "library")
    assert call(channel(identity), TRACES, spans(BURST)) is None

    error = call(channel(identity), TRACES, spans(10))

    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers = dict(error.trailing_metadata())
    assert retry_infos(status_pb2.Status.FromString(trailers["grpc-status-details-bin"]))
    assert seconds(error_details_pb2.RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"])) > 0


def test_after_the_wait_that_it_was_told_a_request_fits(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    connection = connect(few(certificates, "patient"))
    assert connection.grpc(TRACES, frame(spans(BURST))).grpc_status == 0
    answer = connection.grpc(TRACES, frame(spans(1)))
    assert answer.grpc_status == 8

    # The one thing to wait for here is time itself.
    threading.Event().wait(answer.retry_infos()[0])

    assert connection.grpc(TRACES, frame(spans(1))).grpc_status == 0


def test_what_could_never_fit_is_refused_without_a_hint(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    connection = connect(few(certificates, "large"))

    answer = connection.grpc(TRACES, frame(spans(BURST + 1)))
    assert answer.grpc_status == 8, answer
    assert answer.retry_infos() == []
    answer = connection.http(V1_TRACES, spans(BURST + 1))
    assert (answer.status, answer.rpc_status().code) == (413, 8), answer
    assert "retry-after" not in answer.headers

    # It was charged nothing.
    assert connection.grpc(TRACES, frame(spans(BURST))).grpc_status == 0


def test_the_requests_quota_counts_requests_whatever_becomes_of_them(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    connection = connect(certificates.client("calls-one", "--spiffe", "spiffe://calls.example/one"))
    statuses = [connection.grpc(TRACES, frame(body)).grpc_status for body in [b"\xff"] * 3 + [spans(1)] * 4]
    # A second may pass meanwhile, and bring one back.
    assert statuses[:5] == [3, 3, 3, 0, 0]
    assert statuses[-1] == 8


def test_one_client_does_not_spend_anothers_quota(connect: Callable, certificates: Certificates, sink: Sink) -> None:
    first, second = few(certificates, "first"), few(certificates, "second")
    assert connect(first).grpc(TRACES, frame(spans(BURST))).grpc_status == 0
    assert connect(first).grpc(TRACES, frame(spans(10))).grpc_status == 8
    assert connect(second).grpc(TRACES, frame(spans(BURST))).grpc_status == 0


def test_workers_share_one_truth(gate: Gate, connect: Callable, certificates: Certificates, sink: Sink) -> None:
    identity = few(certificates, "crowd")
    # Connections spread over both workers; each sends at once with the others.
    connections = [connect(identity) for _ in range(12)]
    start = threading.Barrier(len(connections))
    statuses: list[int] = []

    def send(connection: Http2) -> None:
        start.wait(10)
        statuses.extend(connection.grpc(TRACES, frame(spans(1))).grpc_status for _ in range(4))

    threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(statuses) == 48
    # A few seconds may have passed on a slow machine, and brought back one span each.
    assert BURST <= statuses.count(0) <= BURST + 5
    assert set(statuses) == {0, 8}
    assert len(sink.rest()) == statuses.count(0)


def test_all_clients_together_have_a_quota_too(
    start: Callable[..., Gate], certificates: Certificates, sink: Sink
) -> None:
    gate = start(CONFIG.replace("  tiers:", "  total: {spans: 1/s, burst: 30s}\n  tiers:")).ready()
    first, second = few(certificates, "one"), few(certificates, "two")
    with Http2(gate.grpc, first) as one, Http2(gate.grpc, second) as two:
        assert one.grpc(TRACES, frame(spans(BURST))).grpc_status == 0
        # What is over its own quota takes nothing from the others.
        assert "few-one" in one.grpc(TRACES, frame(spans(BURST))).grpc_message
        answer = two.grpc(TRACES, frame(spans(BURST)))
        assert (answer.grpc_status, len(answer.retry_infos())) == (8, 2), answer
        assert "all clients together are over their quota of 1 spans/s" in answer.grpc_message
        answer = two.http(V1_TRACES, spans(BURST))
        assert answer.status == 429 and 1 <= int(answer.headers["retry-after"]) <= 10
        # And what all have spent together is not charged to one's own.
        assert two.grpc(TRACES, frame(spans(10))).grpc_status == 0
    assert [len(request.names()) for request in sink.rest()] == [BURST, 10]
    assert sum(gate.stats("over_total").values()) == 2


def test_what_the_backend_asks_to_send_again_comes_back(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    grpc_client, http_client = (connect(few(certificates, name)) for name in ("refund-grpc", "refund-http"))
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    assert grpc_client.grpc(TRACES, frame(spans(BURST))).grpc_status == 14
    assert http_client.http(V1_TRACES, spans(BURST)).status == 503
    sink.fail = None
    assert grpc_client.grpc(TRACES, frame(spans(BURST))).grpc_status == 0
    assert http_client.http(V1_TRACES, spans(BURST)).status == 200


# What arrives of a flood, in bursts: what the backend refuses for good is spent, and what may be sent again comes back once.
FLOODS = {
    "gRPC for good": (TRACES, (grpc.StatusCode.INVALID_ARGUMENT, 400), 1),
    "HTTP for good": (V1_TRACES, (grpc.StatusCode.INTERNAL, 400), 1),
    "HTTP that is broken": (V1_TRACES, (grpc.StatusCode.INTERNAL, 500), 1),
    # Without RetryInfo it is not to be sent again.
    "gRPC that is exhausted for good": (TRACES, (grpc.StatusCode.RESOURCE_EXHAUSTED, 413), 1),
    "gRPC for now": (TRACES, (grpc.StatusCode.UNAVAILABLE, 503), 2),
    "HTTP for now": (V1_TRACES, (grpc.StatusCode.UNAVAILABLE, 429), 2),
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_flood_that_the_backend_refuses_is_bounded(
    connect: Callable, certificates: Certificates, sink: Sink, case: str
) -> None:
    path, sink.fail, bursts = FLOODS[case]
    connection = connect(few(certificates, "flood-" + case.replace(" ", "-")))
    begin = time.monotonic()
    for _ in range(40):
        if path == TRACES:
            connection.grpc(path, frame(spans(5)))
        else:
            connection.http(path, spans(5))
    arrived = sum(len(request.names()) for request in sink.rest())
    earned = int(time.monotonic() - begin) + 1
    assert bursts * BURST <= arrived + 4 and arrived <= bursts * (BURST + earned), arrived


def test_the_backends_own_answer_passes(connect: Callable, acme: Identity, sink: Sink) -> None:
    sink.fail = (grpc.StatusCode.INVALID_ARGUMENT, 400)
    answer = connect(acme).grpc(TRACES, frame(spans(1)))
    assert (answer.grpc_status, answer.grpc_message) == (3, "the backend says no")
    assert connect(acme).http(V1_TRACES, spans(1)).status == 400
