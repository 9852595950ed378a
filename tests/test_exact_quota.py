"""Quotas are exact: many clients at once, over all workers, get what their bucket holds and not one item more."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from client import Http2, Identity, frame
from gate import Certificates, Gate
from quick import Quick
from sink import GRPC_PATHS, Sink
from volley import Fired, fire, ready
from wire import field, request, resource, scope, span, traces

TRACES = GRPC_PATHS["traces"]
ORGS, SOLOS = 50, 100
# Rates are the least that there are, so that next to nothing comes back while a burst is spent.
CAPACITY, RATE = 30, 1
CONFIG = """\
apiVersion: otlp-gate/v1
gateway: {provider: istio, name: otel-gateway, namespace: otel, hostname: localhost}
backend: {collector: {}}
clients:
  - name: "partner.{org}.{site}"
    match: {dns: "{site}.{org}.partners.example"}
    attributes: {tenant.id: "{org}"}
    quotaPer: "{org}"
    quota: small
  - name: "solo-{word}"
    match: {spiffe: "spiffe://solo.example/{word}"}
    attributes: {tenant.id: "{word}"}
    quota: small
quotas:
  tiers:
    small: {spans: 1/s, burst: 30s}
"""
SMALL = "small: {spans: 1/s, burst: 30s}"


def spans(count: int, *, size: int = 0) -> bytes:
    """A message of so many spans, with so many bytes more."""
    return traces(*"s" * count) + (field(1999, bytes(size)) if size else b"")


def solo(certificates: Certificates, word: str) -> Identity:
    """A client with a bucket of its own."""
    return certificates.client(f"solo-{word}", "--spiffe", f"spiffe://solo.example/{word}")


def outcome(fired: Fired, sizes: list[int]) -> tuple[int, list[int]]:
    """Of connections that all sent these sizes: the items that were acknowledged, and the sizes that were refused."""
    answers = [(size, answer) for of in fired.answers for size, answer in zip(sizes, of, strict=True)]
    assert [answer for _, answer in answers if answer.grpc_status not in (0, 8)] == []
    taken = sum(size for size, answer in answers if answer.grpc_status == 0)
    return taken, [size for size, answer in answers if answer.grpc_status == 8]


def admitted(fired: Fired, sizes: list[int]) -> int:
    """The items that were acknowledged, of connections that all sent these sizes."""
    return outcome(fired, sizes)[0]


def earned(rate: int, seconds: float) -> int:
    """Whole items that came back meanwhile."""
    return int(rate * seconds)


@pytest.fixture(scope="module")
def crowd(certificates: Certificates) -> list[tuple[str, Identity]]:
    """Two hundred identities, who send over three hundred connections, and whose bucket each of them spends."""
    identities = []
    for org in range(ORGS):
        for site in ("a", "b"):
            name = f"{site}.org{org}.partners.example"
            identities.append((f"org{org}", certificates.client(name, "--dns", name)))
    for word in range(SOLOS):
        identities += [(f"solo{word}", solo(certificates, str(word)))] * 2
    return identities


@pytest.fixture
def flood(tmp_path: Path, certificates: Certificates, quick: Quick) -> Iterator[Callable[..., Gate]]:
    """Starts gates in front of the backend that takes everything at once."""
    started: list[Gate] = []

    def flood(text: str = CONFIG, workers: int = 2) -> Gate:
        file = tmp_path / "otlp-gate.yaml"
        file.write_text(text)
        started.append(Gate(file, certificates.folder, quick.port, quick.port, "--concurrency", workers))
        return started[-1].ready()

    yield flood
    for gate in started:
        gate.stop()


@pytest.fixture
def connections(certificates: Certificates, connect: Callable) -> Callable[..., list[Http2]]:
    """Connections of one client, which workers share."""

    def connections(gate: Gate, word: str, count: int = 8) -> list[Http2]:
        return [ready(connect(solo(certificates, word), gate.grpc)) for _ in range(count)]

    return connections


@pytest.mark.parametrize("workers", [2, 4])
def test_no_bucket_gives_one_item_too_many_and_none_gives_less(
    flood: Callable[..., Gate], crowd: list[tuple[str, Identity]], quick: Quick, workers: int
) -> None:
    gate = flood(CONFIG, workers)
    connections = [ready(Http2(gate.grpc, identity)) for _, identity in crowd]
    before = quick.count()

    # The small ones alone are more than any bucket holds, and so none is left with a rest that nothing fits into.
    sizes = [7, 3] + [1] * 12
    fired = fire([(connection, [spans(size) for size in sizes]) for connection in connections])

    got: dict[str, int] = defaultdict(int)
    acknowledged = 0
    for (bucket, _), answers in zip(crowd, fired.answers):
        for size, answer in zip(sizes, answers):
            assert answer.grpc_status in (0, 8), answer
            acknowledged += answer.grpc_status == 0
            got[bucket] += size * (answer.grpc_status == 0)
    most = CAPACITY + earned(RATE, fired.ended - fired.began)
    assert len(got) == ORGS + SOLOS
    assert [(bucket, items) for bucket, items in got.items() if not CAPACITY <= items <= most] == []
    # What was refused went nowhere, and what was acknowledged went there once.
    assert quick.count() - before == acknowledged
    shares = gate.stats("worker_.*downstream_cx_total").values()
    assert len(shares) == workers and min(shares) > len(crowd) / workers / 4, "not all workers took part"
    for connection in connections:
        connection.socket.close()


@pytest.mark.parametrize("workers", [2, 4])
def test_over_seconds_no_more_is_admitted_than_burst_and_rate_allow(
    flood: Callable[..., Gate], connections: Callable, workers: int
) -> None:
    rate, capacity = 2000, 1000
    gate = flood(CONFIG.replace(SMALL, "small: {spans: 2k/s, burst: 500ms}"), workers)
    buckets = [connections(gate, f"rate{number}-{workers}", 6) for number in range(4)]
    # Together twelve times more than any bucket holds.
    sizes = [97, 50, 3, 1, 1] * 2
    messages = [spans(size) for size in sizes]
    total, least = [0] * len(buckets), [0] * len(buckets)
    began, ended, full = None, 0.0, capacity

    while began is None or ended - began < 2:
        fired = fire([(connection, messages) for of in buckets for connection in of])
        # What was there at the beginning of this volley, at least.
        full = capacity if began is None else min(capacity, earned(rate, fired.began - ended))
        began, ended, answers = began or fired.began, fired.ended, iter(fired.answers)
        for number, of in enumerate(buckets):
            part = Fired([next(answers) for _ in of], fired.began, fired.ended)
            got, refused = outcome(part, sizes)
            total[number] += got
            # Where something was refused, less than that was left.
            assert not refused or got >= full - min(refused), (got, full, min(refused))

    most = capacity + earned(rate, ended - began)
    print(f"{workers} workers, {ended - began:.1f} s: admitted {total}, allowed {most}")
    assert [items for items in total if items > most] == []


def test_all_dimensions_are_charged_or_none(flood: Callable[..., Gate], connections: Callable) -> None:
    # 61440 bytes and 60 items, of which 1024 and one come back each second.
    tier = "small: {requests: 1/s, bytes: 1KiB/s, items: 1/s, burst: 60s}"
    (connection,) = connections(flood(CONFIG.replace(SMALL, tier)), "all", 1)
    began = time.monotonic()

    def send(items: int, size: int = 0) -> str:
        """What refused it, if anything did."""
        answer = connection.grpc(TRACES, frame(spans(items, size=size)))
        assert answer.grpc_status in (0, 8), answer
        found = [limit for limit in ("requests", "bytes", "items") if limit in answer.grpc_message]
        assert len(found) == (answer.grpc_status == 8), answer
        return "".join(found)

    assert [send(1, 10_000) for _ in range(4)] == [""] * 4
    # 56 items and some 20,000 bytes are left. What is too much in one costs nothing in the other; that it was read is counted apart.
    assert send(30, 30_000) == "bytes"
    assert send(59) == "items"
    assert send(54, 14_000) == ""
    assert send(9) == "items"
    # Each of the eight cost one request, also those that were refused; and so do those that follow.
    refused = [send(9) for _ in range(80)]
    allowed = refused.index("requests")
    assert set(refused[:allowed]) == {"items"}
    assert 60 - 8 <= allowed <= 60 - 8 + earned(1, time.monotonic() - began)


def test_all_dimensions_hold_at_once_when_many_send(flood: Callable[..., Gate], connections: Callable) -> None:
    tier = "small: {requests: 6/s, bytes: 1KiB/s, items: 1/s, burst: 50s}"
    gate = flood(CONFIG.replace(SMALL, tier), 4)
    # In the first items are short, in the second bytes, in the third requests.
    for word, items, size, limit in [("i", 3, 0, "items"), ("b", 0, 2000, "bytes"), ("r", 0, 0, "requests")]:
        # An entry without items counts as one; a message without entries has none.
        message = spans(items, size=size) if items or size else b""
        fired = fire([(connection, [message] * 50) for connection in connections(gate, f"many-{word}", 12)])
        answers = [answer for of in fired.answers for answer in of]
        passed = sum(answer.grpc_status == 0 for answer in answers)
        uncounted = sum("requests" in answer.grpc_message for answer in answers)
        seconds = fired.ended - fired.began
        requests, items_left, bytes_left = (50 * rate + earned(rate, seconds) for rate in (6, 1, 1024))
        assert passed <= len(answers) - uncounted <= requests
        assert passed * items <= items_left and passed * len(message) <= bytes_left
        # And what is short is used up, to the last that fits.
        used = {"items": passed * items / 50, "bytes": passed * len(message) / 51_200, "requests": passed / 300}[limit]
        assert used > 0.95, (limit, passed)


def test_a_new_policy_keeps_what_is_spent(flood: Callable[..., Gate], connections: Callable) -> None:
    gate = flood()
    began = time.monotonic()
    spent = fire([(connection, [spans(1)] * 10) for connection in connections(gate, "kept")])
    total = admitted(spent, [1] * 10)
    assert CAPACITY <= total <= CAPACITY + earned(RATE, spent.ended - began)

    for text, capacity in [
        (CONFIG.replace('{tenant.id: "{word}"}', '{tenant.id: "{word}", more: x}'), CAPACITY),
        # Of a larger burst, only what it is larger by is left; of a smaller one, nothing.
        (CONFIG.replace("burst: 30s", "burst: 50s"), 50),
        (CONFIG.replace("burst: 30s", "burst: 10s"), 50),
        # Also under another tier, and back.
        (CONFIG.replace("small", "other"), 50),
        (CONFIG.replace("burst: 30s", "burst: 60s"), 60),
    ]:
        gate.write_config(text)
        gate.says("policy updated")
        # Envoy does not say when its workers have what its main thread has.
        deadline = time.monotonic() + 10
        while True:
            fired = fire([(connection, [spans(1)] * 10) for connection in connections(gate, "kept")])
            total += admitted(fired, [1] * 10)
            assert total <= capacity + earned(RATE, fired.ended - began), text
            if total >= capacity:
                break
            assert time.monotonic() < deadline, (total, text)


def test_policies_that_change_while_clients_send_give_nothing_away(
    flood: Callable[..., Gate], connections: Callable
) -> None:
    gate = flood()
    some = connections(gate, "change")
    began, total, changed = time.monotonic(), 0, threading.Event()

    def change() -> None:
        for number in range(4):
            gate.write_config(CONFIG.replace('{tenant.id: "{word}"}', f'{{tenant.id: "{{word}}", more: "{number}"}}'))
            gate.says("policy updated")
        changed.set()

    thread = threading.Thread(target=change)
    thread.start()
    while not changed.is_set():
        fired = fire([(connection, [spans(1)] * 10) for connection in some])
        total += admitted(fired, [1] * 10)
    thread.join()

    assert CAPACITY <= total <= CAPACITY + earned(RATE, time.monotonic() - began)


def test_what_a_backend_refused_is_there_again_and_not_twice(
    start: Callable[..., Gate], connections: Callable, sink: Sink
) -> None:
    gate = start(CONFIG).ready()
    some = connections(gate, "back")
    began, kept = time.monotonic(), 16
    assert admitted(fire([(connection, [spans(2)]) for connection in some]), [2]) == kept
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    for _ in range(3):
        # No more at once than fits, so that the backend refuses all.
        fired = fire([(connection, [spans(1)]) for connection in some])
        assert {answer.grpc_status for answers in fired.answers for answer in answers} == {14}
    sink.fail = None

    fired = fire([(connection, [spans(1)] * 10) for connection in some])

    assert CAPACITY - kept <= admitted(fired, [1] * 10) <= CAPACITY - kept + earned(RATE, fired.ended - began)


def test_a_burst_that_a_backend_refuses_late_is_there_again(
    start: Callable[..., Gate], connections: Callable, sink: Sink
) -> None:
    # While one request is under way, all that it spent could have been earned back by then.
    gate = start(CONFIG.replace(SMALL, "small: {spans: 10/s, burst: 30s}")).ready()
    some = connections(gate, "late", 10)
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    sink.answers.clear()
    began = time.monotonic()
    threading.Timer(1, sink.answers.set).start()
    fired = fire([(connection, [spans(10)] * 3) for connection in some])
    assert fired.ended - began >= 1
    assert {answer.grpc_status for answers in fired.answers for answer in answers} == {14}
    sink.fail = None

    again = fire([(connection, [spans(10)] * 6) for connection in some])

    assert 300 <= admitted(again, [10] * 6) <= 300 + earned(10, again.ended - again.began)


@pytest.mark.parametrize("how", ["resets the stream", "closes the connection"])
def test_who_hangs_up_gets_nothing_back(
    start: Callable[..., Gate], connections: Callable, sink: Sink, how: str
) -> None:
    gate = start(CONFIG).ready()
    sink.answers.clear()
    began = time.monotonic()
    (leaver,) = connections(gate, "leaver", 1)
    stream = leaver.open(TRACES, {"content-type": "application/grpc", "te": "trailers"})
    leaver.h2.send_data(stream, frame(spans(CAPACITY)), end_stream=True)
    leaver.flush()
    assert len(sink.take().names()) == CAPACITY
    if how == "resets the stream":
        leaver.h2.reset_stream(stream)
        leaver.flush()
    else:
        leaver.socket.close()
    # What became of it is counted when it is over.
    while not sum(gate.stats("unanswered").values()):
        assert time.monotonic() < began + 10
    # And an answer of "no" that comes too late gives nothing back either.
    sink.fail = (grpc.StatusCode.UNAVAILABLE, 503)
    sink.answers.set()
    time.sleep(0.2)
    sink.fail = None

    fired = fire([(connection, [spans(1)] * 5) for connection in connections(gate, "leaver")])

    assert admitted(fired, [1] * 5) <= earned(RATE, fired.ended - began)


def test_shadow_mode_admits_all_and_counts_what_it_would_refuse(
    flood: Callable[..., Gate], connections: Callable, quick: Quick
) -> None:
    gate = flood(CONFIG.replace("quotas:\n", "quotas:\n  mode: shadow\n"))
    before = quick.count()
    fired = fire([(connection, [spans(1)] * 10) for connection in connections(gate, "watched")])

    assert admitted(fired, [1] * 10) == 80
    assert quick.count() - before == 80
    shadowed = sum(gate.stats("otlp_gate_shadow_throttled_requests_total").values())
    fit = 80 - shadowed
    assert CAPACITY <= fit <= CAPACITY + earned(RATE, fired.ended - fired.began)
    assert not gate.stats("otlp_gate_unmetered_requests_total")
