"""Nobody outside can set or append to the header in which the proxy passes a client's certificate to the filter."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Identity, trusting
from support.config import SHARED
from support.forged_certificates import FORGERIES, HEADER, forgeries, send_grpc, send_http
from support.gate import Certificates, Gate
from support.inline_policy import InlinePolicyEnvoy
from support.sink import Sink

METRIC = "otlp_gate_foreign_client_cert_headers_total"
HOP = [{"spiffe": "spiffe://hop.example/front"}]


@pytest.fixture(scope="module")
def trusting_gate(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, one_sink: Sink):
    """A gate that trusts a hop, so that its Envoy appends to the header."""
    config = tmp_path_factory.mktemp("trusting") / "otlp-gate.yaml"
    config.write_text(str(SHARED.replace(trustedHops=HOP)))
    gate = Gate(config, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    gate.stop()


def forged(certificates: Certificates, sender: Identity, what: str) -> list[str]:
    """Values of the header with which the sender claims to be another client."""
    return forgeries(certificates.client("few", "--spiffe", "spiffe://few.example/x"), sender)[what]


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_header_has_no_effect(
    gate: Gate, trusting_gate: Gate, acme: Identity, certificates: Certificates, sink: Sink, what: str
) -> None:
    values = forged(certificates, acme, what)
    sink.rest()
    for each in (gate, trusting_gate):
        assert send_grpc(each.grpc, acme, values).grpc_status == 0
        assert send_http(each.http, acme, values).status == 200
        for received in (sink.take(), sink.take()):
            assert received.resources()[0]["tenant.id"] == "acme"
            assert HEADER not in received.headers


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_header_admits_no_unknown_client(
    gate: Gate, trusting_gate: Gate, stranger: Identity, certificates: Certificates, sink: Sink, what: str
) -> None:
    values = forged(certificates, stranger, what)
    sink.rest()
    for each in (gate, trusting_gate):
        assert send_grpc(each.grpc, stranger, values).grpc_status == 7
        assert send_http(each.http, stranger, values).status == 403
    assert not sink.rest()


def test_a_huge_header_is_rejected_and_admits_nobody(
    gate: Gate, trusting_gate: Gate, acme: Identity, stranger: Identity, certificates: Certificates, sink: Sink
) -> None:
    whole = forged(certificates, acme, "a whole element")[0]
    # Over the filter's limit for headers, and over Envoy's.
    long, huge = (",".join([whole] * (size // len(whole))) for size in (28_000, 60_000))
    sink.rest()
    for each in (gate, trusting_gate):
        for identity, status in ((acme, 8), (stranger, 7)):
            assert send_grpc(each.grpc, identity, [long]).grpc_status == status
            assert send_grpc(each.grpc, identity, [huge]).reset is not None
            assert send_http(each.http, identity, [huge]).status == 431
    assert not sink.rest()


def test_without_a_certificate_no_header_helps(gate: Gate, trusting_gate: Gate, acme: Identity) -> None:
    context = trusting(acme.ca, "http/1.1")
    for each in (gate, trusting_gate):
        nobody = type("Nobody", (), {"context": lambda self, *_: context})()
        for values in forgeries(acme, acme).values():
            with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
                send_http(each.http, nobody, values)


def test_each_client_that_sends_the_header_is_counted_and_the_first_one_is_logged(
    start: Callable[..., Gate], trusting_gate: Gate, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    values = forged(certificates, acme, "several elements")
    gate = start(SHARED, "--concurrency", "1").ready()
    assert send_grpc(gate.grpc, acme, []).grpc_status == 0
    assert sum(gate.stats(METRIC).values()) == 0
    for count in (1, 2):
        assert send_grpc(gate.grpc, acme, values).grpc_status == 0
        assert list(gate.stats(METRIC).values()) == [count]
    gate.wait_for_log("passes on x-forwarded-client-cert", "SANITIZE_SET")
    gate.stop()
    assert gate.rest_of_log().count("passes on") == 1
    # Where a hop is trusted, its clients' elements are expected.
    assert send_grpc(trusting_gate.grpc, acme, values).grpc_status == 0
    assert sum(trusting_gate.stats(METRIC).values()) == 0
    sink.rest()


@pytest.mark.parametrize(
    ("mode", "passes", "counted"),
    [
        # What the gateway passes to the filter: its own element, the client's, or both.
        ("SANITIZE_SET", ("own",), 0),
        ("APPEND_FORWARD", ("own", "client's"), 1),
        ("FORWARD_ONLY", ("client's",), 1),
        ("ALWAYS_FORWARD_ONLY", ("client's",), 1),
        ("SANITIZE", (), 0),
    ],
)
def test_in_every_forwarding_mode_a_client_is_itself_or_rejected(
    tmp_path: Path, acme: Identity, certificates: Certificates, sink: Sink, mode: str, passes: tuple, counted: int
) -> None:
    victim = certificates.client("few", "--spiffe", "spiffe://few.example/x")
    envoy = InlinePolicyEnvoy(tmp_path, certificates.folder, sink.grpc_port, forward_client_cert=mode)
    values = forgeries(victim, acme)
    try:
        for headers, needed in (
            ([], ("own",)),
            (values["a whole element"], ("own",)),
            # The client's own certificate is there too, so either side may have sent it.
            (values["several elements"], ("own", "client's")),
        ):
            # Plain HTTP is answered with 204 behind the filter. The victim is no client of this policy.
            served = any(side in passes for side in needed)
            assert send_http(envoy.address, acme, headers).status == (204 if served else 503), headers
            assert send_http(envoy.address, victim, headers).status in (403, 503)
        found = envoy.admin(f"stats?filter={METRIC}").split()[-1:]
        assert (found not in ([], ["0"])) == bool(counted), found
    finally:
        envoy.stop()
