"""Clients behind proxies that forward a certificate in a header of their own."""

import base64
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest

from support.client import Answer, Http2, Identity, frame, http1
from support.config import SHARED
from support.gate import Certificates, Gate
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

TRACES = GRPC_PATHS["traces"]
HEADER = "ssl-client-cert"
XFCC = "x-forwarded-client-cert"
HASH = "ab" * 32
MESSAGE = traces("a", attributes=(attribute("tenant.id", "forged"),))
HOPS = [
    {"spiffe": "spiffe://hop.example/nginx", "header": "SSL-Client-Cert"},
    {"spiffe": "spiffe://hop.example/gorouter", "header": "X-Forwarded-Client-Cert"},
    {"spiffe": "spiffe://hop.example/envoy"},
]


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, one_sink: Sink) -> Iterator[Gate]:
    """A gate that trusts three hops."""
    config = tmp_path_factory.mktemp("hops") / "otlp-gate.yaml"
    config.write_text(str(SHARED.replace(trustedHops=HOPS, deny=["name:few-locked"])))
    gate = Gate(config, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def hop(certificates: Certificates) -> Callable[[str], Identity]:
    """A hop's own certificate, by the hop's name."""
    return lambda name: certificates.client(f"hop-{name}", "--spiffe", f"spiffe://hop.example/{name}")


def pem(identity: Identity) -> str:
    """The first certificate of the file, as OpenSSL writes it."""
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(identity.certificate.read_text()))


def plain(identity: Identity) -> str:
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())).decode()


def ca(identity: Identity) -> Identity:
    """The CA that issued a client's certificate, as if it were a client's."""
    folder = identity.certificate.parent.parent
    return Identity(folder / "client-ca.crt", identity.key, identity.ca)


# How proxies write a certificate. The escapes are those of Python.
FORMS: dict[str, Callable[[Identity], str]] = {
    "nginx, $ssl_client_escaped_cert": lambda of: quote(pem(of), safe=""),
    "AWS ALB": lambda of: quote(pem(of), safe="+=/"),
    "AWS ALB, a chain": lambda of: quote(pem(of) + pem(ca(of)), safe="+=/"),
    "Apache, PEM in one line": lambda of: pem(of).replace("\n", " "),
    "nginx, $ssl_client_cert joined to one line": lambda of: pem(of).strip().replace("\n", "\t"),
    "HAProxy, %[ssl_c_der,base64]": plain,
    "HAProxy, %{+Q}[ssl_c_der,base64]": lambda of: f'"{plain(of)}"',
    "Traefik": plain,
    "Traefik, a chain": lambda of: f"{plain(of)},{plain(ca(of))}",
    "Traefik 2, a chain": lambda of: quote_plus(f"{plain(of)},{plain(ca(of))}"),
    "RFC 9440": lambda of: f":{plain(of)}:",
}


def send(gate: Gate, identity: Identity, *headers: tuple[str, str]) -> Answer:
    """The answer to a request with these headers, of which one may occur twice."""
    with Http2(gate.grpc, identity) as connection:
        stream = connection.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":path", TRACES), (":scheme", "https"), (":authority", "localhost")]
        fields += [("content-type", "application/grpc"), ("te", "trailers"), *headers]
        connection.h2.send_headers(stream, fields)
        connection.answers[stream] = Answer()
        return connection.finish(stream, frame(MESSAGE))


@pytest.mark.parametrize("form", FORMS)
def test_a_certificate_is_read_in_every_form(
    trusting: Gate, hop: Callable, acme: Identity, certificates: Certificates, sink: Sink, form: str
) -> None:
    partner = certificates.client("partner", "--dns", "berlin.globex.partners.example")
    sink.rest()
    with Http2(trusting.grpc, hop("nginx")) as connection, Http2(trusting.http, hop("nginx")) as by_http:
        # The third request of a client is answered from the cache.
        for identity, tenant in ((acme, "acme"), (partner, "globex")) * 3:
            headers = {HEADER: FORMS[form](identity), XFCC: f"Hash={HASH};URI=spiffe://few.example/x"}
            answer = connection.grpc(TRACES, frame(MESSAGE), headers)
            assert answer.grpc_status == 0, answer
            received = sink.take()
            assert received.resources()[0]["tenant.id"] == tenant
            assert HEADER not in received.headers and XFCC not in received.headers
            assert by_http.http(HTTP_PATHS["traces"], MESSAGE, headers).status == 200
            received = sink.take()
            assert received.resources()[0]["tenant.id"] == tenant
            assert HEADER not in received.headers and XFCC not in received.headers


