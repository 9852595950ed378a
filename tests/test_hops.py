"""Clients behind a trusted hop, and proxies that the gate does not trust."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.client import Answer, Http2, Identity, frame
from support.config import SHARED
from support.envoy import Envoy, address, client_tls, http2_cluster, http_manager, listener, route_to, server_tls
from support.gate import Certificates, Gate
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, Sink

TRACES = GRPC_PATHS["traces"]
HASH = "ab" * 32
HEADER = "x-forwarded-client-cert"


class Hop(Envoy):
    """An Envoy that terminates its clients' TLS and forwards their identities to the gate, over mTLS of its own."""

    def __init__(self, folder: Path, gate: Gate, certs: Path, own: Identity):
        http = http_manager(
            "hop",
            [route_to("gate")],
            forward_client_cert_details="SANITIZE_SET",
            set_current_client_cert_details={"subject": True, "uri": True, "dns": True},
        )
        host, port = gate.grpc.rsplit(":", 1)
        tls = client_tls(own.certificate, own.key, own.ca)
        resources = {
            "listeners": [listener(http, tls=server_tls(certs))],
            "clusters": [http2_cluster("gate", address(int(port), host), tls=tls)],
        }
        super().__init__(folder, {"static_resources": resources})


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, one_sink: Sink) -> Iterator[Gate]:
    """A gate that trusts one hop."""
    config = tmp_path_factory.mktemp("hops") / "otlp-gate.yaml"
    config.write_text(str(SHARED.replace(trustedHops=[{"spiffe": "spiffe://hop.example/front"}])))
    gate = Gate(config, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def hop(certificates: Certificates) -> Identity:
    return certificates.client("hop", "--spiffe", "spiffe://hop.example/front")


def send(gate: Gate, identity: Identity, header: str | None) -> Answer:
    """The answer to a request with this `x-forwarded-client-cert`, or without one."""
    headers = {} if header is None else {HEADER: header}
    with Http2(gate.grpc, identity) as connection:
        return connection.grpc(TRACES, frame(traces("a", attributes=(attribute("tenant.id", "forged"),))), headers)


def test_clients_of_a_hop_are_identified_on_one_connection(
    tmp_path: Path, trusting: Gate, hop: Identity, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    partner = certificates.client("partner", "--dns", "berlin.globex.partners.example")
    legacy = certificates.client("legacy", "--org", "Acme, Inc.", "--cn", "legacy")
    stranger = certificates.client("stranger", "--spiffe", "spiffe://stranger.example/1")
    proxy = Hop(tmp_path, trusting, certificates.folder, hop)
    try:
        address = f"localhost:{proxy.listener_port()}"
        sink.rest()
        for identity, tenant in ((acme, "acme"), (partner, "globex"), (legacy, "old"), (acme, "acme")):
            with Http2(address, identity) as connection:
                forged = {HEADER: f"Hash={HASH};URI=spiffe://few.example/x"}
                assert connection.grpc(TRACES, frame(traces("a")), forged).grpc_status == 0
            received = sink.take()
            assert received.resources()[0]["tenant.id"] == tenant
            assert received.headers["x-scope-orgid"] == tenant
            assert HEADER not in received.headers
        with Http2(address, stranger) as connection:
            assert connection.grpc(TRACES, frame(traces("a"))).grpc_status == 7
    finally:
        proxy.stop()


def test_the_last_element_of_a_hops_header_counts(trusting: Gate, hop: Identity, sink: Sink) -> None:
    edge, few = (f"Hash={HASH};URI=spiffe://{name}" for name in ("acme.example/edge/2", "few.example/x"))
    quoted = f'By=spiffe://x;Hash={HASH};Subject="O=a\\,b,CN=\\";URI=spiffe://few.example/x";URI=spiffe://acme.example/edge/2'
    sink.rest()
    for header in (edge, f"{few},{edge}", quoted):
        assert send(trusting, hop, header).grpc_status == 0, header
        assert sink.take().resources()[0]["tenant.id"] == "acme", header


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "only the element about the hop itself"),
        ("", "only the element about the hop itself"),
        ("URI=spiffe://acme.example/edge/2", "without Hash"),
        (f"Hash={HASH}00;URI=spiffe://acme.example/edge/2", "a Hash that is not a SHA-256"),
        (f"Hash={HASH};Hash={HASH};URI=spiffe://acme.example/edge/2", "Hash twice"),
        (f'Hash={HASH};URI=spiffe://acme.example/edge/2;Subject="', "a quote that does not end"),
        (f"Hash={HASH};URI=spiffe://acme.example/edge/2,", "an empty element"),
        (f"Hash={HASH};spiffe://acme.example/edge/2", "not Key=value"),
    ],
    ids=["nothing", "empty", "no hash", "no such hash", "two hashes", "open quote", "empty element", "no key"],
)
def test_an_invalid_header_of_a_hop_is_rejected_with_the_reason(
    trusting: Gate, hop: Identity, sink: Sink, header: str | None, why: str
) -> None:
    sink.rest()
    answer = send(trusting, hop, header)
    assert answer.grpc_status == 16
    assert why in answer.grpc_message and HEADER in answer.grpc_message, answer
    # The message repeats nothing of the header, which may contain data of another client.
    assert HASH not in answer.grpc_message and "acme" not in answer.grpc_message
    assert not sink.rest()


def test_the_header_of_a_client_that_is_no_hop_is_ignored(
    trusting: Gate, gate: Gate, hop: Identity, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    header = f"Hash={HASH};URI=spiffe://few.example/x"
    sink.rest()
    for each in (trusting, gate):
        assert send(each, acme, header).grpc_status == 0
        received = sink.take()
        assert received.resources()[0]["tenant.id"] == "acme"
        assert HEADER not in received.headers
    near = certificates.client("near", "--spiffe", "spiffe://hop.example/front/x")
    assert send(trusting, near, header).grpc_status == 7
    assert send(gate, hop, header).grpc_status == 7, "this gate trusts no hop"
