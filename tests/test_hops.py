"""Clients behind a proxy that the gate trusts, and proxies that say what they like."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from client import Answer, Http2, Identity, frame
from conftest import CONFIG
from gate import Certificates, Gate
from proxy import ANYWHERE, Envoy
from sink import GRPC_PATHS, Sink
from wire import attribute, traces

TRACES = GRPC_PATHS["traces"]
HTTP = "type.googleapis.com/envoy.extensions.filters"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
HASH = "ab" * 32
HEADER = "x-forwarded-client-cert"


class Hop(Envoy):
    """An Envoy that ends its clients' TLS, and says who they are as Envoys do, over mTLS of its own."""

    def __init__(self, folder: Path, gate: Gate, certs: Path, own: Identity):
        pem = lambda file: {"filename": str(file)}
        downstream = {
            "@type": f"{TLS}.DownstreamTlsContext",
            "require_client_certificate": True,
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_certificates": [
                    {"certificate_chain": pem(certs / "server.crt"), "private_key": pem(certs / "server.key")}
                ],
                "validation_context": {"trusted_ca": pem(certs / "client-ca.crt")},
            },
        }
        upstream = {
            "@type": f"{TLS}.UpstreamTlsContext",
            "sni": "localhost",
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_certificates": [{"certificate_chain": pem(own.certificate), "private_key": pem(own.key)}],
                "validation_context": {"trusted_ca": pem(own.ca)},
            },
        }
        manager = {
            "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "hop",
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True},
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "gate"}}],
                    }
                ]
            },
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}],
        }
        host, port = gate.grpc.rsplit(":", 1)
        address = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
        options = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
        chain = {
            "transport_socket": {"name": "tls", "typed_config": downstream},
            "filters": [{"name": "http", "typed_config": manager}],
        }
        resources = {
            "listeners": [{"name": "all", **ANYWHERE, "filter_chains": [chain]}],
            "clusters": [
                {
                    "name": "gate",
                    "typed_extension_protocol_options": options,
                    "transport_socket": {"name": "tls", "typed_config": upstream},
                    "load_assignment": {
                        "cluster_name": "gate",
                        "endpoints": [{"lb_endpoints": [{"endpoint": address}]}],
                    },
                }
            ],
        }
        super().__init__(folder, {"static_resources": resources})


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, one_sink: Sink) -> Iterator[Gate]:
    """A gate that trusts one hop."""
    config = tmp_path_factory.mktemp("hops") / "otlp-gate.yaml"
    config.write_text(CONFIG + 'trustedHops: [{spiffe: "spiffe://hop.example/front"}]\n')
    gate = Gate(config, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def hop(certificates: Certificates) -> Identity:
    return certificates.client("hop", "--spiffe", "spiffe://hop.example/front")


def says(gate: Gate, identity: Identity, said: str | None) -> Answer:
    """The answer to a connection that sends this header, or none."""
    headers = {} if said is None else {HEADER: said}
    with Http2(gate.grpc, identity) as connection:
        return connection.grpc(TRACES, frame(traces("a", attributes=(attribute("tenant.id", "forged"),))), headers)


def test_a_hops_clients_are_themselves_each_on_one_connection(
    tmp_path: Path, trusting: Gate, hop: Identity, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    partner = certificates.client("partner", "--dns", "berlin.globex.partners.example")
    legacy = certificates.client("legacy", "--org", "Acme, Inc.", "--cn", "legacy")
    stranger = certificates.client("stranger", "--spiffe", "spiffe://stranger.example/1")
    proxy = Hop(tmp_path, trusting, certificates.folder, hop)
    try:
        address = f"localhost:{proxy.listens()}"
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


def test_the_nearest_element_of_a_hop_counts(trusting: Gate, hop: Identity, sink: Sink) -> None:
    edge, few = (f"Hash={HASH};URI=spiffe://{name}" for name in ("acme.example/edge/2", "few.example/x"))
    quoted = f'By=spiffe://x;Hash={HASH};Subject="O=a\\,b,CN=\\";URI=spiffe://few.example/x";URI=spiffe://acme.example/edge/2'
    sink.rest()
    for said in (edge, f"{few},{edge}", quoted):
        assert says(trusting, hop, said).grpc_status == 0, said
        assert sink.take().resources()[0]["tenant.id"] == "acme", said


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "no element but that of the proxy itself"),
        ("", "no element but that of the proxy itself"),
        ("URI=spiffe://acme.example/edge/2", "without Hash"),
        (f"Hash={HASH}00;URI=spiffe://acme.example/edge/2", "a Hash that is no SHA-256"),
        (f"Hash={HASH};Hash={HASH};URI=spiffe://acme.example/edge/2", "Hash twice"),
        (f'Hash={HASH};URI=spiffe://acme.example/edge/2;Subject="', "a quote that does not end"),
        (f"Hash={HASH};URI=spiffe://acme.example/edge/2,", "an empty element"),
        (f"Hash={HASH};spiffe://acme.example/edge/2", "not Key=value"),
    ],
    ids=["nothing", "empty", "no hash", "no such hash", "two hashes", "open quote", "empty element", "no key"],
)
def test_a_hop_that_does_not_say_who_its_client_is_lets_nobody_in_and_hears_why(
    trusting: Gate, hop: Identity, sink: Sink, said: str | None, why: str
) -> None:
    sink.rest()
    answer = says(trusting, hop, said)
    assert answer.grpc_status == 16
    assert why in answer.grpc_message and HEADER in answer.grpc_message, answer
    # What is in the header may be of another client.
    assert HASH not in answer.grpc_message and "acme" not in answer.grpc_message
    assert not sink.rest()


def test_who_is_no_hop_is_only_who_its_certificate_says(
    trusting: Gate, gate: Gate, hop: Identity, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    said = f"Hash={HASH};URI=spiffe://few.example/x"
    sink.rest()
    for place in (trusting, gate):
        assert says(place, acme, said).grpc_status == 0
        received = sink.take()
        assert received.resources()[0]["tenant.id"] == "acme"
        assert HEADER not in received.headers
    near = certificates.client("near", "--spiffe", "spiffe://hop.example/front/x")
    assert says(trusting, near, said).grpc_status == 7
    assert says(gate, hop, said).grpc_status == 7, "a gate that trusts no hop"
