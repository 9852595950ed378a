"""Quotas: a request that fits is accepted, any other is throttled as OTLP specifies."""

import threading
import time
from collections.abc import Callable

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from support.client import Http2, Identity, call, frame, retry_infos, seconds
from support.config import BURST, SHARED
from support.gate import Certificates, Gate
from support.protobuf import traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

TRACES, V1_TRACES = GRPC_PATHS["traces"], HTTP_PATHS["traces"]
# Spans that are throttled after a whole burst, unless a minute passes between the two requests.
MORE = BURST // 2


def few(certificates: Certificates, word: str) -> Identity:
    """A client of the tier `few` (1 span a second, BURST at once) that has sent nothing yet."""
    return certificates.client(f"few-{word}", "--spiffe", f"spiffe://few.example/{word}")


def spans(count: int) -> bytes:
    return traces(*(f"span {number}" for number in range(count)))


def test_a_throttled_request_is_told_when_to_retry(connect: Callable, certificates: Certificates, sink: Sink) -> None:
    connection = connect(few(certificates, "grpc"))
    assert connection.grpc(TRACES, frame(spans(BURST))).grpc_status == 0

    answer = connection.grpc(TRACES, frame(spans(MORE)))

    assert answer.grpc_status == 8, answer
    assert "few-grpc" in answer.grpc_message and "spans" in answer.grpc_message
    in_details, in_trailer = answer.retry_infos()
    assert in_details == in_trailer
    assert 0 < in_details <= 10, "exporters do not wait longer"

    answer = connection.http(V1_TRACES, spans(MORE))
    assert answer.status == 429, answer
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert answer.rpc_status().code == 8
    assert len(retry_infos(answer.rpc_status())) == 1
    assert [len(request.names()) for request in sink.rest()] == [BURST]


