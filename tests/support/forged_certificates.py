"""Forged values of the header in which the proxy passes a client's certificate to the filter."""

import base64
import ssl
from urllib.parse import quote

from support.client import Answer, Http2, Identity, frame, http1
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS

HEADER = "x-forwarded-client-cert"
MESSAGE = traces("a", attributes=(attribute("tenant.id", "forged"),))
HEAD = "POST /v1/traces HTTP/1.1\nhost: localhost\ncontent-type: application/x-protobuf\n"
HEAD += f"content-length: {len(MESSAGE)}\n"


def forgeries(victim: Identity, own: Identity) -> dict[str, list[str]]:
    """Values of the header that name another client, each a line of its own."""

    def element(of: Identity, *more: str) -> str:
        pem = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(of.certificate.read_text()))
        return ";".join((f"Hash={of.fingerprint()}", f'Cert="{quote(pem, safe="")}"', *more))

    uri, dns = "URI=spiffe://few.example/x", "DNS=berlin.globex.partners.example"
    whole = element(victim, 'Subject="O=Acme\\, Inc.,CN=legacy"', uri, dns)
    return {
        "texts": [f"Hash={own.fingerprint()};{uri};{dns}"],
        "a whole element": [whole],
        "several elements": [f"{whole},{whole},{element(own, uri)},{whole}"],
        "several lines": [whole, element(own, uri, dns), whole],
        "the client's own hash and another certificate": [whole.replace(victim.fingerprint(), own.fingerprint())],
        "another hash and the client's own certificate": [element(own, uri).replace(own.fingerprint(), "00" * 32)],
        "a quote that does not end": [f'Hash={own.fingerprint()};{uri};Subject="'],
        "an element that does not end": [f'{whole},Cert="'],
        "a certificate alone": [base64.b64encode(ssl.PEM_cert_to_DER_cert(victim.certificate.read_text())).decode()],
        "many certificates": [f"{element(own, uri)},{whole}," * 4 + 9 * 'Cert="",' + uri],
        "nothing": [""],
    }


# The keys of `forgeries`.
FORGERIES = [
    "texts",
    "a whole element",
    "several elements",
    "several lines",
    "the client's own hash and another certificate",
    "another hash and the client's own certificate",
    "a quote that does not end",
    "an element that does not end",
    "a certificate alone",
    "many certificates",
    "nothing",
]


def send_grpc(address: str, identity: Identity, values: list[str]) -> Answer:
    with Http2(address, identity) as connection:
        stream = connection.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":path", GRPC_PATHS["traces"]), (":scheme", "https")]
        fields += [(":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers")]
        connection.h2.send_headers(stream, fields + [(HEADER, value) for value in values])
        connection.answers[stream] = Answer()
        return connection.finish(stream, frame(MESSAGE))


def send_http(address: str, identity: Identity, values: list[str]) -> Answer:
    # In another case, as HTTP/1.1 allows it.
    lines = "".join(f"X-Forwarded-Client-Cert: {value}\n" for value in values)
    return http1(address, identity, HEAD + lines, MESSAGE)