@pytest.mark.parametrize(
    "form", ["HAProxy, %[ssl_c_der,base64]", "HAProxy, %{+Q}[ssl_c_der,base64]", "Traefik, a chain"]
)
def test_base64_in_envoys_own_header_is_read(
    trusting: Gate, hop: Callable, acme: Identity, sink: Sink, form: str
) -> None:
    sink.rest()
    assert send(trusting, hop("gorouter"), (XFCC, FORMS[form](acme))).grpc_status == 0
    received = sink.take()
    assert received.resources()[0]["tenant.id"] == "acme"
    assert XFCC not in received.headers


def test_a_folded_line_over_http1_is_read(trusting: Gate, hop: Callable, acme: Identity, sink: Sink) -> None:
    folded = pem(acme).strip().replace("\n", "\n\t")
    head = "POST /v1/traces HTTP/1.1\nhost: localhost\ncontent-type: application/x-protobuf\n"
    head += f"content-length: {len(MESSAGE)}\n"
    sink.rest()
    answer = http1(trusting.http, hop("nginx"), f"{head}{HEADER}: {folded}\n", MESSAGE)
    assert answer.status == 200
    assert sink.take().resources()[0]["tenant.id"] == "acme"


def test_the_header_is_believed_from_its_hop_only(
    trusting: Gate, gate: Gate, hop: Callable, acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    partner = certificates.client("partner", "--dns", "berlin.globex.partners.example")
    forged = [(HEADER, quote(pem(partner))), ("ssl_client_cert", plain(partner)), (XFCC, plain(partner))]
    sink.rest()
    for each in (trusting, gate):
        for headers in (forged[:1], forged):
            assert send(each, acme, *headers).grpc_status == 0
            received = sink.take()
            assert received.resources()[0]["tenant.id"] == "acme"
            assert XFCC not in received.headers
            # Another gate does not know the name.
            assert (HEADER in received.headers) == (each is gate)
            assert ("ssl_client_cert" in received.headers) == (each is gate and headers == forged)
    # A hop with another header.
    for name in ("envoy", "gorouter"):
        answer = send(trusting, hop(name), forged[0])
        assert answer.grpc_status == 16 and XFCC in answer.grpc_message, answer
    element = (XFCC, f"Hash={partner.fingerprint()};DNS=berlin.globex.partners.example")
    answer = send(trusting, hop("nginx"), element)
    assert answer.grpc_status == 16 and f"{HEADER} is missing" in answer.grpc_message, answer
    assert send(gate, hop("nginx"), forged[0]).grpc_status == 7, "this gate trusts no hop"
    near = certificates.client("near-nginx", "--spiffe", "spiffe://hop.example/nginx/x")
    assert send(trusting, near, forged[0]).grpc_status == 7
    assert not sink.rest()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([""], "is missing"),
        (["{acme}", "{acme}"], "occurs twice"),
        (["{acme},{partner}"], "do not issue one another"),
        (["{acme},{ca},{partner}"], "do not issue one another"),
        (["{acme}, {partner}"], "is not a certificate"),
        (["{acme},"], "is not a certificate"),
        (["{element}"], "is not a certificate"),
        (["{acme};{partner}"], "is not a certificate"),
        (["AAAA"], "cannot be read"),
        (["{acme}A"], "is not a certificate"),
    ],
)
def test_a_forged_or_unreadable_value_is_rejected_with_the_reason(
    trusting: Gate, hop: Callable, acme: Identity, certificates: Certificates, sink: Sink, values: list[str], why: str
) -> None:
    partner = certificates.client("partner", "--dns", "berlin.globex.partners.example")
    texts = {"acme": plain(acme), "partner": plain(partner), "ca": plain(ca(acme))}
    texts["element"] = f"Hash={HASH};URI=spiffe://acme.example/edge/1"
    sink.rest()
    answer = send(trusting, hop("nginx"), *((HEADER, value.format(**texts)) for value in values))
    assert answer.grpc_status == 16
    assert f"{HEADER} " in answer.grpc_message and why in answer.grpc_message, answer
    assert texts["acme"][:32] not in answer.grpc_message
    assert not sink.rest()


def test_rules_validity_and_deny_apply_as_to_direct_clients(
    trusting: Gate, hop: Callable, stranger: Identity, certificates: Certificates, sink: Sink
) -> None:
    locked = certificates.client("locked", "--spiffe", "spiffe://few.example/locked")
    sink.rest()
    for identity, message in ((stranger, "matches no"), (locked, "is denied")):
        for _ in range(3):
            answer = send(trusting, hop("nginx"), (HEADER, quote(pem(identity))))
            assert answer.grpc_status == 7 and message in answer.grpc_message, answer
    assert not sink.rest()
