"""Quotas are exact: many clients at once, over all workers, get what their bucket holds and not one item more.

Rates are the smallest possible (1/s), and every bound is computed from the time that the test took, so that the tests
hold on a machine of any speed.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from support.client import GRPC, Http2, Identity, frame
from support.config import Config, config, rule
from support.counting_backend import CountingBackend
from support.gate import Certificates, Gate
from support.protobuf import field, traces
from support.simultaneous import Sent, send_together
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

TRACES = GRPC_PATHS["traces"]
ORGS, SOLOS = 50, 100
CAPACITY, RATE = 30, 1


def with_tier(name: str = "small", attributes: dict[str, str] | None = None, **limits: str) -> Config:
    """Clients with a bucket per organisation, and clients with a bucket each, all in one tier."""
    own = {"attributes": {"tenant.id": "{word}", **(attributes or {})}, "quota": name}
    clients = config(
        rule(
            "partner.{org}.{site}",
            {"dns": "{site}.{org}.partners.example"},
            tenant="{org}",
            quotaPer="{org}",
            quota=name,
        ),
        rule("solo-{word}", {"spiffe": "spiffe://solo.example/{word}"}, **own),
    )
    return clients.tier(name, **(limits or {"spans": f"{RATE}/s", "burst": f"{CAPACITY}s"}))


def spans(count: int, *, size: int = 0) -> bytes:
    """A message with this number of spans, and of this many bytes more."""
    return traces(*"s" * count) + (field(1999, bytes(size)) if size else b"")


def solo(certificates: Certificates, word: str) -> Identity:
    """A client with a bucket of its own."""
    return certificates.client(f"solo-{word}", "--spiffe", f"spiffe://solo.example/{word}")


def outcome(sent: Sent, sizes: list[int]) -> tuple[int, list[int]]:
    """The number of acknowledged items, and the sizes of throttled messages. All connections sent these sizes."""
    answers = [(size, answer) for of in sent.answers for size, answer in zip(sizes, of, strict=True)]
    assert [answer for _, answer in answers if answer.grpc_status not in (0, 8)] == []
    accepted = sum(size for size, answer in answers if answer.grpc_status == 0)
    return accepted, [size for size, answer in answers if answer.grpc_status == 8]


def accepted_items(sent: Sent, sizes: list[int]) -> int:
    """The number of acknowledged items. All connections sent these sizes."""
    return outcome(sent, sizes)[0]


def earned(rate: int, seconds: float) -> int:
    """The whole items that a bucket earns back in this time."""
    return int(rate * seconds)


@pytest.fixture(scope="module")
def crowd(certificates: Certificates) -> list[tuple[str, Identity]]:
    """The bucket and the identity of each of 300 connections. Two connections share each bucket."""
    identities = []
    for org in range(ORGS):
        for site in ("a", "b"):
            name = f"{site}.org{org}.partners.example"
            identities.append((f"org{org}", certificates.client(name, "--dns", name)))
    for word in range(SOLOS):
        identities += [(f"solo{word}", solo(certificates, str(word)))] * 2
    return identities


@pytest.fixture
def start_counting(start: Callable[..., Gate], counting_backend: CountingBackend) -> Callable[..., Gate]:
    """Starts gates in front of the counting backend."""

    def start_counting(config: Config, workers: int = 2) -> Gate:
        return start(config, "--concurrency", workers, backend=counting_backend.port).ready()

    return start_counting


@pytest.fixture
def connections(certificates: Certificates, connect: Callable) -> Callable[..., list[Http2]]:
    """Opens connections of one client; they are spread over the workers."""

    def connections(gate: Gate, word: str, count: int = 8) -> list[Http2]:
        return [connect(solo(certificates, word), gate.grpc).await_settings() for _ in range(count)]

    return connections


@pytest.mark.parametrize("workers", [2, 4])
def test_every_bucket_gives_exactly_its_burst(
    start_counting: Callable[..., Gate],
    crowd: list[tuple[str, Identity]],
    counting_backend: CountingBackend,
    workers: int,
) -> None:
    gate = start_counting(with_tier(), workers)
    connections = [Http2(gate.grpc, identity).await_settings() for _, identity in crowd]
    before = counting_backend.count()

    # The messages with one span are together more than a bucket holds, so no bucket keeps a rest.
    sizes = [7, 3] + [1] * 12
    sent = send_together([(connection, [spans(size) for size in sizes]) for connection in connections])

    accepted: dict[str, int] = defaultdict(int)
    acknowledged = 0
    for (bucket, _), answers in zip(crowd, sent.answers, strict=True):
        for size, answer in zip(sizes, answers, strict=True):
            assert answer.grpc_status in (0, 8), answer
            acknowledged += answer.grpc_status == 0
            accepted[bucket] += size * (answer.grpc_status == 0)
    most = CAPACITY + earned(RATE, sent.seconds)
    assert len(accepted) == ORGS + SOLOS
    assert [(bucket, items) for bucket, items in accepted.items() if not CAPACITY <= items <= most] == []
    # Each acknowledged request arrived once, and no throttled one arrived.
    assert counting_backend.count() - before == acknowledged
    per_worker = gate.stats("worker_.*downstream_cx_total").values()
    assert len(per_worker) == workers and min(per_worker) > len(crowd) / workers / 4, "a worker had few connections"
    for connection in connections:
        connection.socket.close()


@pytest.mark.parametrize("workers", [2, 4])
def test_over_seconds_a_bucket_gives_its_burst_and_its_rate(
    start_counting: Callable[..., Gate], connections: Callable, workers: int
) -> None:
    rate, capacity = 2000, 1000
    gate = start_counting(with_tier(spans="2k/s", burst="500ms"), workers)
    buckets = [connections(gate, f"rate{number}-{workers}", 6) for number in range(4)]
    # Twice what a bucket holds in each round.
    sizes = [97, 50, 3, 1, 1] * 2
    messages = [spans(size) for size in sizes]
    total, full = [0] * len(buckets), capacity
    began, ended = None, 0.0

    while began is None or ended - began < 2:
        sent = send_together([(connection, messages) for of in buckets for connection in of])
        # What every bucket held at least when this round began.
        full = capacity if began is None else min(capacity, earned(rate, sent.began - ended))
        began, ended, answers = began or sent.began, sent.ended, iter(sent.answers)
        for number, of in enumerate(buckets):
            accepted, throttled = outcome(Sent([next(answers) for _ in of], sent.began, sent.ended), sizes)
            total[number] += accepted
            # A message is throttled only if the bucket holds less than its size.
            assert not throttled or accepted >= full - min(throttled), (accepted, full, min(throttled))

    most = capacity + earned(rate, ended - began)
    print(f"{workers} workers, {ended - began:.1f} s: accepted {total}, allowed {most}")
    assert [items for items in total if items > most] == []


def test_a_request_is_charged_in_all_dimensions_or_in_none(
    start_counting: Callable[..., Gate], connections: Callable
) -> None:
    # 120 requests and items, and 122,880 bytes. The bucket earns 1 of each, and 1024 bytes, a second. The numbers below
    # allow for 20 s that the test may take.
    tier = {"requests": "1/s", "bytes": "1KiB/s", "items": "1/s", "burst": "120s"}
    (connection,) = connections(start_counting(with_tier(**tier)), "all", 1)
    began = time.monotonic()

    def send(items: int, size: int = 0) -> str:
        """The dimension that throttles this request, if any."""
        answer = connection.grpc(TRACES, frame(spans(items, size=size)))
        assert answer.grpc_status in (0, 8), answer
        found = [limit for limit in ("requests", "bytes", "items") if limit in answer.grpc_message]
        assert len(found) == (answer.grpc_status == 8), answer
        return "".join(found)

    assert [send(10, 20_000) for _ in range(4)] == [""] * 4
    # 80 items and some 42,000 bytes are left. A request that is throttled by one dimension costs nothing in the other.
    # What the gate read of it is counted apart.
    assert send(60, 80_000) == "bytes"
    assert send(118) == "items"
    assert send(76, 28_000) == ""
    assert send(30) == "items"
    # Each of the eight requests cost one request, also the throttled ones; so do those that follow.
    assert [send(30) for _ in range(120 - 8)] == ["items"] * (120 - 8)
    left = 0
    while send(30) == "items":
        left += 1
    assert left <= earned(1, time.monotonic() - began)


def test_all_dimensions_hold_when_many_send_at_once(start_counting: Callable[..., Gate], connections: Callable) -> None:
    gate = start_counting(with_tier(requests="6/s", bytes="1KiB/s", items="1/s", burst="50s"), 4)
    # The first client runs out of items, the second of bytes, the third of requests.
    for word, items, size, limit in [("i", 3, 0, "items"), ("b", 0, 2000, "bytes"), ("r", 0, 0, "requests")]:
        # An entry without items counts as one item. A message without entries has none.
        message = spans(items, size=size) if items or size else b""
        sent = send_together([(connection, [message] * 50) for connection in connections(gate, f"many-{word}", 12)])
        answers = [answer for of in sent.answers for answer in of]
        passed = sum(answer.grpc_status == 0 for answer in answers)
        over_requests = sum("requests" in answer.grpc_message for answer in answers)
        requests, items_left, bytes_left = (50 * rate + earned(rate, sent.seconds) for rate in (6, 1, 1024))
        assert passed <= len(answers) - over_requests <= requests
        assert passed * items <= items_left and passed * len(message) <= bytes_left
        # The dimension that runs out is used up, to the last message that fits.
        used = {"items": passed * items / 50, "bytes": passed * len(message) / 51_200, "requests": passed / 300}[limit]
        assert used > 0.95, (limit, passed)


def test_a_new_policy_keeps_what_is_spent(start_counting: Callable[..., Gate], connections: Callable) -> None:
    gate = start_counting(with_tier())
    began = time.monotonic()
    spent = send_together([(connection, [spans(1)] * 10) for connection in connections(gate, "kept")])
    total = accepted_items(spent, [1] * 10)
    assert CAPACITY <= total <= CAPACITY + earned(RATE, spent.ended - began)

    def tier(burst: int, **more: Any) -> Config:
        return with_tier(spans="1/s", burst=f"{burst}s", **more)

    for policy, capacity in [
        (tier(CAPACITY, attributes={"more": "x"}), CAPACITY),
        # A larger burst adds the difference only. A smaller one adds nothing.
        (tier(50), 50),
        (tier(10), 50),
        # The same with a tier of another name, and back.
        (tier(CAPACITY, name="other"), 50),
        (tier(60), 60),
    ]:
        gate.update_policy(policy)

        def used_up() -> bool:
            # The workers get the policy after the main thread, and Envoy does not report when.
            nonlocal total
            sent = send_together([(connection, [spans(1)] * 10) for connection in connections(gate, "kept")])
            total += accepted_items(sent, [1] * 10)
            return total >= capacity

        wait_until(used_up, f"the client gets {capacity} items with {policy['quotas']}")
        assert total <= capacity + earned(RATE, time.monotonic() - began), policy


def test_policies_that_change_while_clients_send_add_no_items(
    start_counting: Callable[..., Gate], connections: Callable
) -> None:
    gate = start_counting(with_tier())
    some = connections(gate, "change")
    began, total, changed = time.monotonic(), 0, threading.Event()

    def change() -> None:
        for number in range(4):
            gate.update_policy(with_tier(attributes={"more": str(number)}))
        changed.set()

    thread = threading.Thread(target=change)
    thread.start()
    while not changed.is_set():
        sent = send_together([(connection, [spans(1)] * 10) for connection in some])
        total += accepted_items(sent, [1] * 10)
    thread.join()

    assert CAPACITY <= total <= CAPACITY + earned(RATE, time.monotonic() - began)


def test_items_that_a_backend_rejects_are_refunded_once(
    start: Callable[..., Gate], connections: Callable, sink: Sink
) -> None:
    gate = start(with_tier()).ready()
    some = connections(gate, "back")
    began, kept = time.monotonic(), 16
    assert accepted_items(send_together([(connection, [spans(2)]) for connection in some]), [2]) == kept
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    for _ in range(3):
        # Fewer than the bucket holds, so that all of them reach the backend.
        sent = send_together([(connection, [spans(1)]) for connection in some])
        assert {answer.grpc_status for answers in sent.answers for answer in answers} == {14}
    sink.fail = None

    sent = send_together([(connection, [spans(1)] * 10) for connection in some])

    left = CAPACITY - kept
    assert left <= accepted_items(sent, [1] * 10) <= left + earned(RATE, sent.ended - began)


def test_a_burst_that_a_backend_rejects_late_is_refunded(
    start: Callable[..., Gate], connections: Callable, sink: Sink
) -> None:
    # A refund is limited to what was spent within the time that a bucket needs to earn it back.
    gate = start(with_tier(spans="10/s", burst="30s")).ready()
    # One write on one connection, so that the gate charges all requests at almost the same time.
    (connection,) = connections(gate, "late", 1)
    burst = [spans(50)] * 6
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    sink.answering.clear()

    def answer_late() -> None:
        wait_until(lambda: sink.received.qsize() == len(burst), "all requests have arrived")
        time.sleep(1)
        sink.answering.set()

    answering = threading.Thread(target=answer_late)
    answering.start()
    sent = send_together([(connection, burst)])
    answering.join()
    assert sent.seconds >= 1
    assert {answer.grpc_status for answers in sent.answers for answer in answers} == {14}
    sink.fail = None

    again = send_together([(connection, [spans(10)] * 60)])

    assert 300 <= accepted_items(again, [10] * 60) <= 300 + earned(10, again.ended - again.began)


@pytest.mark.parametrize("how", ["resets the stream", "closes the connection"])
def test_a_client_that_cancels_gets_no_refund(
    start: Callable[..., Gate], connections: Callable, sink: Sink, how: str
) -> None:
    # With one worker, all requests share one connection to the backend.
    gate = start(with_tier(), "--concurrency", 1).ready()
    sink.answering.clear()
    finished = sink.finished
    began = time.monotonic()
    (cancelling,) = connections(gate, "cancelling", 1)
    stream = cancelling.open(TRACES, GRPC)
    cancelling.h2.send_data(stream, frame(spans(CAPACITY)), end_stream=True)
    cancelling.flush()
    assert len(sink.take().names()) == CAPACITY
    if how == "resets the stream":
        cancelling.h2.reset_stream(stream)
        cancelling.flush()
    else:
        cancelling.socket.close()
    wait_until(lambda: sum(gate.stats("unanswered").values()), "the gate counts the cancelled request")
    # A rejection that comes after the cancellation does not add a refund either.
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    sink.answering.set()
    wait_until(lambda: sink.finished > finished, "the backend has answered")
    # The answer to this request comes after it on the same connection.
    (marker,) = connections(gate, "marker", 1)
    assert marker.grpc(TRACES, frame(spans(1))).grpc_status == 14
    sink.fail = None

    sent = send_together([(connection, [spans(1)] * 5) for connection in connections(gate, "cancelling")])

    assert accepted_items(sent, [1] * 5) <= earned(RATE, sent.ended - began)


def test_shadow_mode_accepts_all_and_counts_what_it_would_throttle(
    start_counting: Callable[..., Gate], connections: Callable, counting_backend: CountingBackend
) -> None:
    gate = start_counting(with_tier().quotas(mode="shadow"))
    before = counting_backend.count()
    sent = send_together([(connection, [spans(1)] * 10) for connection in connections(gate, "watched")])

    assert accepted_items(sent, [1] * 10) == 80
    assert counting_backend.count() - before == 80
    within_quota = 80 - sum(gate.stats("otlp_gate_shadow_throttled_requests_total").values())
    assert CAPACITY <= within_quota <= CAPACITY + earned(RATE, sent.seconds)
    assert not gate.stats("otlp_gate_unmetered_requests_total")