def test_a_library_reads_the_retry_delay(channel: Callable, certificates: Certificates, sink: Sink) -> None:
    identity = few(certificates, "library")
    assert call(channel(identity), TRACES, spans(BURST)) is None

    error = call(channel(identity), TRACES, spans(MORE))

    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers = dict(error.trailing_metadata())
    assert retry_infos(status_pb2.Status.FromString(trailers["grpc-status-details-bin"]))
    assert seconds(error_details_pb2.RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"])) > 0


def test_after_the_retry_delay_the_request_is_accepted(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    connection = connect(few(certificates, "patient"))
    began = time.monotonic()
    assert connection.grpc(TRACES, frame(spans(BURST))).grpc_status == 0
    # On a slow machine the bucket may have earned a few spans by now.
    while (answer := connection.grpc(TRACES, frame(spans(1)))).grpc_status == 0:
        pass
    assert answer.grpc_status == 8

    time.sleep(answer.retry_infos()[0])

    assert connection.grpc(TRACES, frame(spans(1))).grpc_status == 0
    assert time.monotonic() - began >= 1


def test_a_request_larger_than_the_burst_is_rejected_without_a_retry_delay(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    connection = connect(few(certificates, "large"))

    answer = connection.grpc(TRACES, frame(spans(BURST + 1)))
    assert answer.grpc_status == 8, answer
    assert answer.retry_infos() == []
    answer = connection.http(V1_TRACES, spans(BURST + 1))
    assert (answer.status, answer.rpc_status().code) == (413, 8), answer
    assert "retry-after" not in answer.headers

    # It was not charged.
    assert connection.grpc(TRACES, frame(spans(BURST))).grpc_status == 0


def test_the_requests_quota_counts_also_requests_that_are_rejected(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    connection = connect(certificates.client("calls-one", "--spiffe", "spiffe://calls.example/one"))
    began = time.monotonic()
    invalid = [connection.grpc(TRACES, frame(b"\xff")).grpc_status for _ in range(BURST // 2)]
    assert set(invalid) == {3}
    accepted = 0
    while (status := connection.grpc(TRACES, frame(spans(1))).grpc_status) == 0:
        accepted += 1
    assert status == 8
    # The bucket earns one request a second.
    assert BURST // 2 <= accepted <= BURST // 2 + time.monotonic() - began


def test_clients_have_quotas_of_their_own(connect: Callable, certificates: Certificates, sink: Sink) -> None:
    first, second = few(certificates, "first"), few(certificates, "second")
    assert connect(first).grpc(TRACES, frame(spans(BURST))).grpc_status == 0
    assert connect(first).grpc(TRACES, frame(spans(MORE))).grpc_status == 8
    assert connect(second).grpc(TRACES, frame(spans(BURST))).grpc_status == 0


def test_workers_share_a_clients_bucket(gate: Gate, connect: Callable, certificates: Certificates, sink: Sink) -> None:
    identity = few(certificates, "crowd")
    # The connections are spread over both workers and send at the same time.
    connections, each = [connect(identity) for _ in range(12)], 24
    start = threading.Barrier(len(connections))
    statuses: list[int] = []

    def send(connection: Http2) -> None:
        start.wait(10)
        statuses.extend(connection.grpc(TRACES, frame(spans(1))).grpc_status for _ in range(each))

    threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(statuses) == len(connections) * each
    assert BURST <= statuses.count(0) <= BURST + time.monotonic() - began
    assert set(statuses) == {0, 8}
    assert len(sink.rest()) == statuses.count(0)


def test_the_total_quota_throttles_all_clients_together(
    start: Callable[..., Gate], certificates: Certificates, sink: Sink
) -> None:
    total = BURST + MORE
    gate = start(SHARED.quotas(total={"spans": "1/s", "burst": f"{total}s"})).ready()
    first, second = few(certificates, "one"), few(certificates, "two")
    with Http2(gate.grpc, first) as one, Http2(gate.grpc, second) as two:
        assert one.grpc(TRACES, frame(spans(BURST))).grpc_status == 0
        # A request over the client's own quota is not charged to the total.
        assert "few-one" in one.grpc(TRACES, frame(spans(BURST))).grpc_message
        answer = two.grpc(TRACES, frame(spans(BURST)))
        assert (answer.grpc_status, len(answer.retry_infos())) == (8, 2), answer
        assert "rate limit exceeded: all clients together are limited to 1 spans/s" in answer.grpc_message
        answer = two.http(V1_TRACES, spans(BURST))
        assert answer.status == 429 and 1 <= int(answer.headers["retry-after"]) <= 10
        # A request over the total quota is not charged to the client's own.
        assert two.grpc(TRACES, frame(spans(MORE))).grpc_status == 0
    assert [len(request.names()) for request in sink.rest()] == [BURST, MORE]
    assert sum(gate.stats("over_total").values()) == 2


def test_items_are_refunded_if_the_backend_asks_for_a_retry(
    connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    grpc_client, http_client = (connect(few(certificates, name)) for name in ("refund-grpc", "refund-http"))
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    assert grpc_client.grpc(TRACES, frame(spans(BURST))).grpc_status == 14
    assert http_client.http(V1_TRACES, spans(BURST)).status == 503
    sink.fail = None
    assert grpc_client.grpc(TRACES, frame(spans(BURST))).grpc_status == 0
    assert http_client.http(V1_TRACES, spans(BURST)).status == 200


# How many bursts of a flood arrive. Items that the backend rejects for good are spent. Items that may be sent again are
# refunded once.
FLOODS = {
    "gRPC for good": (TRACES, (grpc.StatusCode.INVALID_ARGUMENT, 400), 1),
    "HTTP for good": (V1_TRACES, (grpc.StatusCode.INTERNAL, 400), 1),
    "HTTP that is broken": (V1_TRACES, (grpc.StatusCode.INTERNAL, 500), 1),
    # Without RetryInfo a client must not retry.
    "gRPC that is exhausted for good": (TRACES, (grpc.StatusCode.RESOURCE_EXHAUSTED, 413), 1),
    "gRPC for now": (TRACES, (grpc.StatusCode.UNAVAILABLE, 503), 2),
    "HTTP for now": (V1_TRACES, (grpc.StatusCode.UNAVAILABLE, 429), 2),
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_flood_that_the_backend_rejects_is_bounded(
    connect: Callable, certificates: Certificates, sink: Sink, case: str
) -> None:
    path, sink.fail, bursts = FLOODS[case]
    connection = connect(few(certificates, "flood-" + case.replace(" ", "-")))
    size, began = 5, time.monotonic()
    for _ in range(4 * BURST // size):
        if path == TRACES:
            connection.grpc(path, frame(spans(size)))
        else:
            connection.http(path, spans(size))
    arrived = sum(len(request.names()) for request in sink.rest())
    earned = time.monotonic() - began
    assert bursts * BURST - size < arrived <= bursts * (BURST + earned)


def test_the_backends_own_answer_is_forwarded(connect: Callable, acme: Identity, sink: Sink) -> None:
    sink.fail = (grpc.StatusCode.INVALID_ARGUMENT, 400)
    answer = connect(acme).grpc(TRACES, frame(spans(1)))
    assert (answer.grpc_status, answer.grpc_message) == (3, "rejected by the test backend")
    assert connect(acme).http(V1_TRACES, spans(1)).status == 400
